//! Calls of the framework, with and without a master, and the offers they use.

use super::*;

fn decline(effects: &[Effect]) -> Vec<&str> {
    let declined = calls(effects).filter_map(|call| call.decline.as_ref());
    declined.flat_map(|decline| decline.offer_ids.iter().map(|id| id.value.as_str())).collect()
}

#[test]
fn a_launch_on_a_known_offer_is_sent_with_the_offers_agent() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    let effects = bench.launch("O1", &["t1"]);
    let [Effect::Send { seq: 3, call, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(call.framework_id.as_ref().map(|id| id.value.as_str()), Some("F1"));
    let accept = call.accept.as_ref().expect("ACCEPT");
    assert_eq!(accept.operations[0].launch.as_ref().expect("LAUNCH").task_infos[0].agent_id, agent_id());
}

#[test]
fn a_launch_on_an_offer_that_is_gone_is_answered_with_dropped_tasks() {
    let mut bench = Bench::subscribed();
    let (_, status) = delivered_status(&bench.launch("O9", &["t1"]));
    assert_eq!((status.state(), status.reason()), (TaskState::TaskDropped, Reason::InvalidOffers));
    assert_eq!(status.message(), "offer O9 is no longer valid");
    assert_eq!(status.uuid, None);
}

#[test]
fn a_launch_on_one_known_and_one_unknown_offer_declines_the_known_one() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    let offer_ids = vec![offer_id("O1"), offer_id("O9")];
    let effects = bench.ask(Request::Accept { offer_ids, operations: vec![launch(&["t1"])], filters: None });
    assert_eq!(decline(&effects), ["O1"]);
    delivered_status(&effects[1..]);
}

#[test]
fn a_framework_that_is_not_partition_aware_receives_lost_instead_of_dropped() {
    let mut plain = options();
    plain.framework.capabilities.clear();
    let (_, status) = delivered_status(&Bench::subscribed_with(plain).launch("O9", &["t1"]));
    assert_eq!(status.state(), TaskState::TaskLost);
}

#[test]
fn a_second_launch_of_a_live_task_on_a_gone_offer_leaves_the_task_alone() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskRunning, 1))]);
    bench.take_all();
    bench.launch("O9", &["t1"]);
    assert!(matches!(&bench.take_all()[..], [SchedulerEvent::Refused(refusal)] if refusal.seq == 1));
    assert_eq!(bench.harness.core.counts().live_tasks, 1);
}

#[test]
fn an_id_used_again_after_its_task_ended_can_be_dropped() {
    let mut bench = Bench::subscribed();
    bench.receive([update(status("t1", TaskState::TaskFinished, 1))]);
    bench.take_all();
    let (_, status) = delivered_status(&bench.launch("O9", &["t1"]));
    assert_eq!(status.state(), TaskState::TaskDropped);
}

#[test]
fn a_launch_without_a_master_is_answered_with_dropped_tasks() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.cut();
    bench.take_all();
    let (_, status) = delivered_status(&bench.launch("O1", &["t1"]));
    assert_eq!((status.state(), status.reason()), (TaskState::TaskDropped, Reason::MasterDisconnected));
}

#[test]
fn offers_go_back_after_the_hold_time_while_a_callback_hangs() {
    let mut bench = Bench::subscribed();
    let delivered = bench.receive([offers(&["O1"])]);
    assert!(
        matches!(&delivered[..], [Effect::Deliver { event: SchedulerEvent::ResourceOffers(offers), .. }] if offers.len() == 1)
    );
    bench.now = bench.now.advanced(Duration::from_secs(4));
    assert_eq!(bench.receive([offers(&["O2"])]), [], "the callback is still running");
    assert_eq!(decline(&bench.after(Duration::from_secs(6))), ["O1"]);
    assert_eq!(decline(&bench.after(Duration::from_secs(4))), ["O2"]);
    assert_eq!(decline(&bench.receive([offers(&["O3"])])), ["O3"], "no offers wait behind a stuck callback");
    let Effect::Deliver { callback, .. } = delivered[0] else { panic!("{delivered:?}") };
    let effects = bench.returned(callback, Outcome::Ok);
    let [Effect::Deliver { event: SchedulerEvent::OfferRescinded(id), .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(id.value, "O1", "only the offer that the callback received is reported as void");
}

#[test]
fn a_launch_on_an_expired_offer_is_dropped() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    bench.after(Duration::from_secs(10));
    bench.take_all();
    assert_eq!(delivered_status(&bench.launch("O1", &["t1"])).1.reason(), Reason::InvalidOffers);
}

#[test]
fn an_offer_rescinded_before_its_callback_is_never_delivered() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    let running = bench.out.clone();
    assert_eq!(bench.receive([offers(&["O2", "O3"]), rescind("O2")]), []);
    let Effect::Deliver { callback, .. } = running[0] else { panic!("{running:?}") };
    let effects = bench.returned(callback, Outcome::Ok);
    let [Effect::Deliver { event: SchedulerEvent::ResourceOffers(offers), .. }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!(offers.iter().map(|offer| offer.id.value.as_str()).collect::<Vec<_>>(), ["O3"]);
}

#[test]
fn statuses_are_delivered_before_offers_that_arrived_earlier() {
    let mut bench = Bench::subscribed();
    let first = bench.receive([offers(&["O1"])]);
    bench.receive([offers(&["O2"]), update(status("t1", TaskState::TaskRunning, 1))]);
    let Effect::Deliver { callback, .. } = first[0] else { panic!("{first:?}") };
    let effects = bench.returned(callback, Outcome::Ok);
    assert!(matches!(
        effects[..],
        [
            Effect::Deliver { event: SchedulerEvent::StatusUpdate(_), .. },
            Effect::Deliver { event: SchedulerEvent::ResourceOffers(_), .. }
        ]
    ));
}

#[test]
fn an_offer_declined_twice_is_declined_once() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    let request = Request::Decline { offer_ids: vec![offer_id("O1")], filters: None };
    assert_eq!(sent(&bench.ask(request.clone())), [call::Type::Decline]);
    assert_eq!(bench.ask(request), []);
}

#[test]
fn calls_that_can_wait_are_sent_once_when_there_is_a_master() {
    let mut bench = Bench::subscribed();
    bench.cut();
    bench.take_all();
    for request in [
        Request::Kill { task_id: task_id("t1"), policy: None },
        Request::Kill { task_id: task_id("t1"), policy: None },
        Request::Revive { roles: vec![] },
        Request::Revive { roles: vec![] },
        Request::Reconcile { tasks: vec![(task_id("t1"), None)] },
        Request::Demand { requests: vec![v1::Request::default()] },
    ] {
        assert_eq!(bench.ask(request), []);
    }
    let kinds = sent(&bench.resubscribe());
    let [revive, request, kill, reconcile] =
        [call::Type::Revive, call::Type::Request, call::Type::Kill, call::Type::Reconcile];
    assert_eq!(kinds, [revive, request, kill, reconcile, reconcile], "the last one is the driver's own");
}

#[test]
fn a_message_without_a_master_is_refused_with_the_number_of_its_call() {
    let mut bench = Bench::subscribed();
    bench.cut();
    bench.take_all();
    let executor_id = v1::ExecutorId { value: "E1".into() };
    bench.ask(Request::Message { agent_id: agent_id(), executor_id, data: Bytes::new() });
    let [SchedulerEvent::Refused(refusal)] = &bench.take_all()[..] else { panic!("{:?}", bench.out) };
    assert_eq!((refusal.seq, refusal.field.as_str()), (1, "message"));
}

#[test]
fn suppressed_roles_are_sent_with_every_subscription() {
    let mut bench = Bench::subscribed();
    assert_eq!(sent(&bench.ask(Request::Suppress { roles: vec![] })), [call::Type::Suppress]);
    bench.cut();
    let suppressed = |effects: &[Effect]| {
        calls(effects).next().and_then(|call| call.subscribe.clone()).expect("SUBSCRIBE").suppressed_roles
    };
    assert_eq!(suppressed(&bench.connect()), ["*"]);
    bench.receive([subscribed()]);
    bench.ask(Request::Revive { roles: vec![] });
    bench.cut();
    assert_eq!(suppressed(&bench.connect()), [""; 0]);
    assert!(
        sent(&bench.receive([subscribed()])).contains(&call::Type::Revive),
        "it may have been lost with the connection"
    );
}

#[test]
fn a_refused_launch_is_reported_by_number_and_its_tasks_are_dropped() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    let effects = bench.launch("O1", &["t1"]);
    let [Effect::Send { seq, .. }] = effects[..] else { panic!("{effects:?}") };
    let refused = vec![ext::Refused {
        seq,
        field: "accept.operations[0]".into(),
        text: "too many".into(),
        partially_applied: false,
    }];
    bench.frame(ext::Events { refused, ..ext::Events::default() });
    let [SchedulerEvent::StatusUpdate(status), SchedulerEvent::Refused(refusal)] = &bench.take_all()[..] else {
        panic!("{:?}", bench.out)
    };
    assert_eq!(status.message(), "refused by the master: accept.operations[0]: too many");
    assert_eq!((refusal.seq, refusal.text.as_str()), (1, "too many"));
    assert_eq!(bench.harness.core.counts().live_tasks, 0);
}

/// The number that the one call sent has on the stream.
#[track_caller]
fn number(effects: &[Effect]) -> u64 {
    let [Effect::Send { seq, .. }] = effects[..] else { panic!("{effects:?}") };
    seq
}

/// A frame that refuses the call of this number, entirely or in part.
fn refused(seq: u64, partially_applied: bool) -> ext::Events {
    let (field, text) = ("accept.operations[1].reserve".into(), "not served".into());
    let refused = vec![ext::Refused { seq, field, text, partially_applied }];
    ext::Events { refused, applied_seq: seq, ..ext::Events::default() }
}

#[test]
fn the_tasks_of_a_partially_applied_call_are_reported_by_the_master_alone() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    let seq = number(&bench.launch("O1", &["t1"]));
    bench.frame(refused(seq, true));
    assert!(matches!(&bench.take_all()[..], [SchedulerEvent::Refused(refusal)] if refusal.seq == 1));
    let (_, status) = delivered_status(&bench.receive([update(status("t1", TaskState::TaskRunning, 1))]));
    assert_eq!(status.state(), TaskState::TaskRunning);
}

#[test]
fn a_status_by_the_master_is_delivered_unchanged_before_the_refusal_of_its_call() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1"])]);
    bench.take_all();
    let seq = number(&bench.launch("O1", &["t1"]));
    let mut dropped = TaskStatus { uuid: None, ..status("t1", TaskState::TaskDropped, 0) };
    dropped.set_reason(Reason::InvalidOffers);
    bench.frame(ext::Events { events: vec![update(dropped)], ..refused(seq, false) });
    let events = bench.take_all();
    let [SchedulerEvent::StatusUpdate(status), SchedulerEvent::Refused(_)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(status.reason(), Reason::InvalidOffers);
}

#[test]
fn a_task_is_not_launched_twice_and_the_outcome_of_a_second_call_is_not_attributed_to_it() {
    let mut bench = Bench::subscribed();
    bench.receive([offers(&["O1", "O2"])]);
    bench.take_all();
    bench.launch("O1", &["t1"]);
    let effects = bench.launch("O2", &["t1", "t2"]);
    let accept = calls(&effects).find_map(|call| call.accept.clone()).expect("ACCEPT");
    let launched: Vec<_> = accept.operations[0]
        .launch
        .iter()
        .flat_map(|launch| &launch.task_infos)
        .map(|task| &task.task_id.value)
        .collect();
    assert_eq!(launched, ["t2"]);
    bench.launch("O9", &["t1"]);
    bench.cut();
    bench.launch("O1", &["t1"]);
    let events = bench.take_all();
    let dropped = |event: &SchedulerEvent| matches!(event, SchedulerEvent::StatusUpdate(_));
    assert!(!events.iter().any(dropped), "{events:?}");
    let refused = |event: &&SchedulerEvent| matches!(event, SchedulerEvent::Refused(_));
    assert_eq!(events.iter().filter(refused).count(), 3);
    assert_eq!(bench.harness.core.counts().live_tasks, 2);
}

#[test]
fn refusals_that_wait_for_a_callback_are_all_kept_and_no_further_call_is_accepted() {
    let mut bench = Bench::subscribed();
    let hanging = bench.receive([offers(&["O1"])]);
    bench.cut();
    let message = || Request::Message {
        agent_id: agent_id(),
        executor_id: v1::ExecutorId { value: "E1".into() },
        data: Bytes::new(),
    };
    let (reconcile, kill) =
        (Request::Reconcile { tasks: vec![] }, Request::Kill { task_id: task_id("t1"), policy: None });
    for _ in 0..1024 {
        assert_eq!(bench.harness.core.admission().refusal_reason(&reconcile), None);
        bench.ask(message());
    }
    let admission = bench.harness.core.admission();
    for refused in [message(), reconcile, Request::Revive { roles: vec![] }] {
        assert_eq!(admission.refusal_reason(&refused), Some(RefusalReason::EventBacklogFull), "{refused:?}");
    }
    assert_eq!(admission.refusal_reason(&kill), None, "its result is a status");
    for _ in 0..1000 {
        bench.ask(message());
    }
    let Effect::Deliver { callback, .. } = hanging[0] else { panic!("{hanging:?}") };
    bench.returned(callback, Outcome::Ok);
    let events = bench.take_all();
    let refused = events.iter().filter(|event| matches!(event, SchedulerEvent::Refused(_))).count();
    assert_eq!((refused, bench.harness.core.counts().lost), (2024, 0));
    assert_eq!(bench.harness.core.admission().refusal_reason(&message()), Some(RefusalReason::Disconnected));
}

#[test]
fn of_events_that_repeat_while_a_callback_hangs_the_last_is_delivered_once() {
    let mut bench = Bench::subscribed();
    let hanging = bench.receive([offers(&["O1"])]);
    for round in 0..3000 {
        if round % 3 == 0 {
            bench.cut();
            bench.resubscribe();
        }
        let failure = event::Failure { agent_id: Some(AgentId::from(["S1", "S2"][round % 2])), ..Default::default() };
        let kind = Some(event::Type::Failure as i32);
        bench.receive([Event { r#type: kind, failure: Some(Box::new(failure)), ..Event::default() }]);
    }
    bench.cut();
    let Effect::Deliver { callback, .. } = hanging[0] else { panic!("{hanging:?}") };
    bench.returned(callback, Outcome::Ok);
    let lost = |agent| SchedulerEvent::AgentLost(AgentId::from(agent));
    assert_eq!(bench.take_all(), [lost("S1"), lost("S2"), SchedulerEvent::Disconnected]);
}

#[test]
fn a_master_that_applies_nothing_does_not_receive_calls_without_bound() {
    let mut bench = Bench::subscribed();
    let mut last = 0;
    while bench.harness.core.takes_calls() {
        let effects = bench.ask(Request::Kill { task_id: task_id("t1"), policy: None });
        let [Effect::Send { seq, .. }] = effects[..] else { panic!("{effects:?}") };
        last = seq;
    }
    assert_eq!(bench.call, 65_536);
    bench.frame(ext::Events { applied_seq: last, ..ext::Events::default() });
    assert!(bench.harness.core.takes_calls());
}

#[test]
fn the_admission_of_calls_depends_on_their_kind() {
    let accept = Request::Accept { offer_ids: vec![], operations: vec![], filters: None };
    let kill = |n: usize| Request::Kill { task_id: task_id(&n.to_string()), policy: None };
    let mut bench = Bench::subscribed();
    assert_eq!(bench.harness.core.admission().refusal_reason(&accept), None);
    bench.cut();
    for n in 0..65_536 {
        assert_eq!(bench.harness.core.admission().refusal_reason(&kill(n)), None);
        bench.ask(kill(n));
    }
    let admission = bench.harness.core.admission();
    assert_eq!(admission.refusal_reason(&accept), Some(RefusalReason::Disconnected));
    assert_eq!(admission.refusal_reason(&kill(0)), Some(RefusalReason::Full));
    assert_eq!(admission.refusal_reason(&Request::Revive { roles: vec![] }), None);
    let effects = bench.resubscribe();
    assert_eq!(calls(&effects).filter(|call| call.kill.is_some()).count(), 65_536);
    assert_eq!(
        bench.harness.core.admission().refusal_reason(&kill(0)),
        Some(RefusalReason::Full),
        "nothing was answered yet"
    );
    bench.receive([update(answer("0", TaskState::TaskUnknown))]);
    assert_eq!(bench.harness.core.admission().refusal_reason(&kill(0)), None);
}
