//! Agents and supervisors that restart, reconnect and die.

use super::*;
use crate::{
    agent::{
        damage::Recover,
        supervisor::{build, journal::Journal, launch::launch_within, session::Session},
    },
    proto::internal::{SupervisorRecord, supervisor_record},
};

#[tokio::test]
async fn an_agent_that_reconnects_receives_what_runs_and_what_ended() {
    let mut agent = Agent::new(Mode::Process).await;
    let (hold, gone) = (pipe(&agent, "hold"), pipe(&agent, "gone"));
    agent.shell("stays", "cat hold; exit 4").await;
    agent.shell("ends", "echo > gone; exit 3").await;
    let stays = agent.started("stays").await;
    agent.started("ends").await;
    read_pipe(gone).await;
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
    assert_eq!((welcome.running.len(), ended), (0, vec!["stays"]), "what was forgotten is not sent again");
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
async fn containers_of_a_supervisor_that_dies_are_killed_and_its_records_stay() {
    let mut agent = Agent::new(Mode::Process).await;
    let ready = pipe(&agent, "ready");
    agent.shell("ended", "exit 6").await;
    agent.exited("ended").await;
    agent.shell("runs", "setsid sh -c 'echo $$ > other; echo > ready; exec sleep 1000' & exec sleep 1000").await;
    let runs = agent.started("runs").await;
    read_pipe(ready).await;
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
async fn a_supervisor_that_died_with_its_agent_is_replayed_by_the_next_agent_and_the_one_after() {
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
    // This agent dies before it has acknowledged anything.
    let mut agent = agent.replaced().await;
    assert_eq!(agent.welcome().await.exited, first.exited);
    agent.forget("runs").await;
    agent.ended().await;
    let (sender, _events) = mpsc::channel(16);
    assert!(found(&agent.folder, sender).await.is_empty());
}

#[tokio::test]
async fn detaching_from_a_supervisor_in_this_process_kills_its_containers_and_reports_that() {
    let mut agent = Agent::new(Mode::Threads).await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    agent.link.shutdown().await;
    assert_eq!(agent.status("runs").await, Status::Signal(9));
    assert!(!is_alive(runs.pid));
    agent.ended().await;
    // The exit was not forgotten: the next agent receives it.
    let mut agent = agent.replaced().await;
    assert_eq!(statuses(&agent.welcome().await), [("runs", Status::Signal(9))]);
}

#[tokio::test]
async fn a_supervisor_process_survives_that_an_agent_detaches() {
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
async fn a_program_that_is_no_supervisor_is_reported_with_its_output() {
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

#[tokio::test]
async fn a_program_that_is_not_ready_in_time_is_killed() {
    let folder = Folder::new();
    let (sender, _events) = mpsc::channel(1);
    let script = "echo $$ > \"${0%/supervisors*}/pid\"; exec sleep 1000";
    let arguments = ["-c", script, &format!("{}/supervisors", folder.path().display())].map(Into::into).to_vec();
    let settings = Settings { program: "/bin/sh".into(), arguments, work_dir: folder.path().to_owned() };
    let error = launch_within(&settings, sender, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "the supervisor /bin/sh did not start: it was not ready within 1s");
    let pid = fs::read_to_string(folder.path().join("pid")).unwrap();
    assert!(!is_alive(pid.trim().parse().unwrap()));
    assert_eq!(fs::read_dir(folder.path().join("supervisors")).unwrap().count(), 0);
}

fn statuses(welcome: &SupervisorWelcome) -> Vec<(&str, Status)> {
    welcome.exited.iter().map(|it| (it.container_id.as_str(), it.status.clone().unwrap())).collect()
}

pub(super) fn kill(pid: u32) {
    let pid = super::super::process::to_pid(pid).unwrap();
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // It takes its time to die on a busy host, and is alive until then.
    assert!(super::super::process::wait_all(&[process], 30_000), "it dies");
}

/// An agent whose supervisor was built before version 2 of the protocol.
async fn agent_of_an_older_supervisor() -> Agent {
    let folder = Folder::new();
    let mut settings = settings(folder.path());
    settings.arguments.push("--version-1".into());
    let (sender, events) = mpsc::channel(16);
    let link = launch(&settings, sender).await.unwrap();
    Agent { folder, link, events, seen: Vec::new() }
}

#[tokio::test]
async fn a_supervisor_one_version_back_is_served_to_its_end_and_gets_no_starts() {
    let mut agent = agent_of_an_older_supervisor().await;
    assert_eq!(agent.welcome().await.version, 1);
    let hold = pipe(&agent, "hold");
    agent.shell("stays", "cat hold; exit 4").await;
    agent.shell("ends", "exit 3").await;
    let stays = agent.started("stays").await;
    assert_eq!(agent.status("ends").await, Status::Code(3));
    let mut agent = agent.replaced().await;
    let welcome = agent.welcome().await;
    assert_eq!((welcome.version, &welcome.running, welcome.exited.len()), (1, &vec![stays], 1));
    assert!(!agent.link.takes_starts() && !agent.link.has_died());
    agent.retire().await;
    agent.forget("ends").await;
    fs::write(hold, "").unwrap();
    assert_eq!(agent.status("stays").await, Status::Code(4));
    agent.forget("stays").await;
    agent.ended().await;
}

#[tokio::test]
async fn a_supervisor_of_the_same_build_gets_starts_and_one_of_another_build_does_not() {
    let agent = Agent::new(Mode::Process).await;
    let agent = agent.replaced().await;
    assert!(agent.link.takes_starts());
    let Agent { folder, link, events, .. } = agent;
    drop((link, events));
    // As after an upgrade: this agent's program is another file than the one that serves.
    for directory in Directory::list(folder.path()).unwrap() {
        let session = Session::connect(&directory).await.unwrap();
        assert!(session.is_current(&[build::own()]));
        assert!(!session.is_current(&[build::of(Path::new("/bin/sh")).unwrap()]));
    }
}

#[tokio::test]
async fn a_supervisor_whose_pid_file_is_damaged_does_not_count_as_dead() {
    for damaged in ["", "garbage", "1 1 another-boot\n"] {
        let mut agent = Agent::new(Mode::Process).await;
        agent.shell("runs", "exec sleep 1000").await;
        let runs = agent.started("runs").await;
        let (file, supervisor) = (agent.path("supervisors/1/pid"), agent.supervisor_pid());
        let intact = fs::read_to_string(&file).unwrap();
        fs::write(&file, damaged).unwrap();
        let mut agent = agent.replaced().await;
        assert_eq!(agent.welcome().await.running, [runs], "{damaged:?}");
        assert!(is_alive(supervisor));
        fs::write(&file, intact).unwrap();
    }
}

#[tokio::test]
async fn a_process_of_this_boot_that_bears_a_number_of_an_earlier_boot_is_left_alone() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("runs", "exec sleep 1000").await;
    agent.started("runs").await;
    let supervisor = agent.supervisor_pid();
    let Agent { folder, link, events, .. } = agent;
    drop((link, events));
    kill(supervisor);
    replay::kill_left(&Directory::list(folder.path()).unwrap()[0], &[]).unwrap();
    // Another boot, in which both numbers were given out again, in the same tick.
    let mut innocent = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let start_time = Stat::read(innocent.id()).unwrap().unwrap().start_time;
    let directory = folder.path().join("supervisors/1");
    fs::write(directory.join("pid"), format!("{} {start_time} an-earlier-boot\n", innocent.id())).unwrap();
    let mut journal = Journal::begin(&directory.join("exits")).unwrap();
    let started = Started { container_id: "runs".to_owned(), pid: innocent.id(), start_time };
    journal.append(&SupervisorRecord { kind: Some(supervisor_record::Kind::Started(started)), ..Default::default() });
    journal.flush();

    let (sender, events) = mpsc::channel(16);
    let mut links = found(&folder, sender).await;
    let mut agent = Agent { folder, link: links.remove(0), events, seen: Vec::new() };
    assert_eq!(statuses(&agent.welcome().await), [("runs", Status::Lost("the host was restarted".to_owned()))]);
    assert!(is_alive(innocent.id()), "it belongs to no container");
    innocent.kill().and_then(|()| innocent.wait()).unwrap();
}

#[tokio::test]
async fn a_damaged_journal_is_kept_and_running_containers_are_killed_and_reported_with_that_reason() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("first", "exit 1").await;
    agent.exited("first").await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    agent.shell("last", "exit 2").await;
    agent.exited("last").await;
    let (supervisor, journal) = (agent.supervisor_pid(), agent.path("supervisors/1/exits"));
    let Agent { folder, link, events, .. } = agent;
    drop((link, events));
    kill(supervisor);
    let mut bytes = fs::read(&journal).unwrap();
    // In the record of the start of `runs`.
    let place = bytes.windows(4).rposition(|four| four == b"runs").unwrap();
    bytes[place] ^= 1;
    fs::write(&journal, &bytes).unwrap();

    let (sender, _) = mpsc::channel(16);
    let strict = Earlier { recover: Recover::Strict, program: None };
    let error = reconnect(folder.path(), &strict, sender).await.unwrap_err().to_string();
    assert!(error.contains("supervisors/1/exits is damaged at byte ") && error.contains("--recover="), "{error}");
    assert_eq!(fs::read(&journal).unwrap(), bytes, "strict touches nothing");
    assert!(is_alive(runs.pid), "strict ends nothing");

    let (sender, events) = mpsc::channel(16);
    let mut again = reconnect(folder.path(), &Earlier::default(), sender).await.unwrap();
    let kept = &again.damage[0].aside;
    assert!(kept.file_name().unwrap().to_str().unwrap().starts_with("supervisor-1.exits.damaged-20"), "{kept:?}");
    assert_eq!(fs::read(kept).unwrap(), bytes);
    let mut agent = Agent { folder, link: again.links.remove(0), events, seen: Vec::new() };
    let lost = Status::Lost("its supervisor died, and its journal is damaged".to_owned());
    let welcome = agent.welcome().await;
    assert_eq!(statuses(&welcome), [("first", Status::Code(1)), ("last", Status::Code(2)), ("runs", lost)]);
    assert!(!is_alive(runs.pid), "found by its marker");
}

#[tokio::test]
async fn a_clean_start_kills_all_that_runs_and_reports_what_had_ended_before() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("ended", "exit 6").await;
    agent.exited("ended").await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    let supervisor = agent.supervisor_pid();
    let Agent { folder, link, events, .. } = agent;
    drop((link, events));
    let (sender, events) = mpsc::channel(16);
    let cleanup = Earlier { recover: Recover::Cleanup, program: None };
    let mut links = reconnect(folder.path(), &cleanup, sender).await.unwrap().links;
    let mut agent = Agent { folder, link: links.remove(0), events, seen: Vec::new() };
    let lost = Status::Lost("ended when the agent was started with --recover=cleanup".to_owned());
    assert_eq!(statuses(&agent.welcome().await), [("ended", Status::Code(6)), ("runs", lost)]);
    assert!(!is_alive(runs.pid) && !is_alive(supervisor));
    assert!(agent.link.has_died());
}

/// Waits until the supervisor has ended.
async fn wait_until_ended(supervisor: std::os::fd::OwnedFd) {
    assert!(spawn_thread(move || super::super::process::wait_all(&[supervisor], 30_000)).await, "it ends by itself");
}

#[tokio::test]
async fn an_idle_supervisor_that_no_agent_connects_to_ends_and_leaves_nothing() {
    let mut agent = Agent::with_short_idle_timeout().await;
    agent.shell("done", "exit 3").await;
    agent.exited("done").await;
    agent.forget("done").await;
    let supervisor = replay::open_live_process(&Directory::list(agent.folder.path()).unwrap()[0]).unwrap().unwrap();
    let folder = agent.killed();
    wait_until_ended(supervisor).await;
    assert!(Directory::list(folder.path()).unwrap().is_empty(), "its folder went with it");
    let (sender, _events) = mpsc::channel(16);
    let strict = Earlier { recover: Recover::Strict, program: None };
    assert!(reconnect(folder.path(), &strict, sender).await.unwrap().links.is_empty());
}

#[tokio::test]
async fn an_exit_before_an_idle_supervisor_ended_is_reported_unchanged_to_the_next_agent() {
    let agent = Agent::with_short_idle_timeout().await;
    let hold = pipe(&agent, "hold");
    agent.shell("runs", "cat hold; exit 6").await;
    let supervisor = replay::open_live_process(&Directory::list(agent.folder.path()).unwrap()[0]).unwrap().unwrap();
    let folder = agent.killed();
    // It runs something, so it stays until that has ended.
    spawn_thread(move || fs::write(hold, "").unwrap()).await;
    wait_until_ended(supervisor).await;
    let (sender, events) = mpsc::channel(16);
    let mut links = found(&folder, sender).await;
    let mut agent = Agent { folder, link: links.remove(0), events, seen: Vec::new() };
    assert_eq!(statuses(&agent.welcome().await), [("runs", Status::Code(6))]);
    agent.forget("runs").await;
    agent.ended().await;
    assert!(!agent.path("supervisors/1").exists());
}

/// A supervisor that closes its socket because it is just ending.
#[tokio::test]
async fn a_supervisor_that_ends_during_the_handshake_does_not_count_as_silent() {
    let folder = Folder::new();
    let directory = Directory::create(folder.path()).unwrap();
    let mut ends = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let start_time = Stat::read(ends.id()).unwrap().unwrap().start_time;
    let identity = format!("{} {start_time} {}\n", ends.id(), super::super::process::boot_id().unwrap());
    fs::write(directory.path().join("pid"), identity).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(directory.path().join("socket")).unwrap();
    let ending = std::thread::spawn(move || {
        drop(listener.accept().unwrap());
        ends.kill().and_then(|()| ends.wait()).unwrap();
    });
    let (sender, _events) = mpsc::channel(16);
    let strict = Earlier { recover: Recover::Strict, program: None };
    let found = reconnect(folder.path(), &strict, sender).await.unwrap();
    assert!(found.links.is_empty() && !directory.exists(), "there was nothing to report");
    ending.join().unwrap();
}
