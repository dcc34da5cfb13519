//! Reconciliation: after every registration and periodically, until each task was answered.

use super::*;

fn with_tasks() -> Bench {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    bench.launch("O1", &["t1", "t2"]);
    bench
}

/// Keeps the connection alive for so long; returns the questions sent meanwhile.
fn wait(bench: &mut Bench, secs: u64) -> Vec<Vec<String>> {
    let mut questions = Vec::new();
    for _ in 0..secs {
        bench.now = bench.now.advanced(Duration::from_secs(1));
        bench.receive([heartbeat()]);
        questions.extend(asked(&bench.give(Input::Tick)));
    }
    questions
}

#[test]
fn known_tasks_are_reconciled_after_a_reregistration_until_each_was_answered() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    bench.launch("O1", &["t1", "t2"]);
    bench.cut();
    bench.take_all();
    assert_eq!(asked(&bench.resubscribe()), [vec!["t1", "t2"], vec![]]);
    bench.receive([update(answer("t1", TaskState::TaskStaging))]);
    assert_eq!(asked(&bench.after(Duration::from_secs(8))), [["t2"]]);
    assert_eq!(asked(&bench.after(Duration::from_secs(15))), [[""; 0]; 0]);
    assert_eq!(asked(&bench.after(Duration::from_secs(1))), [["t2"]]);
    bench.receive([update(answer("t2", TaskState::TaskGone))]);
    assert_eq!(asked(&bench.after(Duration::from_secs(40))), [[""; 0]; 0]);
}

#[test]
fn waits_between_questions_grow_to_half_a_minute() {
    let mut bench = with_tasks();
    bench.cut();
    bench.resubscribe();
    let mut asked_at = Vec::new();
    for second in 1..=120 {
        if !wait(&mut bench, 1).is_empty() {
            asked_at.push(second);
        }
    }
    assert_eq!(asked_at, [8, 24, 54, 84, 114]);
}

#[test]
fn when_answers_took_several_rounds_everything_is_asked_for_once_more() {
    let mut bench = with_tasks();
    bench.cut();
    bench.resubscribe();
    bench.receive([update(answer("t1", TaskState::TaskStaging))]);
    bench.after(Duration::from_secs(8));
    let effects = bench.receive([update(answer("t2", TaskState::TaskRunning))]);
    assert_eq!(asked(&effects), [[""; 0]], "agents re-registered, perhaps with unknown tasks");
    assert_eq!(bench.harness.core.counts().unanswered_tasks, 0);
}

#[test]
fn a_status_of_an_agent_counts_as_an_answer() {
    let mut bench = with_tasks();
    bench.cut();
    bench.resubscribe();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1)), update(status("t2", TaskState::TaskRunning, 2))]);
    assert_eq!(wait(&mut bench, 60), [[""; 0]; 0]);
}

#[test]
fn a_later_run_adds_its_questions_to_the_active_one() {
    let mut bench = Bench::subscribed_with(Options { reconcile_every: Some(Duration::from_secs(20)), ..options() });
    bench.receive([offers(&["O1", "O2"])]);
    bench.take_all();
    bench.launch("O1", &["t1"]);
    bench.cut();
    bench.resubscribe();
    bench.receive([offers(&["O3"])]);
    bench.take_all();
    bench.launch("O3", &["t2"]);
    assert_eq!(wait(&mut bench, 8), [["t1"]]);
    let questions = wait(&mut bench, 17);
    assert!(questions.contains(&vec!["t1".to_owned(), "t2".to_owned()]), "{questions:?}");
    let counts = bench.harness.core.counts();
    assert_eq!((counts.unanswered_tasks, counts.reconciliations), (2, 3));
}

#[test]
fn a_round_of_reconciliation_comes_about_every_quarter_of_an_hour() {
    let mut bench = Bench::subscribed();
    let mut rounds = 0;
    for _ in 0..(60 * 60 / 30) {
        bench.now = bench.now.advanced(Duration::from_secs(30));
        bench.receive([heartbeat()]);
        rounds += asked(&bench.give(Input::Tick)).len();
    }
    assert!((3..=4).contains(&rounds), "{rounds} rounds in an hour");
}

#[test]
fn without_the_timer_nothing_is_asked_between_registrations() {
    let mut bench = Bench::subscribed_with(Options { reconcile_every: None, ..options() });
    assert_eq!(wait(&mut bench, 2 * 60 * 60), [[""; 0]; 0]);
    bench.cut();
    assert_eq!(asked(&bench.resubscribe()), [[""; 0]]);
}

/// A launch of `t1` that counts as lost when its agent is unreachable for a minute.
fn with_policy() -> Bench {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    let mut operation = launch(&["t1"]);
    let policy = PartitionPolicy::default().losing_after(Duration::from_mins(1));
    for task in operation.launch.iter_mut().flat_map(|launch| &mut launch.task_infos) {
        task.partition_policy = Some(Box::new(policy));
    }
    bench.ask(Request::Accept { offer_ids: vec![offer_id("O1")], operations: vec![operation], filters: None });
    bench
}

fn unreachable(since_secs: i64) -> Event {
    let unreachable_time = Some(v1::TimeInfo { nanoseconds: since_secs * 1_000_000_000 });
    update(TaskStatus { unreachable_time, ..answer("t1", TaskState::TaskUnreachable) })
}

#[test]
fn an_unreachable_task_is_asked_for_with_its_policy_when_it_counts_as_lost() {
    let mut bench = with_policy();
    bench.cut();
    let effects = bench.resubscribe();
    let question = calls(&effects).find_map(|call| call.reconcile.clone()).expect("a reconciliation").tasks[0].clone();
    assert_eq!(question.partition_policy.and_then(|policy| policy.lost_after()), Some(Duration::from_mins(1)));
    bench.now = bench.now.advanced(Duration::from_secs(20));
    bench.receive([unreachable(0)]);
    assert_eq!(wait(&mut bench, 39), [[""; 0]; 0]);
    assert_eq!(wait(&mut bench, 1), [["t1"]]);
    bench.receive([unreachable(0)]);
    assert_eq!(wait(&mut bench, 30), [["t1"]], "a master whose clock is behind is asked again");
    bench.receive([update(answer("t1", TaskState::TaskLost))]);
    let events = bench.take_all();
    assert!(
        matches!(events.last(), Some(SchedulerEvent::StatusUpdate(status)) if status.state() == TaskState::TaskLost)
    );
    assert_eq!(wait(&mut bench, 120), [[""; 0]; 0]);
}

#[test]
fn a_task_that_is_reachable_again_or_has_no_policy_is_not_asked_for() {
    let mut bench = with_policy();
    bench.receive([unreachable(0), update(answer("t1", TaskState::TaskRunning))]);
    bench.take_all();
    assert_eq!(wait(&mut bench, 120), [[""; 0]; 0]);
    let mut bench = with_tasks();
    bench.receive([unreachable(0)]);
    assert_eq!(wait(&mut bench, 120), [[""; 0]; 0]);
}

#[test]
fn policies_of_tasks_of_an_earlier_instance_are_sent_as_well() {
    let policy = PartitionPolicy::default().losing_after(Duration::from_mins(1));
    let known_tasks = vec![(task_id("t1"), Some(agent_id()))];
    let mut bench =
        Bench::with(Options { known_tasks, partition_policies: vec![(task_id("t1"), policy)], ..options() });
    bench.give(Input::Started);
    bench.connect();
    let effects = bench.receive([subscribed()]);
    let question = calls(&effects).find_map(|call| call.reconcile.clone()).expect("a reconciliation").tasks[0].clone();
    assert_eq!(question.partition_policy, Some(policy));
}

#[test]
fn many_tasks_are_asked_for_a_thousand_at_a_time() {
    let known_tasks = (0..2_500).map(|n| (task_id(&format!("t{n}")), None)).collect();
    let mut bench = Bench::with(Options { known_tasks, ..options() });
    bench.give(Input::Started);
    bench.connect();
    let sizes: Vec<_> = asked(&bench.receive([subscribed()])).iter().map(Vec::len).collect();
    assert_eq!(sizes, [1000, 1000, 500, 0]);
}

#[test]
fn tasks_of_an_earlier_instance_are_asked_for_with_their_agents_and_reported_in_any_state() {
    let known_tasks = vec![(task_id("t1"), Some(agent_id())), (task_id("t2"), None)];
    let mut bench = Bench::with(Options { known_tasks, unknown_tasks: UnknownTasks::Report, ..options() });
    bench.give(Input::Started);
    bench.connect();
    let effects = bench.receive([subscribed()]);
    let first = calls(&effects).find_map(|call| call.reconcile.clone()).expect("a reconciliation");
    let agents: Vec<_> = first.tasks.iter().map(|task| task.agent_id.clone()).collect();
    assert_eq!(agents, [Some(agent_id()), None]);
    bench.take_all();
    bench.receive([update(answer("t1", TaskState::TaskStaging)), update(answer("t2", TaskState::TaskUnknown))]);
    let events = bench.take_all();
    assert!(
        events.iter().all(|event| matches!(event, SchedulerEvent::StatusUpdate(_))) && events.len() == 2,
        "{events:?}"
    );
    assert_eq!((bench.harness.core.counts().live_tasks, bench.harness.core.counts().unknown_tasks), (1, 0));
}

#[test]
fn a_question_whose_answer_was_lost_is_sent_again() {
    let mut bench = Bench::subscribed();
    let effects = bench.ask(Request::Reconcile { tasks: vec![(task_id("t9"), Some(agent_id()))] });
    let [Effect::Send { seq, .. }] = effects[..] else { panic!("{effects:?}") };
    bench.frame(ext::Events { applied_seq: seq, ..ext::Events::default() });
    bench.cut();
    assert_eq!(asked(&bench.resubscribe()), [vec!["t9"], vec![]]);
    assert_eq!(wait(&mut bench, 8), [["t9"]]);
    bench.take_all();
    let effects = bench.receive([update(answer("t9", TaskState::TaskGone))]);
    assert_eq!(asked(&effects), [[""; 0]], "the question took two rounds");
    delivered_status(&effects[1..]);
}

#[test]
fn unanswered_questions_are_bounded() {
    let mut bench = Bench::subscribed();
    let tasks = |from: usize| (from..from + 65_536).map(|n| (task_id(&format!("t{n}")), None)).collect();
    bench.ask(Request::Reconcile { tasks: tasks(0) });
    assert_eq!(asked(&bench.ask(Request::Reconcile { tasks: tasks(65_536) })), [[""; 0]; 0]);
    assert!(matches!(&bench.take_all()[..], [SchedulerEvent::Refused(refusal)] if refusal.seq == 2));
    assert!(!bench.harness.core.tasks.asked(&[(task_id("one"), None)]));
    for _ in 0..3 {
        bench.harness.core.tasks.sweep();
    }
    assert!(bench.harness.core.tasks.asked(&[(task_id("one"), None)]), "old questions are removed");
}
