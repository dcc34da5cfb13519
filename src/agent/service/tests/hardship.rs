//! An agent whose work directory is copied, cleared or full.

use std::io::{Read as _, Write as _};
use std::path::Path;

use super::*;
use crate::agent::StartError;
use crate::agent::log::WorkDirError;

fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

async fn pid_of_next(session: &mut Session) -> u32 {
    let status = session.status().await;
    assert_eq!(status.state(), TaskState::TaskRunning);
    status.container_status.unwrap().executor_pid.unwrap()
}

fn page(agent: &Agent, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(agent.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_work_directory_is_refused_and_the_originals_tasks_run_on() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let original = options_of_process(&master, &work_dir);
    let agent = Agent::start(original.clone()).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "exec sleep 1000").await;
    let pid = pid_of_next(&mut session).await;
    let copy = work_dir.path().join("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(&original.work_dir).arg(&copy).status().unwrap();
    assert!(copied.success());
    let error = Agent::start(Options { work_dir: copy, ..original.clone() }).await.unwrap_err();
    assert!(matches!(error, StartError::WorkDir(WorkDirError::Copy { .. })), "{error}");
    assert!(error.to_string().contains("is a copy of"), "{error}");
    assert!(lives(pid), "the original's task runs on");
    // Also while the original's agent is stopped.
    within(agent.stop()).await.unwrap();
    let copy = work_dir.path().join("copy");
    Agent::start(Options { work_dir: copy, ..original.clone() }).await.unwrap_err();
    assert!(lives(pid), "the original's task runs on");
    let again = Agent::start(original).await.unwrap();
    master.admit().await;
    assert_eq!(within(again.shutdown()).await.unwrap(), Ended::ShutDown);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_files_that_are_removed_while_the_agent_runs_are_made_again() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let work = work_dir.path().join("work");
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, _) = master.admit().await;
    std::fs::remove_dir_all(work.join("runs")).unwrap();
    session.run("c1", "true").await;
    assert_eq!(session.states(2).await, [TaskState::TaskRunning, TaskState::TaskFinished]);
    std::fs::remove_file(work.join("log")).unwrap();
    session.run("c2", "sleep 1000").await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    until(|| work.join("log").exists()).await;
    within(agent.stop()).await.unwrap();
    let again = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, register) = master.admit().await;
    assert_eq!(register.info.unwrap().id.unwrap().value, "S0", "the log knows who the agent is");
    assert_eq!(session.last_status().await.task_id.value, "task-c2");
    within(again.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_supervisors_folder_is_gone_is_reported_when_it_is_dead_and_not_before() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let options = options_of_process(&master, &work_dir);
    let agent = Agent::start(options.clone()).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "setsid sleep 1000 & exec sleep 1000").await;
    let pid = pid_of_next(&mut session).await;
    std::fs::remove_dir_all(options.work_dir.join("supervisors")).unwrap();
    within(agent.stop()).await.unwrap();
    assert!(lives(pid));
    let again = Agent::start(options).await.unwrap();
    let (mut session, _) = master.admit().await;
    assert_eq!(session.last_status().await.state(), TaskState::TaskFailed);
    assert!(!lives(pid), "it was reported to have ended");
    assert_eq!(within(again.shutdown()).await.unwrap(), Ended::ShutDown);
}

/// A small file system of its own, where this may be mounted.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mounted(at: &'a Path) -> Option<Self> {
        let mount = ["-t", "tmpfs", "-o", "size=16m", "tmpfs"];
        let mounted = std::process::Command::new("mount").args(mount).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        let block = vec![0; 64 << 10];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_disk_is_full_accepts_no_tasks_reports_ends_and_continues_when_there_is_room() {
    let (disk, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(small) = Small::mounted(disk.path()) else {
        println!("not tried: no file system may be mounted here");
        return;
    };
    let mut master = Master::start().await;
    let agent = Agent::start(options(&master, &disk)).await.unwrap();
    let (mut session, _) = master.admit().await;
    let go = outside.path().join("go");
    session.run("c1", &format!("while [ ! -e {} ]; do sleep 0.05; done; exit 4", go.display())).await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    assert!(page(&agent, "/health").contains(r#""healthy":true"#));
    small.fill();
    until(|| page(&agent, "/health").contains("is full")).await;
    assert!(page(&agent, "/metrics").contains("divvy_agent_disk_full 1"));
    session.run("c2", "true").await;
    let status = session.last_status().await;
    assert_eq!((status.task_id.value.as_str(), status.state()), ("task-c2", TaskState::TaskLost), "{status:?}");
    assert!(status.message().contains("disk of its work directory is full"), "{}", status.message());
    std::fs::write(&go, "").unwrap();
    let end = session.last_status().await.process_end.and_then(|end| end.how);
    assert_eq!(end, Some(How::ExitCode(4)), "the end of another task is not lost");
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    until(|| page(&agent, "/health").contains(r#""healthy":true"#)).await;
    session.run("c3", "true").await;
    assert_eq!(session.last_status().await.state(), TaskState::TaskFinished);
    within(agent.stop()).await.unwrap();
}
