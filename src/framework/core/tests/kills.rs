//! Kills: kept and sent again until they are known to have arrived.

use super::*;
use crate::proto::v1::KillPolicy;

fn kill(task: &str) -> Request {
    Request::Kill { task_id: task_id(task), policy: None }
}

/// With `t1` running, and a kill of it that the master has applied.
fn killed() -> Bench {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    bench.launch("O1", &["t1"]);
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    let effects = bench.ask(kill("t1"));
    let [Effect::Send { seq, .. }] = effects[..] else { panic!("{effects:?}") };
    bench.frame(ext::Events { applied_seq: seq, ..ext::Events::default() });
    bench
}

/// The tasks of which kills were sent.
fn kills(effects: &[Effect]) -> Vec<&str> {
    calls(effects).filter_map(|call| call.kill.as_ref()).map(|kill| kill.task_id.value.as_str()).collect()
}

fn reconnected(bench: &mut Bench) -> Vec<Effect> {
    bench.cut();
    bench.take_all();
    bench.resubscribe()
}

#[test]
fn a_kill_that_a_master_applied_is_sent_to_the_next_one_too() {
    let mut bench = killed();
    for _ in 0..3 {
        assert_eq!(kills(&reconnected(&mut bench)), ["t1"], "the kill may have been lost with the master");
    }
}

#[test]
fn a_kill_is_sent_with_every_question_about_its_task_and_keeps_its_policy() {
    let mut bench = killed();
    let policy = Some(KillPolicy::default());
    bench.ask(Request::Kill { task_id: task_id("t1"), policy });
    reconnected(&mut bench);
    for wait in [8, 16, 30] {
        let effects = bench.after(Duration::from_secs(wait));
        bench.receive([heartbeat()]);
        assert_eq!(asked(&effects), [["t1"]], "the master sends no answer while the agent may re-register");
        let again = calls(&effects).find_map(|call| call.kill.clone()).expect("a kill");
        assert_eq!((again.kill_policy, again.agent_id), (policy, Some(agent_id())));
    }
}

#[test]
fn a_task_that_is_reported_as_running_though_it_was_killed_is_killed_again() {
    let mut bench = killed();
    let effects = bench.receive([update(answer("t1", TaskState::TaskRunning))]);
    assert_eq!(kills(&effects), ["t1"], "though the answer is a repeat");
    let effects = bench.receive([update(answer("t1", TaskState::TaskUnreachable))]);
    assert_eq!(kills(&effects), [""; 0], "its agent is unreachable");
    assert_eq!(kills(&bench.receive([update(answer("t1", TaskState::TaskRunning))])), ["t1"]);
}

#[test]
fn a_kill_is_dropped_once_its_task_is_being_killed_or_has_ended() {
    for state in [TaskState::TaskKilling, TaskState::TaskKilled, TaskState::TaskFinished] {
        let mut bench = killed();
        bench.receive([update(status("t1", state, 2))]);
        bench.take_all();
        assert_eq!(kills(&reconnected(&mut bench)), [""; 0], "{state:?}");
        assert_eq!(kills(&bench.receive([update(answer("t1", TaskState::TaskRunning))])), [""; 0], "{state:?}");
    }
}

#[test]
fn a_kill_outlives_an_inferred_end() {
    let mut bench = killed();
    bench.receive([update(TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) })]);
    bench.take_all();
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
    assert_eq!(kills(&reconnected(&mut bench)), [""; 0]);
    assert_eq!(
        kills(&bench.receive([update(answer("t1", TaskState::TaskRunning))])),
        ["t1"],
        "its agent re-registered"
    );
    bench.take_all();
    assert_eq!(kills(&reconnected(&mut bench)), ["t1"]);
}

#[test]
fn an_id_that_is_used_again_is_not_killed_for_the_earlier_task() {
    let mut bench = killed();
    bench.receive([update(TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) }), offers(&["O2"])]);
    bench.take_all();
    bench.launch("O2", &["t1"]);
    assert_eq!(kills(&bench.receive([update(status("t1", TaskState::TaskRunning, 9))])), [""; 0]);
}

#[test]
fn a_kill_of_a_task_without_a_status_does_not_apply_to_a_later_launch_of_its_id() {
    let mut bench = Bench::subscribed();
    bench.ask(kill("t1"));
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    bench.launch("O1", &["t1"]);
    assert_eq!(kills(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))])), [""; 0]);
}

#[test]
fn a_launch_while_the_inferred_end_of_an_earlier_task_is_delivered_is_a_task_of_its_own() {
    let mut bench = killed();
    bench.receive([offers(&["O2"])]);
    bench.take_all();
    bench.receive([update(TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) })]);
    bench.launch("O2", &["t1"]);
    bench.cut();
    let in_doubt =
        |event: &SchedulerEvent| matches!(event, SchedulerEvent::InDoubt(doubt) if doubt.task_ids == [task_id("t1")]);
    assert!(bench.take_all().iter().any(in_doubt), "the end of the first is not that of the second");
    assert_eq!(bench.harness.core.counts().live_tasks, 1);
    assert_eq!(kills(&bench.resubscribe()), [""; 0]);
    assert_eq!(kills(&bench.receive([update(status("t1", TaskState::TaskRunning, 9))])), [""; 0]);
}

#[test]
fn a_task_without_a_status_is_killed_and_asked_for_until_the_master_answers() {
    let mut bench = Bench::subscribed();
    assert_eq!(kills(&bench.ask(kill("t9"))), ["t9"]);
    let effects = bench.after(Duration::from_secs(8));
    assert_eq!((kills(&effects), asked(&effects)), (vec!["t9"], vec![vec!["t9".to_owned()]]));
    let effects = bench.receive([update(status("t9", TaskState::TaskRunning, 1))]);
    assert_eq!(kills(&effects), ["t9"]);
    bench.take_all();
    bench.receive([update(status("t9", TaskState::TaskKilled, 2))]);
    bench.take_all();
    let effects = reconnected(&mut bench);
    assert_eq!((kills(&effects), asked(&effects)), (vec![], vec![Vec::<String>::new()]));
}

#[test]
fn a_kill_that_the_master_refuses_is_reported_once_and_not_sent_again() {
    let mut bench = Bench::subscribed();
    let effects = bench.ask(kill("t9"));
    let [Effect::Send { seq, .. }] = effects[..] else { panic!("{effects:?}") };
    let refused =
        vec![ext::Refused { seq, field: "kill.task_id".into(), text: "no id".into(), partially_applied: false }];
    bench.frame(ext::Events { refused, applied_seq: seq, ..ext::Events::default() });
    assert!(matches!(&bench.take_all()[..], [SchedulerEvent::Refused(refusal)] if refusal.seq == 1));
    assert_eq!(kills(&reconnected(&mut bench)), [""; 0]);
}
