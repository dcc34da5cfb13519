//! The parts of `/state` with Mesos' field names (agents are slaves there); [`document`](super::document) combines
//! them.

use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{MESOS_VERSION, MasterFacts, by_framework::FrameworkContents, render::seconds};
use crate::{
    master::core::{AgentView, FrameworkBucket, Link, Presence, Snapshot, Task},
    proto::v1,
    types::{HostPort, Resources},
};

/// The fields before the lists.
pub(super) fn head(master: &MasterFacts, snapshot: &Snapshot) -> Value {
    let (mut active, mut slaves) = (0_usize, 0_usize);
    for agent in snapshot.agents.iter().filter(|agent| super::render::is_reachable(agent)) {
        slaves += 1;
        active += usize::from(agent.presence == Presence::Connected);
    }
    json!({
        "version": MESOS_VERSION,
        "divvy_version": env!("CARGO_PKG_VERSION"),
        "id": master.id,
        "pid": format!("master@{}", master.address),
        "hostname": master.hostname,
        "start_time": master.started,
        "elected_time": master.started,
        "activated_slaves": active,
        "deactivated_slaves": slaves - active,
        "unreachable_slaves": snapshot.agents.len() - slaves,
    })
}

pub(super) fn slave(agent: &AgentView) -> Value {
    json!({
        "id": &*agent.id,
        "hostname": agent.facts.hostname,
        "port": agent.facts.port,
        "pid": format!("slave(1)@{}", HostPort(&agent.facts.address, agent.facts.port)),
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

/// Tasks of removed frameworks that the agent is still killing.
pub(super) fn orphans(agent: &AgentView) -> impl Iterator<Item = Value> {
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
                "container_status": { "container_id": { "value": container.to_string() }, "network_infos": [] },
            }],
        })
    })
}

/// A framework without its tasks.
pub(super) fn framework(one: &FrameworkBucket, contents: &FrameworkContents) -> Value {
    let info = v1::FrameworkInfo::decode(one.info.clone()).unwrap_or_default();
    let (used, offered) = (&contents.used, &contents.offered);
    let mut both = used.clone();
    both += offered;
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
        "used_resources": flat(used),
        "offered_resources": flat(offered),
        "resources": flat(&both),
        "executors": [],
    });
    if one.facts.multi_role {
        value["roles"] = one.facts.roles.iter().map(|role| Value::from(&**role)).collect();
    } else {
        value["role"] = one.facts.roles.first().map_or(Value::Null, |role| Value::from(&**role));
    }
    value
}

pub(super) fn task(task: &Task, agent: &str, framework: &str) -> Value {
    let info = v1::TaskInfo::decode(&*task.info).unwrap_or_default();
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
            "container_status": { "container_id": { "value": task.container.to_string() }, "network_infos": [] },
        })).collect::<Vec<_>>(),
    })
}

/// Resources as one flat object: always the four well-known scalars; ranges and sets as text.
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
