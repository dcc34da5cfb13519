//! The decisions of a run, one input at a time.

use super::*;
use crate::{
    proto::ext::{ProcessEnd, process_end},
    types::Resources,
};

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
fn all_start_together_when_another_agent_makes_them_fit_within_the_limit_per_agent() {
    let mut run = Run::new(request(6).max_per_agent(2));
    let answer = run.offered(vec![offer("a", 8.0), offer("b", 8.0)]);
    assert!(answer.launches.is_empty() && answer.decline.is_empty(), "the offers are held");
    let unplaced = answer.unplaced.expect("two are left");
    assert!(unplaced.starts_with("2 of 6 do not fit: 2 agents: at their limit of 2"), "{unplaced}");
    let answer = run.offered(vec![offer("c", 8.0)]);
    let per_agent: Vec<usize> = answer.launches.iter().map(|launch| launch.tasks.len()).collect();
    assert_eq!((per_agent, &answer.unplaced), (vec![2, 2, 2], &None));
    assert!(!run.wants_offers() && !run.is_over());
}

#[test]
fn offers_declined_or_rescinded_are_not_used() {
    let mut run = Run::new(request(2).max_per_agent(1));
    run.offered(vec![offer("a", 8.0)]);
    assert_eq!(run.take_offers().len(), 1);
    assert!(run.offered(vec![offer("b", 8.0)]).launches.is_empty());
    run.rescinded(&OfferId { value: "offer-of-b".to_owned() });
    assert!(run.offered(vec![offer("c", 8.0)]).launches.is_empty());
    assert_eq!(ids(&run.offered(vec![offer("a", 8.0)])).len(), 2);
}

#[test]
fn a_run_is_over_with_its_last_instance_and_has_the_first_failures_code() {
    let mut run = Run::new(request(3));
    run.offered(vec![offer("a", 8.0)]);
    assert_eq!(run.status(&status("hello.1", TaskState::TaskRunning, "")), Some(Change::Started));
    assert_eq!(run.status(&status("hello.1", TaskState::TaskRunning, "")), None, "a repeat changes nothing");
    let ended = |code, text: &str| Some(Change::Ended { code, text: text.to_owned() });
    let failed = |name: &str, code| {
        let process_end = Some(ProcessEnd { how: Some(process_end::How::ExitCode(code)) });
        TaskStatus { process_end, ..status(name, TaskState::TaskFailed, "it failed") }
    };
    assert_eq!(run.status(&failed("hello.1", 7)), ended(7, "it failed"));
    assert_eq!(run.status(&failed("hello.1", 7)), None);
    assert_eq!(run.status(&status("hello.0", TaskState::TaskFinished, "")), ended(0, ""));
    assert!(!run.is_over());
    assert_eq!(run.status(&failed("hello.2", 9)), ended(9, "it failed"));
    assert!(run.is_over());
    assert_eq!(run.code(), 7);
}

#[test]
fn an_instance_that_never_ran_is_placed_again_but_not_without_limit() {
    let mut run = Run::new(request(1));
    for attempt in 0..MAX_RETRIES {
        run.offered(vec![offer("a", 8.0)]);
        let change = run.status(&status(&format!("hello.{attempt}"), TaskState::TaskDropped, "the agent is gone"));
        assert_eq!(change, Some(Change::Retry { text: "the agent is gone".to_owned() }));
        assert!(run.wants_offers());
    }
    run.offered(vec![offer("a", 8.0)]);
    let change = run.status(&status(&format!("hello.{MAX_RETRIES}"), TaskState::TaskDropped, ""));
    assert_eq!(change, Some(Change::Ended { code: 1, text: String::new() }));
    assert!(run.is_over());
    assert_eq!(run.code(), 1);
}

#[test]
fn an_instance_that_ran_and_was_lost_is_a_failure() {
    let mut run = Run::new(request(1));
    run.offered(vec![offer("a", 8.0)]);
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
fn an_instance_placed_again_respects_the_limit_per_agent() {
    let mut run = Run::new(request(2).max_per_agent(1));
    run.offered(vec![offer("a", 8.0), offer("b", 8.0)]);
    run.status(&status("hello.1", TaskState::TaskDropped, ""));
    run.status(&status("hello.0", TaskState::TaskRunning, ""));
    assert!(run.offered(vec![offer("a", 8.0)]).launches.is_empty());
    assert_eq!(ids(&run.offered(vec![offer("b", 8.0)])), ["hello.2"]);
}

#[test]
fn best_effort_leaves_out_what_does_not_fit() {
    let mut run = Run::new(request(3));
    assert!(run.offered(vec![offer("a", 2.0)]).launches.is_empty());
    let answer = run.launch_what_fits();
    assert_eq!(ids(&answer), ["hello.0", "hello.1"]);
    assert!(answer.unplaced.is_some_and(|text| text.starts_with("1 of 3")));
    assert_eq!(run.stop_placing(), 1);
    run.status(&status("hello.0", TaskState::TaskFinished, ""));
    run.status(&status("hello.1", TaskState::TaskFinished, ""));
    assert!(run.is_over());
    assert_eq!(run.code(), 0);
}

#[test]
fn a_run_without_instances_is_a_failure() {
    let mut run = Run::new(request(3));
    assert_eq!(run.stop_placing(), 3);
    assert!(run.is_over());
    assert_eq!(run.code(), 1);
}

#[test]
fn a_request_that_no_offer_can_satisfy_is_hopeless() {
    let mut run = Run::new(request(1).cpus(-1.0));
    let answer = run.offered(vec![offer("a", 8.0)]);
    assert!(answer.hopeless && answer.launches.is_empty());
    assert!(Run::new(request(1).max_per_agent(0)).offered(vec![offer("a", 8.0)]).hopeless);
}
