//! The cron's decisions, one input at a time.

use std::collections::BTreeMap;

use divvy::{proto::v1::AgentId, types::Resources};

use super::*;
use crate::schedule::Schedule;

fn job(name: &str, schedule: &str, cpus: f64) -> Job {
    let schedule = Schedule::parse(schedule, "UTC").expect(schedule);
    let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    Job { name: name.to_owned(), command: "true".to_owned(), cpus, mem_mib: 32.0, env, schedule }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("an instant")
}

fn offer(cpus: f64) -> Offer {
    Offer {
        id: OfferId { value: "o1".to_owned() },
        agent_id: AgentId { value: "a1".to_owned() },
        hostname: "node".to_owned(),
        resources: Resources::cpus_mem(cpus, 256.0).to_proto(),
        ..Offer::default()
    }
}

fn status(task_id: &TaskId, state: TaskState) -> TaskStatus {
    TaskStatus { task_id: task_id.clone(), state: state.into(), ..TaskStatus::default() }
}

fn wanted(job: &str) -> Tick {
    Tick::Wanted { job: job.to_owned() }
}

/// A cron whose only job was just launched.
fn launched() -> (Cron, TaskId) {
    let mut cron = Cron::new(vec![job("report", "*/10 * * * * *", 1.0)], at(0));
    assert_eq!(cron.tick(at(10)), [wanted("report")]);
    let answer = cron.offered(&[offer(4.0)]);
    (cron, answer.launches[0].tasks[0].task_id.clone())
}

#[test]
fn a_tick_becomes_demand_that_the_next_offer_takes() {
    let mut cron = Cron::new(vec![job("report", "*/10 * * * * *", 1.0), job("idle", "@yearly", 1.0)], at(0));
    assert_eq!(cron.next_tick(), Some(at(10)));
    assert_eq!(cron.tick(at(9)), []);
    assert!(!cron.wants_offers());
    assert_eq!(cron.tick(at(10)), [wanted("report")]);
    assert!(cron.wants_offers());
    let answer = cron.offered(&[offer(4.0)]);
    let [launch] = answer.launches.as_slice() else { panic!("{answer:?}") };
    assert_eq!(launch.tasks.len(), 1);
    assert_eq!(launch.tasks[0].task_id.value, "report.20270115T080010Z");
    assert_eq!(launch.hostname, "node");
    assert!(answer.decline.is_empty() && answer.waiting.is_empty() && !cron.wants_offers());
}

#[test]
fn a_tick_of_a_job_in_flight_is_skipped_even_before_it_runs() {
    let (mut cron, task_id) = launched();
    let skipped = [Tick::StillInFlight { job: "report".to_owned(), task_id: task_id.clone() }];
    assert_eq!(cron.tick(at(20)), skipped);
    cron.status(&status(&task_id, TaskState::TaskRunning));
    assert_eq!(cron.tick(at(30)), skipped);
    assert_eq!(cron.offered(&[offer(4.0)]).decline.len(), 1, "there is nothing to launch");
}

#[test]
fn a_job_that_ended_runs_again_at_its_next_tick() {
    let (mut cron, task_id) = launched();
    let ended = Progress::Ended { job: "report".to_owned(), state: TaskState::TaskFailed, text: String::new() };
    assert_eq!(cron.status(&status(&task_id, TaskState::TaskFailed)), Some(ended));
    assert!(cron.in_flight().is_empty());
    assert_eq!(cron.tick(at(20)), [wanted("report")]);
    assert_eq!(cron.status(&status(&task_id, TaskState::TaskFinished)), None, "a late repeat concerns no run");
    assert!(cron.wants_offers());
}

#[test]
fn an_unreachable_task_is_still_in_flight() {
    let (mut cron, task_id) = launched();
    assert_eq!(cron.status(&status(&task_id, TaskState::TaskUnreachable)), None);
    assert_eq!(cron.in_flight().len(), 1);
}

#[test]
fn demand_that_fits_nowhere_waits_and_says_so() {
    let mut cron = Cron::new(vec![job("big", "*/10 * * * * *", 8.0)], at(0));
    cron.tick(at(10));
    let answer = cron.offered(&[offer(4.0)]);
    assert!(answer.launches.is_empty());
    assert_eq!(answer.decline.len(), 1);
    assert!(answer.waiting[0].starts_with("big: 1 of 1 does not fit"), "{:?}", answer.waiting);
    assert_eq!(cron.tick(at(20)), [Tick::StillWaiting { job: "big".to_owned() }]);
    assert_eq!(cron.offered(&[offer(8.0)]).launches.len(), 1);
}

#[test]
fn missed_ticks_count_as_one() {
    let mut cron = Cron::new(vec![job("report", "*/10 * * * * *", 1.0)], at(0));
    assert_eq!(cron.tick(at(3_601)), [wanted("report")]);
    assert_eq!(cron.next_tick(), Some(at(3_610)));
}

/// What a tick launches, if an offer comes at once; its run has ended afterwards.
fn run_at(cron: &mut Cron, now: Timestamp) -> Vec<String> {
    cron.tick(now);
    let launches = cron.offered(&[offer(8.0)]).launches;
    let ids: Vec<TaskId> = launches.into_iter().flat_map(|launch| launch.tasks).map(|task| task.task_id).collect();
    for id in &ids {
        assert!(cron.status(&status(id, TaskState::TaskFinished)).is_some(), "{id} was in flight");
    }
    ids.into_iter().map(|id| id.value).collect()
}

#[test]
fn after_a_step_ahead_and_back_the_next_runs_are_those_of_the_right_time() {
    let mut cron = Cron::new(vec![job("often", "*/10 * * * * *", 1.0), job("hourly", "0 0 * * * *", 1.0)], at(0));
    assert_eq!(run_at(&mut cron, at(10)).len(), 1);
    // Two hours ahead for six seconds.
    cron.reset_clock(at(7_212));
    assert_eq!(run_at(&mut cron, at(7_212)).len(), 2, "what was missed counts as one run each");
    assert_eq!(cron.next_tick(), Some(at(7_220)));
    cron.reset_clock(at(18));
    assert_eq!(cron.next_tick(), Some(at(20)));
    assert_eq!(run_at(&mut cron, at(20)).len(), 1);
    assert_eq!(cron.next_tick(), Some(at(30)));
}

#[test]
fn an_instant_that_comes_again_runs_under_another_id() {
    let mut cron = Cron::new(vec![job("often", "*/10 * * * * *", 1.0)], at(0));
    let mut ids = run_at(&mut cron, at(3_610));
    for _ in 0..2 {
        cron.reset_clock(at(5));
        ids.extend(run_at(&mut cron, at(10)));
        ids.extend(run_at(&mut cron, at(3_610)));
    }
    let unique: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert_eq!((ids.len(), unique.len()), (5, 5), "{ids:?}");
}

#[test]
fn a_job_that_a_step_ahead_ended_for_good_is_due_again_after_the_step_back() {
    let mut cron = Cron::new(vec![job("once", "0 0 0 1 1 * 2100", 1.0)], at(0));
    let due = cron.next_tick().expect("in 2100");
    assert_eq!(run_at(&mut cron, due).len(), 1);
    assert_eq!(cron.next_tick(), None);
    cron.reset_clock(at(20));
    assert_eq!(cron.next_tick(), Some(due));
}
