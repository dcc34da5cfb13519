//! A status whose callback failed is delivered again with growing waits; other tasks go on, and the order per task
//! holds.

use super::*;

#[test]
fn a_status_whose_callback_failed_is_delivered_again_and_acknowledged_then() {
    for outcome in [Outcome::Err, Outcome::Panicked] {
        let mut bench = Bench::subscribed();
        let running = status("t1", TaskState::TaskRunning, 1);
        let (callback, _) = delivered_status(&bench.receive([update(running.clone())]));
        assert_eq!(bench.returned(callback, outcome), []);
        assert_eq!(bench.harness.deadline(), Some(1_000_000_000));
        assert_eq!(bench.receive([update(running.clone())]), [], "a repeat by the agent changes nothing");
        let (callback, again) = delivered_status(&bench.after(Duration::from_secs(1)));
        assert_eq!(again, running);
        let effects = bench.returned(callback, Outcome::Ok);
        assert_eq!((acknowledged(&effects), effects.len()), (vec![ack("t1", 1)], 1));
        assert_eq!((bench.harness.core.counts().redelivered, bench.harness.core.counts().repeats), (1, 1));
    }
}

#[test]
fn a_status_that_is_not_resent_by_an_agent_is_delivered_again_too() {
    let mut bench = Bench::subscribed();
    let lost = TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) };
    let (callback, _) = delivered_status(&bench.receive([update(lost.clone())]));
    bench.returned(callback, Outcome::Err);
    let (callback, again) = delivered_status(&bench.after(Duration::from_secs(1)));
    assert_eq!(again, lost);
    assert_eq!(bench.returned(callback, Outcome::Ok), []);
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn a_poison_status_does_not_spin_and_the_statuses_of_other_tasks_go_on() {
    let mut bench = Bench::subscribed();
    let (poisoned, _) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    bench.returned(poisoned, Outcome::Panicked);
    let mut attempts = 1;
    for minute in 0..60 {
        for _ in 0..60 {
            bench.now = bench.now.advanced(Duration::from_secs(1));
            bench.receive([heartbeat()]);
            if let [Effect::Deliver { callback, .. }] = bench.give(Input::Tick)[..] {
                attempts += 1;
                bench.returned(callback, Outcome::Panicked);
            }
        }
        let (callback, _) =
            delivered_status(&bench.receive([update(status("t2", TaskState::TaskRunning, minute + 2))]));
        assert_eq!(acknowledged(&bench.returned(callback, Outcome::Ok)), [ack("t2", minute + 2)]);
    }
    assert!((60..=70).contains(&attempts), "{attempts} attempts in an hour");
}

#[test]
fn a_status_waits_until_the_one_before_it_was_handled() {
    let mut bench = Bench::subscribed();
    let (callback, _) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    let unreachable = TaskStatus { uuid: None, ..status("t1", TaskState::TaskUnreachable, 0) };
    assert_eq!(bench.receive([update(unreachable.clone())]), []);
    assert_eq!(bench.returned(callback, Outcome::Err), []);
    let (callback, again) = delivered_status(&bench.after(Duration::from_secs(1)));
    assert_eq!(again.state(), TaskState::TaskRunning);
    let effects = bench.returned(callback, Outcome::Ok);
    assert_eq!(acknowledged(&effects), [ack("t1", 1)]);
    assert_eq!(delivered_status(&effects[1..]).1, unreachable);
}

#[test]
fn a_status_is_delivered_again_while_there_is_no_master() {
    let mut bench = Bench::subscribed();
    let (callback, _) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    bench.cut();
    bench.returned(callback, Outcome::Err);
    bench.take_all();
    let (callback, _) = delivered_status(&bench.after(Duration::from_secs(1)));
    bench.returned(callback, Outcome::Ok);
    assert_eq!(acknowledged(&bench.resubscribe()), [ack("t1", 1)]);
}

#[test]
fn in_explicit_mode_a_status_is_delivered_again_unless_the_user_acknowledged_it() {
    let mut bench = Bench::subscribed_with(Options { explicit: true, ..options() });
    for (task, by_hand) in [("t1", false), ("t2", true)] {
        let (callback, running) = delivered_status(&bench.receive([update(status(task, TaskState::TaskRunning, 1))]));
        if by_hand {
            let uuid = running.uuid.clone().expect("set");
            let acknowledge = Request::Acknowledge { task_id: task_id(task), agent_id: agent_id(), uuid };
            assert_eq!(acknowledged(&bench.ask(acknowledge)), [ack(task, 1)]);
        }
        bench.returned(callback, Outcome::Err);
        let again = bench.after(Duration::from_secs(1));
        assert_eq!(again.is_empty(), by_hand, "{again:?}");
        bench.take_all();
    }
}

#[test]
fn an_explicit_acknowledgement_between_two_attempts_ends_them() {
    let mut bench = Bench::subscribed_with(Options { explicit: true, ..options() });
    let (callback, running) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    bench.returned(callback, Outcome::Err);
    let unreachable = TaskStatus { uuid: None, ..status("t1", TaskState::TaskUnreachable, 0) };
    assert_eq!(bench.receive([update(unreachable.clone())]), []);
    let uuid = running.uuid.expect("set");
    bench.ask(Request::Acknowledge { task_id: task_id("t1"), agent_id: agent_id(), uuid });
    assert_eq!(delivered_status(&bench.after(Duration::from_secs(1))).1, unreachable, "the waiting status is next");
}
