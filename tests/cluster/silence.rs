//! Agents that are stopped or absent for longer than the ping timeout.

use std::fs;

use divvy::proto::v1::TaskState;

use super::{
    part::{Part, Site, until},
    scheduler::{StatusLog, start, states},
};

const TIMEOUT: [&str; 2] = ["--agent-ping-timeout", "2s"];
const RESOURCES: &str = "cpus:4;mem:512";

/// Waits until this is the last state that was received of the task.
fn until_state(received: &StatusLog, task: &str, state: TaskState) {
    until(&format!("{task} to be {state}"), || match states(received, task) {
        states if states.last() == Some(&state) => Ok(()),
        states => Err(states),
    });
}

/// Runs two tasks on an agent that is silent until it is marked unreachable: one task ends meanwhile, one continues.
async fn check_silence_beyond_the_timeout(
    silence: impl FnOnce(Part) -> Option<Part>,
    back: impl FnOnce(&Site, &str, Option<Part>) -> Part,
) {
    let site = Site::new();
    let master = site.master_with("127.0.0.1:0", &TIMEOUT);
    let agent = site.agent("agent", &master.address, RESOURCES);
    let file = |name: &str| site.path().join(name).display().to_string();
    let command = |task: &str| {
        let (go, ran) = (file(&format!("{task}.go")), file(&format!("{task}.ran")));
        let command =
            format!("echo start >> {ran}; while [ ! -e {go} ]; do sleep 0.05; done; echo end >> {ran}; exit 0");
        (task.to_owned(), command)
    };
    let noted = |task: &str| fs::read_to_string(file(&format!("{task}.ran"))).unwrap_or_default();
    let (driver, received) = start(&master.address, "cpus:1;mem:32", vec![command("ends"), command("stays")]);
    until_state(&received, "ends", TaskState::TaskRunning);
    until_state(&received, "stays", TaskState::TaskRunning);
    let silenced = silence(agent);
    fs::write(file("ends.go"), "").expect("written");
    until("the task to end", || if noted("ends").ends_with("end\n") { Ok(()) } else { Err(noted("ends")) });
    until_state(&received, "ends", TaskState::TaskUnreachable);
    until_state(&received, "stays", TaskState::TaskUnreachable);
    let _agent = back(&site, &master.address, silenced);
    until_state(&received, "ends", TaskState::TaskFinished);
    until_state(&received, "stays", TaskState::TaskRunning);
    fs::write(file("stays.go"), "").expect("written");
    until_state(&received, "stays", TaskState::TaskFinished);
    let (running, unreachable) = (TaskState::TaskRunning, TaskState::TaskUnreachable);
    // If the acknowledgement of RUNNING had not reached the agent, the agent resends RUNNING before the end.
    let mut rest = states(&received, "ends");
    rest.retain(|state| *state != running);
    assert_eq!(rest, [unreachable, TaskState::TaskFinished], "{:?}", states(&received, "ends"));
    assert_eq!(states(&received, "ends")[..2], [running, unreachable]);
    assert_eq!(states(&received, "stays"), [running, unreachable, running, TaskState::TaskFinished]);
    for task in ["ends", "stays"] {
        assert_eq!(noted(task), "start\nend\n", "{task} ran once");
    }
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_agent_is_marked_unreachable_and_reports_the_missed_states_when_it_continues() {
    let stop = |agent: Part| {
        agent.signal("STOP");
        Some(agent)
    };
    let go_on = |_: &Site, _: &str, agent: Option<Part>| {
        let agent = agent.expect("it was only stopped");
        agent.signal("CONT");
        agent
    };
    check_silence_beyond_the_timeout(stop, go_on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_marked_unreachable_and_its_successor_reports_the_missed_states() {
    let kill = |agent: Part| {
        agent.kill();
        None
    };
    let start_again = |site: &Site, master: &str, _: Option<Part>| site.agent("agent", master, RESOURCES);
    check_silence_beyond_the_timeout(kill, start_again).await;
}
