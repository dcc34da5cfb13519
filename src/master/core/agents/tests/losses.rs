//! Many agents that are lost at once.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    master::core::{
        Config, Effect, Event, Input, Presence, SessionId,
        tests::world::{World, known, register, reported},
    },
    proto::v1::TaskState,
};

const AGENTS: usize = 1_500;

/// Two frameworks and many agents, each with two tasks of the first.
fn many() -> (World, [SessionId; 2], Vec<SessionId>) {
    let mut world = World::with(crate::master::registry::State::default(), Config::default());
    world.checked = false;
    let ((first, id), (second, _)) = (world.framework("f"), world.framework("g"));
    let agents = (0..AGENTS).map(|at| {
        let mut register = register(None, "cpus:4;mem:1024");
        register.facts.hostname = format!("host{at}");
        register.frameworks = vec![known(&id, "f")];
        let task = |number: usize| (format!("t{at}-{number}"), format!("c{at}-{number}"));
        let tasks = (0..2).map(|number| reported(&id, &task(number), "cpus:2;mem:512", TaskState::TaskRunning));
        register.tasks = tasks.collect();
        world.register(register)
    });
    let agents = agents.collect();
    (world, [first, second], agents)
}

/// The agents that each of these events names.
fn named(effects: &[Effect], session: SessionId) -> Vec<Vec<String>> {
    let of = |effect: &Effect| match effect {
        Effect::SendEvent { session: to, event: Event::Failures { agents }, .. } if *to == session => {
            Some(agents.iter().map(ToString::to_string).collect())
        }
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn agents_lost_together_are_marked_unreachable_over_several_turns_with_one_event_a_turn_for_each_framework() {
    let (mut world, frameworks, agents) = many();
    for agent in agents {
        world.detach(agent);
    }
    world.now = world.now.advanced(Duration::from_mins(11));
    let (mut turns, mut statuses) = (0, 0);
    let mut lost: [BTreeSet<String>; 2] = Default::default();
    while lost[0].len() < AGENTS {
        assert!(world.harness.deadline().is_some_and(|at| at <= world.now.mono_ns), "more is due");
        world.feed(Input::Ticked);
        turns += 1;
        statuses += world.statuses(frameworks[0]).len();
        assert!(world.effects.len() < 6_000, "{} effects in a turn", world.effects.len());
        for (session, lost) in frameworks.iter().zip(&mut lost) {
            let events = named(&world.effects, *session);
            assert!(events.len() <= 1, "{} events in a turn", events.len());
            for agent in events.into_iter().flatten() {
                assert!(lost.insert(agent), "each is named once");
            }
        }
    }
    assert!(turns > 1, "{turns}");
    assert_eq!((statuses, lost[1].len()), (2 * AGENTS, AGENTS));
    let snapshot = world.harness.core.snapshot();
    assert!(snapshot.agents.iter().all(|agent| matches!(agent.presence, Presence::Unreachable { .. })));
    world.harness.core.check();
}

#[test]
fn agents_of_the_registry_that_do_not_reregister_are_marked_unreachable_over_several_turns() {
    let mut state = crate::master::registry::State::default();
    for at in 0..3 * AGENTS {
        state.agents.insert(format!("old-S{at}"), crate::proto::v1::AgentInfo::default());
    }
    let mut world = World::with(state, Config::default());
    world.checked = false;
    let (framework, _) = world.framework("f");
    world.now = world.now.advanced(Duration::from_mins(11));
    let (mut turns, mut lost) = (0, 0);
    while lost < 3 * AGENTS {
        assert!(world.harness.deadline().is_some_and(|at| at <= world.now.mono_ns), "more is due");
        world.feed(Input::Ticked);
        turns += 1;
        lost += named(&world.effects, framework).iter().map(Vec::len).sum::<usize>();
    }
    assert!(turns > 1, "{turns}");
    assert_eq!(world.facts().unreachable.len(), 3 * AGENTS);
}
