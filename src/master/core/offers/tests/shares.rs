//! Fairness over time: roles with endless demand and tasks of a second.

use std::{collections::BTreeMap, time::Duration};

use super::world::{World, facts};
use crate::{
    master::core::{Input, Principal, Question, RequestId},
    proto::v1::TaskState,
};

/// A task with its client.
type Running = (usize, (String, String));

/// Runs two roles for a minute, every task ending a second after its launch; returns each role's tasks times steps.
fn minute_of(weight: f64) -> (u64, u64) {
    let mut world = World::new();
    let question = Question::Weights { weights: vec![("heavy".into(), weight)] };
    world.feed(Input::Asked { request: RequestId(0), principal: Principal::Anonymous, question });
    let (agent, agent_id) = world.agent("cpus:12;mem:12288");
    let clients = ["light", "heavy"].map(|role| world.subscribe(facts(role, role), None));
    let mut ends: BTreeMap<u64, Vec<Running>> = BTreeMap::new();
    let (mut running, mut spent, mut number) = ([0_u64; 2], [0_u64; 2], 0_u64);
    for step in 0..600_u64 {
        world.wait(Duration::from_millis(100));
        for (client, task) in ends.remove(&step).unwrap_or_default() {
            let uuid = world.update(agent, &clients[client].1, &task, TaskState::TaskFinished);
            running[client] -= 1;
            world.acknowledge(clients[client].0, &agent_id, &task.0, &uuid);
        }
        for (session, offer) in world.inbox() {
            let client = usize::from(session == clients[1].0);
            let fit = offer.resources.cpus().raw() / 1_000;
            let names: Vec<String> = (0..fit).map(|one| format!("t{number}-{one}")).collect();
            number += 1;
            let tasks: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "cpus:1;mem:1024")).collect();
            world.launch(session, &offer, &tasks);
            for (at, task) in world.runs(agent).into_iter().enumerate() {
                running[client] += 1;
                // The first ends are staggered, so that resources free up a few at a time as they do in a cluster.
                let stagger = if step < 20 { at as u64 % 10 } else { 0 };
                ends.entry(step + 10 + stagger).or_default().push((client, task));
            }
        }
        if step >= 100 {
            spent[0] += running[0];
            spent[1] += running[1];
        }
    }
    (spent[0], spent[1])
}

/// Task-seconds of 500 steps: one task's share of the whole time.
const ONE_TASK: u64 = 500;

#[test]
fn two_roles_with_endless_demand_share_equally_within_one_task() {
    let (light, heavy) = minute_of(1.0);
    assert!(light + heavy > 9 * ONE_TASK, "the cluster is in use: {light} + {heavy}");
    assert!(light.abs_diff(heavy) <= ONE_TASK, "{light} and {heavy}");
}

#[test]
fn weight_two_gets_twice_as_much() {
    let (light, heavy) = minute_of(2.0);
    assert!((2 * light).abs_diff(heavy) <= 2 * ONE_TASK, "{light} and {heavy}");
}
