//! A supervisor that does not answer is not one that died.

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use crate::agent::{damage::Recover, supervisor::SupervisorError};

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

/// A supervisor that is stopped, and the process of the container `runs`.
async fn stopped() -> (Folder, u32, u32) {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await.pid;
    let supervisor = agent.supervisor_pid();
    let folder = agent.killed();
    send(supervisor, Signal::STOP);
    // A running thread does not stop at once.
    let has_stopped = |thread: std::io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    };
    let all_stop = async {
        while !fs::read_dir(format!("/proc/{supervisor}/task")).unwrap().all(has_stopped) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, all_stop).await.expect("all its threads to stop");
    (folder, supervisor, runs)
}

#[tokio::test]
async fn a_silent_supervisor_is_reported_and_left_alone_and_used_again_when_it_answers() {
    let (folder, supervisor, runs) = stopped().await;
    let (sender, events) = mpsc::channel(16);
    let mut links = found(&folder, sender).await;
    let mut agent = Agent { folder, link: links.remove(0), events, seen: Vec::new() };
    let text = agent
        .next("the silence to be reported", |event| match event {
            FromSupervisor::Silent(_, text) => Some(text.clone()),
            FromSupervisor::Event(..) | FromSupervisor::Lost(..) => None,
        })
        .await;
    assert!(text.contains("no connection to supervisor 1"), "{text}");
    assert!(is_alive(supervisor) && is_alive(runs));
    assert!(!agent.link.takes_starts() && !agent.link.has_died(), "others start elsewhere");
    send(supervisor, Signal::CONT);
    let welcome = agent.welcome().await;
    assert_eq!(welcome.running.iter().map(|it| it.pid).collect::<Vec<_>>(), [runs]);
    // A request sent on a connection that was lost meanwhile is sent again on the next.
    let status = loop {
        agent.signal("runs", 9, true).await;
        let next = agent.next("the end or another welcome", |event| match event {
            FromSupervisor::Event(_, event) => match &event.kind {
                Some(supervisor_event::Kind::Exited(exited)) => Some(exited.status.clone()),
                Some(supervisor_event::Kind::Welcome(_)) => Some(None),
                _ => None,
            },
            FromSupervisor::Silent(..) | FromSupervisor::Lost(..) => None,
        });
        if let Some(status) = next.await {
            break status;
        }
    };
    assert_eq!(status, Status::Signal(9));
}

#[tokio::test]
async fn a_silent_supervisor_that_dies_is_reported_as_dead_and_its_containers_end() {
    let (folder, supervisor, runs) = stopped().await;
    let (sender, events) = mpsc::channel(16);
    let mut links = found(&folder, sender).await;
    let mut agent = Agent { folder, link: links.remove(0), events, seen: Vec::new() };
    send(supervisor, Signal::KILL);
    agent.lost().await;
    let lost = Status::Lost("its supervisor died".to_owned());
    assert_eq!(agent.welcome().await.exited[0].status, Some(lost));
    assert!(!is_alive(runs));
}

#[tokio::test]
async fn an_agent_can_detach_from_a_silent_supervisor() {
    let (folder, supervisor, runs) = stopped().await;
    let (sender, mut events) = mpsc::channel(16);
    let links = found(&folder, sender).await;
    tokio::time::timeout(LIMIT, links[0].shutdown()).await.expect("it does not wait for an answer");
    assert!(matches!(events.recv().await, Some(FromSupervisor::Silent(..))));
    assert!(is_alive(supervisor) && is_alive(runs));
}

#[tokio::test]
async fn only_a_clean_start_kills_a_silent_supervisor() {
    let (folder, supervisor, runs) = stopped().await;
    let (sender, _events) = mpsc::channel(16);
    let strict = Earlier { recover: Recover::Strict, program: None };
    let error = reconnect(folder.path(), &strict, sender).await.unwrap_err();
    assert!(matches!(error, SupervisorError::Silent(_)), "{error}");
    assert!(is_alive(supervisor) && is_alive(runs));
    let (sender, _events) = mpsc::channel(16);
    let cleanup = Earlier { recover: Recover::Cleanup, program: None };
    let links = reconnect(folder.path(), &cleanup, sender).await.unwrap().links;
    assert!(links[0].has_died());
    assert!(!is_alive(supervisor) && !is_alive(runs));
}
