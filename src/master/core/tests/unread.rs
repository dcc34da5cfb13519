//! Peers that read slowly: their unread bytes are bounded, their answers wait, and no other peer waits with them.

use std::{collections::BTreeMap, time::Duration};

use super::world::World;
use crate::{
    master::core::{Call, Config, Effect, Event, Input, Order, ReconcileTask, SessionId},
    transport::outbox::{Limits, Message as _, RecordNumber},
};

const BUDGET: usize = 64 << 10;
const TASKS: usize = 10_000;

fn config() -> Config {
    let queues = Limits { session_bytes: BUDGET, ..Limits::default() };
    // One turn makes enough answers to go over the budget.
    Config { queues, work_per_turn: 2_000, ..Config::default() }
}

/// The bytes sent to this session, and the tasks whose status was sent.
fn sent(effects: &[Effect], to: SessionId) -> (usize, Vec<String>) {
    let events = effects.iter().filter_map(|effect| match effect {
        Effect::SendEvent { session, event, .. } if *session == to => Some(event),
        _ => None,
    });
    let (mut bytes, mut tasks) = (0, Vec::new());
    for event in events {
        bytes += event.weight();
        if let Event::Updated { status } = event {
            tasks.push(status.task_id.value.clone());
        }
    }
    (bytes, tasks)
}

/// Lets the framework read all it was sent until nothing more comes. Returns the largest amount that waited at a time,
/// and how often each task's status was sent.
fn read_all(world: &mut World, framework: SessionId) -> (usize, BTreeMap<String, usize>) {
    let (mut most, mut statuses) = (0, BTreeMap::new());
    loop {
        let (_, tasks) = sent(&world.effects, framework);
        let bytes = world.harness.core.outgoing.unread_bytes(framework);
        most = most.max(bytes);
        for task in tasks {
            *statuses.entry(task).or_default() += 1;
        }
        let due = world.harness.deadline().is_some_and(|at| at <= world.now.mono_ns);
        if bytes == 0 && !due {
            return (most, statuses);
        }
        let mut effects = Vec::new();
        world.feed(Input::Written { session: framework, bytes });
        effects.append(&mut world.effects);
        world.feed(Input::Ticked);
        effects.append(&mut world.effects);
        world.effects = effects;
    }
}

/// A framework with many tasks.
fn crowded() -> (World, SessionId) {
    let mut world = World::with(crate::master::registry::State::default(), config());
    world.checked = false;
    let total = format!("cpus:{TASKS};mem:{}", TASKS * 32);
    let (framework, _) = world.framework("f");
    world.agent(&total);
    let offer = world.inbox().pop().expect("an offer").1;
    let tasks: Vec<String> = (0..TASKS).map(|number| format!("task{number}")).collect();
    let wanted: Vec<(&str, &str)> = tasks.iter().map(|task| (task.as_str(), "cpus:1;mem:32")).collect();
    world.launch(framework, &offer, &wanted);
    read_all(&mut world, framework);
    (world, framework)
}

#[test]
fn however_often_a_framework_asks_for_all_its_tasks_what_waits_is_bounded_and_each_is_answered() {
    let (mut world, framework) = crowded();
    let mut effects = Vec::new();
    for _ in 0..64 {
        world.call(framework, Call::Reconcile { tasks: Vec::new() });
        effects.append(&mut world.effects);
    }
    let (bytes, _) = sent(&effects, framework);
    assert!(bytes < BUDGET * 2, "{bytes} bytes for 64 calls that nothing was read of");
    world.effects = effects;
    let (most, statuses) = read_all(&mut world, framework);
    assert!(most < BUDGET * 2, "{most}");
    assert_eq!(statuses.len(), TASKS, "every task is answered for");
    assert!(statuses.values().all(|times| *times <= 2), "one run, and one for the calls that came meanwhile");
}

#[test]
fn tasks_named_beyond_the_limit_are_refused_with_field_and_text_while_answers_wait() {
    let (mut world, framework) = crowded();
    let named =
        |count| Call::Reconcile { tasks: (0..count).map(|n| ReconcileTask::of(&format!("x{n}"), None)).collect() };
    world.call(framework, named(65_536));
    let refusal = |world: &World| {
        world.events(framework).into_iter().find_map(|event| match event {
            Event::Refused { field, text, .. } => Some((field, text)),
            _ => None,
        })
    };
    assert_eq!(refusal(&world), None);
    world.call(framework, named(65_536));
    let (field, text) = refusal(&world).expect("it is refused");
    assert_eq!(field, "reconcile.tasks");
    assert!(text.contains("at most 65536 may wait"), "{text}");
}

#[test]
fn a_framework_over_its_budget_gets_no_offers_until_it_has_read_half_of_what_waits() {
    let (mut world, framework) = crowded();
    world.call(framework, Call::Reconcile { tasks: Vec::new() });
    let waiting = world.harness.core.outgoing.unread_bytes(framework);
    assert!(world.harness.core.outgoing.is_over(framework), "{waiting} bytes wait");
    world.agent("cpus:4;mem:1024");
    world.call(framework, Call::Revive { roles: Vec::new() });
    world.wait(Duration::from_secs(3));
    assert!(world.inbox().is_empty(), "it is offered nothing, not even after REVIVE");
    read_all(&mut world, framework);
    world.wait(Duration::from_secs(3));
    assert_eq!(world.inbox().len(), 1, "what it revived is offered once it has read");
}

#[test]
fn a_status_does_not_wait_for_what_is_recorded_of_another_agent() {
    let (mut world, framework, _, offer) = super::effects::offered();
    world.launch(framework, &offer, &[("a", "cpus:1;mem:32")]);
    world.agent("cpus:1;mem:32");
    let recorded = world.effects.iter().find_map(|effect| match effect {
        Effect::Persist { number, .. } => Some(*number),
        _ => None,
    });
    let recorded = recorded.expect("the other agent is recorded");
    let registered = world.effects.iter().find_map(|effect| match effect {
        Effect::SendOrder { after, order: Order::Registered(_), .. } => Some(*after),
        _ => None,
    });
    assert_eq!(registered, Some(recorded), "REGISTERED waits for it");
    world.call(framework, Call::Reconcile { tasks: Vec::new() });
    let afters = world.effects.iter().filter_map(|effect| match effect {
        Effect::SendEvent { session, after, .. } if *session == framework => Some(*after),
        _ => None,
    });
    assert!(afters.into_iter().all(|after| after < recorded), "{:?}", world.effects);
}

#[test]
fn what_names_an_agent_waits_for_its_record_until_that_is_durable() {
    let mut world = World::with(crate::master::registry::State::default(), config());
    let (framework, _) = world.framework("f");
    world.agent("cpus:4;mem:1024");
    let admitted = world.effects.iter().find_map(|effect| match effect {
        Effect::Persist { number, .. } => Some(*number),
        _ => None,
    });
    let after_of_offers = |world: &World| {
        world.effects.iter().find_map(|effect| match effect {
            Effect::SendEvent { after, event: Event::Offers(_), .. } => Some(*after),
            _ => None,
        })
    };
    assert_eq!(after_of_offers(&world), admitted);
    let offer = world.inbox().pop().expect("an offer").1;
    world.feed(Input::Synced { number: admitted.expect("it is recorded") });
    world.decline(framework, &offer, 0);
    world.wait(Duration::from_secs(3));
    assert_eq!(after_of_offers(&world), Some(RecordNumber(0)), "it need not wait any more");
}
