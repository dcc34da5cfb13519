//! Connecting, subscribing, losing the connection and reconnecting.

use super::*;

#[test]
fn the_first_connection_is_made_at_once_to_the_first_master() {
    let effects = Bench::with(options()).give(Input::Started);
    assert_eq!(effects, [Effect::Connect { session: 1, master: "a:1".into(), after: Duration::ZERO }]);
}

#[test]
fn the_first_call_on_a_stream_subscribes() {
    let mut bench = Bench::with(options());
    bench.give(Input::Started);
    let [Effect::Send { session: 1, seq: 1, call }] = &bench.connect()[..] else { panic!("{:?}", bench.out) };
    let subscribe = call.subscribe.as_ref().expect("SUBSCRIBE");
    assert_eq!((call.framework_id.clone(), subscribe.framework_info.clone()), (None, options().framework));
}

#[test]
fn a_subscription_is_reported_and_followed_by_a_reconciliation_of_everything() {
    let mut bench = Bench::with(options());
    bench.give(Input::Started);
    bench.connect();
    let effects = bench.receive([subscribed()]);
    let [Effect::Send { call, .. }, Effect::Deliver { callback: 1, event }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(call.reconcile, Some(call::Reconcile { tasks: vec![] }));
    assert!(matches!(event, SchedulerEvent::Registered { framework_id, .. } if framework_id.value == "F1"));
}

#[test]
fn a_lost_connection_is_reported_and_opened_again_with_the_same_framework_id() {
    let mut bench = Bench::subscribed();
    let effects = bench.cut();
    let [Effect::Connect { session: 2, master, after }, Effect::Deliver { event: SchedulerEvent::Disconnected, .. }] =
        &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!(master, "b:2");
    assert!(*after <= Duration::from_millis(250));
    let effects = bench.connect();
    let subscribe = calls(&effects).next().and_then(|call| call.subscribe.clone()).expect("SUBSCRIBE");
    assert_eq!(subscribe.framework_info.id.map(|id| id.value), Some("F1".into()));
}

#[test]
fn a_second_subscription_is_reported_as_a_reregistration() {
    let mut bench = Bench::subscribed();
    bench.cut();
    bench.take_all();
    bench.resubscribe();
    assert!(matches!(bench.take_all()[..], [SchedulerEvent::Reregistered { .. }]));
}

#[test]
fn waits_between_attempts_grow_to_fifteen_seconds_and_start_over_after_a_subscription() {
    let mut bench = Bench::subscribed();
    let mut longest = Duration::ZERO;
    for _ in 0..60 {
        if let Some(Effect::Connect { after, .. }) = bench.cut().first() {
            longest = longest.max(*after);
        }
    }
    assert!(longest > Duration::from_secs(10) && longest <= Duration::from_secs(15), "{longest:?}");
    bench.resubscribe();
    let first = bench.cut();
    assert!(matches!(&first[0], Effect::Connect { after, .. } if *after <= Duration::from_millis(250)), "{first:?}");
}

#[test]
fn a_named_leader_is_followed_at_once_but_not_in_circles() {
    let mut bench = Bench::with(options());
    bench.give(Input::Started);
    let mut go = |leader: &str| {
        let (session, leader) = (bench.session, Some(leader.to_owned()));
        let effects = bench.give(Input::Disconnected { session, reason: "not leading".into(), leader });
        let [Effect::Connect { master, after, .. }] = &effects[..] else { panic!("{effects:?}") };
        (master.clone(), *after)
    };
    assert_eq!(go("c:3"), ("c:3".into(), Duration::ZERO));
    let (master, after) = go("a:1");
    assert_eq!(master, "a:1");
    assert!(after > Duration::ZERO);
}

#[test]
fn after_three_hints_in_a_row_the_list_of_masters_continues() {
    let mut bench = Bench::with(options());
    bench.give(Input::Started);
    let mut tried = Vec::new();
    for hint in ["c:3", "d:4", "c:3", "d:4", "c:3", ""] {
        let (session, leader) = (bench.session, Some(hint.to_owned()));
        let effects = bench.give(Input::Disconnected { session, reason: "not leading".into(), leader });
        let [Effect::Connect { master, .. }] = &effects[..] else { panic!("{effects:?}") };
        tried.push(master.clone());
    }
    assert_eq!(tried, ["c:3", "d:4", "c:3", "b:2", "c:3", "a:1"]);
}

#[test]
fn five_missed_heartbeats_end_a_connection() {
    let mut bench = Bench::subscribed();
    assert_eq!(bench.after(Duration::from_secs(74)), []);
    bench.receive([heartbeat()]);
    assert_eq!(bench.after(Duration::from_secs(74)), []);
    let effects = bench.after(Duration::from_secs(1));
    assert!(
        matches!(
            effects[..],
            [
                Effect::Disconnect { session: 1 },
                Effect::Connect { session: 2, .. },
                Effect::Deliver { event: SchedulerEvent::Disconnected, .. }
            ]
        ),
        "{effects:?}"
    );
}

#[test]
fn a_connection_without_an_answer_to_subscribe_is_closed() {
    let mut bench = Bench::with(options());
    bench.give(Input::Started);
    bench.connect();
    assert_eq!(bench.harness.deadline(), Some(30_000_000_000));
    let effects = bench.after(Duration::from_secs(30));
    assert!(matches!(effects[..], [Effect::Disconnect { session: 1 }, Effect::Connect { session: 2, .. }]));
}

#[test]
fn inputs_of_an_earlier_session_are_dropped() {
    let mut bench = Bench::subscribed();
    bench.cut();
    let events = Box::new(ext::Events { events: vec![offers(&["O1"])], ..ext::Events::default() });
    assert_eq!(bench.give(Input::Received { session: 1, events }), []);
    assert_eq!(bench.give(Input::Disconnected { session: 1, reason: "late".into(), leader: None }), []);
    assert_eq!(bench.give(Input::Connected { session: 1 }), []);
}

#[test]
fn an_error_of_the_master_is_delivered_and_ends_the_driver() {
    let mut bench = Bench::subscribed();
    let effects = bench.receive([error("Framework failed over"), offers(&["O1"])]);
    let message = "Framework failed over".to_owned();
    assert_eq!(
        effects,
        [
            Effect::Deliver { callback: 2, event: SchedulerEvent::Error(message.clone()) },
            Effect::Disconnect { session: 1 },
            Effect::Finish(Finished::Failed(message)),
        ]
    );
    assert_eq!(bench.cut(), []);
    assert_eq!(bench.harness.deadline(), None);
}

#[test]
fn a_version_that_this_driver_does_not_support_ends_it_with_both_numbers() {
    let mut bench = Bench::subscribed();
    let effects = bench.frame(ext::Events { version: 7, ..ext::Events::default() });
    let Some(Effect::Finish(Finished::Failed(text))) = effects.last() else { panic!("{effects:?}") };
    assert_eq!(text, "the master speaks version 7 of the stream, this driver 1");
}

#[test]
fn lost_agents_and_lost_executors_are_separate_events() {
    let mut bench = Bench::subscribed();
    let failure = |executor_id, status| Event {
        r#type: Some(event::Type::Failure as i32),
        failure: Some(Box::new(event::Failure { agent_id: Some(agent_id()), executor_id, status })),
        ..Event::default()
    };
    let executor_id = v1::ExecutorId { value: "E1".into() };
    bench.receive([failure(None, None), failure(Some(executor_id.clone()), Some(9))]);
    let lost = SchedulerEvent::ExecutorLost { executor_id, agent_id: agent_id(), status: 9 };
    assert_eq!(bench.take_all(), [SchedulerEvent::AgentLost(agent_id()), lost]);
}

#[test]
fn the_same_seed_and_inputs_make_the_same_effects() {
    let run = || {
        let mut bench = Bench::subscribed();
        let mut all = Vec::new();
        for round in 0..20 {
            all.extend(bench.receive([offers(&["O1", "O2"]), update(status("t1", TaskState::TaskRunning, round))]));
            all.extend(bench.launch("O1", &["t2", "t3"]));
            all.extend(bench.after(Duration::from_mins(1)));
            all.extend(bench.cut());
            all.extend(bench.resubscribe());
        }
        all
    };
    assert_eq!(run(), run());
}
