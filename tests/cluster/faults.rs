//! Real processes killed, stopped and restarted at random while tasks start and end. Each task records its own start
//! and end, and the test compares these with the statuses that the scheduler received.
//!
//! `DIVVY_FAULT_SECONDS` is the time for which all of these tests together apply faults (60 unless set), and
//! `DIVVY_FAULT_SEED` their seed. A failing run keeps its folder, which holds the faults with their times.

mod event_log;
mod framework;
mod parts;
mod plan;
mod verdict;
mod work;

use std::{env, time::Duration};

use serde_json::Value;

use self::{
    parts::Parts,
    plan::{Action, Target},
};
use crate::part::{Site, processes_below, until};

const AGENTS: usize = 2;
/// Fixed, so that every change is tested with the same faults; other seeds explore.
const SEED: u64 = 1;
const ALL: [Target; 4] = [Target::Master, Target::Agent(0), Target::Agent(1), Target::Framework];

#[test]
fn agents_killed_and_stopped_at_random_lose_and_double_nothing() {
    run("agents", 1.0 / 6.0, &[Target::Agent(0), Target::Agent(1)]);
}

#[test]
fn a_master_killed_and_stopped_at_random_loses_and_doubles_nothing() {
    run("master", 1.0 / 6.0, &[Target::Master]);
}

#[test]
fn a_framework_killed_and_stopped_at_random_finds_all_its_tasks_again() {
    run("framework", 1.0 / 6.0, &[Target::Framework]);
}

#[test]
fn everything_killed_and_stopped_at_random_loses_and_doubles_nothing() {
    run("everything", 0.5, &ALL);
}

/// Applies faults for this share of the whole time, waits until all tasks have ended, and checks the outcome.
fn run(name: &str, share: f64, targets: &[Target]) {
    let seed = setting("DIVVY_FAULT_SEED").unwrap_or(SEED);
    let seconds = setting("DIVVY_FAULT_SECONDS").unwrap_or(60);
    eprintln!("{name}: DIVVY_FAULT_SEED={seed} DIVVY_FAULT_SECONDS={seconds}");
    let steps = plan::draw(seed, targets, Duration::from_secs(seconds).mul_f64(share));
    assert!(steps.iter().any(|step| step.action == Action::Kill), "something is killed: {steps:?}");
    let site = Site::new();
    let mut parts = Parts::start(&site, seed, AGENTS);
    let before = parts.agent_ids();
    parts.apply_faults(&steps);
    parts.drain();
    let after = parts.agent_ids();
    wait_for_all_released(&parts);
    parts.stop_framework();
    let verdict = verdict::judge(site.path(), seed, &event_log::read(site.path()));
    eprintln!("{name}: {verdict}, faults {:?}", parts.fault_counts);
    assert!(verdict.wrong.is_empty(), "seed {seed}:\n{}", verdict.wrong.join("\n"));
    assert!(verdict.launched > 0, "there was work");
    assert_eq!(before, after, "agents keep their ids");
    assert_nothing_left(&site, &parts);
}

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name} is a number: {text}: {error}")))
}

/// Waits until the master lists no task and no used resources.
fn wait_for_all_released(parts: &Parts<'_>) {
    until("all resources to be released", || {
        let state = parts.state();
        let used = state["slaves"].as_array().into_iter().flatten().map(|agent| &agent["used_resources"]);
        let free = used.clone().all(|used| used["cpus"] == 0 && used["mem"] == 0 && used["ports"] == Value::Null);
        let tasks = state["frameworks"].as_array().into_iter().flatten();
        let tasks: Vec<&Value> = tasks.flat_map(|one| one["tasks"].as_array().into_iter().flatten()).collect();
        if free && tasks.is_empty() {
            Ok(())
        } else {
            Err(format!("{used:?} {tasks:?}", used = used.collect::<Vec<_>>()))
        }
    });
}

/// Asserts that no process of a task is left and that, without a framework, nothing is offered or used.
fn assert_nothing_left(site: &Site, parts: &Parts<'_>) {
    for number in 0..AGENTS {
        until("every task's process to be gone", || {
            let left = processes_below(&parts::runs(site.path(), number));
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    }
    // Readers within a second share a snapshot, so the first may be from before the teardown.
    until("nothing to be offered or used, and no framework", || {
        let state = parts.state();
        let free = |agent: &serde_json::Value| {
            let is_none = |held: &str| agent[held]["cpus"] == 0 && agent[held]["ports"].is_null();
            is_none("used_resources") && is_none("offered_resources")
        };
        let agents = state["slaves"].as_array().expect("a list");
        let is_over = agents.iter().all(free) && state["frameworks"] == serde_json::json!([]);
        if is_over { Ok(()) } else { Err(state) }
    });
}
