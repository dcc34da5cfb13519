//! Quotas in the core: set, refused, recorded, kept over a restart, and enforced by rescinding offers.

use std::time::Duration;

use super::world::{World, facts, known, register, reported};
use crate::{
    allocator::fair::Quota,
    master::{
        core::{Answer, Call, Config, Effect, Event, Input, Principal, Question, RequestId},
        registry::State,
    },
    proto::{
        internal::RegistryChange,
        v1::{AgentInfo, TaskState},
    },
    types::Milli,
};

const CALM: Duration = Duration::from_millis(1_100);

fn quota(least: &[(&str, f64)], most: &[(&str, f64)]) -> Quota {
    Quota::new(least.iter().copied(), most.iter().copied()).expect("a quota")
}

/// Sets a quota; returns the text of the refusal, if it is refused.
fn set(world: &mut World, role: &str, quota: Quota, force: bool) -> Result<(), String> {
    let question = Question::Quotas { quotas: vec![(role.to_owned(), quota)], force };
    world.feed(Input::Asked { request: RequestId(7), principal: Principal::Anonymous, question });
    let reply = world.effects.iter().find_map(|effect| match effect {
        Effect::Reply { answer: Answer::Refused(text), .. } => Some(Err(text.clone())),
        Effect::Reply { .. } => Some(Ok(())),
        _ => None,
    });
    reply.expect("an answer")
}

fn persisted(world: &World) -> Vec<RegistryChange> {
    let changes = world.effects.iter().filter_map(|effect| match effect {
        Effect::Persist { changes, .. } => Some(changes.clone()),
        _ => None,
    });
    changes.flatten().collect()
}

/// Applies what was recorded in the last step to a registry's state.
fn apply(world: &World, state: &mut State) {
    for change in persisted(world) {
        state.apply(&change);
    }
}

fn cpus(units: i64) -> Milli {
    Milli::from_units(units)
}

#[test]
fn a_quota_is_written_before_it_is_confirmed_and_survives_a_restart() {
    let mut world = World::new();
    set(&mut world, "a", quota(&[], &[("cpus", 1.0)]), false).expect("set");
    let kinds: Vec<bool> = world.effects.iter().map(|effect| matches!(effect, Effect::Persist { .. })).collect();
    assert_eq!(kinds, [true, false], "{:?}", world.effects);
    let mut state = State::default();
    apply(&world, &mut state);
    let mut next = World::with(state, Config::default());
    let (framework, _) = next.subscribe(facts("f", "a"), None);
    let _ = next.agent("cpus:4;mem:64");
    assert_eq!(next.offers(framework)[0].resources.cpus(), cpus(1));
}

#[test]
fn a_limit_is_not_passed_by_the_offers_and_tasks_of_a_whole_subtree() {
    let mut world = World::new();
    set(&mut world, "a", quota(&[], &[("cpus", 3.0)]), false).expect("set");
    let (first, id) = world.subscribe(facts("first", "a/x"), None);
    let (agent, _) = world.agent("cpus:2;mem:64");
    let offer = world.offers(first)[0].clone();
    world.launch(first, &offer, &[("t", "cpus:2;mem:64")]);
    let task = world.runs(agent)[0].clone();
    let (second, _) = world.subscribe(facts("second", "a/y"), None);
    let _ = world.agent("cpus:4;mem:64");
    let given: Milli = world.offers(second).iter().chain(&world.offers(first)).map(|one| one.resources.cpus()).sum();
    assert_eq!(given, cpus(1));
    world.update(agent, &id, &task, TaskState::TaskFinished);
    world.wait(CALM);
    world.harness.core.check();
}

#[test]
fn a_guarantee_rescinds_offers_of_others() {
    let mut world = World::new();
    let (other, _) = world.subscribe(facts("other", "n"), None);
    let (wanting, _) = world.subscribe(facts("wanting", "q"), None);
    let _ = world.agent("cpus:4;mem:64");
    let offer = world.offers(other)[0].clone();
    set(&mut world, "q", quota(&[("cpus", 2.0)], &[("cpus", 2.0)]), false).expect("set");
    let sent = world.events(other);
    assert!(matches!(sent[0], Event::Rescinded { offer: one } if one == offer.key), "{sent:?}");
    assert_eq!(world.offers(wanting)[0].resources.cpus(), cpus(2));
}

#[test]
fn a_limit_below_what_is_consumed_is_refused_unless_forced_and_then_rescinds_offers() {
    let mut world = World::new();
    let (framework, _) = world.subscribe(facts("f", "q"), None);
    let _ = world.agent("cpus:4;mem:64");
    assert_eq!(world.offers(framework).len(), 1);
    let text = set(&mut world, "q", quota(&[], &[("cpus", 1.0)]), false).expect_err("refused");
    assert_eq!(text, "role q has cpus:4, over its limit of cpus:1; force sets it all the same");
    assert!(persisted(&world).is_empty());
    set(&mut world, "q", quota(&[], &[("cpus", 1.0)]), true).expect("forced");
    assert!(matches!(world.events(framework)[0], Event::Rescinded { .. }));
    assert_eq!(world.offers(framework)[0].resources.cpus(), cpus(1));
}

#[test]
fn more_guaranteed_than_the_cluster_has_is_refused_unless_forced() {
    let mut world = World::new();
    let _ = world.agent("cpus:4;mem:64");
    let text = set(&mut world, "q", quota(&[("cpus", 5.0)], &[]), false).expect_err("refused");
    assert_eq!(text, "cpus:5 would be guaranteed, the cluster has cpus:4; force sets it all the same");
    set(&mut world, "q", quota(&[("cpus", 5.0)], &[]), true).expect("forced");
    let (other, _) = world.subscribe(facts("other", "n"), None);
    assert!(world.offers(other).iter().all(|offer| offer.resources.cpus() == Milli::ZERO), "all is kept back");
}

#[test]
fn quotas_that_contradict_one_another_are_refused_even_by_force() {
    let mut world = World::new();
    set(&mut world, "a", quota(&[], &[("cpus", 2.0)]), true).expect("set");
    let text = set(&mut world, "a/b", quota(&[("cpus", 3.0)], &[]), true).expect_err("refused");
    assert_eq!(text, "a/b is guaranteed cpus:3, but a is limited to cpus:2");
}

#[test]
fn an_empty_quota_removes_it() {
    let mut world = World::new();
    set(&mut world, "a", quota(&[], &[("cpus", 0.0), ("mem", 0.0)]), false).expect("set");
    let (framework, _) = world.subscribe(facts("f", "a"), None);
    let _ = world.agent("cpus:4;mem:64");
    assert!(world.offers(framework).is_empty());
    set(&mut world, "a", quota(&[], &[]), false).expect("removed");
    assert_eq!(world.offers(framework).len(), 1);
}

/// A master that starts with a limit of 2 cpus for `q`, and so many agents in its registry, all with a task of `q`.
fn restarted(agents: usize) -> World {
    let mut first = World::new();
    set(&mut first, "q", quota(&[], &[("cpus", 2.0)]), false).expect("set");
    let mut state = State::default();
    apply(&first, &mut state);
    for _ in 0..agents {
        let _ = first.agent("cpus:4;mem:64");
        apply(&first, &mut state);
    }
    World::with(state, Config::default())
}

#[test]
fn nothing_is_offered_after_a_start_before_most_agents_have_reregistered() {
    let mut world = restarted(5);
    let (framework, _) = world.subscribe(facts("f", "q"), Some("f-1"));
    for number in 0..5 {
        let mut back = register(Some(&format!("m-S{number}")), "cpus:4;mem:64");
        let task = (format!("t{number}"), format!("c{number}"));
        if number < 2 {
            back.tasks = vec![reported("f-1", &task, "cpus:1;mem:32", TaskState::TaskRunning)];
            back.tasks[0].role = "q".into();
            back.frameworks = vec![known("f-1", "f")];
        }
        world.register(back);
        assert!(number >= 3 || world.inbox().is_empty(), "{number} of five have re-registered");
    }
    world.wait(CALM);
    let offered = world.inbox();
    assert!(!offered.is_empty() && offered.iter().all(|(session, _)| *session == framework));
    let over = offered.iter().any(|(_, offer)| offer.resources.cpus() > Milli::ZERO);
    assert!(!over, "the role is at its limit with tasks the new master did not start");
}

#[test]
fn the_wait_for_agents_after_a_start_ends_with_their_time_to_return() {
    let mut world = restarted(5);
    let (framework, _) = world.subscribe(facts("f", "q"), None);
    let _ = world.agent("cpus:4;mem:64");
    assert!(world.offers(framework).is_empty());
    world.wait(Duration::from_secs(599));
    assert!(world.offers(framework).is_empty());
    world.wait(Duration::from_secs(2));
    assert_eq!(world.offers(framework)[0].resources.cpus(), cpus(2));
}

#[test]
fn while_nothing_may_be_offered_no_turn_leaves_anything_that_is_due_at_once() {
    let mut state = State::default();
    for at in 0..5 {
        state.agents.insert(format!("old-S{at}"), AgentInfo::default());
    }
    let mut world = World::with(state, Config::default());
    let (framework, _) = world.framework("f");
    let _ = world.agent("cpus:4;mem:64");
    assert_eq!(world.offers(framework).len(), 1, "without quotas allocation is not held");
    set(&mut world, "q", quota(&[], &[("cpus", 2.0)]), false).expect("set");
    for second in 0..60 {
        world.now = world.now.advanced(Duration::from_secs(1));
        world.feed(Input::Ticked);
        let deadline = world.harness.deadline().expect("a heartbeat at least");
        assert!(deadline > world.now.mono_ns, "after {second} s");
    }
}

#[test]
fn a_short_refusal_does_not_end_a_long_one_of_the_same_agent() {
    let mut world = World::new();
    let (framework, id) = world.framework("f");
    let (agent, _) = world.agent("cpus:4;mem:1024");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:3;mem:512")]);
    let task = world.runs(agent)[0].clone();
    world.wait(Duration::from_secs(6));
    let rest = world.offers(framework)[0].clone();
    world.decline(framework, &rest, 3_600);
    world.update(agent, &id, &task, TaskState::TaskFinished);
    world.wait(CALM);
    let (_, all) = world.inbox().pop().expect("more than was refused");
    world.launch(framework, &all, &[("u", "cpus:3;mem:512")]);
    world.wait(Duration::from_mins(1));
    assert!(world.offers(framework).is_empty(), "what is left was refused for an hour");
    world.call(framework, Call::Revive { roles: Vec::new() });
    assert_eq!(world.offers(framework).len(), 1);
}
