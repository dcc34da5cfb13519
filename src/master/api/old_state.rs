// `/state`: the whole cluster as one JSON document, in the words clients of Mesos read (agents are slaves there).

use std::collections::BTreeMap;

use prost::Message as _;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::super::super::{
    MESOS_VERSION, MasterFacts,
    render::{self, seconds},
};
use crate::{
    master::core::{AgentView, FrameworkBucket, Link, Presence, Snapshot, Task},
    proto::v1,
    types::Resources,
};

/// The document.
///
/// # Errors
/// None in practice: every value is serialisable.
pub(super) fn render(master: &MasterFacts, snapshot: &Snapshot) -> serde_json::Result<Vec<u8>> {
    let by_framework = Grouped::of(snapshot);
    let slaves: Vec<&AgentView> = snapshot.agents.iter().filter(|agent| render::reachable(agent)).collect();
    let active = slaves.iter().filter(|agent| agent.presence == Presence::Connected).count();
    let document = Document {
        version: MESOS_VERSION,
        divvy_version: env!("CARGO_PKG_VERSION"),
        id: &master.id,
        pid: format!("master@{}", master.address),
        hostname: &master.hostname,
        start_time: master.started,
        elected_time: master.started,
        activated_slaves: active,
        deactivated_slaves: slaves.len() - active,
        unreachable_slaves: snapshot.agents.len() - slaves.len(),
        slaves: slaves.into_iter().map(slave).collect(),
        recovered_slaves: snapshot.recovered.iter().map(|id| json!({ "id": id })).collect(),
        frameworks: snapshot.frameworks.iter().map(|one| framework(one, &by_framework)).collect(),
        completed_frameworks: snapshot.completed.iter().map(|one| framework(one, &by_framework)).collect(),
        orphan_tasks: snapshot.agents.iter().flat_map(orphans).collect(),
        unregistered_frameworks: [],
    };
    serde_json::to_vec(&document)
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    divvy_version: &'static str,
    id: &'a str,
    pid: String,
    hostname: &'a str,
    start_time: f64,
    elected_time: f64,
    activated_slaves: usize,
    deactivated_slaves: usize,
    unreachable_slaves: usize,
    slaves: Vec<Value>,
    recovered_slaves: Vec<Value>,
    frameworks: Vec<Value>,
    completed_frameworks: Vec<Value>,
    orphan_tasks: Vec<Value>,
    unregistered_frameworks: [Value; 0],
}

/// Tasks and offers of the agents' buckets, found by framework.
struct Grouped<'a> {
    tasks: BTreeMap<u32, Vec<(&'a AgentView, &'a Task)>>,
    offered: BTreeMap<u32, Resources>,
}

impl<'a> Grouped<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut grouped = Self { tasks: BTreeMap::new(), offered: BTreeMap::new() };
        for agent in &snapshot.agents {
            for task in agent.tasks.values() {
                grouped.tasks.entry(task.framework.0).or_default().push((agent, task));
            }
            for offer in agent.offers.values() {
                *grouped.offered.entry(offer.client.framework.0).or_default() += &offer.resources;
            }
        }
        grouped
    }
}

fn slave(agent: &AgentView) -> Value {
    json!({
        "id": &*agent.id,
        "hostname": agent.facts.hostname,
        "port": agent.facts.port,
        "pid": format!("slave(1)@{}:{}", agent.facts.address, agent.facts.port),
        "attributes": attributes(&agent.facts.attributes),
        "registered_time": seconds(agent.registered_ns),
        "reregistered_time": agent.reregistered_ns.map(seconds),
        "resources": flat(&agent.amounts.total),
        "used_resources": flat(&agent.amounts.used),
        "offered_resources": flat(&agent.amounts.offered),
        "unreserved_resources": flat(&agent.amounts.total.unreserved()),
        "reserved_resources": agent.amounts.total.reservations().iter()
            .map(|(role, part)| (role.to_string(), flat(part))).collect::<Map<String, Value>>(),
        "active": agent.presence == Presence::Connected,
        "deactivated": false,
        "version": agent.facts.version,
    })
}

/// What an agent still runs of removed frameworks, killed and not dead.
fn orphans(agent: &AgentView) -> impl Iterator<Item = Value> {
    agent.orphans.iter().map(|(container, orphan)| {
        json!({
            "id": &*orphan.task,
            "name": "",
            "framework_id": &*orphan.framework,
            "executor_id": "",
            "slave_id": &*agent.id,
            "state": v1::TaskState::TaskKilling.as_str_name(),
            "resources": flat(&orphan.resources),
            "role": &*orphan.role,
            "labels": [],
            "statuses": [{
                "state": v1::TaskState::TaskKilling.as_str_name(),
                "timestamp": seconds(orphan.since_ns),
                "container_status": { "container_id": { "value": &**container }, "network_infos": [] },
            }],
        })
    })
}

fn framework(one: &FrameworkBucket, grouped: &Grouped<'_>) -> Value {
    let info = v1::FrameworkInfo::decode(one.info.clone()).unwrap_or_default();
    let none = Vec::new();
    let live = grouped.tasks.get(&one.key.0).unwrap_or(&none);
    let mut used = Resources::default();
    live.iter().filter(|(_, task)| task.state.holds_resources()).for_each(|(_, task)| used += &*task.resources);
    let offered = grouped.offered.get(&one.key.0).cloned().unwrap_or_default();
    let mut both = used.clone();
    both += &offered;
    let here = |reachable: bool| {
        let chosen = live.iter().filter(move |(agent, _)| render::reachable(agent) == reachable);
        chosen.map(|(agent, record)| task(record, &agent.id, &one.id)).collect::<Vec<_>>()
    };
    let mut value = json!({
        "id": &*one.id,
        "name": one.facts.name,
        "user": one.facts.user,
        "hostname": info.hostname(),
        "webui_url": info.webui_url(),
        "failover_timeout": info.failover_timeout(),
        "checkpoint": info.checkpoint(),
        "active": one.link == Link::Connected,
        "connected": one.link == Link::Connected,
        "recovered": one.link == Link::Recovered,
        "registered_time": seconds(one.registered_ns),
        "unregistered_time": one.unregistered_ns.map_or(0.0, seconds),
        "reregistered_time": one.reregistered_ns.map(seconds),
        "principal": one.facts.principal,
        "capabilities": info.capabilities.iter().map(|one| one.r#type().as_str_name()).collect::<Vec<_>>(),
        "used_resources": flat(&used),
        "offered_resources": flat(&offered),
        "resources": flat(&both),
        "tasks": here(true),
        "unreachable_tasks": here(false),
        "completed_tasks": one.completed.iter().map(|entry| task(&entry.1, &entry.0, &one.id)).collect::<Vec<_>>(),
        "executors": [],
    });
    if one.facts.multi_role {
        value["roles"] = one.facts.roles.iter().map(|role| Value::from(&**role)).collect();
    } else {
        value["role"] = one.facts.roles.first().map_or(Value::Null, |role| Value::from(&**role));
    }
    value
}

fn task(task: &Task, agent: &str, framework: &str) -> Value {
    let info = v1::TaskInfo::decode(task.info.clone()).unwrap_or_default();
    let labels = info.labels.iter().flat_map(|labels| &labels.labels);
    json!({
        "id": &*task.id,
        "name": info.name,
        "framework_id": framework,
        "executor_id": "",
        "slave_id": agent,
        "state": task.state.as_str_name(),
        "resources": flat(&task.resources),
        "role": &*task.role,
        "labels": labels.map(|label| json!({ "key": label.key, "value": label.value })).collect::<Vec<_>>(),
        "statuses": task.history.iter().map(|seen| json!({
            "state": seen.state.as_str_name(),
            "timestamp": seen.timestamp,
            "message": seen.message.as_deref(),
            "healthy": seen.healthy,
            "container_status": { "container_id": { "value": &*task.container }, "network_infos": [] },
        })).collect::<Vec<_>>(),
    })
}

/// Resources as one flat object: the four well-known scalars always, ranges and sets as text.
fn flat(resources: &Resources) -> Value {
    let mut flat = Map::new();
    for name in ["cpus", "gpus", "mem", "disk"] {
        flat.insert(name.to_owned(), json!(0));
    }
    for (name, amount) in resources.non_revocable().quantities() {
        flat.insert(name.to_string(), json!(amount.as_f64()));
    }
    for (name, amount) in resources.revocable().quantities() {
        flat.insert(format!("{name}_revocable"), json!(amount.as_f64()));
    }
    for resource in resources.iter().filter(|resource| resource.scalar().is_none()) {
        flat.insert(resource.name().to_owned(), json!(resource.amount().to_string()));
    }
    Value::Object(flat)
}

fn attributes(list: &[v1::Attribute]) -> Value {
    let value = |one: &v1::Attribute| match (&one.scalar, &one.ranges, &one.set, &one.text) {
        (Some(scalar), ..) => json!(scalar.value),
        (_, Some(ranges), ..) => {
            let text: Vec<String> = ranges.range.iter().map(|one| format!("{}-{}", one.begin, one.end)).collect();
            json!(format!("[{}]", text.join(", ")))
        }
        (_, _, Some(set), _) => json!(format!("{{{}}}", set.item.join(", "))),
        (_, _, _, Some(text)) => json!(text.value),
        (None, None, None, None) => Value::Null,
    };
    list.iter().map(|one| (one.name.clone(), value(one))).collect::<Map<String, Value>>().into()
}
