//! Unknown tasks: reported, adopted or killed.

use super::*;

fn with(unknown_tasks: UnknownTasks) -> Bench {
    Bench::subscribed_with(Options { unknown_tasks, ..options() })
}

fn killed(effects: &[Effect]) -> Vec<(String, Option<AgentId>)> {
    let kills = calls(effects).filter_map(|call| call.kill.clone());
    kills.map(|kill| (kill.task_id.value, kill.agent_id)).collect()
}

/// The one callback that was run, by name and number.
#[track_caller]
fn only(effects: &[Effect]) -> (&'static str, u64) {
    let delivered = effects.iter().filter_map(|effect| match effect {
        Effect::Deliver { callback, event } => Some((event.callback(), *callback)),
        Effect::Connect { .. } | Effect::Disconnect { .. } | Effect::Send { .. } | Effect::Finish(_) => None,
    });
    let [only] = delivered.collect::<Vec<_>>()[..] else { panic!("expected one callback in {effects:?}") };
    only
}

#[test]
fn an_unknown_task_is_reported_until_its_end_and_each_status_acknowledged() {
    let mut bench = with(UnknownTasks::Report);
    for (state, uuid) in [(TaskState::TaskRunning, 1), (TaskState::TaskFinished, 2)] {
        let (name, callback) = only(&bench.receive([update(status("t1", state, uuid))]));
        assert_eq!(name, "unknown_task");
        let effects = bench.returned(callback, Outcome::Ok);
        assert_eq!((acknowledged(&effects), effects.len()), (vec![ack("t1", uuid)], 1));
    }
    let counts = bench.harness.core.counts();
    assert_eq!((counts.unknown_tasks, counts.live_tasks), (1, 0));
}

#[test]
fn an_adopted_task_is_reported_like_any_other_and_counted() {
    let mut bench = with(UnknownTasks::Adopt);
    for (state, uuid) in [(TaskState::TaskRunning, 1), (TaskState::TaskFinished, 2)] {
        let (name, callback) = only(&bench.receive([update(status("t1", state, uuid))]));
        assert_eq!(name, "status_update");
        bench.returned(callback, Outcome::Ok);
    }
    assert_eq!(bench.harness.core.counts().unknown_tasks, 1);
}

#[test]
fn an_unknown_task_is_killed_where_it_runs_and_reported() {
    let mut bench = with(UnknownTasks::Kill);
    let effects = bench.receive([update(answer("t1", TaskState::TaskRunning))]);
    assert_eq!(killed(&effects), [("t1".to_owned(), Some(agent_id()))]);
    assert_eq!(only(&effects).0, "unknown_task");
    bench.take_all();
    for (state, uuid) in [(TaskState::TaskKilling, 1), (TaskState::TaskKilled, 2)] {
        let effects = bench.receive([update(status("t1", state, uuid))]);
        assert_eq!((killed(&effects), only(&effects).0), (vec![], "unknown_task"));
        bench.take_all();
    }
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

#[test]
fn a_kill_of_an_unknown_task_that_was_lost_with_the_connection_is_sent_again() {
    let mut bench = with(UnknownTasks::Kill);
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.cut();
    assert_eq!(killed(&bench.resubscribe()), [("t1".to_owned(), Some(agent_id()))]);
}

#[test]
fn a_task_is_known_by_launch_by_configuration_and_by_a_question() {
    let known_tasks = vec![(task_id("configured"), None)];
    let policy = UnknownTasks::Kill;
    let mut bench = Bench::subscribed_with(Options { known_tasks, unknown_tasks: policy, ..options() });
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    bench.launch("O1", &["launched"]);
    bench.ask(Request::Reconcile { tasks: vec![(task_id("asked"), None)] });
    for task in ["configured", "launched", "asked"] {
        let effects = bench.receive([update(status(task, TaskState::TaskRunning, 1))]);
        assert_eq!((only(&effects).0, effects.len()), ("status_update", 1), "{task}");
        bench.take_all();
    }
    assert_eq!(bench.harness.core.counts().unknown_tasks, 0);
}

#[test]
fn a_question_about_everything_makes_no_task_known() {
    let mut bench = with(UnknownTasks::Report);
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    bench.ask(Request::Reconcile { tasks: vec![] });
    assert_eq!(only(&bench.receive([update(answer("t1", TaskState::TaskRunning))])).0, "unknown_task");
}

#[test]
fn a_task_stays_known_when_it_reappears_after_it_was_lost() {
    let mut bench = with(UnknownTasks::Report);
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    bench.launch("O1", &["t1"]);
    bench.receive([update(TaskStatus { uuid: None, ..status("t1", TaskState::TaskLost, 0) })]);
    bench.take_all();
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
    assert_eq!(only(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))])).0, "status_update");
}

#[test]
fn an_unknown_status_whose_callback_failed_is_delivered_again() {
    let mut bench = with(UnknownTasks::Report);
    let (_, callback) = only(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    bench.returned(callback, Outcome::Err);
    let (name, callback) = only(&bench.after(Duration::from_secs(1)));
    assert_eq!(name, "unknown_task");
    assert_eq!(acknowledged(&bench.returned(callback, Outcome::Ok)), [ack("t1", 1)]);
}
