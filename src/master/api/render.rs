//! Renders a snapshot as messages of the operator API.

use prost::Message as _;

use super::by_framework::FrameworkContents;
use crate::{
    master::core::{
        AgentView, Departed, FrameworkBucket, Link, OfferKey, Presence, Snapshot, StatusRecord, Task, offer_id,
    },
    proto::v1::{self, TaskState, master::response},
    types::{HostPort, Resources},
};

/// An unreachable or gone agent, for `GET_AGENTS`.
pub(super) fn departed(agent: Departed) -> response::get_agents::Departed {
    response::get_agents::Departed {
        agent_id: v1::AgentId { value: agent.id },
        hostname: Some(agent.hostname).filter(|hostname| !hostname.is_empty()),
        since: v1::TimeInfo { nanoseconds: agent.since_ns },
        gone: Some(agent.gone),
    }
}

/// Whether the agent is registered and not marked unreachable.
pub(super) fn is_reachable(agent: &AgentView) -> bool {
    match agent.presence {
        Presence::Connected | Presence::Disconnected => true,
        Presence::Unreachable { .. } => false,
    }
}

/// An agent, for `GET_AGENTS`.
pub(super) fn agent(agent: &AgentView) -> response::get_agents::Agent {
    let time = |nanoseconds| v1::TimeInfo { nanoseconds };
    response::get_agents::Agent {
        agent_info: v1::AgentInfo {
            hostname: agent.facts.hostname.clone(),
            port: Some(i32::from(agent.facts.port)),
            resources: agent.amounts.total.to_proto(),
            attributes: agent.facts.attributes.clone(),
            id: Some(v1::AgentId { value: agent.id.to_string() }),
            domain: agent.facts.domain.clone(),
        },
        active: agent.presence == Presence::Connected,
        version: agent.facts.version.clone(),
        pid: Some(format!("slave(1)@{}", HostPort(&agent.facts.address, agent.facts.port))),
        registered_time: Some(time(agent.registered_ns)),
        reregistered_time: agent.reregistered_ns.map(time),
        total_resources: agent.amounts.total.to_proto(),
        allocated_resources: agent.amounts.used.to_proto(),
        offered_resources: agent.amounts.offered.to_proto(),
        ..response::get_agents::Agent::default()
    }
}

/// Tasks of removed frameworks that the agent is still killing.
pub(super) fn orphans(agent: &AgentView) -> impl Iterator<Item = v1::Task> {
    agent.orphans.iter().map(|(container, orphan)| {
        let mut status = v1::TaskStatus {
            task_id: v1::TaskId { value: orphan.task.to_string() },
            timestamp: Some(seconds(orphan.since_ns)),
            container_status: Some(Box::new(v1::ContainerStatus {
                container_id: Some(v1::ContainerId { value: container.to_string(), parent: None }),
                ..v1::ContainerStatus::default()
            })),
            ..v1::TaskStatus::default()
        };
        status.set_state(TaskState::TaskKilling);
        let mut message = v1::Task {
            task_id: v1::TaskId { value: orphan.task.to_string() },
            framework_id: v1::FrameworkId { value: orphan.framework.to_string() },
            agent_id: v1::AgentId { value: agent.id.to_string() },
            resources: orphan.resources.to_proto_as(Some(&orphan.role), true),
            statuses: vec![status],
            ..v1::Task::default()
        };
        message.set_state(TaskState::TaskKilling);
        message
    })
}

/// Converts nanoseconds since 1970 to seconds.
#[expect(clippy::cast_precision_loss, reason = "microseconds survive")]
pub(super) fn seconds(wall_ns: i64) -> f64 {
    wall_ns as f64 / 1e9
}

/// The id of a task's framework.
pub(super) fn framework_id(snapshot: &Snapshot, task: &Task) -> String {
    let found = snapshot.frameworks.binary_search_by_key(&task.framework, |framework| framework.key);
    found.map(|at| snapshot.frameworks[at].id.to_string()).unwrap_or_default()
}

/// A task, with the fields of its encoded info.
pub(super) fn task(task: &Task, agent: &str, framework: &str) -> v1::Task {
    let info = v1::TaskInfo::decode(&*task.info).unwrap_or_default();
    let mut message = v1::Task {
        name: info.name,
        task_id: v1::TaskId { value: task.id.to_string() },
        framework_id: v1::FrameworkId { value: framework.to_owned() },
        agent_id: v1::AgentId { value: agent.to_owned() },
        resources: task.resources.to_proto_as(Some(&task.role), true),
        statuses: task.history.iter().map(|seen| status(task, seen, agent)).collect(),
        labels: info.labels,
        discovery: info.discovery,
        container: info.container,
        health_check: info.health_check,
        kill_policy: info.kill_policy,
        limits: info.limits,
        ..v1::Task::default()
    };
    message.set_state(task.state);
    if let Some(forwarded) = task.forwarded {
        message.set_status_update_state(forwarded);
    }
    message
}

fn status(task: &Task, seen: &StatusRecord, agent: &str) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: v1::TaskId { value: task.id.to_string() },
        state: seen.state.into(),
        message: seen.message.as_deref().cloned(),
        source: seen.source.map(Into::into),
        reason: seen.reason.map(Into::into),
        agent_id: Some(v1::AgentId { value: agent.to_owned() }),
        timestamp: Some(seen.timestamp),
        healthy: seen.healthy,
        container_status: Some(Box::new(v1::ContainerStatus {
            container_id: Some(v1::ContainerId { value: task.container.to_string(), parent: None }),
            ..v1::ContainerStatus::default()
        })),
        ..v1::TaskStatus::default()
    }
}

/// A framework, for `GET_FRAMEWORKS`.
pub(super) fn framework(
    snapshot: &Snapshot,
    master: &str,
    one: &FrameworkBucket,
    contents: &FrameworkContents,
) -> response::get_frameworks::Framework {
    let time = |nanoseconds| v1::TimeInfo { nanoseconds };
    let offer = |(agent, key, role, resources): (&AgentView, OfferKey, &str, &Resources)| v1::Offer {
        id: v1::OfferId { value: offer_id(master, key) },
        framework_id: v1::FrameworkId { value: one.id.to_string() },
        agent_id: v1::AgentId { value: agent.id.to_string() },
        hostname: agent.facts.hostname.clone(),
        resources: resources.to_proto_as(Some(role), true),
        ..v1::Offer::default()
    };
    response::get_frameworks::Framework {
        framework_info: v1::FrameworkInfo::decode(one.info.clone()).unwrap_or_default(),
        active: one.link == Link::Connected,
        connected: one.link == Link::Connected,
        recovered: one.link == Link::Recovered,
        registered_time: Some(time(one.registered_ns)),
        reregistered_time: one.reregistered_ns.map(time),
        unregistered_time: one.unregistered_ns.map(time),
        offers: contents.offers(snapshot).map(offer).collect(),
        allocated_resources: contents.used.to_proto(),
        offered_resources: contents.offered.to_proto(),
        ..response::get_frameworks::Framework::default()
    }
}

/// Counts the tasks of the snapshot by state.
pub(super) fn states(snapshot: &Snapshot) -> std::collections::BTreeMap<TaskState, u64> {
    let mut counts = std::collections::BTreeMap::new();
    for task in snapshot.agents.iter().flat_map(|agent| agent.tasks.values()) {
        *counts.entry(task.state).or_default() += 1;
    }
    counts
}
