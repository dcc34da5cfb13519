//! Teardown, failover, abort.

use super::*;

fn teardown() -> Input {
    Input::Called { seq: 1, request: Request::Stop(Stop::Teardown) }
}

#[test]
fn a_teardown_is_finished_when_the_master_applied_it() {
    let mut bench = Bench::subscribed();
    let effects = bench.give(teardown());
    let [Effect::Send { seq, call, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(call.r#type(), call::Type::Teardown);
    let effects = bench.frame(ext::Events { applied_seq: *seq, ..ext::Events::default() });
    assert_eq!(effects, [Effect::Disconnect { session: 1 }, Effect::Finish(Finished::TornDown)]);
}

#[test]
fn a_teardown_without_a_master_waits_for_one_and_is_unconfirmed_after_a_timeout() {
    let mut bench = Bench::subscribed();
    bench.cut();
    assert_eq!(bench.give(teardown()), []);
    bench.connect();
    assert_eq!(sent(&bench.receive([subscribed()])), [call::Type::Teardown], "and nothing is reconciled");
    bench.cut();
    let effects = bench.after(Duration::from_secs(10));
    assert_eq!(effects[1..], [Effect::Finish(Finished::TeardownUnconfirmed)]);
}

#[test]
fn a_framework_that_the_master_no_longer_knows_after_a_teardown_is_torn_down() {
    let mut bench = Bench::subscribed();
    bench.give(teardown());
    bench.cut();
    bench.connect();
    let effects = bench.receive([error("Framework has been removed")]);
    assert_eq!(effects[1..], [Effect::Finish(Finished::TornDown)]);
}

#[test]
fn a_framework_that_was_never_registered_has_nothing_to_tear_down() {
    let mut bench = Bench::with(options());
    bench.give(Input::Started);
    assert_eq!(bench.give(teardown())[1..], [Effect::Finish(Finished::TornDown)]);
}

#[test]
fn a_registration_under_way_is_waited_for_and_torn_down() {
    let mut bench = Bench::with(options());
    bench.give(Input::Started);
    bench.connect();
    assert_eq!(bench.give(teardown()), []);
    assert_eq!(sent(&bench.receive([subscribed()])), [call::Type::Teardown]);
}

#[test]
fn a_teardown_after_the_answer_to_subscribe_was_lost_subscribes_again_or_is_unconfirmed() {
    let lost = || {
        let mut bench = Bench::with(options());
        bench.give(Input::Started);
        bench.connect();
        bench.cut();
        assert_eq!(bench.give(teardown()), [], "the master may have the framework");
        bench
    };
    let mut bench = lost();
    bench.connect();
    assert_eq!(sent(&bench.receive([subscribed()])), [call::Type::Teardown]);
    let effects = lost().after(Duration::from_secs(10));
    assert_eq!(effects[1..], [Effect::Finish(Finished::TeardownUnconfirmed)]);
}

#[test]
fn a_failover_closes_the_connection_and_sends_nothing() {
    let mut bench = Bench::subscribed();
    let effects = bench.ask(Request::Stop(Stop::Failover));
    assert_eq!(effects, [Effect::Disconnect { session: 1 }, Effect::Finish(Finished::LeftForFailover)]);
}

#[test]
fn nothing_is_delivered_and_no_call_accepted_after_an_abort() {
    let mut bench = Bench::subscribed();
    assert_eq!(bench.ask(Request::Stop(Stop::Abort))[1..], [Effect::Finish(Finished::Aborted)]);
    assert_eq!(bench.receive([offers(&["O1"])]), []);
    assert_eq!(bench.ask(Request::Revive { roles: vec![] }), []);
    assert_eq!(bench.after(Duration::from_hours(1)), []);
}
