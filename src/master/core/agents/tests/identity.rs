//! The identity of a registering agent: ids that were not received, work directories that were lost or copied.

use std::time::Duration;

use bytes::Bytes;

use super::world::{World, register, reported};
use crate::{
    master::core::{Input, Order, Register, Report, SessionId},
    proto::v1::{TaskState, task_status::Reason},
};

const TOTAL: &str = "cpus:4;mem:1024";

fn run(id: Option<&str>, installation: &'static str, instance: &'static str) -> Register {
    let (installation, instance) =
        (Bytes::from_static(installation.as_bytes()), Bytes::from_static(instance.as_bytes()));
    Register { installation, instance, ..register(id, TOTAL) }
}

fn refusal(world: &World, session: SessionId) -> Option<(String, bool)> {
    world.orders(session).into_iter().find_map(|order| match order {
        Order::Refused { text, permanent } => Some((text, permanent)),
        _ => None,
    })
}

#[test]
fn an_agent_that_did_not_receive_its_id_is_given_the_same_again() {
    let mut world = World::new();
    let first = world.register(run(None, "w", "1"));
    let (id, ..) = world.registered(first).expect("registered");
    world.detach(first);
    let again = world.register(run(None, "w", "2"));
    assert_eq!(world.registered(again).expect("registered").0, id);
    let another = world.register(run(None, "x", "3"));
    assert_ne!(world.registered(another).expect("registered").0, id);
    assert_eq!(world.harness.core.snapshot().agents.len(), 2);
}

#[test]
fn of_two_copies_of_a_work_directory_the_one_that_is_alive_stays() {
    let mut world = World::new();
    let first = world.register(run(None, "w", "1"));
    let (id, ..) = world.registered(first).expect("registered");
    for _ in 0..3 {
        let copy = world.register(run(Some(&id), "w", "2"));
        let (text, permanent) = refusal(&world, copy).expect("refused");
        assert!(!permanent && text.starts_with(&format!("agent {id} is connected from h (127.0.0.1:0)")), "{text}");
        assert!(world.closed(copy) && !world.closed(first));
        world.feed(Input::Reported { session: first, report: Report::Ponged });
        world.wait(Duration::from_secs(12));
    }
    let same = world.register(run(Some(&id), "w", "1"));
    assert_eq!(world.registered(same).expect("its own stream broke unnoticed").0, id);
}

#[test]
fn a_dead_instance_of_an_agent_whose_stream_has_not_ended_blocks_the_next_for_ten_seconds() {
    let mut world = World::new();
    let first = world.register(run(None, "w", "1"));
    let (id, ..) = world.registered(first).expect("registered");
    world.lively = false;
    let next = world.register(run(Some(&id), "w", "2"));
    assert!(refusal(&world, next).is_some() && world.orders(first).iter().any(|one| matches!(one, Order::Ping)));
    world.wait(Duration::from_secs(4));
    let next = world.register(run(Some(&id), "w", "2"));
    assert!(refusal(&world, next).is_some());
    world.wait(Duration::from_secs(7));
    let next = world.register(run(Some(&id), "w", "2"));
    assert_eq!(world.registered(next).expect("registered").0, id);
    assert!(world.closed(first));
}

#[test]
fn an_agent_that_lost_its_work_directory_replaces_the_one_that_was_at_its_address() {
    let mut world = World::new();
    let (framework, framework_id) = world.framework("f");
    let at = |mut register: Register, port| {
        register.facts.port = port;
        register
    };
    let first = world.register(at(run(None, "w", "1"), 5051));
    let (id, ..) = world.registered(first).expect("registered");
    let offer = world.offers(framework)[0].clone();
    world.launch(framework, &offer, &[("t", "cpus:1;mem:32")]);
    let task = world.runs(first)[0].clone();
    let neighbour = world.register(at(run(None, "x", "2"), 5051));
    assert!(world.registered(neighbour).is_some() && !world.closed(first), "one that is connected stays");
    world.detach(neighbour);
    world.detach(first);
    let elsewhere = world.register(at(run(None, "y", "3"), 5052));
    assert!(world.registered(elsewhere).is_some() && world.states(framework).is_empty());

    let mut back = at(run(Some(&id), "w", "4"), 5051);
    back.tasks = vec![reported(&framework_id, &task, "cpus:1;mem:32", TaskState::TaskRunning)];
    let back = world.register(back);
    world.detach(back);
    let anew = world.register(at(run(None, "z", "5"), 5051));
    assert_ne!(world.registered(anew).expect("registered").0, id);
    let (state, reason) = (TaskState::TaskLost, Some(Reason::AgentRemoved as i32));
    let sent = world.statuses(framework);
    assert_eq!(sent.iter().map(|one| (one.state(), one.reason)).collect::<Vec<_>>(), [(state, reason)]);
    assert!(world.harness.core.snapshot().agents.iter().all(|agent| *agent.id != *id));
}
