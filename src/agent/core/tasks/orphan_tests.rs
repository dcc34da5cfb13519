//! Orphans: how they are reported and when they are removed.

use std::time::Duration;

use crate::agent::core::tests::fixture::{FRAMEWORK, Fixture, registered_by};
use crate::agent::core::{Input, SessionId, SupervisorId};
use crate::proto::internal::{self as wire, agent_record, master_message};

const SECOND: Duration = Duration::from_secs(1);

fn shut_down(agent: &mut Fixture) {
    let framework_id = FRAMEWORK.to_owned();
    agent.receive(master_message::Kind::ShutdownFramework(wire::ShutdownFramework { framework_id }));
    agent.take();
}

/// An agent whose container `c1` is an orphan.
fn with_orphan() -> Fixture {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    shut_down(&mut agent);
    agent
}

/// Breaks the session and registers on another one; returns the registration.
fn again(agent: &mut Fixture, session: u64, version: u32) -> String {
    agent.give(Input::Detached { session: SessionId(session), leader: None });
    let session = agent.attach();
    let registration = agent.effects().pop().expect("it registers");
    let mut message = registered_by(1);
    if let Some(master_message::Kind::Registered(registered)) = &mut message.kind {
        registered.version = version;
    }
    agent.give(Input::Received { session, message });
    registration
}

#[test]
fn an_orphan_is_named_at_registration_until_it_is_gone_and_its_end_is_reported() {
    let mut agent = with_orphan();
    assert_eq!(again(&mut agent, 1, 2), "send 2: register [] orphans [c1]");
    agent.take();
    agent.exited("c1", 0);
    assert_eq!(agent.effects(), ["persist forgotten c1", "supervise 1: forget c1", "send 2: orphan gone c1"]);
    assert_eq!(again(&mut agent, 2, 2), "send 3: register []");
}

#[test]
fn an_orphan_that_ended_without_a_session_is_not_named_at_the_next_registration() {
    let mut agent = with_orphan();
    agent.give(Input::Detached { session: SessionId(1), leader: None });
    agent.exited("c1", 0);
    assert_eq!(agent.effects(), ["persist forgotten c1", "supervise 1: forget c1"]);
    agent.attach();
    assert_eq!(agent.effects().pop().unwrap(), "send 2: register []");
}

#[test]
fn a_master_of_the_first_version_is_not_notified_of_an_orphans_end() {
    let mut agent = with_orphan();
    again(&mut agent, 1, 1);
    agent.take();
    agent.exited("c1", 0);
    assert_eq!(agent.effects(), ["persist forgotten c1", "supervise 1: forget c1"]);
}

#[test]
fn an_ended_task_of_a_removed_framework_is_gone_at_once() {
    let mut agent = Fixture::registered(&[]);
    agent.running_and_known("c1");
    agent.exited("c1", 0);
    agent.take();
    agent.receive(master_message::Kind::ShutdownFramework(wire::ShutdownFramework {
        framework_id: FRAMEWORK.to_owned(),
    }));
    let expected =
        ["persist framework forgotten f", "persist forgotten c1", "supervise 1: forget c1", "send 1: orphan gone c1"];
    assert_eq!(agent.effects(), expected);
}

#[test]
fn an_orphan_survives_its_agent_and_is_reported_by_the_next() {
    let agent = with_orphan();
    for log in [agent.log.clone(), agent.harness.core.snapshot()] {
        let mut next = Fixture::recovered(&log);
        next.welcome(&["c1"], &[]);
        assert_eq!(next.effects(), ["supervise 1: signal c1 15 tree"]);
        next.attach();
        assert_eq!(next.effects().pop().unwrap(), "send 1: register [] orphans [c1]");
    }
}

#[test]
fn an_orphan_whose_kill_a_crash_kept_from_the_log_is_killed_by_the_next_agent() {
    let agent = with_orphan();
    let kind = |record: &wire::AgentRecord| matches!(record.kind, Some(agent_record::Kind::FrameworkForgotten(_)));
    let torn = agent.log.iter().position(kind).expect("written") + 1;
    let mut next = Fixture::recovered(&agent.log[..torn]);
    assert_eq!(next.effects(), ["persist kill c1 3000ms"]);
    next.welcome(&["c1"], &[]);
    assert_eq!(next.effects(), ["supervise 1: signal c1 15 tree"]);
    next.exited("c1", 0);
    assert_eq!(next.effects(), ["persist forgotten c1", "supervise 1: forget c1"]);
}

#[test]
fn an_orphan_ends_with_its_supervisor() {
    let mut agent = with_orphan();
    agent.give(Input::SupervisorLost { supervisor: SupervisorId(1), text: "killed".to_owned() });
    assert_eq!(agent.effects(), Vec::<String>::new(), "its end is not known yet");
    agent.give(Input::SupervisorEnded { supervisor: SupervisorId(1) });
    assert_eq!(agent.effects(), ["persist forgotten c1", "send 1: orphan gone c1", "persist supervisor ended pid 1"]);
}

#[test]
fn a_container_without_a_record_that_does_not_die_in_time_is_reported_as_an_orphan() {
    let mut agent = Fixture::recovered(&[]);
    agent.take();
    agent.welcome(&["unrecorded"], &[]);
    assert_eq!(agent.effects(), ["supervise 1: signal unrecorded 9 tree"]);
    agent.pass(10 * SECOND);
    let session = agent.attach();
    assert_eq!(agent.effects().pop().unwrap(), "send 1: register [] orphans [unrecorded]");
    agent.give(Input::Received { session, message: registered_by(1) });
    agent.take();
    agent.exited("unrecorded", 0);
    assert_eq!(agent.effects(), ["send 1: orphan gone unrecorded", "supervise 1: forget unrecorded"]);
    assert_eq!(again(&mut agent, 1, 2), "send 2: register []");
}
