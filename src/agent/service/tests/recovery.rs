//! Recovery of an agent after a restart of the host.

use super::*;
use crate::agent::Recover;
use crate::agent::log::Log;
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{AgentRecord, Identity};

/// Simulates a power cut: the supervisor ends with its tasks, and all files are of an earlier boot.
fn restart_host(work_dir: &std::path::Path) {
    let file = work_dir.join("supervisors/1/pid");
    let text = std::fs::read_to_string(&file).unwrap();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let supervisor = rustix::process::Pid::from_raw(words[0].parse().unwrap()).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    std::fs::write(&file, format!("{} {} an-earlier-boot\n", words[0], words[1])).unwrap();
    let identity = Identity { agent_id: "S0".to_owned(), boot_id: "an-earlier-boot".to_owned(), ..Default::default() };
    let mut log = Log::open(work_dir, "boot", Recover::Strict).unwrap().log;
    log.append(&[AgentRecord { kind: Some(Kind::Identity(identity)), ..AgentRecord::default() }]).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_host_tasks_are_lost_with_that_reason_and_the_agent_is_the_same() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let options = options_of_process(&master, &work_dir);
    let agent = Agent::start(options.clone()).await.unwrap();
    let (mut session, before) = master.admit().await;
    session.run("c1", "exec sleep 1000").await;
    session.run("c2", "while [ ! -e go ]; do sleep 0.05; done; exit 7").await;
    assert_eq!(session.states(2).await, [TaskState::TaskRunning; 2]);
    within(agent.stop()).await.unwrap();
    // One ended before the host did, and that is on record.
    let work_dir_path = work_dir.path().join("work");
    std::fs::write(work_dir_path.join("runs").join(own("c2")).join("go"), "").unwrap();
    let exits = work_dir_path.join("supervisors/1/exits");
    let length = std::fs::metadata(&exits).unwrap().len();
    until(|| std::fs::metadata(&exits).unwrap().len() > length).await;
    restart_host(&work_dir_path);

    let again = Agent::start(options).await.unwrap();
    let (mut session, register) = master.admit().await;
    assert_eq!(register.info.unwrap().id.unwrap().value, "S0");
    assert_eq!(register.boot_id, before.boot_id, "it is of the present boot");
    let mut statuses = [session.last_status().await, session.last_status().await];
    statuses.sort_by(|a, b| a.task_id.value.cmp(&b.task_id.value));
    assert_eq!(statuses[0].state(), TaskState::TaskLost);
    assert_eq!(statuses[0].reason(), v1::task_status::Reason::AgentRestarted);
    assert_eq!(statuses[0].message(), "the host restarted");
    assert_eq!(statuses[1].message(), "command exited with status 7");
    assert_eq!(within(again.shutdown()).await.unwrap(), Ended::ShutDown);
}
