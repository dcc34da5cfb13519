//! Final refusals: the refused peer ends, so the registry must store the reason first, for a later master.

use super::world::{World, facts, register};
use crate::{
    master::core::{Call, Effect, Event, Input, Order, Question, SessionId},
    transport::outbox::RecordNumber,
};

const TOTAL: &str = "cpus:4;mem:1024";

/// The record that the last input made.
fn recorded(world: &World) -> RecordNumber {
    let number = world.effects.iter().find_map(|effect| match effect {
        Effect::Persist { number, .. } => Some(*number),
        _ => None,
    });
    number.expect("it is recorded")
}

/// The records that the effects of the last input for this session wait for.
fn afters(world: &World, to: SessionId) -> Vec<RecordNumber> {
    let afters = world.effects.iter().filter_map(|effect| match effect {
        Effect::SendEvent { session, after, .. }
        | Effect::SendOrder { session, after, .. }
        | Effect::Close { session, after }
            if *session == to =>
        {
            Some(*after)
        }
        _ => None,
    });
    afters.collect()
}

#[test]
fn an_agent_that_reregisters_is_refused_as_gone_only_when_the_registry_has_it_so() {
    let mut world = World::new();
    let (session, id) = world.agent(TOTAL);
    world.detach(session);
    world.ask(Question::MarkGone { agent: id.clone() });
    let gone = recorded(&world);
    let session = world.register(register(Some(&id), TOTAL));
    assert!(matches!(&world.orders(session)[..], [Order::Gone]), "{:?}", world.effects);
    assert_eq!(afters(&world, session), [gone, gone]);
    world.feed(Input::Synced { number: gone });
    let session = world.register(register(Some(&id), TOTAL));
    assert_eq!(afters(&world, session), [RecordNumber(0), RecordNumber(0)], "it need not wait any more");
}

#[test]
fn a_framework_is_refused_as_removed_only_when_its_tombstone_is_stored() {
    let mut world = World::new();
    let (session, id) = world.framework("f");
    world.call(session, Call::Teardown);
    let removed = recorded(&world);
    let (session, _) = world.subscribe(facts("f", "*"), Some(&id));
    let error = Event::Error { text: "Framework has been removed".to_owned() };
    assert_eq!(world.events(session).first(), Some(&error));
    assert_eq!(afters(&world, session), [removed; 3]);
}

#[test]
fn an_instance_is_refused_as_replaced_only_when_the_later_one_is_stored() {
    let mut world = World::new();
    let (_, id) = world.subscribe_as("first", facts("f", "*"), None);
    world.subscribe_as("second", facts("f", "*"), Some(&id));
    let replaced = recorded(&world);
    let (session, _) = world.subscribe_as("first", facts("f", "*"), Some(&id));
    let error = Event::Error { text: "Framework failed over".to_owned() };
    assert_eq!(world.events(session).first(), Some(&error));
    assert_eq!(afters(&world, session), [replaced; 3]);
}
