//! A host that has run out of descriptors or threads: no exit is reported too early, and no supervisor is marked dead.

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use super::*;

#[tokio::test]
async fn an_exit_is_not_reported_while_leftovers_of_the_container_cannot_be_looked_for() {
    let mut agent = Agent::new(Mode::Process).await;
    for name in ["one", "ready", "hold"] {
        pipe(&agent, name);
    }
    let script = "sh -c 'setsid sh -c \"echo \\$\\$ > orphan; echo > one; exec sleep 1000\" &'
        cat one; echo > ready; cat hold; exit 5";
    agent.shell("c", script).await;
    agent.started("c").await;
    read_pipe(agent.path("ready")).await;
    // None are left, and only the supervisor itself can allow more.
    let limit = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    let supervisor = super::super::process::to_pid(agent.supervisor_pid());
    prlimit(supervisor, Resource::Nofile, limit).unwrap();
    fs::write(agent.path("hold"), "").unwrap();
    assert_eq!(agent.status("c").await, Status::Code(5));
    assert!(!is_alive(agent.pid("orphan")));
}

#[tokio::test]
async fn an_agent_is_accepted_even_when_the_supervisor_has_no_descriptors_left() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("c", "exec sleep 1000").await;
    let started = agent.started("c").await;
    let limit = Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) };
    prlimit(super::super::process::to_pid(agent.supervisor_pid()), Resource::Nofile, limit).unwrap();
    let mut agent = agent.replaced().await;
    assert_eq!(agent.welcome().await.running, [started]);
    let mut agent = agent.replaced().await;
    assert_eq!(agent.welcome().await.running.len(), 1);
}

#[tokio::test]
async fn a_supervisor_needs_no_new_thread_to_accept_an_agent() {
    let agent = Agent::new(Mode::Process).await;
    let mut agent = agent.replaced().await;
    agent.welcome().await;
    let folder = format!("/proc/{}/task", agent.supervisor_pid());
    let names = || {
        let tasks = fs::read_dir(&folder).unwrap();
        // The threads of the agent before may end at this moment.
        let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("supervisor-")).collect();
        names.sort();
        names
    };
    let expected =
        ["acce", "core", "read", "read", "spaw", "spaw", "swee", "writ"].map(|name| format!("supervisor-{name}\n"));
    // A thread names itself once it runs.
    let all_named = async {
        while names() != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(LIMIT, all_named).await;
    assert_eq!(names(), expected);
}
