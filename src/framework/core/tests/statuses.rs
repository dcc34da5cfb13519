//! Statuses: delivered once, acknowledged after the callback returned `Ok`.

use super::*;

#[test]
fn a_status_is_acknowledged_when_its_callback_returned_ok() {
    let mut bench = Bench::subscribed();
    let (callback, _) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    let effects = bench.returned(callback, Outcome::Ok);
    assert_eq!((acknowledged(&effects), effects.len()), (vec![ack("t1", 1)], 1));
}

#[test]
fn a_repeat_of_a_status_in_delivery_is_dropped() {
    let mut bench = Bench::subscribed();
    let running = update(status("t1", TaskState::TaskRunning, 1));
    delivered_status(&bench.receive([running.clone()]));
    assert_eq!(bench.receive([running]), []);
    assert_eq!(bench.harness.core.counts().repeats, 1);
}

#[test]
fn a_repeat_of_a_handled_status_is_acknowledged_again_without_being_delivered() {
    let mut bench = Bench::subscribed();
    for state in [TaskState::TaskRunning, TaskState::TaskFinished] {
        bench.receive([update(status("t1", state, state as u8))]);
        assert_eq!(bench.take_all().len(), 1);
        assert_eq!(acknowledged(&bench.receive([update(status("t1", state, state as u8))])), [ack("t1", state as u8)]);
    }
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn statuses_of_an_agent_after_the_end_it_reported_are_acknowledged_without_being_delivered() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskFinished, 1))]);
    bench.take_all();
    for (state, uuid) in [(TaskState::TaskRunning, 2), (TaskState::TaskGone, 3)] {
        assert_eq!(acknowledged(&bench.receive([update(status("t1", state, uuid))])), [ack("t1", uuid)]);
    }
    assert_eq!((bench.running.len(), bench.harness.core.counts().live_tasks), (0, 0));
}

#[test]
fn a_master_that_knows_less_does_not_revive_a_task_that_its_agent_reported_as_ended() {
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
    delivered_status(&bench.receive([update(status("t1", TaskState::TaskFinished, 1))]));
    bench.receive([update(answer("t1", TaskState::TaskLost))]);
    assert_eq!(bench.take_all().len(), 1);
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn an_end_that_was_handled_answers_earlier_questions() {
    let mut bench = Bench::subscribed();
    let (callback, _) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskFinished, 1))]));
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    bench.returned(callback, Outcome::Ok);
    assert_eq!(bench.receive([update(answer("t1", TaskState::TaskUnknown))]), []);
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn an_end_that_waits_for_its_callback_answers_earlier_questions() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    delivered_status(&bench.receive([update(status("t1", TaskState::TaskFinished, 2))]));
    assert_eq!(bench.receive([update(answer("t1", TaskState::TaskFinished))]), []);
    assert_eq!(bench.take_all().len(), 1, "the callback receives the end once");
}

#[test]
fn an_inferred_end_does_not_replace_the_reported_one_that_follows() {
    let mut bench = Bench::subscribed();
    bench.receive([update(answer("t1", TaskState::TaskFailed))]);
    assert_eq!(bench.take_all().len(), 1);
    let process_end = Some(ext::ProcessEnd { how: Some(ext::process_end::How::ExitCode(6)) });
    let true_end = update(TaskStatus { process_end, ..status("t1", TaskState::TaskFailed, 1) });
    let sent = bench.receive([true_end.clone()]);
    assert_eq!(acknowledged(&sent), [], "not before the callback returned");
    let delivered = bench.take_all();
    assert!(matches!(&delivered[..], [SchedulerEvent::StatusUpdate(_) | SchedulerEvent::UnknownTask(_)]));
    assert_eq!(acknowledged(&bench.receive([true_end])), [ack("t1", 1)]);
    assert_eq!(bench.take_all(), [], "and not twice");
}

#[test]
fn a_question_that_waited_for_a_master_is_answered_even_by_a_repeat() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    bench.cut();
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    bench.resubscribe();
    bench.take_all();
    assert_eq!(
        delivered_status(&bench.receive([update(answer("t1", TaskState::TaskRunning))])).1.state(),
        TaskState::TaskRunning
    );
}

#[test]
fn a_repeat_by_the_agent_is_no_answer_to_a_question() {
    let mut bench = Bench::subscribed();
    let finished = update(status("t1", TaskState::TaskFinished, 1));
    delivered_status(&bench.receive([finished.clone()]));
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    assert_eq!(bench.receive([finished]), [], "the callback has it");
    assert_eq!(bench.take_all().len(), 1);
}

#[test]
fn an_explicit_acknowledgement_of_an_earlier_status_does_not_end_a_task_whose_end_waits() {
    let mut bench = Bench::subscribed_with(Options { explicit: true, ..options() });
    let (callback, running) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    bench.receive([update(answer("t1", TaskState::TaskFinished))]);
    let uuid = running.uuid.unwrap_or_default();
    bench.ask(Request::Acknowledge { task_id: task_id("t1"), agent_id: agent_id(), uuid });
    let finished = update(status("t1", TaskState::TaskFinished, 2));
    assert_eq!(acknowledged(&bench.receive([finished])), [], "no callback received it yet");
    bench.returned(callback, Outcome::Err);
    assert_eq!(bench.harness.core.counts().live_tasks, 1);
}

#[test]
fn a_task_that_was_lost_and_reappears_does_not_repeat_acknowledged_statuses() {
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
fn a_status_of_the_master_that_repeats_one_of_the_agent_is_not_delivered() {
    let mut bench = Bench::subscribed();
    let again = TaskStatus { reason: Some(Reason::AgentReregistered as i32), ..answer("t1", TaskState::TaskFinished) };
    delivered_status(&bench.receive([update(status("t1", TaskState::TaskFinished, 1))]));
    assert_eq!(bench.receive([update(again)]), []);
    assert_eq!(bench.take_all().len(), 1);
}

#[test]
fn a_question_that_waited_for_a_master_is_dropped_when_the_end_arrived_first() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskFinished, 1))]);
    bench.cut();
    bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] });
    bench.take_all();
    bench.connect();
    assert_eq!(asked(&bench.receive([subscribed()])), [Vec::<String>::new()]);
}

#[test]
fn a_status_without_a_uuid_is_delivered_and_not_acknowledged() {
    let mut bench = Bench::subscribed();
    let lost = TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) };
    let (callback, _) = delivered_status(&bench.receive([update(lost)]));
    assert_eq!(bench.returned(callback, Outcome::Ok), []);
}

#[test]
fn an_acknowledgement_without_a_master_waits_for_one() {
    let mut bench = Bench::subscribed();
    let (callback, _) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    bench.cut();
    assert_eq!(acknowledged(&bench.returned(callback, Outcome::Ok)), []);
    bench.connect();
    assert_eq!(acknowledged(&bench.receive([subscribed()])), [ack("t1", 1)]);
}

#[test]
fn in_explicit_mode_the_user_acknowledges() {
    let mut bench = Bench::subscribed_with(Options { explicit: true, ..options() });
    let finished = status("t1", TaskState::TaskFinished, 1);
    let (callback, _) = delivered_status(&bench.receive([update(finished.clone())]));
    assert_eq!(bench.returned(callback, Outcome::Ok), []);
    assert_eq!(bench.receive([update(finished.clone())]), [], "a repeat of a delivered status is dropped");
    let uuid = finished.uuid.clone().expect("set");
    let effects = bench.ask(Request::Acknowledge { task_id: task_id("t1"), agent_id: agent_id(), uuid });
    assert_eq!(acknowledged(&effects), [ack("t1", 1)]);
    assert_eq!(acknowledged(&bench.receive([update(finished)])), [ack("t1", 1)]);
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn an_answer_that_repeats_the_known_state_is_dropped() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    assert_eq!(bench.receive([update(answer("t1", TaskState::TaskRunning))]), []);
    delivered_status(&bench.receive([update(answer("t1", TaskState::TaskUnreachable))]));
}

#[test]
fn an_answer_that_the_user_asked_for_is_delivered_even_if_it_is_a_repeat() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    assert_eq!(asked(&bench.ask(Request::Reconcile { tasks: vec![(task_id("t1"), None)] })), [["t1"]]);
    delivered_status(&bench.receive([update(answer("t1", TaskState::TaskRunning))]));
    bench.ask(Request::Reconcile { tasks: vec![] });
    bench.take_all();
    assert_eq!(bench.receive([update(answer("t1", TaskState::TaskRunning))]).len(), 1);
}

#[test]
fn an_end_that_a_reconciliation_reported_first_is_delivered_once() {
    let mut bench = Bench::subscribed();
    let (callback, _) = delivered_status(&bench.receive([update(answer("t1", TaskState::TaskFinished))]));
    let finished = update(status("t1", TaskState::TaskFinished, 1));
    assert_eq!(bench.receive([finished.clone()]), [], "the callback is running");
    bench.returned(callback, Outcome::Ok);
    assert_eq!(acknowledged(&bench.receive([finished])), [ack("t1", 1)]);
}

#[test]
fn a_task_that_was_lost_and_runs_after_all_is_reported() {
    let mut bench = Bench::subscribed();
    bench.receive([update(TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) })]);
    bench.take_all();
    delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 2))]));
    assert_eq!(bench.harness.core.counts().live_tasks, 1);
}

#[test]
fn callbacks_receive_a_bounded_batch_at_a_time() {
    let mut bench = Bench::subscribed();
    let many: Vec<_> = (0..1000).map(|n| update(status(&format!("t{n}"), TaskState::TaskRunning, 1))).collect();
    assert_eq!(bench.receive(many).len(), BATCH);
    assert_eq!(bench.take_all().len(), 1000);
    assert_eq!(bench.harness.core.counts().live_tasks, 1000);
}

#[test]
fn statuses_from_before_a_handled_end_are_acknowledged_without_being_delivered() {
    let mut bench = Bench::subscribed();
    let (callback, _) = delivered_status(&bench.receive([update(answer("t1", TaskState::TaskFinished))]));
    let running = update(status("t1", TaskState::TaskRunning, 3));
    assert_eq!(bench.receive([running.clone()]), [], "the callback is running");
    bench.returned(callback, Outcome::Ok);
    assert_eq!(acknowledged(&bench.receive([running])), [ack("t1", 3)]);
}
