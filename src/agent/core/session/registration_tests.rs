//! Registration with a master: the agent's identity, and which masters it accepts, follows and leaves.

use std::time::Duration;

use rand::SeedableRng as _;

use crate::agent::core::tests::fixture::{Fixture, ONE, found, registered_by};
use crate::agent::core::*;
use crate::proto::internal::{self as wire, agent_message, master_message};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_new_agent_syncs_its_identity() {
    let mut agent = Fixture::recovered(&[]);
    assert_eq!(agent.effects(), ["persist starts go to ", "persist! identity  boot"]);
    assert_eq!(agent.harness.core.deadline(), None, "it does not know yet what it runs");
    agent.welcome(&[], &[]);
    assert!(agent.harness.core.deadline().unwrap() < 1_000_000_000);
    agent.register();
    assert_eq!(agent.effects(), ["attach 1", "send 1: register []", "persist! identity S0 boot + epoch 1"]);
    assert_eq!(agent.harness.core.id(), Some("S0"));
}

#[test]
fn an_agent_that_did_not_receive_its_id_registers_as_the_same_work_directory_in_another_run() {
    let registration = |agent: &mut Fixture| {
        agent.welcome(&[], &[]);
        agent.attach();
        let sent = agent.take().into_iter().find_map(|effect| match effect {
            Effect::Send { message: wire::AgentMessage { kind: Some(agent_message::Kind::Register(it)) }, .. } => {
                Some(it)
            }
            _ => None,
        });
        let it = sent.expect("a registration");
        (it.installation, it.instance)
    };
    let mut agent = Fixture::recovered(&[]);
    let (installation, instance) = registration(&mut agent);
    assert!(installation.len() == 16 && instance.len() == 16 && installation != instance);
    let mut again = Fixture::recovered_by(StdRng::seed_from_u64(8), &agent.log, agent.now, found(&[ONE]));
    let (same, another) = registration(&mut again);
    assert!(same == installation && another != instance, "out of the log");
    let mut compacted = Fixture::recovered(&again.harness.core.snapshot());
    assert_eq!(registration(&mut compacted).0, installation);
}

#[test]
fn messages_of_an_earlier_session_are_dropped() {
    let mut agent = Fixture::registered(&[]);
    let message = wire::MasterMessage { kind: Some(master_message::Kind::Ping(wire::Ping {})) };
    agent.give(Input::Received { session: SessionId(0), message: message.clone() });
    assert_eq!(agent.effects(), Vec::<String>::new());
    agent.give(Input::Received { session: SessionId(1), message });
    assert_eq!(agent.effects(), ["send 1: pong"]);
}

#[test]
fn a_ping_is_answered_before_the_master_has_taken_the_agent_and_changes_nothing_else() {
    let mut agent = Fixture::recovered(&[]);
    agent.welcome(&[], &[]);
    let session = agent.attach();
    let until = agent.harness.core.deadline();
    agent.take();
    agent.pass(20 * SECOND);
    let message = wire::MasterMessage { kind: Some(master_message::Kind::Ping(wire::Ping {})) };
    agent.give(Input::Received { session, message });
    assert_eq!(agent.effects(), ["send 1: pong"]);
    assert!(!agent.harness.core.is_registered());
    assert_eq!(agent.harness.core.deadline(), until, "a master that only pings is not waited for any longer");
}

#[test]
fn a_silent_master_is_detached_and_attached_to_again() {
    let mut agent = Fixture::registered(&[]);
    agent.pass(75 * SECOND);
    assert_eq!(agent.effects(), ["detach 1"]);
    let session = agent.attach();
    assert_eq!(session, SessionId(2));
    assert_eq!(agent.effects(), ["attach 2", "persist framework forgotten f", "send 2: register []"]);
}

#[test]
fn a_master_of_a_lower_epoch_is_not_accepted() {
    let mut agent = Fixture::registered(&[]);
    agent.give(Input::Detached { session: SessionId(1), leader: None });
    let session = agent.attach();
    agent.take();
    agent.give(Input::Received { session, message: registered_by(0) });
    assert_eq!(agent.effects(), ["detach 2"]);
    assert!(!agent.harness.core.is_registered());
    let session = agent.attach();
    agent.take();
    agent.give(Input::Received { session, message: registered_by(2) });
    assert_eq!(agent.effects(), ["persist! epoch 2"]);
}

#[test]
fn refusals_are_retried_with_growing_waits_and_a_permanent_one_ends_the_agent() {
    let mut agent = Fixture::recovered(&[]);
    agent.welcome(&[], &[]);
    let refused = |permanent| wire::MasterMessage {
        kind: Some(master_message::Kind::Refused(wire::Refused { text: "no".to_owned(), permanent })),
    };
    let mut longest = 0;
    for _ in 0..8 {
        let session = agent.attach();
        agent.take();
        agent.give(Input::Received { session, message: refused(false) });
        assert_eq!(agent.effects(), [format!("detach {}", session.0)]);
        let wait = agent.harness.core.deadline().unwrap() - agent.now.mono_ns;
        assert!(wait <= 60_000_000_000, "{wait}");
        longest = longest.max(wait);
    }
    assert!(longest > 8_000_000_000, "the waits grow: {longest}");
    let session = agent.attach();
    agent.take();
    agent.give(Input::Received { session, message: refused(true) });
    assert_eq!(agent.effects(), [format!("detach {}", session.0), "stop Refused(\"no\")".to_owned()]);
    assert_eq!(agent.harness.core.deadline(), None);
}

#[test]
fn the_turn_passes_on_from_a_master_that_does_not_register_the_agent_and_stays_with_one_that_does() {
    let mut agent = Fixture::recovered(&[]);
    agent.welcome(&[], &[]);
    let turn = |agent: &mut Fixture| {
        agent.take();
        agent.pass_to_deadline();
        let attached = agent.take().into_iter().find_map(|effect| match effect {
            Effect::Attach { session, turn, .. } => Some((session, turn)),
            _ => None,
        });
        attached.expect("it tries again")
    };
    let (session, first) = turn(&mut agent);
    agent.give(Input::Detached { session, leader: None });
    let (session, second) = turn(&mut agent);
    agent.give(Input::Attached { session });
    agent.pass(Duration::from_secs(30));
    let (session, third) = turn(&mut agent);
    agent.give(Input::Attached { session });
    agent.give(Input::Received { session, message: registered_by(2) });
    agent.give(Input::Detached { session, leader: None });
    let (session, after_registration) = turn(&mut agent);
    agent.give(Input::Attached { session });
    agent.give(Input::Received { session, message: registered_by(1) });
    let (_, after_a_lower_epoch) = turn(&mut agent);
    assert_eq!([first, second, third, after_registration, after_a_lower_epoch], [0, 1, 2, 2, 3]);
}

#[test]
fn the_leader_that_a_master_names_is_tried_at_once_and_hints_are_followed_a_limited_number_of_times() {
    let mut agent = Fixture::recovered(&[]);
    agent.welcome(&[], &[]);
    let next = |agent: &mut Fixture| {
        agent.take();
        let wait_ns = agent.harness.core.deadline().unwrap() - agent.now.mono_ns;
        agent.pass_to_deadline();
        let attached = agent.take().into_iter().find_map(|effect| match effect {
            Effect::Attach { session, turn, leader } => Some((session, turn, leader)),
            _ => None,
        });
        (wait_ns, attached.expect("it tries again"))
    };
    let (_, (mut session, ..)) = next(&mut agent);
    let mut tried = vec![];
    for _ in 0..5 {
        agent.give(Input::Detached { session, leader: Some("d:4".to_owned()) });
        let (wait_ns, (again, turn, leader)) = next(&mut agent);
        session = again;
        tried.push((turn, leader.is_some()));
        assert!(tried.len() > 1 || wait_ns <= 200_000_000, "the first is followed at once");
    }
    assert_eq!(tried, [(0, true), (0, true), (0, true), (1, false), (1, true)]);
    agent.give(Input::Attached { session });
    agent.give(Input::Received { session, message: registered_by(1) });
    for _ in 0..3 {
        agent.give(Input::Detached { session, leader: Some("d:4".to_owned()) });
        let (_, (again, _, leader)) = next(&mut agent);
        session = again;
        assert!(leader.is_some(), "hints before the registration do not count");
    }
}
