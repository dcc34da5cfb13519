//! Agents and supervisors that come and go.

use super::*;

#[tokio::test]
async fn an_agent_that_was_away_hears_of_what_runs_and_of_what_ended() {
    let mut agent = Agent::new(Mode::Process).await;
    let (hold, gone) = (pipe(&agent, "hold"), pipe(&agent, "gone"));
    agent.shell("stays", "cat hold; exit 4").await;
    agent.shell("ends", "echo > gone; exit 3").await;
    let stays = agent.started("stays").await;
    agent.started("ends").await;
    hear(gone).await;
    let mut agent = agent.replaced().await;
    let welcome = agent.welcome().await;
    assert_eq!(welcome.running.iter().find(|it| it.container_id == "stays"), Some(&stays));
    let mut ended: Vec<_> = welcome.exited;
    if ended.is_empty() {
        ended.push(agent.exited("ends").await);
    }
    assert_eq!(ended.iter().map(|it| it.status.clone()).collect::<Vec<_>>(), [Some(Status::Code(3))]);
    agent.forget("ends").await;
    fs::write(hold, "").unwrap();
    assert_eq!(agent.status("stays").await, Status::Code(4));
    let mut agent = agent.replaced().await;
    let welcome = agent.welcome().await;
    let ended: Vec<_> = welcome.exited.iter().map(|it| it.container_id.as_str()).collect();
    assert_eq!((welcome.running.len(), ended), (0, vec!["stays"]), "what was forgotten is not told again");
}

#[tokio::test]
async fn a_retired_supervisor_ends_when_its_last_container_is_forgotten() {
    for mode in BOTH {
        let mut agent = Agent::new(mode).await;
        let hold = pipe(&agent, "hold");
        agent.shell("last", "cat hold").await;
        agent.started("last").await;
        agent.retire().await;
        agent.shell("late", "exit 0").await;
        assert_eq!(agent.start_failed("late").await.step, "start in a supervisor that is retired");
        fs::write(hold, "").unwrap();
        agent.exited("last").await;
        agent.forget("last").await;
        agent.ended().await;
        assert!(!agent.path("supervisors").join(agent.link.id().as_str()).exists());
        agent.link.send(Vec::new()).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_supervisor_that_dies_takes_its_containers_along_and_its_records_stay() {
    let mut agent = Agent::new(Mode::Process).await;
    let ready = pipe(&agent, "ready");
    agent.shell("ended", "exit 6").await;
    agent.exited("ended").await;
    agent.shell("runs", "setsid sh -c 'echo $$ > other; echo > ready; exec sleep 1000' & exec sleep 1000").await;
    let runs = agent.started("runs").await;
    hear(ready).await;
    kill(agent.supervisor_pid());
    let reason = agent.lost().await;
    assert!(!reason.is_empty());
    let welcome = agent.welcome().await;
    assert_eq!(
        statuses(&welcome),
        [("ended", Status::Code(6)), ("runs", Status::Lost("its supervisor died".to_owned()))]
    );
    assert!(welcome.running.is_empty());
    assert!(!is_alive(runs.pid) && !is_alive(agent.pid("other")));
    assert!(!agent.link.takes_starts());
    agent.shell("late", "exit 0").await;
    assert_eq!(agent.start_failed("late").await.step, "start in a supervisor that is retired");
    agent.forget("ended").await;
    agent.forget("runs").await;
    agent.ended().await;
    assert!(!agent.path("supervisors/1").exists());
}

#[tokio::test]
async fn a_supervisor_that_died_with_its_agent_is_settled_by_the_next_and_the_one_after() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    let supervisor = agent.supervisor_pid();
    let Agent { folder, link, events, .. } = agent;
    drop((link, events));
    kill(supervisor);
    let (sender, events) = mpsc::channel(16);
    let mut links = found(&folder, sender).await;
    assert_eq!(links.len(), 1);
    let mut agent = Agent { folder, link: links.remove(0), events, seen: Vec::new() };
    let first = agent.welcome().await;
    assert_eq!(statuses(&first), [("runs", Status::Lost("its supervisor died".to_owned()))]);
    assert!(!is_alive(runs.pid));
    // This agent dies before it has settled anything.
    let mut agent = agent.replaced().await;
    assert_eq!(agent.welcome().await.exited, first.exited);
    agent.forget("runs").await;
    agent.ended().await;
    let (sender, _events) = mpsc::channel(16);
    assert!(found(&agent.folder, sender).await.is_empty());
}

#[tokio::test]
async fn letting_go_of_a_supervisor_in_this_process_kills_its_containers_and_tells() {
    let mut agent = Agent::new(Mode::Threads).await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    agent.link.shutdown().await;
    assert_eq!(agent.status("runs").await, Status::Signal(9));
    assert!(!is_alive(runs.pid));
    agent.ended().await;
    // Nobody forgot the exit: the next agent hears of it.
    let mut agent = agent.replaced().await;
    assert_eq!(statuses(&agent.welcome().await), [("runs", Status::Signal(9))]);
}

#[tokio::test]
async fn a_supervisor_of_its_own_process_survives_that_an_agent_lets_go() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    agent.link.shutdown().await;
    agent.ended().await;
    assert!(is_alive(runs.pid));
    let mut agent = agent.replaced().await;
    assert_eq!(agent.welcome().await.running, [runs]);
    agent.signal("runs", 9, true).await;
    assert_eq!(agent.status("runs").await, Status::Signal(9));
}

#[tokio::test]
async fn a_program_that_is_no_supervisor_is_named_with_what_it_said() {
    let folder = Folder::new();
    for (script, expected) in [("echo out of order >&2; exit 1", "out of order"), ("exit 3", "exit status: 3")] {
        let (sender, _events) = mpsc::channel(1);
        let arguments = ["-c", script].map(Into::into).to_vec();
        let settings = Settings { program: "/bin/sh".into(), arguments, work_dir: folder.path().to_owned() };
        let error = launch(&settings, sender).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the supervisor /bin/sh did not start: {expected}"));
    }
    assert_eq!(fs::read_dir(folder.path().join("supervisors")).unwrap().count(), 0);
}

fn statuses(welcome: &SupervisorWelcome) -> Vec<(&str, Status)> {
    welcome.exited.iter().map(|it| (it.container_id.as_str(), it.status.clone().unwrap())).collect()
}

fn kill(pid: u32) {
    let pid = super::super::process::to_pid(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
