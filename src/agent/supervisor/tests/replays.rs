//! The containers and records of a supervisor that died.

use super::{lives::kill, *};

#[tokio::test]
async fn running_containers_are_killed_even_if_the_records_cannot_be_read_and_then_the_link_ends() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("c", "exec sleep 1000").await;
    let started = agent.started("c").await;
    fs::write(agent.path("supervisors/1/exits"), "divvy exits 3\n").unwrap();
    kill(agent.supervisor_pid());
    agent.lost().await;
    agent.ended().await;
    assert!(!is_alive(started.pid));
}

#[tokio::test]
async fn records_that_become_readable_later_are_replayed() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("ended", "exit 6").await;
    agent.exited("ended").await;
    let records = agent.path("supervisors/1/exits");
    let content = fs::read(&records).unwrap();
    fs::remove_file(&records).unwrap();
    fs::create_dir(&records).unwrap();
    kill(agent.supervisor_pid());
    agent.lost().await;
    fs::remove_dir(&records).unwrap();
    fs::write(&records, content).unwrap();
    let welcome = agent.welcome().await;
    assert_eq!(welcome.exited[0].status, Some(Status::Code(6)));
}

#[tokio::test]
async fn an_orphan_that_wiped_its_environment_ends_with_a_supervisor_that_dies() {
    let mut agent = Agent::new(Mode::Process).await;
    let ready = pipe(&agent, "ready");
    let wipe =
        "sh -c 'env -i /bin/sh -c \"echo \\$\\$ > stray; echo > ready; exec /bin/sleep 1000\" &'; exec sleep 1000";
    agent.shell("c", wipe).await;
    let started = agent.started("c").await;
    read_pipe(ready).await;
    assert!(is_alive(agent.pid("stray")));
    kill(agent.supervisor_pid());
    agent.lost().await;
    assert_eq!(agent.welcome().await.exited.len(), 1);
    assert!(!is_alive(started.pid));
    assert!(!is_alive(agent.pid("stray")), "it is in the supervisor's session");
}
