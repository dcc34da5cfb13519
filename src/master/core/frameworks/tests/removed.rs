//! The end of a framework with more tasks than one turn ends.

use std::time::Duration;

use crate::{
    master::core::{
        Call, Event, Input, Link, Order, Register, SessionId, offer_id,
        tests::{
            partitioned::Party,
            world::{MASTER, World, facts, known, launch, register, reported},
        },
    },
    proto::v1::{self, TaskState},
};

const TOTAL: &str = "cpus:1000;mem:100000";
/// So many that the tasks of all agents are more than a turn ends, and those of one are not.
const EACH: usize = 300;
const AGENTS: usize = 8;

/// An agent with its tasks of this framework, as it registers.
fn with_tasks(at: usize, framework: &str) -> Register {
    let mut register = register(None, TOTAL);
    register.facts.hostname = format!("host{at}");
    register.frameworks = vec![known(framework, "f")];
    let task = |number: usize| (format!("t{at}-{number}"), format!("c{at}-{number}"));
    let tasks = (0..EACH).map(|number| reported(framework, &task(number), "cpus:1;mem:32", TaskState::TaskRunning));
    register.tasks = tasks.collect();
    register
}

/// A framework with tasks on many agents, and these, after the turn in which it was torn down.
fn torn_down() -> (World, String, Vec<SessionId>) {
    let mut world = World::new();
    world.checked = false;
    let (framework, id) = world.framework("f");
    let agents: Vec<SessionId> = (0..AGENTS).map(|at| world.register(with_tasks(at, &id))).collect();
    assert_eq!(left(&world), AGENTS * EACH);
    world.call(framework, Call::Teardown);
    assert!(world.closed(framework));
    (world, id, agents)
}

/// Tasks that the master has.
fn left(world: &World) -> usize {
    world.harness.core.snapshot().agents.iter().map(|agent| agent.tasks.len()).sum()
}

fn shut_down(world: &World, agent: SessionId) -> bool {
    matches!(&world.orders(agent)[..], [Order::Shutdown { .. }])
}

#[test]
fn the_tasks_of_a_framework_end_over_several_turns_and_nothing_of_it_is_left() {
    let (mut world, id, agents) = torn_down();
    let (mut turns, mut ordered) = (0, agents.iter().filter(|agent| shut_down(&world, **agent)).count());
    assert!(0 < ordered && ordered < AGENTS, "{ordered} agents are to end its tasks after the first turn");
    while world.harness.deadline().is_some_and(|at| at <= world.now.mono_ns) {
        let before = left(&world);
        world.feed(Input::Ticked);
        world.harness.core.check();
        ordered += agents.iter().filter(|agent| shut_down(&world, **agent)).count();
        turns += 1;
        assert!(left(&world) < before || !world.harness.core.frameworks.are_unfinished());
    }
    assert!(turns > 1, "{turns}");
    assert_eq!((ordered, left(&world)), (AGENTS, 0));
    let snapshot = world.harness.core.snapshot();
    let orphans: usize = snapshot.agents.iter().map(|agent| agent.orphans.len()).sum();
    assert_eq!(orphans, AGENTS * EACH, "all containers are still to end");
    assert!(snapshot.frameworks.is_empty());
    assert_eq!((&*snapshot.completed[0].id, snapshot.completed[0].link), (&*id, Link::Completed));
    assert_eq!(snapshot.counts.frameworks_removed, 1);
}

#[test]
fn while_its_tasks_end_a_framework_is_not_found_by_its_id() {
    let (mut world, id, agents) = torn_down();
    let before = left(&world);
    assert!(before > 0);
    let late = world.subscribe(facts("f", "*"), Some(&id)).0;
    assert!(matches!(&world.events(late)[..], [Event::Error { text }, ..] if text == "Framework has been removed"));
    assert_eq!(left(&world), before);
    assert!(world.registered(agents[0]).is_none(), "nothing more was sent to the agents");
}

#[test]
fn an_agent_that_reregisters_meanwhile_ends_those_that_it_has() {
    let (mut world, id, agents) = torn_down();
    let (at, agent) = agents.iter().enumerate().find(|(_, agent)| !shut_down(&world, **agent)).expect("one that waits");
    let agent = *agent;
    let name = world.harness.core.snapshot().agents[at].id.to_string();
    world.detach(agent);
    let mut back = with_tasks(at, &id);
    back.id = Some(name);
    let session = world.register(back);
    world.wait(Duration::ZERO);
    let (_, missing, removed) = world.registered(session).expect("it is registered");
    assert_eq!((missing, removed), (Vec::<String>::new(), vec![id]));
    let snapshot = world.harness.core.snapshot();
    assert_eq!((snapshot.agents[at].tasks.len(), snapshot.agents[at].orphans.len()), (0, EACH));
    world.harness.core.check();
}

#[test]
fn a_status_that_arrives_meanwhile_is_answered_with_the_end_of_all_its_tasks_there() {
    let (mut world, id, agents) = torn_down();
    let (at, agent) = agents.iter().enumerate().find(|(_, agent)| !shut_down(&world, **agent)).expect("one that waits");
    let agent = *agent;
    world.update(agent, &id, &(format!("t{at}-0"), format!("c{at}-0")), TaskState::TaskFinished);
    assert!(world.orders(agent).iter().all(|order| matches!(order, Order::Shutdown { .. })));
    assert!(!world.orders(agent).is_empty());
    assert!(world.harness.core.snapshot().agents[at].tasks.is_empty());
    world.harness.core.check();
}

/// A framework with more offers than a turn withdraws, and one that could use them.
fn holding_many() -> (World, Party, Party) {
    let mut world = World::new();
    world.checked = false;
    let first = world.framework("f");
    for at in 0..1_500 {
        let mut register = register(None, "cpus:4;mem:1024");
        register.facts.hostname = format!("host{at}");
        world.register(register);
    }
    assert_eq!(world.inbox().len(), 1_500);
    let second = world.framework("g");
    (world, first, second)
}

fn outstanding(world: &World) -> usize {
    world.harness.core.snapshot().agents.iter().map(|agent| agent.offers.len()).sum()
}

#[test]
fn the_offers_of_a_framework_whose_stream_breaks_go_to_others_over_several_turns() {
    let (mut world, first, second) = holding_many();
    world.detach(first.0);
    let mut turns = 0;
    while world.harness.deadline().is_some_and(|at| at <= world.now.mono_ns) {
        world.feed(Input::Ticked);
        world.harness.core.check();
        turns += 1;
    }
    assert!(turns >= 1, "the turn in which the stream broke was not enough");
    world.wait(std::time::Duration::from_secs(2));
    let made = world.inbox();
    assert_eq!(made.len(), 1_500);
    assert!(made.iter().all(|(session, _)| *session == second.0));
}

#[test]
fn a_framework_that_reconnects_meanwhile_can_use_none_of_its_former_offers_and_is_made_new_ones_after_them() {
    let (mut world, first, second) = holding_many();
    world.call(second.0, Call::Suppress { roles: Vec::new() });
    let snapshot = world.harness.core.snapshot();
    let (agent, offer) = (&snapshot.agents[1_400], snapshot.agents[1_400].offers.keys().next().copied());
    let former = vec![offer_id(MASTER, offer.expect("an offer"))];
    world.detach(first.0);
    let (session, _) = world.subscribe(facts("f", "*"), Some(&first.1));
    assert!(outstanding(&world) > 0, "more than one turn withdraws");
    world.accept(session, former, vec![launch("t", &agent.id, "cpus:1;mem:32")]);
    let statuses = world.statuses(session);
    assert_eq!(statuses.iter().map(v1::TaskStatus::state).collect::<Vec<_>>(), [TaskState::TaskDropped]);
    assert!(world.offers(session).is_empty(), "none is made while the former are being withdrawn");
    world.harness.core.check();
    world.wait(Duration::from_secs(2));
    assert_eq!(world.offers(session).len(), 1_500);
    world.harness.core.check();
}

#[test]
fn offers_that_a_replaced_instance_left_unanswered_do_not_count_against_the_next_nor_are_rescinded_to_it() {
    let (mut world, first, second) = holding_many();
    world.call(second.0, Call::Suppress { roles: Vec::new() });
    world.now = world.now.advanced(Duration::from_mins(3));
    world.detach(first.0);
    let (session, _) = world.subscribe(facts("f", "*"), Some(&first.1));
    assert!(outstanding(&world) > 0, "more than one turn withdraws");
    let mut made = world.offers(session).len();
    while world.harness.deadline().is_some_and(|at| at <= world.now.mono_ns) {
        world.feed(Input::Ticked);
        assert!(!world.events(session).iter().any(|event| matches!(event, Event::Rescinded { .. })));
        made += world.offers(session).len();
    }
    assert_eq!(made, 1_500, "neither is in backoff");
}
