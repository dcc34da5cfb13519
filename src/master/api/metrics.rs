//! `/metrics`: the core's counters and the totals of a snapshot, in the format of Prometheus.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::render;
use crate::{
    master::core::{Link, Presence, Snapshot},
    transport::outbox::Budget,
    types::Resources,
};

type Labels = [(&'static str, String); 1];

/// Measurements taken outside the core.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// How long the oldest unanswered append has been pending.
    pub(super) registry_waited: Duration,
    /// The longest turn of the core since the start.
    pub(super) longest_turn: Duration,
    /// Messages that peers have not read.
    pub(super) unread: Budget,
}

/// The text of `/metrics`.
pub(super) fn render(snapshot: &Snapshot, measured: &Measured) -> String {
    let mut registry = Registry::with_prefix("divvy_master");
    counters(&mut registry, snapshot);
    population(&mut registry, snapshot);
    resources(&mut registry, snapshot);
    for (name, help, time) in [
        (
            "registry_waited_seconds",
            "How long the registry has not answered its oldest append",
            measured.registry_waited,
        ),
        ("longest_turn_seconds", "The longest turn of the core: the time for which inputs wait", measured.longest_turn),
    ] {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(time.as_secs_f64());
        registry.register(name, help, gauge);
    }
    queues(&mut registry, &measured.unread, snapshot.counts.messages_dropped);
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => text,
        Err(error) => format!("# cannot write the metrics: {error}\n"),
    }
}

/// `dropped`: messages that the core did not send because their peer reads too slowly.
fn queues(registry: &mut Registry, unread: &Budget, dropped: u64) {
    let bytes = Gauge::<i64>::default();
    bytes.set(i64::try_from(unread.waiting_bytes()).unwrap_or(i64::MAX));
    registry.register("unread_bytes", "Bytes that agents and frameworks have not read", bytes);
    for (name, help, value) in [
        (
            "messages_dropped",
            "Best-effort messages dropped because their peer reads too slowly",
            unread.dropped_messages() + dropped,
        ),
        ("sessions_ended_unread", "Sessions closed because their peer read too slowly", unread.ended_sessions()),
    ] {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
}

fn counters(registry: &mut Registry, snapshot: &Snapshot) {
    let counts = &snapshot.counts;
    for (name, help, value) in [
        ("scheduler_calls", "Calls of frameworks", counts.calls),
        ("scheduler_calls_refused", "Calls of frameworks that were refused", counts.refused),
        ("status_updates", "Task statuses received from agents", counts.updates),
        ("status_acknowledgements", "Acknowledgements received from frameworks", counts.acknowledgements),
        ("offers_made", "Offers made", counts.offers_made),
        ("offers_accepted", "ACCEPT calls on valid offers", counts.offers_accepted),
        ("offers_declined", "Offers declined", counts.offers_declined),
        ("offers_rescinded", "Offers rescinded because their agent or role was removed", counts.offers_rescinded),
        ("offers_expired", "Offers that expired without an answer", counts.offers_expired),
        ("allocation_runs", "Allocation runs", counts.allocation_runs),
        ("tasks_launched", "Tasks launched", counts.tasks_launched),
        ("tasks_invalid", "Launches answered with TASK_ERROR", counts.tasks_invalid),
        ("agents_registered", "Agents that registered", counts.agents_registered),
        ("agents_reregistered", "Agents that re-registered", counts.agents_reregistered),
        ("agent_disconnections", "Agents whose connection was lost", counts.agents_disconnected),
        ("agents_made_unreachable", "Agents marked unreachable", counts.agents_unreachable),
        (
            "agents_unreachable_scheduled",
            "Agents scheduled to be marked unreachable",
            counts.agents_unreachable_scheduled,
        ),
        (
            "agents_unreachable_canceled",
            "Scheduled agents that re-registered in time",
            counts.agents_unreachable_canceled,
        ),
        ("agents_unregistered", "Agents that unregistered", counts.agents_unregistered),
        ("agents_displaced", "Agents replaced by a new agent at the same address", counts.agents_displaced),
        ("agents_marked_gone", "Agents marked gone by an operator", counts.agents_gone),
        ("agents_forgotten", "Unreachable or gone agents removed from the registry", counts.agents_forgotten),
        ("frameworks_registered", "Frameworks that subscribed for the first time", counts.frameworks_registered),
        ("frameworks_removed", "Frameworks removed", counts.frameworks_removed),
    ] {
        let counter = Counter::<u64, AtomicU64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
    let ended = Family::<Labels, Counter>::default();
    for (state, count) in counts.entered.iter().filter(|(state, _)| state.is_terminal()) {
        ended.get_or_create(&[("state", state.as_str_name().to_owned())]).inc_by(*count);
    }
    registry.register("tasks_ended", "Tasks that reached a terminal state", ended);
}

fn population(registry: &mut Registry, snapshot: &Snapshot) {
    let agents = Family::<Labels, Gauge>::default();
    for (state, counted) in [("connected", Presence::Connected), ("disconnected", Presence::Disconnected)] {
        let count = snapshot.agents.iter().filter(|agent| agent.presence == counted).count();
        agents.get_or_create(&[("state", state.to_owned())]).set(gauge(count));
    }
    let unreachable = snapshot.agents.iter().filter(|agent| !render::is_reachable(agent)).count();
    agents.get_or_create(&[("state", "unreachable".to_owned())]).set(gauge(unreachable));
    registry.register("agents", "Agents by state", agents);
    let frameworks = Family::<Labels, Gauge>::default();
    for (state, link) in
        [("connected", Link::Connected), ("disconnected", Link::Disconnected), ("recovered", Link::Recovered)]
    {
        let count = snapshot.frameworks.iter().filter(|framework| framework.link == link).count();
        frameworks.get_or_create(&[("state", state.to_owned())]).set(gauge(count));
    }
    registry.register("frameworks", "Frameworks by state", frameworks);
    let tasks = Family::<Labels, Gauge>::default();
    for (state, count) in render::states(snapshot) {
        tasks.get_or_create(&[("state", state.as_str_name().to_owned())]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    registry.register("tasks", "Tasks by state, until their end is acknowledged", tasks);
    let orphans = Gauge::<i64>::default();
    orphans.set(gauge(snapshot.agents.iter().map(|agent| agent.orphans.len()).sum()));
    registry.register("orphans", "Containers of removed frameworks that have not ended", orphans);
    let outstanding = Gauge::<i64>::default();
    outstanding.set(gauge(snapshot.agents.iter().map(|agent| agent.offers.len()).sum()));
    registry.register("offers_outstanding", "Outstanding offers", outstanding);
}

fn resources(registry: &mut Registry, snapshot: &Snapshot) {
    for (name, help, part) in [
        ("resources_capacity", "Scalar resources of connected agents", total as fn(&_) -> &_),
        ("resources_used", "Scalar resources of tasks and orphans that have not ended", used),
        ("resources_offered", "Scalar resources in outstanding offers", offered),
    ] {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for agent in snapshot.agents.iter().filter(|agent| render::is_reachable(agent)) {
            for (resource, amount) in part(agent).quantities() {
                family.get_or_create(&[("resource", resource.to_string())]).inc_by(amount.as_f64());
            }
        }
        registry.register(name, help, family);
    }
}

fn total(agent: &crate::master::core::AgentView) -> &Resources {
    &agent.amounts.total
}

fn used(agent: &crate::master::core::AgentView) -> &Resources {
    &agent.amounts.used
}

fn offered(agent: &crate::master::core::AgentView) -> &Resources {
    &agent.amounts.offered
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::{
        master::{
            core::{Config, Master},
            registry::State,
        },
        types::Now,
    };

    fn rendered() -> String {
        let now = Now { mono_ns: 1, wall_ns: 1 };
        let master = Master::new("m", 1, State::default(), Config::default(), StdRng::seed_from_u64(1), now);
        render(&master.snapshot(), &Measured { registry_waited: Duration::from_millis(1), ..Measured::default() })
    }

    /// Only the samples of counters end in `_total`, so that readers distinguish counters from gauges.
    #[test]
    fn counters_and_no_others_end_in_total_once() {
        let text = rendered();
        let mut counters = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE divvy_master_")) {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            assert!(!name.contains("total") && !name.contains("count"), "{name} repeats its type");
            assert!(matches!(kind, "counter" | "gauge"), "{name} is a {kind}");
            let sample = format!("\ndivvy_master_{name}_total ");
            counters += usize::from(kind == "counter" && text.contains(&sample));
        }
        assert_eq!(counters, text.lines().filter(|line| line.contains("_total ")).count(), "{text}");
        assert!(text.contains("\ndivvy_master_agent_disconnections_total 0\n"), "{text}");
    }
}
