//! Unreachable agents, and what their tasks' frameworks receive. The numbers are rows of the behaviour page.

use std::time::Duration;

use super::{
    partitioned::{Party, TOTAL, WANTED, cut_off, running_for},
    world::{World, facts, register, reported, resources},
};
use crate::{
    master::core::{Answer, Call, Config, Event, FrameworkFacts, Order, Question, RemovalRate, SessionId},
    proto::{
        internal::registry_change::Kind,
        v1::{TaskState, task_status::Reason},
    },
};

fn unaware() -> FrameworkFacts {
    FrameworkFacts { partition_aware: false, ..facts("f", "*") }
}

fn back(world: &mut World, agent: &str, framework: &str, task: &(String, String), state: TaskState) -> SessionId {
    let mut back = register(Some(agent), TOTAL);
    back.frameworks = vec![super::world::known(framework, "f")];
    back.tasks = vec![reported(framework, task, WANTED, state)];
    world.register(back)
}

/// 76, 77.
#[test]
fn a_partition_is_reported_with_its_time_and_healing_with_the_true_state_and_nothing_is_killed() {
    for (facts, away) in [(facts("f", "*"), TaskState::TaskUnreachable), (unaware(), TaskState::TaskLost)] {
        let (mut world, framework, agent, task) = running_for(facts, Config::default());
        let sent = cut_off(&mut world, framework.0);
        assert_eq!((sent.len(), sent[0].state(), sent[0].reason()), (1, away, Reason::AgentRemoved));
        assert!(sent[0].unreachable_time.is_some() && sent[0].uuid.is_none());
        let session = back(&mut world, &agent.1, &framework.1, &task, TaskState::TaskRunning);
        let sent = world.statuses(framework.0);
        assert_eq!((sent.len(), sent[0].state()), (1, TaskState::TaskRunning));
        assert_eq!(sent[0].reason(), Reason::AgentReregistered);
        assert!(world.orders(session).iter().all(|order| !matches!(order, Order::Kill { .. })));
    }
}

/// 75, and what must not happen: its ports in an offer while it is unreachable, or when it re-registers.
#[test]
fn nothing_of_an_unreachable_agent_is_offered_and_its_tasks_are_counted_before_it_is() {
    let (mut world, framework, agent, task) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    assert!(world.events(framework.0).iter().any(|event| matches!(event, Event::Failures { .. })));
    world.inbox();
    world.call(framework.0, Call::Revive { roles: Vec::new() });
    world.wait(Duration::from_mins(1));
    assert!(world.inbox().is_empty());
    back(&mut world, &agent.1, &framework.1, &task, TaskState::TaskRunning);
    let offered = world.offers(framework.0);
    assert_eq!(*offered[0].resources, resources("cpus:3;mem:992;ports:[31002-31009]"));
}

/// 83.
#[test]
fn an_end_while_cut_off_is_reported_once_by_the_agent_which_knows_how_it_ended() {
    for (facts, after) in [(facts("f", "*"), TaskState::TaskGone), (unaware(), TaskState::TaskLost)] {
        let (mut world, framework, agent, task) = running_for(facts, Config::default());
        cut_off(&mut world, framework.0);
        let session = back(&mut world, &agent.1, &framework.1, &task, TaskState::TaskFinished);
        assert!(world.statuses(framework.0).is_empty(), "the agent's own status is in flight");
        assert!(world.reconcile(framework.0, "t", &agent.1).is_empty(), "and no answer overtakes it");
        let uuid = world.update(session, &framework.1, &task, TaskState::TaskFinished);
        assert_eq!(world.states(framework.0), [("t".into(), TaskState::TaskFinished)]);
        world.acknowledge(framework.0, &agent.1, "t", &uuid);
        assert_eq!(world.reconcile(framework.0, "t", &agent.1)[0].state(), after);
        assert_eq!(world.harness.core.snapshot().frameworks[0].completed.len(), 1);
    }
}

/// 78.
#[test]
fn a_framework_removed_while_its_agent_is_cut_off_has_nothing_left_there_afterwards() {
    let (mut world, framework, agent, task) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    world.call(framework.0, Call::Teardown);
    let session = back(&mut world, &agent.1, &framework.1, &task, TaskState::TaskRunning);
    assert_eq!(world.registered(session).expect("registered").2, [framework.1]);
    assert!(world.harness.core.snapshot().agents[0].tasks.is_empty());
}

/// 79.
#[test]
fn a_framework_that_was_disconnected_learns_of_the_partition_by_reconciliation() {
    let (mut world, framework, agent, _) = running_for(unaware(), Config::default());
    world.lively = false;
    world.wait(Duration::from_mins(1));
    world.detach(framework.0);
    world.wait(Duration::from_secs(31));
    let (again, _) = world.subscribe(unaware(), Some(&framework.1));
    let sent = world.reconcile(again, "t", &agent.1);
    assert_eq!((sent[0].state(), sent[0].reason()), (TaskState::TaskLost, Reason::Reconciliation));
    assert!(sent[0].unreachable_time.is_some());
}

/// 80.
#[test]
fn an_agent_that_registers_again_for_no_reason_changes_nothing() {
    let (mut world, framework, agent, task) = running_for(unaware(), Config::default());
    let session = back(&mut world, &agent.1, &framework.1, &task, TaskState::TaskRunning);
    assert!(world.statuses(framework.0).is_empty());
    assert!(world.orders(session).iter().all(|order| !matches!(order, Order::Kill { .. })));
    assert_eq!(world.reconcile(framework.0, "t", &agent.1)[0].state(), TaskState::TaskRunning);
}

/// 81.
#[test]
fn messages_on_a_session_that_was_closed_for_silence_are_ignored() {
    let (mut world, framework, agent, task) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    assert!(world.effects.is_empty(), "{:?}", world.effects);
}

/// 84.
#[test]
fn an_unacknowledged_end_stays_what_it_is_on_a_lost_agent() {
    let (mut world, framework, agent, task) = running_for(facts("f", "*"), Config::default());
    world.update(agent.0, &framework.1, &task, TaskState::TaskFinished);
    assert!(cut_off(&mut world, framework.0).is_empty(), "it has ended, so it is not unreachable");
    let states: Vec<TaskState> =
        world.harness.core.snapshot().agents[0].tasks.values().map(|task| task.state).collect();
    assert_eq!(states, [TaskState::TaskFinished]);
}

/// 85, by count and by age.
#[test]
fn the_registry_forgets_the_oldest_and_the_too_old() {
    let config = Config { registry_max_agents: 1, ..Config::default() };
    let (mut world, framework, first, _) = running_for(facts("f", "*"), config);
    let since = cut_off(&mut world, framework.0)[0].unreachable_time;
    let second = world.agent(TOTAL);
    cut_off(&mut world, framework.0);
    let sent = world.reconcile(framework.0, "t", &first.1);
    assert_eq!((sent[0].state(), sent[0].unreachable_time), (TaskState::TaskUnreachable, since));
    world.wait(Duration::from_mins(15));
    let sent = world.reconcile(framework.0, "t", &first.1);
    assert_eq!((sent[0].state(), sent[0].unreachable_time), (TaskState::TaskUnknown, None));
    assert_eq!(world.reconcile(framework.0, "t", &second.1)[0].state(), TaskState::TaskUnreachable);
    assert!(!world.facts().agents.contains_key(&first.1));

    let config = Config { registry_max_age: Duration::from_mins(20), ..Config::default() };
    let (mut world, framework, agent, _) = running_for(facts("f", "*"), config);
    cut_off(&mut world, framework.0);
    world.wait(Duration::from_mins(15));
    assert_eq!(world.reconcile(framework.0, "t", &agent.1)[0].state(), TaskState::TaskUnreachable);
    world.wait(Duration::from_mins(15));
    assert_eq!(world.reconcile(framework.0, "t", &agent.1)[0].state(), TaskState::TaskUnknown);
}

#[test]
fn operators_see_which_agents_departed_and_since_when() {
    let (mut world, framework, lost, _) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    let gone = world.agent(TOTAL);
    assert!(matches!(world.ask(Question::MarkGone { agent: gone.1.clone() }), Answer::Done));
    let since_ns = world.now.wall_ns;
    let Answer::Departed(departed) = world.ask(Question::Departed) else { panic!("they were asked for") };
    let sent: Vec<_> = departed.iter().map(|one| (&one.id, one.hostname.as_str(), one.gone)).collect();
    assert_eq!(sent, [(&lost.1, "h", false), (&gone.1, "", true)]);
    assert!(departed[0].since_ns < since_ns && departed[1].since_ns == since_ns, "{departed:?}");
}

#[test]
fn a_clock_put_forward_by_a_year_lets_no_agent_be_forgotten() {
    let (mut world, framework, agent, _) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    world.now.wall_ns += 365 * 24 * 3_600_000_000_000;
    world.wait(Duration::from_mins(40));
    assert_eq!(world.reconcile(framework.0, "t", &agent.1)[0].state(), TaskState::TaskUnreachable);
    // Nor one that an earlier master recorded as unreachable.
    let mut world = world.next();
    world.now.wall_ns += 365 * 24 * 3_600_000_000_000;
    world.wait(Duration::from_mins(40));
    assert!(world.facts().unreachable.contains_key(&agent.1));
}

/// 87, 88.
#[test]
fn an_agent_marked_gone_and_the_frameworks_of_its_tasks_are_notified_for_good() {
    let gone = (TaskState::TaskGoneByOperator, Reason::AgentRemovedByOperator);
    for (facts, sent) in [(facts("f", "*"), gone), (unaware(), (TaskState::TaskLost, Reason::AgentRemoved))] {
        let (mut world, framework, agent, task) = running_for(facts, Config::default());
        assert!(matches!(world.ask(Question::MarkGone { agent: agent.1.clone() }), Answer::Done));
        let first =
            world.effects.iter().position(|effect| matches!(effect, crate::master::core::Effect::Persist { .. }));
        assert_eq!(first, Some(0), "the registry first");
        let status = world.statuses(framework.0).remove(0);
        assert_eq!((status.state(), status.reason()), sent);
        assert!(world.closed(agent.0) && matches!(&world.orders(agent.0)[..], [Order::Gone]));
        assert_eq!(world.reconcile(framework.0, "t", &agent.1)[0].state(), sent.0);
        let session = back(&mut world, &agent.1, &framework.1, &task, TaskState::TaskRunning);
        assert!(matches!(&world.orders(session)[..], [Order::Gone]));
        assert!(matches!(world.ask(Question::MarkGone { agent: agent.1 }), Answer::Done), "twice is once");
    }
    let refused = World::new().ask(Question::MarkGone { agent: "x-S9".into() });
    assert!(matches!(refused, Answer::Refused(text) if text == "no agent x-S9 is known"));
}

/// 89.
#[test]
fn tasks_of_an_unreachable_agent_that_is_marked_gone_are_gone_and_completed() {
    let (mut world, framework, agent, _) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    world.ask(Question::MarkGone { agent: agent.1 });
    assert_eq!(world.states(framework.0), [("t".into(), TaskState::TaskGoneByOperator)]);
    assert_eq!(world.harness.core.snapshot().frameworks[0].completed[0].1.state, TaskState::TaskGoneByOperator);
    assert!(world.harness.core.snapshot().agents.is_empty());
}

/// 91.
#[test]
fn the_id_of_an_unreachable_task_is_taken() {
    let (mut world, framework, _, _) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    world.agent(TOTAL);
    let offer = world.offers(framework.0)[0].clone();
    world.launch(framework.0, &offer, &[("t", WANTED)]);
    let sent = world.statuses(framework.0);
    assert_eq!(sent[0].state(), TaskState::TaskError);
    assert!(sent[0].message().contains("duplicate ID: t from an unreachable task"), "{}", sent[0].message());
}

/// 94, for agents that disconnected.
#[test]
fn agents_are_marked_unreachable_no_faster_than_the_rate_and_those_that_reregister_are_not() {
    let rate = RemovalRate::new(1.try_into().expect("over 0"), Duration::from_mins(20));
    let mut world = World::with(<_>::default(), Config { removal_rate: Some(rate), ..Config::default() });
    let agents: Vec<Party> = (0..3).map(|_| world.agent(TOTAL)).collect();
    for agent in &agents {
        world.detach(agent.0);
    }
    let lost = |world: &mut World| world.facts().unreachable.into_keys().collect::<Vec<_>>();
    world.wait(Duration::from_secs(75));
    assert_eq!(lost(&mut world), [agents[0].1.clone()]);
    world.wait(Duration::from_mins(19));
    assert_eq!(lost(&mut world).len(), 1);
    world.register(register(Some(&agents[1].1), TOTAL));
    assert!(!world.persisted().iter().any(|kind| matches!(kind, Kind::AgentReachable(_))), "it was never lost");
    world.wait(Duration::from_mins(2));
    assert_eq!(lost(&mut world), [agents[0].1.clone(), agents[2].1.clone()]);
    let counts = world.harness.core.snapshot().counts;
    let unreachable =
        (counts.agents_unreachable_scheduled, counts.agents_unreachable_canceled, counts.agents_unreachable);
    assert_eq!(unreachable, (3, 1, 2));
}

#[test]
fn a_kill_of_an_unreachable_task_is_answered_and_carried_out_when_its_agent_is_back() {
    let (mut world, framework, agent, task) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    world.call(framework.0, Call::Kill { task: "t".into(), agent: None, policy: None });
    assert_eq!(world.states(framework.0), [("t".into(), TaskState::TaskUnreachable)]);
    let session = back(&mut world, &agent.1, &framework.1, &task, TaskState::TaskRunning);
    assert!(world.orders(session).iter().any(|order| matches!(order, Order::Kill { .. })));
}
