//! A run's decisions, one input at a time.

use super::*;
use crate::types::Resources;

fn offer(agent: &str, cpus: f64) -> Offer {
    Offer {
        id: OfferId { value: format!("offer-of-{agent}") },
        agent_id: AgentId { value: agent.to_owned() },
        hostname: agent.to_owned(),
        resources: Resources::cpus_mem(cpus, 4096.0).to_proto(),
        ..Offer::default()
    }
}

fn request(count: u32) -> TaskRequest {
    TaskRequest::command("hello", "true").cpus(1.0).mem_mib(64).count(count)
}

fn status(task: &str, state: TaskState, message: &str) -> TaskStatus {
    TaskStatus {
        task_id: TaskId { value: task.to_owned() },
        state: state.into(),
        message: Some(message.to_owned()),
        ..TaskStatus::default()
    }
}

fn ids(answer: &Answer) -> Vec<&str> {
    answer.launches.iter().flat_map(|launch| &launch.tasks).map(|task| task.task_id.value.as_str()).collect()
}

#[test]
fn what_does_not_fit_waits_for_another_agent_within_the_limit_per_agent() {
    let mut run = Run::new(request(6).max_per_agent(2), false);
    let answer = run.offered(&[offer("a", 8.0), offer("b", 8.0)]);
    assert_eq!(ids(&answer), ["hello.0", "hello.1", "hello.2", "hello.3"]);
    let unplaced = answer.unplaced.expect("two are left");
    assert!(unplaced.starts_with("2 of 6 do not fit: 2 agents: at their limit of 2"), "{unplaced}");
    // The same agents are of no use, a third is.
    let answer = run.offered(&[offer("a", 8.0), offer("b", 8.0)]);
    assert_eq!((ids(&answer).len(), answer.decline.len()), (0, 2));
    let answer = run.offered(&[offer("c", 8.0)]);
    assert_eq!((ids(&answer), &answer.unplaced), (vec!["hello.4", "hello.5"], &None));
    assert!(!run.wants_offers() && !run.is_over());
}

#[test]
fn a_run_is_over_with_its_last_instance_and_has_the_first_failures_code() {
    let mut run = Run::new(request(3), false);
    run.offered(&[offer("a", 8.0)]);
    assert_eq!(run.status(&status("hello.1", TaskState::TaskRunning, "")), Some(Change::Started));
    assert_eq!(run.status(&status("hello.1", TaskState::TaskRunning, "")), None, "a repeat is no news");
    let ended = |code, text: &str| Some(Change::Ended { code, text: text.to_owned() });
    let failed = status("hello.1", TaskState::TaskFailed, "command exited with status 7");
    assert_eq!(run.status(&failed), ended(7, "command exited with status 7"));
    assert_eq!(run.status(&failed), None);
    assert_eq!(run.status(&status("hello.0", TaskState::TaskFinished, "")), ended(0, ""));
    assert!(!run.is_over());
    assert_eq!(run.status(&status("hello.2", TaskState::TaskFailed, "status 9")), ended(9, "status 9"));
    assert!(run.is_over());
    assert_eq!(run.code(), 7);
}

#[test]
fn an_instance_that_never_ran_is_tried_again_but_not_for_ever() {
    let mut run = Run::new(request(1), false);
    for attempt in 0..MAX_SECOND_TRIES {
        run.offered(&[offer("a", 8.0)]);
        let change = run.status(&status(&format!("hello.{attempt}"), TaskState::TaskDropped, "the agent is gone"));
        assert_eq!(change, Some(Change::Again { text: "the agent is gone".to_owned() }));
        assert!(run.wants_offers());
    }
    run.offered(&[offer("a", 8.0)]);
    let change = run.status(&status(&format!("hello.{MAX_SECOND_TRIES}"), TaskState::TaskDropped, ""));
    assert_eq!(change, Some(Change::Ended { code: 1, text: String::new() }));
    assert!(run.is_over());
    assert_eq!(run.code(), 1);
}

#[test]
fn an_instance_that_ran_and_was_lost_is_a_failure() {
    let mut run = Run::new(request(1), false);
    run.offered(&[offer("a", 8.0)]);
    run.status(&status("hello.0", TaskState::TaskRunning, ""));
    assert_eq!(run.status(&status("hello.0", TaskState::TaskUnreachable, "")), Some(Change::Unreachable));
    assert!(!run.is_over());
    assert_eq!(
        run.status(&status("hello.0", TaskState::TaskGone, "the agent is gone")),
        Some(Change::Ended { code: 1, text: "the agent is gone".to_owned() })
    );
    assert_eq!(run.code(), 1);
}

#[test]
fn the_limit_per_agent_holds_for_the_whole_run() {
    let mut run = Run::new(request(2).max_per_agent(1), false);
    run.offered(&[offer("a", 8.0)]);
    run.status(&status("hello.0", TaskState::TaskFinished, ""));
    let unplaced = run.offered(&[offer("a", 8.0)]).unplaced.expect("it had its share");
    assert!(unplaced.starts_with("1 of 2 does not fit: 1 agent: at its limit of 1"), "{unplaced}");
    assert_eq!(ids(&run.offered(&[offer("b", 8.0)])), ["hello.1"]);
}

#[test]
fn best_effort_leaves_out_what_does_not_fit_at_once() {
    let mut run = Run::new(request(4), true);
    run.offered(&[offer("a", 2.0)]);
    run.status(&status("hello.0", TaskState::TaskFinished, ""));
    // What the end made room for is waiting, which is not wanted; another agent is not.
    let answer = run.offered(&[offer("a", 1.0), offer("b", 1.0)]);
    assert_eq!((ids(&answer), answer.decline.len()), (vec!["hello.2"], 1));
    assert!(answer.unplaced.expect("one is left").starts_with("1 of 4 does not fit: 1 agent: cpus: asked 1, 0 left"));
    assert_eq!(run.settle(), 1);
    run.status(&status("hello.1", TaskState::TaskFinished, ""));
    run.status(&status("hello.2", TaskState::TaskFinished, ""));
    assert!(run.is_over());
    assert_eq!(run.code(), 0);
}

#[test]
fn nothing_run_is_a_failure() {
    let mut run = Run::new(request(3), false);
    assert_eq!(run.settle(), 3);
    assert!(run.is_over());
    assert_eq!(run.code(), 1);
}

#[test]
fn a_request_that_no_offer_can_satisfy_is_known_as_such() {
    let mut run = Run::new(request(1).cpus(-1.0), false);
    let answer = run.offered(&[offer("a", 8.0)]);
    assert!(answer.hopeless && answer.launches.is_empty());
    assert!(Run::new(request(1).max_per_agent(0), false).offered(&[offer("a", 8.0)]).hopeless);
}
