//! Frameworks: subscription, failover, removal.

use std::time::Duration;

use super::world::{World, facts, known, register, reported};
use crate::{
    master::{
        core::{Call, Config, Effect, Event, Order, Question, RequestId},
        registry::State,
    },
    proto::{internal::registry_change::Kind, v1::TaskState},
};

fn error(world: &World, session: crate::master::core::SessionId) -> Option<String> {
    world.events(session).into_iter().find_map(|event| match event {
        Event::Error { text } => Some(text),
        _ => None,
    })
}

#[test]
fn ids_are_given_in_order_and_kept() {
    let mut world = World::new();
    assert_eq!(world.framework("a").1, "m-0000");
    assert_eq!(world.framework("b").1, "m-0001");
    assert_eq!(world.subscribe(facts("c", "*"), Some("my-own")).1, "my-own");
}

#[test]
fn an_instance_that_did_not_receive_its_id_gets_the_framework_it_has() {
    let mut world = World::new();
    let (lost, id) = world.subscribe_as("run", facts("f", "*"), None);
    world.detach(lost);
    assert_eq!(world.subscribe_as("run", facts("f", "*"), None).1, id);
    assert_eq!(
        world.subscribe_as("run", facts("f", "*"), None).1,
        id,
        "also while the first connection seems to stand"
    );
    assert_ne!(world.subscribe_as("another", facts("f", "*"), None).1, id);
    assert_ne!(world.subscribe_as("", facts("f", "*"), None).1, world.subscribe_as("", facts("f", "*"), None).1);
    assert_eq!(world.harness.core.snapshot().frameworks.len(), 4);
}

#[test]
fn a_framework_that_comes_and_goes_leaves_one_timer() {
    let mut world = World::new();
    let (mut session, id) = world.framework("f");
    for _ in 0..100 {
        world.detach(session);
        session = world.subscribe(facts("f", "*"), Some(&id)).0;
    }
    assert!(world.harness.core.timers() < 10, "{} are armed", world.harness.core.timers());
    world.detach(session);
    world.wait(Duration::from_secs(59));
    assert_eq!(world.harness.core.snapshot().frameworks.len(), 1);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.harness.core.snapshot().frameworks.len(), 0, "the last absence counts");
}

#[test]
fn a_second_instance_takes_over_and_the_first_can_do_no_more() {
    let mut world = World::new();
    let (first, id) = world.framework("f");
    let _ = world.agent("cpus:4;mem:1024");
    let offer = world.offers(first)[0].clone();
    let (second, same) = world.subscribe(facts("f", "*"), Some(&id));
    assert_eq!(same, id);
    assert_eq!(error(&world, first).as_deref(), Some("Framework failed over"));
    assert!(world.closed(first));
    assert_eq!(world.offers(second).len(), 1, "the offers are made anew");
    world.launch(first, &offer, &[("t", "cpus:1;mem:32")]);
    assert!(world.effects.is_empty(), "{:?}", world.effects);
    world.detach(first);
    world.launch(second, &offer, &[("t", "cpus:1;mem:32")]);
    assert_eq!(world.states(second), [("t".into(), TaskState::TaskDropped)], "the old offer is void");
}

#[test]
fn an_instance_that_was_replaced_while_it_was_cut_off_does_not_get_the_framework_back() {
    let mut world = World::new();
    let (first, id) = world.subscribe_as("first", facts("f", "*"), None);
    world.detach(first);
    let (second, _) = world.subscribe_as("second", facts("f", "*"), Some(&id));
    let (late, _) = world.subscribe_as("first", facts("f", "*"), Some(&id));
    assert_eq!(error(&world, late).as_deref(), Some("Framework failed over"));
    assert!(world.closed(late) && !world.closed(second) && error(&world, second).is_none());
    let (again, same) = world.subscribe_as("second", facts("f", "*"), Some(&id));
    assert_eq!(same, id, "the present instance may reconnect");
    assert!(!world.closed(again));
}

/// What is recorded and sent, in order: `Some` for an instance recorded, `None` for a SUBSCRIBED.
fn stored_and_subscribed(world: &World) -> Vec<Option<&[u8]>> {
    let of = world.effects.iter().filter_map(|effect| match effect {
        Effect::Persist { changes, .. } => match &changes[0].kind {
            Some(Kind::FrameworkRun(run)) => Some(Some(&*run.instance)),
            _ => None,
        },
        Effect::SendEvent { event: Event::Subscribed { .. }, .. } => Some(None),
        _ => None,
    });
    of.collect()
}

#[test]
fn the_instance_of_a_framework_is_stored_before_it_is_subscribed_and_not_again_when_it_reconnects() {
    let mut world = World::new();
    let (first, id) = world.subscribe_as("first", facts("f", "*"), None);
    assert_eq!(stored_and_subscribed(&world), [Some(&b"first"[..]), None]);
    world.detach(first);
    let _ = world.subscribe_as("first", facts("f", "*"), Some(&id));
    assert_eq!(stored_and_subscribed(&world), [None]);
    let _ = world.subscribe_as("second", facts("f", "*"), Some(&id));
    assert_eq!(stored_and_subscribed(&world), [Some(&b"second"[..]), None]);
    let error =
        world.effects.iter().position(|effect| matches!(effect, Effect::SendEvent { event: Event::Error { .. }, .. }));
    let stored = world.effects.iter().position(|effect| matches!(effect, Effect::Persist { .. }));
    assert!(stored < error, "the error is sent after the record: {:?}", world.effects);
    let _ = world.subscribe(facts("f", "*"), Some(&id));
    assert_eq!(stored_and_subscribed(&world), [Some(&b""[..]), None], "an instance without a name replaces too");
    let _ = world.framework("g");
    assert_eq!(stored_and_subscribed(&world), [None], "an instance without a name is not recorded");
}

#[test]
fn an_instance_that_was_replaced_does_not_get_the_framework_back_from_any_later_master() {
    let mut world = World::new();
    let (first, id) = world.subscribe_as("first", facts("f", "*"), None);
    world.detach(first);
    let mut world = world.next();
    let (second, same) = world.subscribe_as("second", facts("f", "*"), Some(&id));
    assert_eq!(same, id);
    for _ in 0..2 {
        world = world.next();
        let (late, _) = world.subscribe_as("first", facts("f", "*"), Some(&id));
        assert_eq!(error(&world, late).as_deref(), Some("Framework failed over"));
        assert!(world.closed(late));
    }
    let (again, _) = world.subscribe_as("second", facts("f", "*"), Some(&id));
    assert!(!world.closed(again) && error(&world, second).is_none(), "the present instance may reconnect");
    world.call(again, Call::Teardown);
    assert!(world.stored.runs.is_empty(), "a removed framework has no instances");
}

#[test]
fn instances_of_frameworks_that_have_been_unknown_for_long_are_forgotten_and_no_others() {
    let config = Config { registry_max_age: Duration::from_mins(20), ..Config::default() };
    let mut world = World::with(State::default(), config.clone());
    let (_, gone) = world.subscribe_as("a", facts("f", "*"), None);
    let (_, here) = world.subscribe_as("b", facts("g", "*"), None);
    let mut world = World::with(world.stored, config);
    let _ = world.subscribe_as("b", facts("g", "*"), Some(&here));
    world.wait(Duration::from_mins(16));
    assert!(world.stored.runs.contains_key(&gone), "it has as long as this master is up");
    world.wait(Duration::from_mins(15));
    let runs = &world.stored.runs;
    assert!(!runs.contains_key(&gone) && runs.contains_key(&here), "{runs:?}");
    let few = Config { registry_max_agents: 1, ..Config::default() };
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        let _ = world.subscribe_as("run", facts(name, "*"), None);
        world.wait(Duration::from_secs(1));
    }
    let mut world = World::with(world.stored, few);
    world.wait(Duration::from_mins(16));
    assert_eq!(world.stored.runs.len(), 1, "of those beyond the number the oldest go");
}

#[test]
fn a_framework_disconnected_for_its_failover_timeout_is_removed_for_good() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:1;mem:32")]);
    world.detach(framework);
    world.wait(Duration::from_secs(59));
    assert!(world.orders(agent).iter().all(|order| !matches!(order, Order::Shutdown { .. })));
    world.wait(Duration::from_secs(2));
    assert!(world.orders(agent).iter().any(|order| matches!(order, Order::Shutdown { .. })));
    let (again, _) = world.subscribe(facts("f", "*"), Some(&id));
    assert_eq!(error(&world, again).as_deref(), Some("Framework has been removed"));
    assert!(world.closed(again));
}

#[test]
fn a_framework_that_reconnects_in_time_is_not_removed_later() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    world.detach(framework);
    world.wait(Duration::from_secs(30));
    let (again, _) = world.subscribe(facts("f", "*"), Some(&id));
    world.wait(Duration::from_mins(5));
    assert!(!world.closed(again));
    assert_eq!(world.harness.core.snapshot().frameworks.len(), 1);
}

#[test]
fn teardown_ends_tasks_also_on_agents_that_reregister_later() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, agent_id) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:1;mem:32")]);
    let task = world.runs(agent)[0].clone();
    world.detach(agent);
    world.call(framework, Call::Teardown);
    assert!(world.closed(framework));
    let mut back = register(Some(&agent_id), "cpus:4;mem:1024");
    back.tasks = vec![reported(&id, &task, "cpus:1;mem:32", TaskState::TaskRunning)];
    let session = world.register(back);
    assert_eq!(world.registered(session).expect("registered").2, [id]);
    assert!(world.harness.core.snapshot().agents[0].tasks.is_empty());
    assert_eq!(world.harness.core.snapshot().completed[0].completed[0].1.state, TaskState::TaskKilled);
}

#[test]
fn a_teardown_is_applied_before_its_session_ends_and_after_the_tombstone() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    world.call(framework, Call::Teardown);
    let at = |wanted: fn(&Effect) -> bool| world.effects.iter().position(wanted).expect("happens");
    let tombstone = at(|effect| matches!(effect, Effect::Persist { .. }));
    let applied = at(|effect| matches!(effect, Effect::SendEvent { event: Event::Applied { .. }, .. }));
    let closed = at(|effect| matches!(effect, Effect::Close { .. }));
    assert!(tombstone < applied && applied < closed, "{:?}", world.effects);
}

#[test]
fn an_operator_removes_a_framework_by_its_id() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let ask = |world: &mut World, framework: &str| {
        let question = Question::Teardown { framework: framework.to_owned() };
        world.feed(crate::master::core::Input::Asked {
            request: RequestId(1),
            principal: crate::master::core::Principal::Anonymous,
            question,
        });
    };
    ask(&mut world, "unknown");
    assert!(!world.closed(framework));
    ask(&mut world, &id);
    assert!(world.closed(framework));
}

#[test]
fn nothing_but_subscribe_is_accepted_before_a_subscription() {
    let mut world = World::new();
    let session = world.attach();
    world.call(session, Call::Revive { roles: Vec::new() });
    assert_eq!(world.refusals(session), [("type".into(), "subscribe first".into())]);
}

#[test]
fn heartbeats_come_at_once_and_every_fifteen_seconds() {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let beats =
        |world: &World| world.events(framework).iter().filter(|event| matches!(event, Event::Heartbeat)).count();
    assert_eq!(beats(&world), 1);
    world.wait(Duration::from_secs(46));
    assert_eq!(beats(&world), 3);
}

#[test]
fn completed_frameworks_are_kept_up_to_a_number() {
    let mut world = World::new();
    for _ in 0..60 {
        let (framework, _) = world.framework("f");
        world.call(framework, Call::Teardown);
    }
    assert_eq!(world.harness.core.snapshot().completed.len(), 50);
    assert!(world.harness.core.snapshot().frameworks.is_empty());
}

#[test]
fn an_update_rescinds_offers_of_dropped_roles() {
    let mut world = World::new();
    let (framework, _) = world.subscribe(facts("f", "a"), None);
    let _ = world.agent("cpus:4;mem:1024");
    assert_eq!(world.offers(framework).len(), 1);
    let update = super::world::known("m-0000", "f");
    let update = crate::master::core::Subscribe { facts: facts("f", "b"), ..update };
    world.call(framework, Call::UpdateFramework(Box::new(update)));
    assert!(world.events(framework).iter().any(|event| matches!(event, Event::Rescinded { .. })));
    assert_eq!(&*world.offers(framework)[0].role, "b");
}

#[test]
fn checkpoint_stays_as_the_framework_first_subscribed_with_it() {
    let mut world = World::new();
    let subscribe = |checkpoint, id: &str| {
        let known = super::world::known(id, "f");
        let info = crate::proto::v1::FrameworkInfo { checkpoint, ..known.info };
        Box::new(crate::master::core::Subscribe { info, ..known })
    };
    let kept = |world: &World| {
        let info = world.harness.core.snapshot().frameworks[0].info.clone();
        <crate::proto::v1::FrameworkInfo as prost::Message>::decode(info).expect("an info").checkpoint
    };
    let first = world.attach();
    world.call(first, Call::Subscribe(subscribe(Some(true), "f1")));
    assert_eq!(kept(&world), Some(true));
    let second = world.attach();
    world.call(second, Call::Subscribe(subscribe(Some(false), "f1")));
    assert_eq!(kept(&world), Some(true), "over a failover");
    world.call(second, Call::UpdateFramework(subscribe(Some(true), "f1")));
    assert_eq!(kept(&world), Some(true));
    world.call(second, Call::UpdateFramework(subscribe(Some(false), "f1")));
    let refused = world.effects.iter().any(|effect| format!("{effect:?}").contains("framework_info.checkpoint"));
    assert!(refused, "{:?}", world.effects);
    assert_eq!(kept(&world), Some(true));
}

/// The number of roles of which the framework is a client.
fn clients(world: &World) -> usize {
    world.harness.core.frameworks.values().map(|one| one.role_ids.len()).sum()
}

#[test]
fn a_framework_that_changes_its_roles_for_ever_leaves_nothing_behind() {
    let mut world = World::new();
    let (session, _) = world.framework("f");
    for round in 0..50 {
        let mut update = known("m-0000", "f");
        update.facts.roles = (0..10).map(|number| format!("role{round}-{number}").into()).collect();
        world.call(session, Call::UpdateFramework(Box::new(update)));
        assert!(world.refusals(session).is_empty());
        assert_eq!(clients(&world), 10, "round {round}");
    }
    let shares = world.harness.core.ledger.shares().shares();
    assert!(shares.role("role49-9").is_some());
    assert_eq!(shares.role("role48-9"), None, "the shares have dropped it too");
}

#[test]
fn a_role_that_a_framework_left_is_kept_until_its_last_task_there_has_ended() {
    let mut world = World::new();
    let (session, id) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.inbox().pop().expect("an offer").1;
    world.launch(session, &offer, &[("t", "cpus:1;mem:32")]);
    let task = world.runs(agent)[0].clone();
    let mut update = known("m-0000", "f");
    update.facts.roles = vec!["another".into()];
    world.call(session, Call::UpdateFramework(Box::new(update)));
    assert_eq!(clients(&world), 2, "what it runs still counts for its former role");
    let uuid = world.update(agent, &id, &task, TaskState::TaskFinished);
    let on = world.harness.core.snapshot().agents[0].id.to_string();
    world.acknowledge(session, &on, "t", &uuid);
    assert_eq!(clients(&world), 1);
}
