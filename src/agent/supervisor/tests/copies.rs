//! The content of a folder is verified: an agent on a copy leaves the original's processes alone.

use std::process::Command;

use super::*;
use crate::agent::damage::Recover;

fn copy(from: &Path, option: &str) -> Folder {
    let copy = Folder::new();
    let from = format!("{}/.", from.display());
    assert!(Command::new("cp").args([option, &from]).arg(copy.path()).status().unwrap().success());
    copy
}

async fn reconnect_to(copy: &Folder, recover: Recover) -> Vec<Link> {
    let (sender, mut events) = mpsc::channel(64);
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    reconnect(copy.path(), &Earlier { recover, program: None }, sender).await.unwrap().links
}

#[tokio::test]
async fn an_agent_on_a_copy_leaves_the_originals_supervisor_and_containers_alone() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    let supervisor = agent.supervisor_pid();
    for recover in [Recover::Reconnect, Recover::Cleanup] {
        for option in ["-a", "-al"] {
            let copied = copy(agent.folder.path(), option);
            let links = reconnect_to(&copied, recover).await;
            assert!(links.iter().all(Link::has_died), "{option} {recover:?}: there is no supervisor in a copy");
            assert!(is_alive(supervisor) && is_alive(runs.pid), "{option} {recover:?}");
        }
    }
    let mut agent = agent.replaced().await;
    assert_eq!(agent.welcome().await.running, [runs]);
}

#[tokio::test]
async fn containers_of_a_copy_are_reported_with_that_reason() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("runs", "exec sleep 1000").await;
    agent.started("runs").await;
    let copied = copy(agent.folder.path(), "-a");
    let (sender, events) = mpsc::channel(64);
    let mut links = found(&copied, sender).await;
    let mut other = Agent { folder: copied, link: links.remove(0), events, seen: Vec::new() };
    let status = other.welcome().await.exited[0].status.clone();
    let text = "the agent was started on a copy of a work directory; its processes are the original's";
    assert_eq!(status, Some(Status::Lost(text.to_owned())));
}

#[tokio::test]
async fn a_copy_of_an_older_supervisors_folder_is_recognized_by_its_free_lock() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    let (supervisor, pid) = (agent.supervisor_pid(), agent.path("supervisors/1/pid"));
    let now = fs::read_to_string(&pid).unwrap();
    let as_before: Vec<&str> = now.split(' ').take(4).collect();
    fs::write(&pid, as_before.join(" ")).unwrap();
    let copied = copy(agent.folder.path(), "-a");
    reconnect_to(&copied, Recover::Reconnect).await;
    assert!(is_alive(supervisor) && is_alive(runs.pid));
}

#[tokio::test]
async fn a_copy_left_by_a_supervisor_that_died_kills_nothing_of_the_original() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("runs", "exec sleep 1000").await;
    let runs = agent.started("runs").await;
    let supervisor = agent.supervisor_pid();
    let copied = copy(agent.folder.path(), "-a");
    let original = agent.killed();
    lives::kill(supervisor);
    reconnect_to(&copied, Recover::Reconnect).await;
    assert!(is_alive(runs.pid), "the original's agent ends it");
    reconnect_to(&original, Recover::Reconnect).await;
    assert!(!is_alive(runs.pid));
}
