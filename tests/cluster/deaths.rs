//! `kill -9` of every part while tasks run: each task ends as its process ended, and the callback receives it once.

use std::{collections::BTreeMap, fs, path::Path};

use divvy::proto::v1::TaskState;

use super::{
    part::{Site, until},
    scheduler::{StatusLog, ended, in_state, start, states},
};

const TASKS: usize = 20;

/// Tasks that record their start, wait for the file `go`, and end with code 0, 3 or by a signal.
fn commands(folder: &Path) -> Vec<(String, String)> {
    let folder = folder.display();
    let one = |number: usize| {
        let end = match number % 3 {
            0 => "exit 0",
            1 => "exit 3",
            _ => "kill -9 $$",
        };
        let wait = format!("while [ ! -e {folder}/go ]; do sleep 0.05; done");
        (
            format!("t{number}"),
            format!("echo start >> {folder}/ran.{number}; {wait}; echo end >> {folder}/ran.{number}; {end}"),
        )
    };
    (0..TASKS).map(one).collect()
}

fn expected() -> BTreeMap<String, TaskState> {
    let state = |number: usize| if number.is_multiple_of(3) { TaskState::TaskFinished } else { TaskState::TaskFailed };
    (0..TASKS).map(|number| (format!("t{number}"), state(number))).collect()
}

/// Compares what the processes did, from the files they wrote, against what the callback received.
fn assert_each_ended_once(folder: &Path, received: &StatusLog) {
    for (task, state) in expected() {
        let states = states(received, &task);
        let terminal: Vec<TaskState> = states.iter().copied().filter(|one| one.is_terminal()).collect();
        assert_eq!(terminal, [state], "{task}: one terminal state, the true one: {states:?}");
        let ran = fs::read_to_string(folder.join(task.replace('t', "ran."))).expect("it ran");
        assert_eq!(ran, "start\nend\n", "{task}: started once, ended once");
    }
}

fn release_tasks(site: &Site) {
    fs::write(site.path().join("go"), "").expect("written");
}

fn wait_for_all_running(received: &StatusLog) {
    until("all tasks to run", || match in_state(received, TaskState::TaskRunning) {
        TASKS => Ok(()),
        count => Err(format!("{count} run")),
    });
}

fn wait_for_all_ended(received: &StatusLog) {
    until("all tasks to end", || match ended(received) {
        (TASKS, _) => Ok(()),
        other => Err(other),
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_with_tasks_running_reports_how_each_ended() {
    let site = Site::new();
    let master = site.master();
    let agent = site.agent("agent", &master.address, "cpus:20;mem:2048");
    let (driver, received) = start(&master.address, "cpus:1;mem:32", commands(site.path()));
    wait_for_all_running(&received);
    agent.kill();
    release_tasks(&site);
    // Most end while no agent runs.
    until("the tasks to write their end", || {
        let done = (0..TASKS).filter(|number| {
            fs::read_to_string(site.path().join(format!("ran.{number}"))).is_ok_and(|text| text.contains("end"))
        });
        let count = done.count();
        if count == TASKS { Ok(()) } else { Err(count) }
    });
    let _agent = site.agent("agent", &master.address, "cpus:20;mem:2048");
    wait_for_all_ended(&received);
    assert_each_ended_once(site.path(), &received);
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_again_and_again_loses_nothing() {
    let site = Site::new();
    let master = site.master();
    let mut agent = site.agent("agent", &master.address, "cpus:20;mem:2048");
    let (driver, received) = start(&master.address, "cpus:1;mem:32", commands(site.path()));
    wait_for_all_running(&received);
    for _ in 0..5 {
        agent.kill();
        agent = site.agent("agent", &master.address, "cpus:20;mem:2048");
    }
    release_tasks(&site);
    wait_for_all_ended(&received);
    assert_each_ended_once(site.path(), &received);
    drop(agent);
    driver.abort().await.expect("aborts");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_killed_with_tasks_running_loses_none() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("agent", &master.address, "cpus:20;mem:2048");
    let (driver, received) = start(&master.address, "cpus:1;mem:32", commands(site.path()));
    wait_for_all_running(&received);
    let address = master.kill();
    release_tasks(&site);
    let _master = site.master_on(&address);
    wait_for_all_ended(&received);
    assert_each_ended_once(site.path(), &received);
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_framework_torn_down_leaves_no_process() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("agent", &master.address, "cpus:20;mem:2048");
    let (driver, received) = start(&master.address, "cpus:1;mem:32", commands(site.path()));
    wait_for_all_running(&received);
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
    let runs = site.path().join("agent/runs");
    until("the tasks to be gone", || {
        let left = super::part::processes_below(&runs);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}
