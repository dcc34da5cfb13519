//! Launches without a confirmation when the connection was lost: reported in doubt, resolved once by reconciliation.

use super::*;

/// With a launch of two tasks as call 1, and the number it has on the stream.
fn launched() -> (Bench, u64) {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    let effects = bench.launch("O1", &["t1", "t2"]);
    let [Effect::Send { seq, .. }] = effects[..] else { panic!("{effects:?}") };
    (bench, seq)
}

fn doubts(events: &[SchedulerEvent]) -> Vec<(u64, Vec<&str>)> {
    let doubts =
        events.iter().filter_map(|event| if let SchedulerEvent::InDoubt(doubt) = event { Some(doubt) } else { None });
    doubts.map(|doubt| (doubt.seq, doubt.task_ids.iter().map(|id| id.value.as_str()).collect())).collect()
}

#[test]
fn a_launch_on_its_way_when_the_connection_is_lost_is_reported_in_doubt_and_not_sent_again() {
    let (mut bench, _) = launched();
    bench.cut();
    assert_eq!(doubts(&bench.take_all()), [(1, vec!["t1", "t2"])]);
    assert_eq!(sent(&bench.resubscribe()), [call::Type::Reconcile, call::Type::Reconcile]);
}

#[test]
fn a_launch_that_the_master_applied_is_not_in_doubt() {
    let (mut bench, seq) = launched();
    bench.frame(ext::Events { applied_seq: seq, ..ext::Events::default() });
    bench.cut();
    assert_eq!(bench.take_all(), [SchedulerEvent::Disconnected]);
}

#[test]
fn a_task_with_a_status_is_not_in_doubt() {
    let (mut bench, _) = launched();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    bench.cut();
    assert_eq!(doubts(&bench.take_all()), [(1, vec!["t2"])]);
}

#[test]
fn an_operation_without_tasks_is_in_doubt_and_a_decline_is_not() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1", "O2"])]);
    bench.take_all();
    let reserve = v1::offer::Operation::default();
    for (offer, operations) in [("O1", vec![reserve]), ("O2", vec![])] {
        bench.ask(Request::Accept { offer_ids: vec![offer_id(offer)], operations, filters: None });
    }
    bench.cut();
    assert_eq!(doubts(&bench.take_all()), [(1, vec![])]);
}

#[test]
fn a_launch_in_doubt_that_never_reached_the_master_ends_once() {
    for state in [TaskState::TaskUnknown, TaskState::TaskGone, TaskState::TaskLost] {
        let (mut bench, _) = launched();
        bench.cut();
        bench.take_all();
        bench.resubscribe();
        bench.take_all();
        let answers = || [update(answer("t1", state)), update(answer("t2", TaskState::TaskRunning))];
        bench.receive(answers());
        assert_eq!(bench.take_all().len(), 2, "{state:?}");
        for later in [state, TaskState::TaskLost, TaskState::TaskGone, TaskState::TaskUnknown] {
            bench.receive([update(answer("t1", later))]);
            assert_eq!(bench.take_all(), [], "{later:?} after {state:?}");
        }
        bench.cut();
        bench.take_all();
        assert_eq!(asked(&bench.resubscribe())[0], ["t2"]);
    }
}

#[test]
fn a_launch_in_doubt_that_ran_is_reported_to_its_end_once() {
    let (mut bench, _) = launched();
    bench.cut();
    bench.resubscribe();
    bench.take_all();
    let finished = update(status("t1", TaskState::TaskFinished, 1));
    bench.receive([update(answer("t1", TaskState::TaskFinished)), finished.clone()]);
    let events: Vec<_> = bench.take_all();
    assert!(matches!(&events[..], [SchedulerEvent::StatusUpdate(_)]), "{events:?}");
    assert_eq!(acknowledged(&bench.receive([finished])), [ack("t1", 1)]);
}
