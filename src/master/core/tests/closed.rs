//! Inputs of a session that the core has closed.

use super::world::{World, known, register, reported};
use crate::{
    master::core::{
        Answer, Call, Effect, Event, Input, Order, Presence, Principal, Question, Report, RequestId, SessionId,
        authorization::{Action, Object},
    },
    proto::v1::TaskState,
};

/// All effects of these inputs in one batch, as a frame brings them.
fn batch(world: &mut World, inputs: Vec<Input>) -> Vec<Effect> {
    let mut all = Vec::new();
    for input in inputs {
        world.feed(input);
        all.append(&mut world.effects);
    }
    all
}

fn subscribe(id: &str) -> Call {
    Call::Subscribe(Box::new(known(id, "f")))
}

fn of_frameworks(world: &World) -> (usize, usize) {
    let snapshot = world.harness.core.snapshot();
    (snapshot.frameworks.len(), snapshot.completed.len())
}

#[test]
fn calls_after_a_refused_subscribe_change_nothing() {
    let mut world = World::new();
    let (first, id) = world.framework("f");
    world.call(first, Call::Teardown);
    let before = of_frameworks(&world);
    let session = world.attach();
    let mut fresh = known("", "f");
    fresh.info.id = None;
    let calls = [subscribe(&id), Call::Subscribe(Box::new(fresh)), Call::Teardown];
    let inputs = (1..).zip(calls).map(|(seq, call)| Input::Called { session, seq, call }).collect();
    let effects = batch(&mut world, inputs);
    // The tombstone.
    let after = crate::transport::outbox::RecordNumber(1);
    let expected = [
        Effect::SendEvent { session, after, event: Event::Error { text: "Framework has been removed".to_owned() } },
        Effect::SendEvent { session, after, event: Event::Applied { seq: 1 } },
        Effect::Close { session, after },
    ];
    assert_eq!(effects, expected, "the error leaves, and nothing else");
    assert_eq!(of_frameworks(&world), before);
    world.detach(session);
    assert_eq!(world.effects, []);
}

#[test]
fn calls_after_a_malformed_subscribe_change_nothing() {
    let mut world = World::new();
    let session = world.attach();
    world.call(session, Call::Invalid { field: "subscribe".to_owned(), text: "missing".to_owned() });
    assert!(world.closed(session));
    let mut fresh = known("", "f");
    fresh.info.id = None;
    world.call(session, Call::Subscribe(Box::new(fresh)));
    assert_eq!(world.effects, []);
    assert_eq!(of_frameworks(&world), (0, 0));
}

#[test]
fn reports_after_a_refused_registration_change_nothing() {
    let mut world = World::new();
    let session = world.attach();
    let mut newer = register(None, "cpus:1");
    newer.epoch = 99;
    let reports = [newer, register(None, "cpus:1")].map(|one| Report::Register(Box::new(one)));
    let inputs = reports.into_iter().map(|report| Input::Reported { session, report }).collect();
    let effects = batch(&mut world, inputs);
    assert!(
        matches!(&effects[..], [Effect::SendOrder { order: Order::Refused { .. }, .. }, Effect::Close { .. }]),
        "{effects:?}"
    );
    assert!(world.harness.core.snapshot().agents.is_empty());
}

#[test]
fn an_agent_that_unregistered_is_not_registered_again_on_the_same_session() {
    let mut world = World::new();
    let (session, _) = world.agent("cpus:1");
    let reports = [Report::Unregistered, Report::Register(Box::new(register(None, "cpus:1")))];
    batch(&mut world, reports.map(|report| Input::Reported { session, report }).into());
    assert!(world.harness.core.snapshot().agents.is_empty());
}

#[test]
fn an_agent_whose_session_was_closed_for_a_fault_is_disconnected_at_once() {
    let mut world = World::new();
    let framework = world.framework("f");
    let (session, id) = world.agent("cpus:2;mem:1024");
    let offer = world.offers(framework.0)[0].clone();
    world.launch(framework.0, &offer, &[("t", "cpus:1;mem:32")]);
    let task = world.runs(session)[0].clone();
    world.feed(Input::Reported { session, report: Report::Invalid { text: "torn".to_owned() } });
    assert!(world.closed(session));
    assert_eq!(world.harness.core.snapshot().agents[0].presence, Presence::Disconnected);
    world.update(session, &framework.1, &task, TaskState::TaskRunning);
    assert_eq!(world.effects, [], "a status of the closed session is not taken");
    let mut back = register(Some(&id), "cpus:2;mem:1024");
    back.frameworks = vec![known(&framework.1, "f")];
    back.tasks = vec![reported(&framework.1, &task, "cpus:1;mem:32", TaskState::TaskRunning)];
    let again = world.register(back);
    assert!(world.registered(again).is_some());
    world.detach(session);
    assert_eq!(
        world.harness.core.snapshot().agents[0].presence,
        Presence::Connected,
        "the end of the old session is late"
    );
}

#[test]
fn a_second_registration_in_a_session_ends_it_and_is_not_taken() {
    let mut world = World::new();
    let (session, _) = world.agent("cpus:1");
    let second = || Input::Reported { session, report: Report::Register(Box::new(register(None, "cpus:7"))) };
    let effects = batch(&mut world, vec![second(), second()]);
    assert_eq!(effects.iter().filter(|one| matches!(one, Effect::Close { .. })).count(), 1);
    let agents = world.harness.core.snapshot().agents;
    assert_eq!((agents.len(), agents[0].presence), (1, Presence::Disconnected));
}

#[test]
fn what_a_principal_may_not_do_changes_nothing_and_is_answered() {
    let mut world = World::new();
    let framework = world.framework("f");
    let agent = world.agent("cpus:2;mem:1024");
    world.harness.core.policy = |principal, action, object| {
        assert_eq!(*principal, Principal::Anonymous);
        assert!(!(action == Action::MarkAgentGone && object == Object::Cluster), "the agent is named");
        action == Action::ViewState
    };
    world.call(framework.0, Call::Teardown);
    assert_eq!(world.refusals(framework.0).len(), 1, "{:?}", world.effects);
    world.feed(Input::Asked {
        request: RequestId(1),
        principal: Principal::Anonymous,
        question: Question::MarkGone { agent: agent.1.clone() },
    });
    assert!(matches!(&world.effects[..], [Effect::Reply { answer: Answer::Refused(_), .. }]), "{:?}", world.effects);
    let stranger: SessionId = world.attach();
    world.call(stranger, Call::Subscribe(Box::new(known("x", "f"))));
    world.feed(Input::Reported { session: agent.0, report: Report::Unregistered });
    assert!(world.closed(agent.0));
    let snapshot = world.harness.core.snapshot();
    assert_eq!((snapshot.frameworks.len(), snapshot.agents.len()), (1, 1));
    assert!(matches!(world.ask(Question::Snapshot), Answer::Snapshot(_)));
}
