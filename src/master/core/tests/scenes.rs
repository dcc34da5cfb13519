//! A cluster with one of everything that readers may see, for tests of snapshots.

use std::{sync::Arc, time::Duration};

use super::world::{World, facts, known, launch, register, reported};
use crate::{
    master::{
        core::{Call, Config, FrameworkFacts, SessionId, Snapshot, offer_id},
        registry::State,
    },
    proto::v1::{self, TaskState},
};

/// Agents that are connected, disconnected, unreachable and not re-registered yet; frameworks of one and two roles, a
/// removed one; tasks that run, ended and are unreachable; orphans and outstanding offers.
pub(in crate::master) fn mixed() -> Snapshot {
    let mut state = State::default();
    state.agents.insert("old-S9".to_owned(), v1::AgentInfo::default());
    let mut world = World::with(state, Config { offer_timeout: None, ..Config::default() });
    let agents: Vec<(SessionId, String)> = (0..4).map(|number| agent(&mut world, number)).collect();
    let (first, first_id) = world.subscribe(two_roles("first"), None);
    let offers = world.offers(first);
    let mut running = Vec::new();
    for (number, offer) in offers.iter().enumerate() {
        let tasks = ["a", "b", "c"].map(|name| labelled(&format!("{name}{number}"), &offer.agent));
        world.accept(first, vec![offer_id(super::world::MASTER, offer.key)], tasks.to_vec());
        let session = agents.iter().find(|agent| *agent.1 == *offer.agent).expect("an agent of these").0;
        let runs = world.runs(session);
        if !runs.is_empty() {
            running.push((session, offer.agent.to_string(), runs));
        }
    }
    for (session, agent, tasks) in &running {
        for task in tasks {
            let uuid = world.update(*session, &first_id, task, TaskState::TaskRunning);
            world.acknowledge(first, agent, &task.0, &uuid);
        }
        let uuid = world.update(*session, &first_id, &tasks[0], TaskState::TaskFinished);
        world.acknowledge(first, agent, &tasks[0].0, &uuid);
        world.update(*session, &first_id, &tasks[1], TaskState::TaskFailed);
    }
    world.call(first, Call::Suppress { roles: Vec::new() });
    let (removed, _) = world.framework("removed");
    world.wait(Duration::from_secs(2));
    for offer in world.inbox().into_iter().filter(|(to, _)| *to == removed).map(|(_, offer)| offer) {
        world.launch(removed, &offer, &[(&format!("orphan-of-{}", offer.agent), "cpus:0.5;mem:32")]);
    }
    world.call(removed, Call::Teardown);
    world.detach(agents[1].0);
    world.wait(Duration::from_secs(80));
    world.detach(agents[2].0);
    let _ = world.framework("last");
    world.wait(Duration::from_secs(2));
    world.harness.core.snapshot()
}

/// A master without agents and frameworks.
pub(in crate::master) fn empty() -> Snapshot {
    World::new().harness.core.snapshot()
}

/// One agent that runs so many tasks of one framework.
pub(in crate::master) fn crowded(tasks: usize) -> Snapshot {
    let mut world = World::new();
    let mut agent = register(Some("old-S0"), "cpus:100000;mem:10000000");
    agent.frameworks = vec![known("old-0000", "f")];
    let names = (0..tasks).map(|number| (format!("task-{number}"), format!("container-{number}")));
    let running = |names| reported("old-0000", &names, "cpus:1;mem:32", TaskState::TaskRunning);
    agent.tasks = names.map(running).collect();
    world.register(agent);
    // More tasks than a turn registers.
    world.wait(Duration::ZERO);
    world.harness.core.snapshot()
}

fn two_roles(name: &str) -> FrameworkFacts {
    let roles = vec![Arc::from("*"), Arc::from("eng/dev")];
    FrameworkFacts { roles, principal: Some("someone".to_owned()), ..facts(name, "*") }
}

fn agent(world: &mut World, number: u16) -> (SessionId, String) {
    let mut wanted = register(None, "cpus:8;mem:4096;ports:[31000-32000,33000-33010];cpus(eng/dev):2;disk:100");
    let attribute = |name: &str| v1::Attribute { name: name.to_owned(), ..v1::Attribute::default() };
    let text = v1::value::Text { value: format!("r\"{number}\u{e9}") };
    wanted.facts.attributes = vec![
        v1::Attribute { text: Some(text), ..attribute("rack") },
        v1::Attribute { scalar: Some(v1::value::Scalar { value: 1.5 }), ..attribute("weight") },
        v1::Attribute {
            ranges: Some(v1::value::Ranges { range: vec![v1::value::Range { begin: 1, end: 3 }] }),
            ..attribute("spans")
        },
    ];
    (wanted.facts.port, wanted.facts.hostname) = (5051 + number, format!("host{number}"));
    let session = world.register(wanted);
    (session, world.registered(session).expect("registered").0)
}

fn labelled(id: &str, agent: &str) -> crate::master::core::Launch {
    use prost::Message as _;
    let mut wanted = launch(id, agent, "cpus:1;mem:64;ports:[31000-31001]");
    wanted.resources =
        format!("cpus:1;mem:64;ports:[{0}-{0}]", 31_000 + u32::from(id.as_bytes()[0])).parse().expect("resources");
    let label = v1::Label { key: "k".to_owned(), value: Some("v".to_owned()) };
    let info = v1::TaskInfo {
        name: format!("{id} \u{1f980}"),
        task_id: v1::TaskId { value: id.to_owned() },
        agent_id: v1::AgentId { value: agent.to_owned() },
        labels: Some(v1::Labels { labels: vec![label] }),
        ..v1::TaskInfo::default()
    };
    wanted.info = info.encode_to_vec().into();
    wanted
}
