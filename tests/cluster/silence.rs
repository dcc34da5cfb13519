//! Parts that are there and say nothing, or are away for longer than anybody waits.

use std::fs;

use divvy::proto::v1::TaskState;

use super::{
    part::{Part, Site, until},
    scheduler::{Heard, start, states},
};

const TIMEOUT: [&str; 2] = ["--agent-ping-timeout", "2s"];
const RESOURCES: &str = "cpus:4;mem:512";

/// Waits until this is the last that was heard of the task.
fn until_state(heard: &Heard, task: &str, state: TaskState) {
    until(&format!("{task} to be {state}"), || match states(heard, task) {
        states if states.last() == Some(&state) => Ok(()),
        states => Err(states),
    });
}

/// Two tasks on an agent that is silenced until it was given up, then comes back: one ends meanwhile, one goes on.
async fn silent_for_longer_than_the_timeout(
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
    let (driver, heard) = start(&master.address, "cpus:1;mem:32", vec![command("ends"), command("stays")]);
    until_state(&heard, "ends", TaskState::TaskRunning);
    until_state(&heard, "stays", TaskState::TaskRunning);
    let silenced = silence(agent);
    fs::write(file("ends.go"), "").expect("written");
    until("the task to end", || if noted("ends").ends_with("end\n") { Ok(()) } else { Err(noted("ends")) });
    until_state(&heard, "ends", TaskState::TaskUnreachable);
    until_state(&heard, "stays", TaskState::TaskUnreachable);
    let _agent = back(&site, &master.address, silenced);
    until_state(&heard, "ends", TaskState::TaskFinished);
    until_state(&heard, "stays", TaskState::TaskRunning);
    fs::write(file("stays.go"), "").expect("written");
    until_state(&heard, "stays", TaskState::TaskFinished);
    let (running, unreachable) = (TaskState::TaskRunning, TaskState::TaskUnreachable);
    // Where the acknowledgement of RUNNING had not reached the agent, that comes once more, before the end.
    let mut told = states(&heard, "ends");
    told.retain(|state| *state != running);
    assert_eq!(told, [unreachable, TaskState::TaskFinished], "{:?}", states(&heard, "ends"));
    assert_eq!(states(&heard, "ends")[..2], [running, unreachable]);
    assert_eq!(states(&heard, "stays"), [running, unreachable, running, TaskState::TaskFinished]);
    for task in ["ends", "stays"] {
        assert_eq!(noted(task), "start\nend\n", "{task} ran once");
    }
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_agent_is_given_up_and_what_it_missed_is_told_when_it_goes_on() {
    let stop = |agent: Part| {
        agent.signal("STOP");
        Some(agent)
    };
    let go_on = |_: &Site, _: &str, agent: Option<Part>| {
        let agent = agent.expect("it was only stopped");
        agent.signal("CONT");
        agent
    };
    silent_for_longer_than_the_timeout(stop, go_on).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_was_killed_is_given_up_and_what_it_missed_is_told_by_the_next() {
    let kill = |agent: Part| {
        agent.kill();
        None
    };
    let start_again = |site: &Site, master: &str, _: Option<Part>| site.agent("agent", master, RESOURCES);
    silent_for_longer_than_the_timeout(kill, start_again).await;
}
