//! Nested containers: a child starts after its parent and ends with it.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::container::{Container, Limits, Phase};
use crate::agent::core::tests::fixture::{Fixture, ONE, found, id, started, task};
use crate::agent::core::*;
use crate::proto::internal::supervisor_event;
use crate::proto::v1::TaskState;
use crate::proto::v1::task_status::Reason;

/// An agent that runs `pod`, and `a` and `b` within it.
fn pod() -> Fixture {
    let mut agent = Fixture::registered(&[]);
    agent.running("pod");
    agent.running_in("pod", "a");
    agent.running_in("pod", "b");
    for container in ["pod", "a", "b"] {
        agent.acknowledge(container);
    }
    agent.take();
    agent
}

fn signals(agent: &mut Fixture) -> Vec<String> {
    agent.effects().into_iter().filter(|effect| effect.contains("signal")).collect()
}

#[test]
fn a_child_waits_for_its_parent_to_run_and_starts_in_it() {
    let mut agent = Fixture::registered(&[]);
    agent.run("pod", &task("pod"));
    agent.run_in("pod", "a");
    assert_eq!(agent.effects(), ["persist accepted pod", "make the sandbox pod", "persist accepted a"]);
    agent.give(Input::StepDone { container: id("pod"), step: Step::Sandbox });
    agent.take();
    agent.supervised(supervisor_event::Kind::Started(started("pod")));
    assert_eq!(agent.effects().last().unwrap(), "make the sandbox a");
    agent.give(Input::StepDone { container: id("a"), step: Step::Sandbox });
    let start = agent.take().into_iter().find_map(|effect| match effect {
        Effect::Supervise { request, .. } => match request.kind {
            Some(crate::proto::internal::supervisor_request::Kind::Start(start)) => Some(start),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(start.unwrap().parent_id.as_deref(), Some("pod"));
}

#[test]
fn a_kill_of_a_parent_kills_what_is_nested_in_it_first() {
    let mut agent = pod();
    agent.kill("pod", None);
    let expected =
        ["supervise 1: signal a 15 tree", "supervise 1: signal b 15 tree", "supervise 1: signal pod 15 tree"];
    assert_eq!(signals(&mut agent), expected);
    agent.pass(Duration::from_secs(3));
    assert_eq!(signals(&mut agent).len(), 3, "each gets SIGKILL");
    agent.exited("a", 0);
    assert_eq!(agent.status("a").state(), TaskState::TaskKilled);
}

#[test]
fn the_end_of_a_parent_kills_nested_containers_and_reports_why() {
    let mut agent = pod();
    agent.exited("pod", 3);
    assert_eq!(signals(&mut agent), ["supervise 1: signal a 15 tree", "supervise 1: signal b 15 tree"]);
    agent.exited("a", 0);
    let status = agent.status("a");
    assert_eq!((status.state(), status.reason()), (TaskState::TaskFailed, Reason::ExecutorTerminated));
    let text = "ended by the agent: its parent container ended: command exited with status 0";
    assert_eq!(status.message.unwrap(), text);
}

#[test]
fn the_end_of_a_child_leaves_its_parent_and_siblings_alone() {
    let mut agent = pod();
    agent.exited("a", 0);
    assert_eq!(signals(&mut agent), Vec::<String>::new());
    assert!(agent.harness.core.is_live(&id("pod")) && agent.harness.core.is_live(&id("b")));
}

#[test]
fn a_child_of_an_unknown_parent_fails_with_its_name() {
    let mut agent = Fixture::registered(&[]);
    agent.run_in("pod", "a");
    let status = agent.status("a");
    assert_eq!(status.state(), TaskState::TaskFailed);
    assert_eq!(status.message.unwrap(), "its parent container pod is not there");
}

#[test]
fn a_restarted_agent_knows_what_is_nested_in_what() {
    let mut agent = pod();
    for log in [agent.log.clone(), agent.harness.core.snapshot()] {
        let mut again = Fixture::recovered_at(&log, agent.now, found(&[ONE]));
        again.welcome(&["pod", "a", "b"], &[]);
        again.take();
        again.exited("pod", 0);
        assert_eq!(signals(&mut again), ["supervise 1: signal a 15 tree", "supervise 1: signal b 15 tree"]);
    }
    // The agent ended between the end of the parent and the kills of its children.
    agent.exited("pod", 0);
    let cut = agent.log.iter().position(|record| matches!(record.kind, Some(agent_record::Kind::Kill(_)))).unwrap();
    let mut again = Fixture::recovered_at(&agent.log[..cut], agent.now, found(&[ONE]));
    again.welcome(&["a", "b"], &[]);
    assert_eq!(signals(&mut again), ["supervise 1: signal a 15 tree", "supervise 1: signal b 15 tree"]);
}

#[test]
fn records_that_nest_containers_in_each_other_are_read_and_their_kill_ends() {
    let mut agent = Fixture::registered(&[]);
    for (container, parent) in [("a", "b"), ("b", "c"), ("c", "a"), ("own", "own")] {
        let nested = Container::new(
            Some(id(parent)),
            crate::agent::core::time::moments::Moment::read(1, 1),
            Limits::default(),
            Phase::Unresolved(None),
        );
        agent.harness.core.containers.insert(&id(container), nested);
    }
    let parents = ["a", "b", "c", "own"]
        .map(|container| agent.harness.core.containers.get(&id(container)).unwrap().parent.clone());
    assert_eq!(
        parents,
        [Some(id("b")), Some(id("c")), None, None],
        "the record that closes the circle counts for less"
    );
}

/// In random trees with random ends and kills: no container runs on without its parent, and all have ended once every
/// kill was carried out.
#[test]
fn nothing_outlives_its_parent_in_any_tree() {
    for seed in 0..200 {
        let mut chance = StdRng::seed_from_u64(seed);
        let mut agent = Fixture::registered(&[]);
        let names: Vec<String> = (0..chance.random_range(2..9)).map(|number| format!("c{number}")).collect();
        agent.running(&names[0]);
        for number in 1..names.len() {
            let parent = names[chance.random_range(0..number)].clone();
            agent.running_in(&parent, &names[number]);
        }
        let first = &names[chance.random_range(0..names.len())];
        if chance.random() {
            agent.exited(first, 0);
        } else {
            agent.kill(first, None);
        }
        if chance.random() {
            agent = Fixture::recovered_at(&agent.log, agent.now, found(&[ONE]));
            let live: Vec<&str> =
                names.iter().map(String::as_str).filter(|it| agent.harness.core.is_live(&id(it))).collect();
            agent.welcome(&live, &[]);
        }
        agent.harness.core.check();
        let is_killed = |agent: &Fixture, name: &str| {
            agent.harness.core.containers.get(&id(name)).is_some_and(|container| container.kill.is_some())
        };
        let mut last = 0;
        for _ in 0..names.len() {
            for name in &names {
                if agent.harness.core.is_live(&id(name)) && is_killed(&agent, name) {
                    agent.exited(name, 0);
                    agent.harness.core.check();
                }
            }
            last = names.iter().filter(|name| agent.harness.core.is_live(&id(name))).count();
        }
        let alone =
            names.iter().filter(|name| agent.harness.core.is_live(&id(name))).all(|name| !is_killed(&agent, name));
        assert!(alone, "seed {seed}: {last} are being killed and have not ended");
    }
}
