//! Tombstones: how many are kept, for how long, and what happens to frameworks without one.

use std::time::Duration;

use super::world::{World, facts, known, register};
use crate::master::{
    core::{Call, Config, Event, Link, SessionId},
    registry::State,
};

fn error(world: &World, session: SessionId) -> Option<String> {
    world.events(session).into_iter().find_map(|event| match event {
        Event::Error { text } => Some(text),
        _ => None,
    })
}

/// Subscribes a framework and tears it down.
fn short(world: &mut World) -> String {
    let (session, id) = world.framework("f");
    world.call(session, Call::Teardown);
    id
}

#[test]
fn a_tombstone_is_kept_for_as_long_as_the_registry_remembers_and_no_longer() {
    let age = Duration::from_mins(30);
    let interval = Duration::from_mins(15);
    let mut world = World::with(
        State::default(),
        Config { registry_max_age: age, registry_gc_interval: interval, ..Config::default() },
    );
    short(&mut world);
    let kept = |world: &World| world.stored.removed_frameworks.len();
    world.wait(age);
    assert_eq!(kept(&world), 1, "it has exactly the maximum age");
    world.wait(interval);
    assert_eq!(kept(&world), 0);
}

#[test]
fn frameworks_that_come_and_go_leave_no_more_than_the_latest_tombstones() {
    let config = Config { removed_frameworks: 3, ..Config::default() };
    let mut world = World::with(State::default(), config);
    let mut ids = Vec::new();
    for _ in 0..50 {
        world.wait(Duration::from_millis(10));
        ids.push(short(&mut world));
        assert!(world.stored.removed_frameworks.len() <= 3, "also between two garbage collections");
    }
    let left: Vec<&str> = world.stored.removed_frameworks.oldest_first().map(|(id, _)| id).collect();
    assert_eq!(left, ids[47..]);
    assert_eq!(world.stored.as_changes().len(), 3);
}

#[test]
fn a_framework_that_this_master_removed_does_not_come_back_though_its_tombstone_is_gone() {
    let config = Config { removed_frameworks: 1, ..Config::default() };
    let mut world = World::with(State::default(), config);
    let first = short(&mut world);
    short(&mut world);
    assert!(!world.stored.removed_frameworks.contains(&first));
    let (again, _) = world.subscribe(facts("f", "*"), Some(&first));
    assert_eq!(error(&world, again).as_deref(), Some("Framework has been removed"));
    let mut agent = register(None, "cpus:4;mem:1024");
    agent.frameworks = vec![known(&first, "f")];
    world.register(agent);
    let frameworks = world.harness.core.snapshot().frameworks;
    assert!(
        frameworks.iter().all(|framework| *framework.id != *first),
        "an agent does not bring it back: {frameworks:?}"
    );
}

#[test]
fn a_tombstone_is_forgotten_when_it_is_as_old_as_agents_may_be_and_what_comes_then_is_recovered() {
    let config = Config { registry_max_age: Duration::from_mins(20), ..Config::default() };
    let mut state = State::default();
    state.remove_framework("old-0000", 0);
    let mut world = World::with(state, config);
    let here = short(&mut world);
    world.wait(Duration::from_mins(16));
    assert_eq!(world.stored.removed_frameworks.len(), 2, "one without a time counts from the start of this master");
    let (refused, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
    assert_eq!(error(&world, refused).as_deref(), Some("Framework has been removed"));
    world.wait(Duration::from_mins(15));
    assert!(world.stored.removed_frameworks.is_empty(), "{here} too: {:?}", world.stored);
    let mut agent = register(None, "cpus:4;mem:1024");
    agent.frameworks = vec![known("old-0000", "f")];
    world.register(agent);
    let frameworks = world.harness.core.snapshot().frameworks;
    assert_eq!(frameworks[0].link, Link::Recovered, "readers see that it has not subscribed here");
}
