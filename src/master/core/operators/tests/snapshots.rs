//! Snapshots of more agents than one turn visits.

use std::{sync::Arc, time::Duration};

use super::world::{World, register};
use crate::{
    master::{
        core::{Answer, Config, Effect, Input, Principal, Question, Report, RequestId, SessionId, Snapshot},
        registry::State,
    },
    proto::v1::AgentInfo,
};

const AGENTS: usize = 100;

/// A master with short turns, with as many agents registered as missing.
fn many() -> (World, Vec<SessionId>) {
    let mut state = State::default();
    for at in 0..AGENTS {
        state.agents.insert(format!("old-S{at}"), AgentInfo::default());
    }
    let mut world = World::with(state, Config { work_per_turn: 2, ..Config::default() });
    let agents = (0..AGENTS).map(|at| join(&mut world, None, at)).collect();
    (world, agents)
}

fn join(world: &mut World, id: Option<&str>, at: usize) -> SessionId {
    let mut register = register(id, "cpus:4;mem:1024");
    register.facts.hostname = format!("host{at}");
    let session = world.register(register);
    while tick(world) {}
    session
}

/// One turn, if more is due.
fn tick(world: &mut World) -> bool {
    let is_due = world.harness.deadline().is_some_and(|at| at <= world.now.mono_ns);
    if is_due {
        world.feed(Input::Ticked);
    }
    is_due
}

fn ask(world: &mut World, request: u64) {
    let question = Question::Snapshot;
    world.feed(Input::Asked { request: RequestId(request), principal: Principal::Anonymous, question });
}

fn answers(world: &World) -> Vec<(u64, Arc<Snapshot>)> {
    let answered = world.effects.iter().filter_map(|effect| match effect {
        Effect::Reply { request, answer: Answer::Snapshot(snapshot), .. } => Some((request.0, snapshot.clone())),
        _ => None,
    });
    answered.collect()
}

#[test]
fn a_snapshot_takes_several_turns_and_serves_all_who_asked_meanwhile() {
    let (mut world, _) = many();
    ask(&mut world, 1);
    assert!(answers(&world).is_empty(), "one turn is not enough");
    ask(&mut world, 2);
    let mut turns = 2;
    while answers(&world).is_empty() {
        assert!(tick(&mut world), "more is due");
        turns += 1;
    }
    assert!(turns > 2 * AGENTS / 16, "{turns} turns");
    let answers = answers(&world);
    assert_eq!(answers.iter().map(|(request, _)| *request).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((answers[0].1.agents.len(), answers[0].1.recovered.len()), (AGENTS, AGENTS));
    assert!(!tick(&mut world), "nothing more is due");
}

#[test]
fn a_snapshot_is_of_the_moment_of_its_last_turn_whatever_happens_before() {
    // The number of turns before the changes.
    for after in 0..13 {
        let (mut world, agents) = many();
        ask(&mut world, 1);
        for _ in 0..after {
            tick(&mut world);
        }
        assert!(answers(&world).is_empty(), "it is not over after {after} turns");
        for agent in [agents[0], agents[AGENTS - 1]] {
            world.feed(Input::Reported { session: agent, report: Report::Unregistered });
        }
        world.detach(agents[1]);
        world.detach(agents[AGENTS - 2]);
        let mut snapshot = None;
        for id in ["old-S0", "old-S55", "old-S99"] {
            let mut back = register(Some(id), "cpus:2;mem:64");
            back.facts.hostname = id.to_owned();
            world.register(back);
            snapshot = snapshot.or_else(|| answers(&world).pop());
        }
        let mut now = world.harness.core.snapshot();
        while snapshot.is_none() && tick(&mut world) {
            snapshot = answers(&world).pop();
            now = world.harness.core.snapshot();
        }
        let (_, snapshot) = snapshot.expect("it is answered");
        assert_eq!((*snapshot).clone(), now, "after {after} turns");
        assert_eq!((snapshot.agents.len(), snapshot.recovered.len()), (AGENTS + 1, AGENTS - 3));
        world.wait(Duration::from_mins(1));
    }
}
