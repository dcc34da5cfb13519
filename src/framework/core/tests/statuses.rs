//! Statuses: told once, acknowledged after the callback took them.

use super::*;

#[test]
fn a_status_is_acknowledged_when_its_callback_returned_ok() {
    let mut bench = Bench::subscribed();
    let (callback, _) = told(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    let effects = bench.returned(callback, Outcome::Ok);
    assert_eq!((acknowledged(&effects), effects.len()), (vec![ack("t1", 1)], 1));
}

#[test]
fn a_repeat_of_a_status_under_way_is_dropped() {
    let mut bench = Bench::subscribed();
    let running = update(status("t1", TaskState::TaskRunning, 1));
    told(&bench.receive([running.clone()]));
    assert_eq!(bench.receive([running]), []);
    assert_eq!(bench.harness.core.counts().repeats, 1);
}

#[test]
fn a_repeat_of_a_status_that_was_taken_is_acknowledged_again_without_being_told() {
    let mut bench = Bench::subscribed();
    for state in [TaskState::TaskRunning, TaskState::TaskFinished] {
        bench.receive([update(status("t1", state, state as u8))]);
        assert_eq!(bench.take_all().len(), 1);
        assert_eq!(acknowledged(&bench.receive([update(status("t1", state, state as u8))])), [ack("t1", state as u8)]);
    }
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn what_an_agent_says_after_the_end_it_told_is_acknowledged_without_being_told() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskFinished, 1))]);
    bench.take_all();
    for (state, uuid) in [(TaskState::TaskRunning, 2), (TaskState::TaskGone, 3)] {
        assert_eq!(acknowledged(&bench.receive([update(status("t1", state, uuid))])), [ack("t1", uuid)]);
    }
    assert_eq!((bench.running.len(), bench.harness.core.counts().live_tasks), (0, 0));
}

#[test]
fn a_master_that_knows_less_does_not_bring_a_task_back_that_its_agent_ended() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskFinished, 1))]);
    bench.take_all();
    bench.receive([update(answer("t1", TaskState::TaskUnreachable)), update(answer("t1", TaskState::TaskUnknown))]);
    assert_eq!((bench.running.len(), bench.harness.core.counts().live_tasks), (0, 0));
}

#[test]
fn a_master_that_knows_less_does_not_overrule_an_end_that_waits_for_its_callback() {
    let mut bench = Bench::subscribed();
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    told(&bench.receive([update(status("t1", TaskState::TaskFinished, 1))]));
    bench.receive([update(answer("t1", TaskState::TaskLost))]);
    assert_eq!(bench.take_all().len(), 1);
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn an_end_that_the_callback_took_answers_what_was_asked_before() {
    let mut bench = Bench::subscribed();
    let (callback, _) = told(&bench.receive([update(status("t1", TaskState::TaskFinished, 1))]));
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    bench.returned(callback, Outcome::Ok);
    assert_eq!(bench.receive([update(answer("t1", TaskState::TaskUnknown))]), []);
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn an_end_that_waits_for_its_callback_answers_what_was_asked_before() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    told(&bench.receive([update(status("t1", TaskState::TaskFinished, 2))]));
    assert_eq!(bench.receive([update(answer("t1", TaskState::TaskFinished))]), []);
    assert_eq!(bench.take_all().len(), 1, "the callback hears the end once");
}

#[test]
fn an_end_that_was_inferred_does_not_take_the_place_of_the_one_on_its_way() {
    let mut bench = Bench::subscribed();
    bench.receive([update(answer("t1", TaskState::TaskFailed))]);
    assert_eq!(bench.take_all().len(), 1);
    let process_end = Some(ext::ProcessEnd { how: Some(ext::process_end::How::ExitCode(6)) });
    let true_end = update(TaskStatus { process_end, ..status("t1", TaskState::TaskFailed, 1) });
    let sent = bench.receive([true_end.clone()]);
    assert_eq!(acknowledged(&sent), [], "not before the callback has it");
    let delivered = bench.take_all();
    assert!(matches!(&delivered[..], [SchedulerEvent::StatusUpdate(_) | SchedulerEvent::UnknownTask(_)]));
    assert_eq!(acknowledged(&bench.receive([true_end])), [ack("t1", 1)]);
    assert_eq!(bench.take_all(), [], "and not twice");
}

#[test]
fn a_question_that_waited_for_a_master_is_answered_though_it_tells_nothing_new() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    bench.cut();
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    bench.resubscribe();
    bench.take_all();
    assert_eq!(told(&bench.receive([update(answer("t1", TaskState::TaskRunning))])).1.state(), TaskState::TaskRunning);
}

#[test]
fn a_repeat_by_the_agent_is_no_answer_to_a_question() {
    let mut bench = Bench::subscribed();
    let finished = update(status("t1", TaskState::TaskFinished, 1));
    told(&bench.receive([finished.clone()]));
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    assert_eq!(bench.receive([finished]), [], "the callback has it");
    assert_eq!(bench.take_all().len(), 1);
}

#[test]
fn an_acknowledgement_by_hand_of_an_earlier_status_does_not_end_a_task_whose_end_is_still_to_be_taken() {
    let mut bench = Bench::subscribed_with(Options { explicit: true, ..options() });
    let (callback, running) = told(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    bench.receive([update(answer("t1", TaskState::TaskFinished))]);
    let uuid = running.uuid.unwrap_or_default();
    bench.ask(Request::Acknowledge { task_id: task_id("t1"), agent_id: agent_id(), uuid });
    let finished = update(status("t1", TaskState::TaskFinished, 2));
    assert_eq!(acknowledged(&bench.receive([finished])), [], "no callback has it yet");
    bench.returned(callback, Outcome::Err);
    assert_eq!(bench.harness.core.counts().live_tasks, 1);
}

#[test]
fn a_task_that_was_lost_and_comes_back_does_not_repeat_what_was_acknowledged() {
    let mut bench = Bench::subscribed();
    let running = update(status("t1", TaskState::TaskRunning, 1));
    let by_master = |state| update(TaskStatus { reason: None, ..answer("t1", state) });
    bench.receive([running.clone(), by_master(TaskState::TaskLost)]);
    assert_eq!(bench.take_all().len(), 2);
    bench.receive([by_master(TaskState::TaskRunning)]);
    assert_eq!(bench.take_all().len(), 1);
    assert_eq!(acknowledged(&bench.receive([running])), [ack("t1", 1)]);
    assert_eq!(bench.take_all(), []);
}

#[test]
fn a_master_that_says_again_what_the_agent_said_is_not_told() {
    let mut bench = Bench::subscribed();
    let again = TaskStatus { reason: Some(Reason::AgentReregistered as i32), ..answer("t1", TaskState::TaskFinished) };
    told(&bench.receive([update(status("t1", TaskState::TaskFinished, 1))]));
    assert_eq!(bench.receive([update(again)]), []);
    assert_eq!(bench.take_all().len(), 1);
}

#[test]
fn a_question_that_waited_for_a_master_is_dropped_when_the_end_came_first() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskFinished, 1))]);
    bench.cut();
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    bench.take_all();
    bench.connect();
    assert_eq!(asked(&bench.receive([subscribed()])), [Vec::<String>::new()]);
}

#[test]
fn a_status_without_a_uuid_is_told_and_not_acknowledged() {
    let mut bench = Bench::subscribed();
    let lost = TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) };
    let (callback, _) = told(&bench.receive([update(lost)]));
    assert_eq!(bench.returned(callback, Outcome::Ok), []);
}

#[test]
fn an_acknowledgement_without_a_master_waits_for_one() {
    let mut bench = Bench::subscribed();
    let (callback, _) = told(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    bench.cut();
    assert_eq!(acknowledged(&bench.returned(callback, Outcome::Ok)), []);
    bench.connect();
    assert_eq!(acknowledged(&bench.receive([subscribed()])), [ack("t1", 1)]);
}

#[test]
fn in_explicit_mode_the_user_acknowledges() {
    let mut bench = Bench::subscribed_with(Options { explicit: true, ..options() });
    let finished = status("t1", TaskState::TaskFinished, 1);
    let (callback, _) = told(&bench.receive([update(finished.clone())]));
    assert_eq!(bench.returned(callback, Outcome::Ok), []);
    assert_eq!(bench.receive([update(finished.clone())]), [], "a repeat of what the user has is not told");
    let uuid = finished.uuid.clone().expect("set");
    let effects = bench.ask(Request::Acknowledge { task_id: task_id("t1"), agent_id: agent_id(), uuid });
    assert_eq!(acknowledged(&effects), [ack("t1", 1)]);
    assert_eq!(acknowledged(&bench.receive([update(finished)])), [ack("t1", 1)]);
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn an_answer_that_tells_nothing_new_is_dropped() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    assert_eq!(bench.receive([update(answer("t1", TaskState::TaskRunning))]), []);
    told(&bench.receive([update(answer("t1", TaskState::TaskUnreachable))]));
}

#[test]
fn an_answer_that_the_user_asked_for_is_told_even_when_nothing_is_new() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    assert_eq!(asked(&bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] })), [["t1"]]);
    told(&bench.receive([update(answer("t1", TaskState::TaskRunning))]));
    bench.ask(Request::Reconcile { tasks: vec![] });
    bench.take_all();
    assert_eq!(bench.receive([update(answer("t1", TaskState::TaskRunning))]).len(), 1);
}

#[test]
fn an_end_that_a_reconciliation_told_first_is_told_once() {
    let mut bench = Bench::subscribed();
    let (callback, _) = told(&bench.receive([update(answer("t1", TaskState::TaskFinished))]));
    let finished = update(status("t1", TaskState::TaskFinished, 1));
    assert_eq!(bench.receive([finished.clone()]), [], "the callback is at it");
    bench.returned(callback, Outcome::Ok);
    assert_eq!(acknowledged(&bench.receive([finished])), [ack("t1", 1)]);
}

#[test]
fn a_task_that_was_lost_and_runs_after_all_is_told() {
    let mut bench = Bench::subscribed();
    bench.receive([update(TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) })]);
    bench.take_all();
    told(&bench.receive([update(status("t1", TaskState::TaskRunning, 2))]));
    assert_eq!(bench.harness.core.counts().live_tasks, 1);
}

#[test]
fn callbacks_are_given_a_bounded_batch_at_a_time() {
    let mut bench = Bench::subscribed();
    let many: Vec<_> = (0..1000).map(|n| update(status(&format!("t{n}"), TaskState::TaskRunning, 1))).collect();
    assert_eq!(bench.receive(many).len(), BATCH);
    assert_eq!(bench.take_all().len(), 1000);
    assert_eq!(bench.harness.core.counts().live_tasks, 1000);
}

#[test]
fn what_came_before_an_end_is_acknowledged_untold_once_the_callback_took_the_end() {
    let mut bench = Bench::subscribed();
    let (callback, _) = told(&bench.receive([update(answer("t1", TaskState::TaskFinished))]));
    let running = update(status("t1", TaskState::TaskRunning, 3));
    assert_eq!(bench.receive([running.clone()]), [], "the callback is at it");
    bench.returned(callback, Outcome::Ok);
    assert_eq!(acknowledged(&bench.receive([running])), [ack("t1", 3)]);
}
