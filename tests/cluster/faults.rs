//! Real processes killed, stopped and had back at random while tasks come and go. Each task notes its own start and end,
//! and that is compared with what the scheduler heard.
//!
//! `DIVVY_FAULT_SECONDS` is how long all of these together strike (60 unless set), `DIVVY_FAULT_SEED` what they draw
//! from. Seed and figures are printed; a run that fails keeps its folder, the faults with their times in it.

mod diary;
mod framework;
mod parts;
mod plan;
mod verdict;
mod work;

use std::{env, time::Duration};

use serde_json::Value;

use self::{
    parts::Parts,
    plan::{Deed, Target},
};
use crate::part::{Site, processes_below, until};

const AGENTS: usize = 2;
/// A change is judged by the same blows as the one before it; other seeds explore.
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

/// One run: strikes for this share of the whole time, lets all come to rest, and judges.
fn run(name: &str, share: f64, targets: &[Target]) {
    let seed = setting("DIVVY_FAULT_SEED").unwrap_or(SEED);
    let seconds = setting("DIVVY_FAULT_SECONDS").unwrap_or(60);
    eprintln!("{name}: DIVVY_FAULT_SEED={seed} DIVVY_FAULT_SECONDS={seconds}");
    let steps = plan::draw(seed, targets, Duration::from_secs(seconds).mul_f64(share));
    assert!(steps.iter().any(|step| step.deed == Deed::Kill), "something is killed: {steps:?}");
    let site = Site::new();
    let mut parts = Parts::start(&site, seed, AGENTS);
    let before = parts.agent_ids();
    parts.suffer(&steps);
    parts.settle();
    let after = parts.agent_ids();
    all_given_back(&parts);
    parts.dismiss();
    let verdict = verdict::judge(site.path(), seed, &diary::read(site.path()));
    eprintln!("{name}: {verdict}, faults {:?}", parts.struck);
    assert!(verdict.wrong.is_empty(), "seed {seed}:\n{}", verdict.wrong.join("\n"));
    assert!(verdict.launched > 0, "there was work");
    assert_eq!(before, after, "agents keep their ids");
    nothing_left(&site, &parts);
}

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name} is a number: {text}: {error}")))
}

/// Every task is off the master's books, and nothing is used.
fn all_given_back(parts: &Parts<'_>) {
    until("all to be given back", || {
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

/// No process of a task is left, and with the framework gone nothing is offered or used.
fn nothing_left(site: &Site, parts: &Parts<'_>) {
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
