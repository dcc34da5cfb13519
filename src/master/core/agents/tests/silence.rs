//! Silence: when an agent that sends nothing is marked unreachable, with its stream or without.

use std::time::Duration;

use super::world::{World, register};
use crate::master::core::{Input, Order, Presence, Report};

/// Five pings, fifteen seconds apart.
const TIMEOUT: Duration = Duration::from_secs(75);

fn presence(world: &World) -> Presence {
    world.harness.core.snapshot().agents[0].presence
}

#[test]
fn an_agent_that_reconnected_often_is_given_as_much_time_as_any_other() {
    let mut world = World::new();
    let (_, id) = world.agent("cpus:4;mem:1024");
    let mut session = None;
    for _ in 0..5 {
        world.wait(Duration::from_secs(1));
        session = Some(world.register(register(Some(&id), "cpus:4;mem:1024")));
    }
    world.wait(Duration::from_mins(5));
    let pings = world.orders(session.expect("registered")).iter().filter(|order| matches!(order, Order::Ping)).count();
    assert_eq!(pings, 20, "one chain of pings per session");
    world.lively = false;
    world.wait(TIMEOUT);
    assert_eq!(presence(&world), Presence::Connected);
    world.wait(Duration::from_secs(16));
    assert!(matches!(presence(&world), Presence::Unreachable { .. }));
}

#[test]
fn an_agent_without_a_stream_is_silent_too() {
    let mut world = World::new();
    let (agent, _) = world.agent("cpus:4;mem:1024");
    world.detach(agent);
    world.wait(TIMEOUT.saturating_sub(Duration::from_secs(1)));
    assert_eq!(presence(&world), Presence::Disconnected);
    world.wait(Duration::from_secs(2));
    assert!(matches!(presence(&world), Presence::Unreachable { .. }), "{:?}", presence(&world));
}

#[test]
fn an_agent_that_speaks_is_not_silent_though_its_answers_to_pings_are_behind() {
    let mut world = World::new();
    let (agent, _) = world.agent("cpus:4;mem:1024");
    world.lively = false;
    for _ in 0..20 {
        world.wait(Duration::from_secs(10));
        let report = Report::Sent { framework: "f".into(), executor: "e".into(), data: bytes::Bytes::new() };
        world.feed(Input::Reported { session: agent, report });
    }
    assert_eq!(presence(&world), Presence::Connected);
}

#[test]
fn nothing_is_concluded_from_silence_while_the_registration_waits_for_the_registry() {
    let mut world = World::new();
    (world.stores, world.lively) = (false, false);
    world.agent("cpus:4;mem:1024");
    world.wait(Duration::from_hours(1));
    assert_eq!(presence(&world), Presence::Connected, "pings wait behind REGISTERED");
    world.stores = true;
    world.wait(TIMEOUT);
    assert_eq!(presence(&world), Presence::Connected, "from then on it has as much time as any other");
    world.wait(Duration::from_secs(31));
    assert!(matches!(presence(&world), Presence::Unreachable { .. }), "{:?}", presence(&world));
}

#[test]
fn the_time_of_one_absence_does_not_run_on_into_the_next() {
    let mut world = World::new();
    let (first, id) = world.agent("cpus:4;mem:1024");
    world.detach(first);
    world.wait(Duration::from_mins(1));
    let second = world.register(register(Some(&id), "cpus:4;mem:1024"));
    world.wait(Duration::from_secs(5));
    world.detach(second);
    world.wait(Duration::from_secs(30));
    assert_eq!(presence(&world), Presence::Disconnected, "30 s of its 75");
    world.wait(Duration::from_secs(46));
    assert!(matches!(presence(&world), Presence::Unreachable { .. }));
}
