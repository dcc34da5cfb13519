//! The partition policy of a task: when it counts as lost, and which copy stays when its agent re-registers.

use std::time::Duration;

use super::{
    partitioned::{Party, cut_off, running_for},
    world::{World, facts, known, launch, register, reported},
};
use crate::{
    master::core::{Call, Config, Launch, Order, Partition, SessionId, offer_id},
    proto::v1::{TaskInfo, TaskState, TaskStatus},
    types::{OnReturn, PartitionPolicy},
};

const TOTAL: &str = "cpus:4;mem:1024";
const WANTED: &str = "cpus:1;mem:32";

fn after_a_minute(winner: OnReturn) -> PartitionPolicy {
    PartitionPolicy::default().losing_after(Duration::from_mins(1)).on_returning(winner)
}

fn launched(id: &str, agent: &str, policy: Option<PartitionPolicy>, replaces: Option<&str>) -> Launch {
    let info =
        TaskInfo { partition_policy: policy.map(Box::new), replaces: replaces.map(Into::into), ..TaskInfo::default() };
    Launch { partition: Partition::of(&info), ..launch(id, agent, WANTED) }
}

/// A framework, and an agent on which its task `t` of that policy runs.
fn running(policy: PartitionPolicy) -> (World, Party, Party, (String, String)) {
    let mut world = World::new();
    let framework = world.framework("f");
    let agent = world.agent(TOTAL);
    let task = start(&mut world, &framework, &agent, launched("t", &agent.1, Some(policy), None));
    (world, framework, agent, task)
}

/// Launches on what this agent was offered last.
fn start(world: &mut World, framework: &Party, agent: &Party, task: Launch) -> (String, String) {
    let offers = world.inbox();
    let offer = offers.into_iter().rev().find(|(_, offer)| *offer.agent == *agent.1).expect("offered").1;
    world.accept(framework.0, vec![offer_id(super::world::MASTER, offer.key)], vec![task]);
    let run = world.runs(agent.0).pop().unwrap_or_else(|| panic!("not launched: {:?}", world.statuses(framework.0)));
    let uuid = world.update(agent.0, &framework.1, &run, TaskState::TaskRunning);
    world.acknowledge(framework.0, &agent.1, &run.0, &uuid);
    run
}

fn back(world: &mut World, agent: &Party, framework: &Party, tasks: &[&(String, String)]) -> SessionId {
    let mut back = register(Some(&agent.1), TOTAL);
    back.frameworks = vec![known(&framework.1, "f")];
    back.tasks = tasks.iter().map(|task| reported(&framework.1, task, WANTED, TaskState::TaskRunning)).collect();
    world.register(back)
}

/// The containers that are to be killed on this session.
fn killed(world: &World, session: SessionId) -> Vec<String> {
    let kills = world.orders(session).into_iter().filter_map(|order| match order {
        Order::Kill { container, .. } => Some(container.to_string()),
        _ => None,
    });
    kills.collect()
}

#[test]
fn a_task_counts_as_lost_when_its_policy_says_so_and_not_before() {
    let (mut world, framework, _, _) = running(after_a_minute(OnReturn::KeepBoth));
    let sent = cut_off(&mut world, framework.0);
    assert_eq!(sent[0].state(), TaskState::TaskUnreachable);
    world.wait(Duration::from_secs(58));
    assert!(world.statuses(framework.0).is_empty());
    world.wait(Duration::from_secs(2));
    let lost = world.statuses(framework.0);
    assert_eq!(
        (lost.len(), lost[0].state(), lost[0].unreachable_time),
        (1, TaskState::TaskLost, sent[0].unreachable_time)
    );
}

#[test]
fn with_no_time_at_all_a_task_is_lost_and_never_unreachable() {
    let (mut world, framework, _, _) = running(PartitionPolicy::default().losing_after(Duration::ZERO));
    let sent: Vec<TaskState> = cut_off(&mut world, framework.0).iter().map(TaskStatus::state).collect();
    assert_eq!(sent, [TaskState::TaskLost]);
}

#[test]
fn an_agent_that_is_back_in_time_stops_the_clock() {
    let (mut world, framework, agent, task) = running(after_a_minute(OnReturn::KeepReplacement));
    cut_off(&mut world, framework.0);
    world.wait(Duration::from_secs(30));
    let session = back(&mut world, &agent, &framework, &[&task]);
    assert!(killed(&world, session).is_empty(), "no task has replaced it");
    world.wait(Duration::from_mins(5));
    assert!(world.statuses(framework.0).is_empty());
}

#[test]
fn a_clock_put_forward_during_a_short_absence_writes_no_task_off() {
    let (mut world, framework, agent, task) = running(after_a_minute(OnReturn::KeepReplacement));
    cut_off(&mut world, framework.0);
    world.wait(Duration::from_secs(30));
    world.now.wall_ns += 3_600_000_000_000;
    let session = back(&mut world, &agent, &framework, &[&task]);
    assert!(killed(&world, session).is_empty(), "it is the only copy, and was away for half a minute");
}

#[test]
fn the_copy_that_comes_back_late_runs_on_or_is_killed_as_its_policy_says() {
    for (winner, dies) in
        [(OnReturn::KeepBoth, false), (OnReturn::KeepOriginal, false), (OnReturn::KeepReplacement, true)]
    {
        let (mut world, framework, agent, task) = running(after_a_minute(winner));
        cut_off(&mut world, framework.0);
        world.wait(Duration::from_mins(2));
        let session = back(&mut world, &agent, &framework, &[&task]);
        assert_eq!(world.states(framework.0), [("t".into(), TaskState::TaskRunning)], "the truth in any case");
        assert_eq!(killed(&world, session), if dies { vec![task.1.clone()] } else { vec![] }, "{winner:?}");
    }
}

#[test]
fn of_a_task_and_the_one_launched_in_its_place_the_policy_chooses() {
    for winner in [OnReturn::KeepBoth, OnReturn::KeepOriginal, OnReturn::KeepReplacement] {
        let policy = PartitionPolicy::default().on_returning(winner);
        let (mut world, framework, agent, task) = running(policy);
        cut_off(&mut world, framework.0);
        let other = world.agent(TOTAL);
        let instead = start(&mut world, &framework, &other, launched("u", &other.1, None, Some("t")));
        let session = back(&mut world, &agent, &framework, &[&task]);
        let dies = (killed(&world, session), killed(&world, other.0));
        let expected = match winner {
            OnReturn::KeepBoth => (vec![], vec![]),
            OnReturn::KeepOriginal => (vec![], vec![instead.1]),
            OnReturn::KeepReplacement => (vec![task.1], vec![]),
        };
        assert_eq!(dies, expected, "{winner:?}");
    }
}

#[test]
fn a_new_master_chooses_as_the_old_one_would_whichever_copy_is_reported_first() {
    for winner in [OnReturn::KeepOriginal, OnReturn::KeepReplacement] {
        for original_first in [true, false] {
            let mut world = World::new();
            let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
            let own = |id: &str, task: &str, container: &str, partition: Launch| {
                let mut one = register(Some(id), TOTAL);
                one.frameworks = vec![known("old-0000", "f")];
                let task = (task.to_owned(), container.to_owned());
                one.tasks = vec![reported("old-0000", &task, WANTED, TaskState::TaskRunning)];
                one.tasks[0].partition = partition.partition;
                one
            };
            let policy = PartitionPolicy::default().on_returning(winner);
            let original = own("old-S0", "t", "c1", launched("t", "", Some(policy), None));
            let instead = own("old-S1", "u", "c2", launched("u", "", None, Some("t")));
            let (first, second) = if original_first { (original, instead) } else { (instead, original) };
            let first = world.register(first);
            assert!(killed(&world, first).is_empty());
            let second = world.register(second);
            let dies = [killed(&world, first), killed(&world, second)].concat();
            assert_eq!(dies, [if winner == OnReturn::KeepOriginal { "c2" } else { "c1" }], "{original_first}");
            assert!(world.statuses(framework).is_empty());
        }
    }
}

#[test]
fn only_what_cannot_be_reached_or_has_ended_is_replaced() {
    let (mut world, framework, agent, _) = running(PartitionPolicy::default());
    world.call(framework.0, Call::Revive { roles: Vec::new() });
    let offer = world.inbox().pop().expect("offered").1;
    let instead = launched("u", &agent.1, None, Some("t"));
    world.accept(framework.0, vec![offer_id(super::world::MASTER, offer.key)], vec![instead]);
    let sent = world.statuses(framework.0);
    assert_eq!(sent[0].message(), "Task replaces t, which is TASK_RUNNING and whose agent can be reached");
}

#[test]
fn the_id_of_a_lost_task_is_free_and_the_later_copy_is_the_task() {
    let (mut world, framework, agent, task) = running(after_a_minute(OnReturn::KeepBoth));
    cut_off(&mut world, framework.0);
    world.wait(Duration::from_mins(2));
    let other = world.agent(TOTAL);
    let later = start(&mut world, &framework, &other, launched("t", &other.1, None, None));
    assert!(later.1 > task.1, "launches sort by their containers");
    let session = back(&mut world, &agent, &framework, &[&task]);
    assert_eq!(killed(&world, session), std::slice::from_ref(&task.1));
    assert!(world.statuses(framework.0).is_empty(), "no status of the older copy is sent");
    let used = |world: &World| world.harness.core.snapshot().agents[0].amounts.used.clone();
    assert_eq!(used(&world), super::world::resources(WANTED), "it is counted as long as it is there");
    world.update(session, &framework.1, &task, TaskState::TaskKilled);
    assert!(world.statuses(framework.0).is_empty());
    assert!(matches!(&world.orders(session)[..], [Order::Acknowledge { .. }]), "the master acknowledges it");
    assert!(used(&world).is_empty());
    assert_eq!(world.reconcile(framework.0, "t", &other.1)[0].state(), TaskState::TaskRunning);
}

#[test]
fn a_new_master_takes_the_later_of_two_copies_whichever_registers_first() {
    for later_first in [true, false] {
        let mut world = World::new();
        let (framework, _) = world.subscribe(facts("f", "*"), Some("old-0000"));
        let party = (framework, "old-0000".to_owned());
        let (older, later) = (("t".to_owned(), "c1".to_owned()), ("t".to_owned(), "c2".to_owned()));
        let agents = [("old-S0", &older), ("old-S1", &later)];
        let mut sessions = Vec::new();
        for at in if later_first { [1, 0] } else { [0, 1] } {
            let (id, task) = agents[at];
            let session = back(&mut world, &(SessionId(0), id.to_owned()), &party, &[task]);
            sessions.push(session);
        }
        let dies: Vec<String> = sessions.iter().flat_map(|session| killed(&world, *session)).collect();
        assert_eq!(dies, ["c1"], "later first: {later_first}");
        let older_on = sessions[usize::from(later_first)];
        world.update(older_on, "old-0000", &older, TaskState::TaskKilled);
        assert!(world.statuses(framework).is_empty());
        assert_eq!(world.reconcile(framework, "t", "old-S1")[0].state(), TaskState::TaskRunning);
    }
}

#[test]
fn a_policy_survives_its_master_because_the_registry_knows_since_when() {
    let (mut world, framework, agent, task) = running_for(facts("f", "*"), Config::default());
    cut_off(&mut world, framework.0);
    let state = world.facts();
    let now = world.now;
    let mut next = World::with(state, Config::default());
    next.now = now;
    next.wait(Duration::from_mins(2));
    let party = next.subscribe(facts("f", "*"), Some(&framework.1));
    let mut again = register(Some(&agent.1), TOTAL);
    again.frameworks = vec![known(&framework.1, "f")];
    again.tasks = vec![reported(&framework.1, &task, WANTED, TaskState::TaskRunning)];
    again.tasks[0].partition = launched("t", "", Some(after_a_minute(OnReturn::KeepReplacement)), None).partition;
    let session = next.register(again);
    assert_eq!(next.states(party.0), [("t".into(), TaskState::TaskRunning)]);
    assert_eq!(killed(&next, session), [task.1]);
}
