//! The main inputs, each with all its effects in order.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::world::{World, launch, resources};
use crate::{
    master::core::{Call, Effect, Event, Input, OfferKey, OfferMade, Order, Report, SessionId, Update},
    proto::{
        internal::{FrameworkTombstone, RegistryChange, registry_change::Kind},
        v1::{AgentId, AgentInfo, TaskState, TaskStatus},
    },
    transport::outbox::RecordNumber,
};

const TOTAL: &str = "cpus:4;mem:1024";

fn event(session: SessionId, event: Event) -> Effect {
    Effect::SendEvent { session, after: RecordNumber::default(), event }
}

/// The effects, each without the record that it waits for.
fn plain(effects: &[Effect]) -> Vec<Effect> {
    let mut effects = effects.to_vec();
    for effect in &mut effects {
        match effect {
            Effect::Persist { number, .. } => *number = RecordNumber::default(),
            Effect::SendEvent { after, .. }
            | Effect::SendOrder { after, .. }
            | Effect::Close { after, .. }
            | Effect::Reply { after, .. } => *after = RecordNumber::default(),
        }
    }
    effects
}

fn order(session: SessionId, order: Order) -> Effect {
    Effect::SendOrder { session, after: RecordNumber::default(), order }
}

/// A framework, an agent, and the offer that the first was made of the second.
pub(super) fn offered() -> (World, SessionId, SessionId, OfferMade) {
    let mut world = World::new();
    let (framework, _) = world.framework("f");
    let (agent, _) = world.agent(TOTAL);
    let offer = world.offers(framework)[0].clone();
    (world, framework, agent, offer)
}

#[test]
fn a_framework_that_subscribes_receives_its_id_a_heartbeat_and_that_the_call_is_done() {
    let mut world = World::new();
    let (session, id) = world.framework("f");
    let subscribed = Event::Subscribed { framework: id.into(), heartbeat: Duration::from_secs(15) };
    assert_eq!(
        plain(&world.effects),
        [event(session, subscribed), event(session, Event::Heartbeat), event(session, Event::Applied { seq: 1 })]
    );
}

#[test]
fn an_agent_is_recorded_before_it_is_registered_and_then_offered() {
    let mut world = World::new();
    let (framework, framework_id) = world.framework("f");
    let (agent, id) = world.agent(TOTAL);
    let [
        Effect::Persist { changes, .. },
        Effect::SendOrder { session, order: Order::Registered(registered), .. },
        offers,
    ] = &world.effects[..]
    else {
        panic!("{:?}", world.effects)
    };
    let info = AgentInfo { hostname: "h".to_owned(), id: Some(AgentId { value: id.clone() }), ..AgentInfo::default() };
    assert_eq!(*changes, [RegistryChange { kind: Some(Kind::AgentAdmitted(info)) }]);
    assert_eq!((*session, &registered.agent_id), (agent, &id));
    let made = OfferMade {
        key: OfferKey(0),
        framework: framework_id.into(),
        agent: id.into(),
        facts: world.harness.core.snapshot().agents[0].facts.clone(),
        role: "*".into(),
        resources: Arc::new(resources(TOTAL)),
        multi_role: true,
        refinement: true,
    };
    assert_eq!(plain(std::slice::from_ref(offers)), [event(framework, Event::Offers(vec![made]))]);
}

#[test]
fn a_launch_sends_the_agent_the_framework_and_the_task_and_is_done() {
    let (mut world, framework, agent, offer) = offered();
    world.launch(framework, &offer, &[("a", "cpus:1;mem:32")]);
    let info = world.harness.core.snapshot().frameworks[0].info.clone();
    let run = Order::Run {
        framework: offer.framework.clone(),
        container: world.runs(agent)[0].1.as_str().into(),
        info: launch("a", &offer.agent, "cpus:1;mem:32").info,
    };
    let done = event(framework, Event::Applied { seq: 2 });
    let introduction = Order::UpdateFramework { framework: offer.framework, info };
    assert_eq!(plain(&world.effects), [order(agent, introduction), order(agent, run), done]);
}

#[test]
fn a_status_goes_on_as_it_came_and_its_acknowledgement_back() {
    let (mut world, framework, agent, offer) = offered();
    world.launch(framework, &offer, &[("a", "cpus:1;mem:32")]);
    let (_, container) = world.runs(agent)[0].clone();
    let uuid = Bytes::from_static(&[7; 16]);
    let status = TaskStatus { uuid: Some(uuid.clone()), ..TaskStatus::new("a", TaskState::TaskRunning) };
    let status = Arc::new(status);
    let update = Update {
        framework: offer.framework.to_string(),
        container: container.as_str().into(),
        state: TaskState::TaskRunning,
        latest: TaskState::TaskRunning,
        status: status.clone(),
    };
    world.feed(Input::Reported { session: agent, report: Report::Updated(Box::new(update)) });
    assert_eq!(plain(&world.effects), [event(framework, Event::Updated { status })]);
    world.acknowledge(framework, &offer.agent, "a", &uuid);
    let back = Order::Acknowledge { framework: offer.framework, task: "a".to_owned(), uuid };
    assert_eq!(plain(&world.effects), [order(agent, back), event(framework, Event::Applied { seq: 3 })]);
}

#[test]
fn a_refusal_is_done_and_nothing_is_offered_in_its_place() {
    let (mut world, framework, _, offer) = offered();
    world.decline(framework, &offer, 5);
    assert_eq!(plain(&world.effects), [event(framework, Event::Applied { seq: 2 })]);
}

#[test]
fn a_framework_that_is_torn_down_is_recorded_as_removed_before_its_agents_end_its_tasks() {
    let (mut world, framework, agent, offer) = offered();
    world.launch(framework, &offer, &[("a", "cpus:1;mem:32")]);
    world.call(framework, Call::Teardown);
    let tombstone = FrameworkTombstone { framework_id: offer.framework.to_string(), wall_ns: world.now.wall_ns };
    let removed = RegistryChange { kind: Some(Kind::FrameworkTombstone(tombstone)) };
    assert_eq!(
        plain(&world.effects),
        [
            Effect::Persist { number: RecordNumber::default(), changes: vec![removed] },
            order(agent, Order::Shutdown { framework: offer.framework }),
            event(framework, Event::Applied { seq: 3 }),
            Effect::Close { session: framework, after: RecordNumber::default() },
        ]
    );
}

#[test]
fn the_offers_of_an_agent_whose_stream_breaks_are_rescinded_and_nothing_else_is_sent() {
    let (mut world, framework, agent, offer) = offered();
    world.detach(agent);
    assert_eq!(plain(&world.effects), [event(framework, Event::Rescinded { offer: offer.key })]);
}

#[test]
fn a_framework_with_an_invalid_info_is_sent_an_error_and_its_stream_ends() {
    let mut world = World::new();
    let session = world.attach();
    world.call(session, Call::Invalid { field: "subscribe.framework_info.name".into(), text: "missing".into() });
    let error = Event::Error { text: "subscribe.framework_info.name: missing".into() };
    assert_eq!(
        plain(&world.effects),
        [
            event(session, error),
            event(session, Event::Applied { seq: 1 }),
            Effect::Close { session, after: RecordNumber::default() }
        ]
    );
    assert!(world.harness.core.snapshot().frameworks.is_empty());
}
