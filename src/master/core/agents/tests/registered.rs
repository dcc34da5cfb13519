//! Agents: registration, disconnection, re-registration, and agents marked unreachable.

use std::time::Duration;

use super::world::{World, facts, known, register, reported};
use crate::{
    master::{
        core::{Config, Effect, Event, Input, Order, Presence, Report},
        registry,
    },
    proto::{
        internal::registry_change::Kind,
        v1::{TaskState, task_status::Reason},
    },
};

#[test]
fn an_agent_is_sent_registered_after_the_registry_has_stored_it() {
    let mut world = World::new();
    let session = world.register(register(None, "cpus:1;mem:64"));
    let persist = world.effects.iter().position(|effect| matches!(effect, Effect::Persist { .. }));
    let sent = world.effects.iter().position(|effect| matches!(effect, Effect::SendOrder { .. }));
    assert!(persist < sent && persist.is_some(), "{:?}", world.effects);
    assert_eq!(world.registered(session).expect("registered").0, "m-S0");
}

#[test]
fn an_agent_that_reregisters_in_time_loses_nothing() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, agent_id) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:1;mem:32")]);
    let task = world.runs(agent)[0].clone();
    world.detach(agent);
    assert!(world.states(framework).is_empty());
    let mut back = register(Some(&agent_id), "cpus:4;mem:1024");
    back.tasks = vec![reported(&id, &task, "cpus:1;mem:32", TaskState::TaskRunning)];
    let session = world.register(back);
    assert_eq!(world.registered(session), Some((agent_id, Vec::new(), Vec::new())));
    assert!(world.persisted().is_empty(), "the registry knows all this");
    let snapshot = world.harness.core.snapshot();
    assert_eq!(snapshot.agents[0].tasks.values().next().map(|task| task.state), Some(TaskState::TaskRunning));
}

#[test]
fn offers_of_an_agent_that_disconnected_are_rescinded() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    world.detach(agent);
    assert!(world.events(framework).iter().any(|event| matches!(event, Event::Rescinded { .. })));
    world.wait(Duration::from_secs(30));
    assert!(world.offers(framework).is_empty());
}

#[test]
fn a_launch_that_never_arrived_is_named_to_the_agent() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, agent_id) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:1;mem:32")]);
    world.detach(agent);
    let session = world.register(register(Some(&agent_id), "cpus:4;mem:1024"));
    assert_eq!(world.registered(session).expect("registered").1, ["t"]);
}

#[test]
fn a_task_that_ran_and_is_missing_is_gone_and_not_dropped() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, agent_id) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("ran", "cpus:1;mem:32"), ("never", "cpus:1;mem:32")]);
    let ran = world.runs(agent)[0].clone();
    world.update(agent, &id, &ran, TaskState::TaskRunning);
    world.detach(agent);
    let session = world.register(register(Some(&agent_id), "cpus:4;mem:1024"));
    let missing = world.orders(session).into_iter().find_map(|order| match order {
        Order::Registered(registered) => Some(registered.missing),
        _ => None,
    });
    let mut missing: Vec<_> =
        missing.expect("registered").into_iter().map(|it| (it.task_id.clone(), it.state())).collect();
    missing.sort();
    let sent = [("never".to_owned(), TaskState::TaskDropped), ("ran".to_owned(), TaskState::TaskGone)];
    assert_eq!(missing, sent);
}

#[test]
fn a_silent_agent_and_its_tasks_are_unreachable_until_it_reregisters() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, agent_id) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:1;mem:32")]);
    let task = world.runs(agent)[0].clone();
    world.lively = false;
    world.wait(Duration::from_secs(91));
    assert!(world.closed(agent));
    assert_eq!(world.states(framework), [("t".into(), TaskState::TaskUnreachable)]);
    assert!(world.statuses(framework)[0].unreachable_time.is_some());
    assert!(world.events(framework).iter().any(|event| matches!(event, Event::Failures { .. })));
    assert!(matches!(&world.persisted()[..], [Kind::AgentUnreachable(_)]));
    let mut back = register(Some(&agent_id), "cpus:4;mem:1024");
    back.tasks = vec![reported(&id, &task, "cpus:1;mem:32", TaskState::TaskRunning)];
    world.register(back);
    assert_eq!(world.states(framework), [("t".into(), TaskState::TaskRunning)]);
    assert_eq!(world.statuses(framework)[0].reason(), Reason::AgentReregistered);
    assert!(world.persisted().iter().any(|kind| matches!(kind, Kind::AgentReachable(_))));
}

#[test]
fn an_agent_that_answers_pings_stays() {
    let mut world = World::new();
    let (agent, _) = world.agent("cpus:4;mem:1024");
    world.wait(Duration::from_mins(10));
    let pings = world.orders(agent).iter().filter(|order| matches!(order, Order::Ping)).count();
    assert_eq!(pings, 40);
    assert_eq!(world.harness.core.snapshot().agents[0].presence, Presence::Connected);
}

#[test]
fn a_second_session_of_an_agent_replaces_the_first() {
    let mut world = World::new();
    let (first, id) = world.agent("cpus:4;mem:1024");
    let second = world.register(register(Some(&id), "cpus:4;mem:1024"));
    assert!(world.closed(first) && world.registered(second).is_some());
    world.detach(first);
    assert_eq!(world.harness.core.snapshot().agents[0].presence, Presence::Connected);
}

#[test]
fn a_new_master_relearns_tasks_and_frameworks_and_offers_only_what_is_free() {
    let mut state = registry::State::default();
    state.agents.insert("old-S0".into(), crate::proto::v1::AgentInfo::default());
    let mut world = World::with(state, Config::default());
    let task = ("t".to_owned(), "c".to_owned());
    let mut back = register(Some("old-S0"), "cpus:4;mem:1024");
    back.frameworks = vec![known("old-0000", "f")];
    back.tasks = vec![reported("old-0000", &task, "cpus:3;mem:24", TaskState::TaskRunning)];
    let agent = world.register(back);
    let (framework, id) = world.subscribe(facts("f", "*"), Some("old-0000"));
    assert_eq!(id, "old-0000");
    assert_eq!(*world.offers(framework)[0].resources, super::world::resources("cpus:1;mem:1000"));
    world.update(agent, "old-0000", &task, TaskState::TaskFinished);
    assert_eq!(world.states(framework), [("t".into(), TaskState::TaskFinished)]);
}

#[test]
fn a_recovered_framework_that_does_not_come_is_removed_when_agents_had_their_time_too() {
    let mut world = World::new();
    let task = ("t".to_owned(), "c".to_owned());
    let mut back = register(Some("old-S0"), "cpus:4;mem:1024");
    back.frameworks = vec![known("old-0000", "f")];
    back.tasks = vec![reported("old-0000", &task, "cpus:3;mem:24", TaskState::TaskRunning)];
    let agent = world.register(back);
    world.wait(Duration::from_secs(599));
    assert!(world.orders(agent).iter().all(|order| !matches!(order, Order::Shutdown { .. })));
    world.wait(Duration::from_secs(2));
    assert!(world.orders(agent).iter().any(|order| matches!(order, Order::Shutdown { .. })));
    assert!(world.harness.core.snapshot().agents[0].tasks.is_empty());
}

#[test]
fn an_agent_that_has_seen_a_later_epoch_is_not_taken() {
    let mut world = World::new();
    let mut late = register(Some("x-S0"), "cpus:4;mem:1024");
    late.epoch = 4;
    let session = world.register(late);
    assert!(matches!(&world.orders(session)[..], [Order::Refused { permanent: false, .. }]));
    assert!(world.harness.core.snapshot().agents.is_empty());
}

#[test]
fn an_agent_marked_gone_is_sent_gone_when_it_registers() {
    let mut state = registry::State::default();
    state.gone.insert("x-S0".into(), 1);
    let mut world = World::with(state, Config::default());
    let session = world.register(register(Some("x-S0"), "cpus:4;mem:1024"));
    assert!(matches!(&world.orders(session)[..], [Order::Gone]));
}

#[test]
fn the_tasks_of_an_agent_that_unregisters_end_with_it() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:1;mem:32")]);
    world.feed(Input::Reported { session: agent, report: Report::Unregistered });
    assert_eq!(world.states(framework), [("t".into(), TaskState::TaskLost)]);
    assert!(world.harness.core.snapshot().agents.is_empty());
}

#[test]
fn an_agent_that_shrank_below_its_tasks_offers_nothing_until_they_end() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, agent_id) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:3;mem:512")]);
    let task = world.runs(agent)[0].clone();
    world.detach(agent);
    let mut back = register(Some(&agent_id), "cpus:2;mem:256");
    back.tasks = vec![reported(&id, &task, "cpus:3;mem:512", TaskState::TaskRunning)];
    let session = world.register(back);
    world.wait(Duration::from_secs(8));
    assert!(world.offers(framework).is_empty());
    world.update(session, &id, &task, TaskState::TaskFinished);
    world.wait(Duration::from_secs(8));
    world.call(framework, crate::master::core::Call::Revive { roles: Vec::new() });
    assert!(!world.harness.core.snapshot().agents[0].offers.is_empty());
    assert_eq!(world.harness.core.snapshot().agents[0].amounts.offered, super::world::resources("cpus:2;mem:256"));
}

#[test]
#[should_panic(expected = "offered + used + free = total")]
fn what_an_input_left_unbalanced_is_found_after_that_input() {
    let mut world = World::new();
    let (session, _) = world.agent("cpus:4;mem:1024");
    let agent = world.harness.core.agents.iter().map(|(key, _)| key).next().expect("registered");
    world.harness.core.ledger.break_account(agent);
    world.harness.handle(world.now, Input::Reported { session, report: Report::Ponged });
}
