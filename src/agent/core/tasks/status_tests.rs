//! Statuses until they are acknowledged: resent in order, through restarts of agent and master.

use std::time::Duration;

use crate::agent::core::tests::fixture::{Fixture, ONE, found, id, registered_by, task};
use crate::agent::core::*;
use crate::proto::internal::{self as wire, agent_message, master_message};
use crate::proto::v1::{TaskState, TaskStatus};

const SECOND: Duration = Duration::from_secs(1);

/// The statuses that were sent since the last time.
fn sent(agent: &mut Fixture) -> Vec<TaskStatus> {
    let update = |effect: Effect| match effect {
        Effect::Send { message: wire::AgentMessage { kind: Some(agent_message::Kind::Update(update)) }, .. } => {
            update.status
        }
        _ => None,
    };
    agent.take().into_iter().filter_map(update).collect()
}

/// Attaches and registers anew, whatever came before.
fn register_again(agent: &mut Fixture) {
    let session = agent.attach();
    agent.give(Input::Received { session, message: registered_by(1) });
}

#[test]
fn a_status_is_resent_at_growing_intervals_until_it_is_acknowledged() {
    let mut agent = Fixture::registered(&[]);
    agent.running("c1");
    let first = sent(&mut agent);
    assert_eq!(first.len(), 1);
    for wait in [10, 20, 40, 80, 160, 320, 600, 600] {
        let end = agent.now.advanced(wait * SECOND);
        // The master is connected all the time.
        while agent.now.mono_ns < end.mono_ns {
            assert_eq!(sent(&mut agent), vec![], "before {wait} s are over");
            agent.receive(master_message::Kind::Ping(wire::Ping {}));
            let step = Duration::from_nanos(end.mono_ns - agent.now.mono_ns).min(5 * SECOND);
            agent.pass(step);
        }
        assert_eq!(sent(&mut agent), first, "after {wait} s");
    }
    agent.acknowledge("c1");
    agent.receive(master_message::Kind::Ping(wire::Ping {}));
    agent.pass(70 * SECOND);
    assert_eq!(sent(&mut agent), vec![]);
}

#[test]
fn a_new_session_sends_at_once_what_is_not_acknowledged_and_waits_as_at_first() {
    let mut agent = Fixture::registered(&[]);
    agent.running("c1");
    let first = sent(&mut agent);
    for _ in 0..2 {
        agent.pass(20 * SECOND);
    }
    agent.take();
    agent.give(Input::Detached { session: SessionId(1), leader: None });
    agent.pass(Duration::ZERO);
    assert_eq!(sent(&mut agent), vec![], "nothing is sent without a session");
    register_again(&mut agent);
    assert_eq!(sent(&mut agent), first);
    agent.pass(10 * SECOND);
    assert_eq!(sent(&mut agent), first);
}

#[test]
fn a_status_survives_the_agent_unchanged_and_the_next_one_waits_for_it() {
    let mut agent = Fixture::registered(&[]);
    agent.running("c1");
    let first = sent(&mut agent);
    agent.exited("c1", 0);
    assert_eq!(sent(&mut agent), vec![], "one at a time");
    for log in [agent.log.clone(), agent.harness.core.snapshot()] {
        let mut again = Fixture::recovered_at(&log, agent.now, found(&[ONE]));
        again.welcome(&[], &[("c1", 0)]);
        register_again(&mut again);
        assert_eq!(sent(&mut again), first, "the same status, by the same uuid");
        again.acknowledge("c1");
        let next = sent(&mut again);
        assert_eq!(next[0].state(), TaskState::TaskFinished);
        again.acknowledge("c1");
        assert_eq!(again.effects(), ["persist acknowledged c1 + forgotten c1", "supervise 1: forget c1"]);
        let mut third = Fixture::recovered(&again.log);
        third.welcome(&[], &[]);
        register_again(&mut third);
        assert_eq!(sent(&mut third), vec![], "an acknowledged end is not sent again");
        assert_eq!(third.harness.core.task_count(), 0);
    }
}

#[test]
fn an_acknowledgement_that_comes_twice_or_late_does_not_take_the_next_status() {
    let mut agent = Fixture::registered(&[]);
    agent.run("c1", &task("c1"));
    agent.give(Input::StepDone { container: id("c1"), step: Step::Sandbox });
    agent.supervised(wire::supervisor_event::Kind::Started(crate::agent::core::tests::fixture::started("c1")));
    agent.exited("c1", 0);
    let uuid = sent(&mut agent)[0].uuid.clone().unwrap();
    let acknowledge = wire::Acknowledge {
        framework_id: crate::agent::core::tests::fixture::FRAMEWORK.to_owned(),
        task_id: "task-c1".to_owned(),
        uuid,
    };
    for _ in 0..3 {
        agent.receive(master_message::Kind::Acknowledge(acknowledge.clone()));
    }
    assert_eq!(sent(&mut agent).len(), 1);
    assert_eq!(agent.status("c1").state(), TaskState::TaskFinished, "it is in flight still");
}
