//! The supervisor's core: one request at a time, and the exact effects.

use super::*;
use crate::proto::internal::{Retire, SupervisorHello};

fn start(id: &str) -> Start {
    Start {
        container_id: id.to_owned(),
        program: "true".to_owned(),
        working_directory: "/tmp".to_owned(),
        ..Start::default()
    }
}

fn started(id: &str) -> Started {
    Started { container_id: id.to_owned(), pid: 7, start_time: 99 }
}

fn exit(id: &str) -> Exited {
    Exited { container_id: id.to_owned(), status: Some(exited::Status::Code(0)), wall_ns: 5, core_dumped: false }
}

const BUILD: &str = "8:1";

fn kill(id: &str) -> Signal {
    Signal { container_id: id.to_owned(), signal: KILL, tree: true }
}

fn hello(min: u32, max: u32) -> Input {
    request(supervisor_request::Kind::Hello(SupervisorHello {
        versions: Some(VersionRange { min, max }),
        token: String::new(),
    }))
}

fn request(kind: supervisor_request::Kind) -> Input {
    Input::Requested(SupervisorRequest { kind: Some(kind) })
}

fn request_start(id: &str) -> Input {
    request(supervisor_request::Kind::Start(start(id)))
}

fn request_forget(id: &str) -> Input {
    request(supervisor_request::Kind::Forget(Forget { container_id: id.to_owned() }))
}

/// The first marker that is generated.
fn marker() -> String {
    format!("{:032x}", StdRng::seed_from_u64(0).random::<u128>())
}

fn handle(core: &mut Core, input: Input) -> Vec<Effect> {
    let mut out = Vec::new();
    core.handle(input, &mut out);
    out
}

/// A supervisor with an agent attached, after `inputs`.
fn after(life: Life, inputs: impl IntoIterator<Item = Input>) -> Core {
    let mut core = Core::new(1, BUILD.to_owned(), life);
    for input in [Input::Attached, hello(1, 1)].into_iter().chain(inputs) {
        handle(&mut core, input);
    }
    core
}

fn welcome(running: Vec<Started>, exited: Vec<Exited>) -> Effect {
    let build = BUILD.to_owned();
    let welcome = SupervisorWelcome { version: 3, pid: 1, running, exited, build, ..SupervisorWelcome::default() };
    event(supervisor_event::Kind::Welcome(welcome))
}

#[test]
fn a_container_is_recorded_before_it_starts_and_before_it_is_reported() {
    let mut core = after(Life::Own, []);
    assert_eq!(
        handle(&mut core, request_start("c")),
        [
            marked(supervisor_record::Kind::Starting("c".to_owned()), marker()),
            Effect::Spawn(Box::new(ContainerSpec { start: start("c"), marker: marker() }))
        ]
    );
    assert_eq!(
        handle(&mut core, Input::Spawned(started("c"))),
        [
            marked(supervisor_record::Kind::Started(started("c")), marker()),
            event(supervisor_event::Kind::Started(started("c")))
        ]
    );
    assert_eq!(
        handle(&mut core, Input::Ended(exit("c"))),
        [record(supervisor_record::Kind::Exited(exit("c"))), event(supervisor_event::Kind::Exited(exit("c")))]
    );
    assert_eq!(
        handle(&mut core, request_forget("c")),
        [record(supervisor_record::Kind::Forgotten("c".to_owned())), Effect::Empty]
    );
}

#[test]
fn a_start_that_failed_leaves_nothing() {
    let mut core = after(Life::Own, [request_start("c")]);
    let failed = StartFailed { container_id: "c".to_owned(), step: "execute x".to_owned(), errno: 2 };
    assert_eq!(
        handle(&mut core, Input::SpawnFailed(failed.clone())),
        [
            record(supervisor_record::Kind::Forgotten("c".to_owned())),
            Effect::Empty,
            event(supervisor_event::Kind::StartFailed(failed))
        ]
    );
    assert!(core.is_empty());
}

#[test]
fn an_agent_that_reconnects_receives_what_happened_meanwhile_and_nothing_before_its_hello() {
    let mut core = after(Life::Own, [request_start("a"), request_start("b"), Input::Spawned(started("a"))]);
    assert_eq!(handle(&mut core, Input::Detached), []);
    assert_eq!(handle(&mut core, Input::Spawned(started("b"))).len(), 1, "recorded, but sent to no agent");
    assert_eq!(handle(&mut core, Input::Ended(exit("a"))).len(), 1);
    assert_eq!(handle(&mut core, Input::Attached), []);
    assert_eq!(handle(&mut core, hello(1, 9)), [welcome(vec![started("b")], vec![exit("a")])]);
}

#[test]
fn an_agent_that_reconnects_receives_starts_under_way_and_whether_the_supervisor_is_retired() {
    let mut core = after(Life::Own, [request_start("a"), request(supervisor_request::Kind::Retire(Retire {}))]);
    handle(&mut core, Input::Detached);
    handle(&mut core, Input::Attached);
    let (starting, build) = (vec!["a".to_owned()], BUILD.to_owned());
    let welcome = SupervisorWelcome { version: 2, pid: 1, starting, retired: true, build, ..Default::default() };
    assert_eq!(handle(&mut core, hello(1, 2)), [event(supervisor_event::Kind::Welcome(welcome))]);
}

#[test]
fn an_agent_of_version_1_receives_no_later_fields_and_all_else_works() {
    let mut core = after(Life::Own, [request_start("a"), request_start("b"), Input::Spawned(started("a"))]);
    handle(&mut core, Input::Detached);
    handle(&mut core, Input::Attached);
    let welcome = SupervisorWelcome { version: 1, pid: 1, running: vec![started("a")], ..Default::default() };
    assert_eq!(handle(&mut core, hello(1, 1)), [event(supervisor_event::Kind::Welcome(welcome))]);
    assert_eq!(handle(&mut core, Input::Spawned(started("b"))).len(), 2, "recorded and sent");
}

#[test]
fn an_agent_without_a_common_version_receives_an_empty_welcome_and_is_disconnected() {
    let mut core = after(Life::Own, []);
    handle(&mut core, Input::Attached);
    let none = SupervisorWelcome { pid: 1, ..SupervisorWelcome::default() };
    assert_eq!(handle(&mut core, hello(4, 5)), [event(supervisor_event::Kind::Welcome(none)), Effect::Disconnect]);
    assert_eq!(handle(&mut core, request_start("c")), [Effect::Disconnect]);
}

#[test]
fn a_request_before_the_hello_closes_the_connection() {
    let mut core = Core::new(1, BUILD.to_owned(), Life::Own);
    handle(&mut core, Input::Attached);
    assert_eq!(handle(&mut core, request_start("c")), [Effect::Disconnect]);
    assert!(core.is_empty());
}

#[test]
fn a_signal_to_a_container_that_is_still_starting_is_sent_once_it_runs() {
    let mut core = after(Life::Own, [request_start("c")]);
    assert_eq!(handle(&mut core, request(supervisor_request::Kind::Signal(kill("c")))), []);
    let effects = handle(&mut core, Input::Spawned(started("c")));
    assert!(effects.contains(&Effect::Signal(kill("c"))), "{effects:?}");
}

#[test]
fn signals_queued_for_a_container_that_is_starting_are_bounded_by_the_existing_signals() {
    let mut core = after(Life::Own, [request_start("c")]);
    for signal in (-100..1_000).chain(-100..1_000) {
        handle(&mut core, request(supervisor_request::Kind::Signal(Signal { signal, ..kill("c") })));
    }
    let effects = handle(&mut core, Input::Spawned(started("c")));
    let sent = effects.iter().filter(|effect| matches!(effect, Effect::Signal(_))).count();
    assert_eq!(sent, SIGNALS.count());
}

#[test]
fn a_container_that_runs_cannot_be_forgotten() {
    let mut core = after(Life::Own, [request_start("c"), Input::Spawned(started("c"))]);
    assert_eq!(handle(&mut core, request_forget("c")), []);
    assert_eq!(handle(&mut core, request_forget("unknown")), []);
    assert!(!core.is_empty());
}

#[test]
fn nested_containers_are_killed_with_the_one_around_them_also_when_they_start_too_late() {
    let nested =
        |id: &str| request(supervisor_request::Kind::Start(Start { parent_id: Some("outer".to_owned()), ..start(id) }));
    let begin = [request_start("outer"), Input::Spawned(started("outer")), nested("early"), nested("late")];
    let mut core = after(Life::Own, begin);
    handle(&mut core, Input::Spawned(started("early")));
    let effects = handle(&mut core, Input::Ended(exit("outer")));
    assert!(effects.contains(&Effect::Signal(kill("early"))), "{effects:?}");
    let effects = handle(&mut core, Input::Spawned(started("late")));
    assert!(effects.contains(&Effect::Signal(kill("late"))), "{effects:?}");
}

#[test]
fn a_retired_supervisor_ends_once_when_all_is_forgotten() {
    let mut core = after(Life::Own, [request_start("c"), Input::Spawned(started("c"))]);
    assert_eq!(handle(&mut core, request(supervisor_request::Kind::Retire(Retire {}))), []);
    assert!(!handle(&mut core, Input::Ended(exit("c"))).contains(&Effect::End));
    assert_eq!(handle(&mut core, request_forget("c")).last(), Some(&Effect::End));
    assert_eq!(handle(&mut core, request(supervisor_request::Kind::Retire(Retire {}))), []);
}

#[test]
fn a_supervisor_within_the_agent_kills_what_runs_when_the_agent_disconnects_and_still_sends_the_exits() {
    let mut core = after(Life::Agents, [request_start("a"), Input::Spawned(started("a")), request_start("b")]);
    assert_eq!(handle(&mut core, Input::Detached), [Effect::Signal(kill("a"))]);
    let effects = handle(&mut core, Input::Spawned(started("b")));
    assert!(effects.contains(&Effect::Signal(kill("b"))), "{effects:?}");
    let effects = handle(&mut core, Input::Ended(exit("a")));
    assert!(effects.contains(&event(supervisor_event::Kind::Exited(exit("a")))), "{effects:?}");
    assert_eq!(handle(&mut core, Input::Ended(exit("b"))).last(), Some(&Effect::End));
    assert!(!core.is_empty(), "the exits stay on record");
}

#[test]
fn every_prefix_of_a_journal_gives_every_container_one_exit() {
    let kinds = [
        supervisor_record::Kind::Starting("a".to_owned()),
        supervisor_record::Kind::Starting("b".to_owned()),
        supervisor_record::Kind::Started(started("a")),
        supervisor_record::Kind::Exited(exit("a")),
        supervisor_record::Kind::Started(started("b")),
        supervisor_record::Kind::Forgotten("a".to_owned()),
    ];
    let records = kinds.map(|kind| SupervisorRecord { kind: Some(kind), ..Default::default() });
    let lost = |id: &str| Exited { status: Some(exited::Status::Lost("died".to_owned())), wall_ns: 3, ..exit(id) };
    let exits: [Vec<Exited>; 7] = [
        vec![],
        vec![lost("a")],
        vec![lost("a"), lost("b")],
        vec![lost("a"), lost("b")],
        vec![exit("a"), lost("b")],
        vec![exit("a"), lost("b")],
        vec![lost("b")],
    ];
    for (length, expected) in exits.into_iter().enumerate() {
        let mut out = Vec::new();
        let mut core = Core::recover(1, &records[..length], "died", 3, &mut out);
        let recorded = expected.iter().filter(|it| it.wall_ns == 3).cloned();
        assert_eq!(out, recorded.map(|it| record(supervisor_record::Kind::Exited(it))).collect::<Vec<_>>());
        handle(&mut core, Input::Attached);
        let welcome = SupervisorWelcome { version: 2, pid: 1, exited: expected, retired: true, ..Default::default() };
        let event = event(supervisor_event::Kind::Welcome(welcome));
        assert_eq!(handle(&mut core, hello(1, 2))[0], event, "{length} records");
    }
}

#[test]
fn a_compacted_journal_gives_the_same_supervisor() {
    let inputs = [
        request_start("a"),
        request_start("b"),
        request_start("c"),
        Input::Spawned(started("a")),
        Input::Spawned(started("b")),
        Input::Ended(exit("a")),
    ];
    let core = after(Life::Own, inputs);
    let mut again = Core::new(1, BUILD.to_owned(), Life::Own);
    core.snapshot().iter().for_each(|record| again.replay(record));
    assert_eq!(again.containers.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(again.containers, core.containers);
}

/// The supervisor of an agent that was killed, after `inputs`.
fn left_alone(inputs: impl IntoIterator<Item = Input>) -> Core {
    let mut core = Core::new(1, BUILD.to_owned(), Life::Own).with_idle_timeout(Duration::from_mins(10));
    for input in [Input::Attached, hello(1, 2)].into_iter().chain(inputs).chain([Input::Detached]) {
        handle(&mut core, input);
    }
    core
}

#[test]
fn a_supervisor_without_an_agent_and_without_containers_ends() {
    let mut core = left_alone([]);
    assert_eq!(core.idle_timeout(), Some(Duration::from_mins(10)));
    assert_eq!(handle(&mut core, Input::IdleTimeout), [Effect::End]);
    assert!(core.is_empty(), "its folder goes too");
    assert_eq!(handle(&mut core, Input::IdleTimeout), [], "once");
    let mut never_had_one = Core::new(1, BUILD.to_owned(), Life::Own).with_idle_timeout(Duration::from_secs(1));
    assert_eq!(handle(&mut never_had_one, Input::IdleTimeout), [Effect::End], "its agent died before it connected");
}

#[test]
fn a_supervisor_that_runs_or_starts_a_container_waits_for_an_agent_for_ever() {
    for inputs in [vec![request_start("a")], vec![request_start("a"), Input::Spawned(started("a"))]] {
        let mut core = left_alone(inputs);
        assert_eq!(core.idle_timeout(), None);
        assert_eq!(handle(&mut core, Input::IdleTimeout), []);
    }
}

#[test]
fn an_unacknowledged_exit_stays_on_record_when_an_idle_supervisor_ends() {
    let mut core = left_alone([request_start("a"), Input::Spawned(started("a"))]);
    handle(&mut core, Input::Ended(exit("a")));
    assert_eq!(core.idle_timeout(), Some(Duration::from_mins(10)));
    assert_eq!(handle(&mut core, Input::IdleTimeout), [Effect::End]);
    assert!(!core.is_empty(), "its folder stays");
    assert_eq!(
        core.snapshot(),
        [SupervisorRecord { kind: Some(supervisor_record::Kind::Exited(exit("a"))), ..Default::default() }]
    );
    let mut out = Vec::new();
    let records = [started("a")]
        .map(supervisor_record::Kind::Started)
        .into_iter()
        .chain([supervisor_record::Kind::Exited(exit("a"))]);
    let records: Vec<_> = records.map(|kind| SupervisorRecord { kind: Some(kind), ..Default::default() }).collect();
    Core::recover(1, &records, "its supervisor died", 9, &mut out);
    assert_eq!(out, [], "nothing is reported as lost");
}

#[test]
fn an_agent_that_is_just_connecting_is_not_turned_away() {
    let mut core = left_alone([]);
    handle(&mut core, Input::Attached);
    assert_eq!(core.idle_timeout(), None);
    assert_eq!(handle(&mut core, Input::IdleTimeout), [], "the wait was over in the same moment");
    assert!(matches!(handle(&mut core, hello(1, 2))[..], [Effect::Send(_)]));
    for life in [Life::Agents, Life::Replay] {
        let core = Core::new(1, BUILD.to_owned(), life).with_idle_timeout(Duration::from_secs(1));
        assert_eq!(core.idle_timeout(), None, "{life:?} ends by itself");
    }
    assert_eq!(Core::new(1, BUILD.to_owned(), Life::Own).idle_timeout(), None, "no idle timeout is set");
}
