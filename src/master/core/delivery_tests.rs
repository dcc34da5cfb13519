//! Every pair of statuses of one task, and the other messages that replace one another.

use super::*;
use crate::{
    proto::v1::{TaskState, TaskStatus},
    transport::outbox::{Limits, RecordNumber, SessionQueue, Taken},
    types::Now,
};

/// A kind of status, as the merge rule distinguishes them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// By the agent, to be acknowledged; the number stands for its uuid.
    Running(u8),
    Finished(u8),
    /// By this master.
    Unreachable,
    InferredEnd,
    RefusedLaunch,
    Answer,
}

const KINDS: [Kind; 8] = [
    Kind::Running(1),
    Kind::Running(2),
    Kind::Finished(1),
    Kind::Finished(2),
    Kind::Unreachable,
    Kind::InferredEnd,
    Kind::RefusedLaunch,
    Kind::Answer,
];

fn status(kind: Kind) -> Event {
    let (state, uuid, reason) = match kind {
        Kind::Running(uuid) => (TaskState::TaskRunning, Some(uuid), None),
        Kind::Finished(uuid) => (TaskState::TaskFinished, Some(uuid + 100), None),
        Kind::Unreachable => (TaskState::TaskUnreachable, None, Some(Reason::AgentRemoved)),
        Kind::InferredEnd => (TaskState::TaskLost, None, Some(Reason::AgentRemoved)),
        Kind::RefusedLaunch => (TaskState::TaskError, None, Some(Reason::TaskInvalid)),
        Kind::Answer => (TaskState::TaskRunning, None, Some(Reason::Reconciliation)),
    };
    let mut status = TaskStatus::new("t", state);
    status.uuid = uuid.map(|uuid| vec![uuid; 16].into());
    if let Some(reason) = reason {
        status.set_reason(reason);
    }
    Event::Updated { status: Arc::new(status) }
}

fn queue<M: Message>() -> SessionQueue<M> {
    SessionQueue::new(Now::default(), Limits::default())
}

fn left<M: Message>(queue: &mut SessionQueue<M>) -> Vec<M> {
    match queue.take(Now::default(), RecordNumber(0)) {
        Taken::Frame(frame) => frame,
        Taken::Wait(_) | Taken::End => Vec::new(),
    }
}

fn leaving<M: Message>(messages: impl IntoIterator<Item = M>) -> Vec<M> {
    let mut queue = queue();
    for message in messages {
        queue.push(Now::default(), usize::MAX, RecordNumber(0), message);
    }
    left(&mut queue)
}

/// The merge rule once more, by cases.
fn expected(waiting: Kind, newer: Kind) -> Vec<Kind> {
    match (waiting, newer) {
        (waiting, newer) if waiting == newer => vec![newer],
        (Kind::Finished(_) | Kind::RefusedLaunch, newer) => vec![waiting, newer],
        (Kind::Running(_), Kind::Answer) => vec![waiting],
        (Kind::Running(_) | Kind::Unreachable | Kind::InferredEnd | Kind::Answer, newer) => vec![newer],
    }
}

#[test]
fn of_two_statuses_of_a_task_the_newer_leaves_unless_that_would_lose_an_end_or_an_acknowledgement() {
    for waiting in KINDS {
        for newer in KINDS {
            let left = leaving([status(waiting), status(newer)]);
            let expected: Vec<Event> = expected(waiting, newer).into_iter().map(status).collect();
            assert_eq!(left, expected, "{waiting:?}, then {newer:?}");
        }
    }
}

#[test]
fn whatever_becomes_of_a_task_a_few_of_its_statuses_wait() {
    let mut queue = queue();
    for round in 0..1_000_u32 {
        for kind in KINDS.into_iter().filter(|kind| !matches!(kind, Kind::Finished(_) | Kind::RefusedLaunch)) {
            queue.push(Now::default(), usize::MAX, RecordNumber(0), status(kind));
            assert!(queue.len() <= 1, "round {round}: {kind:?}");
        }
    }
}

#[test]
fn statuses_of_other_tasks_keep_their_places() {
    let of = |task: &str, state| Event::Updated { status: Arc::new(TaskStatus::new(task, state)) };
    let left = leaving([
        of("a", TaskState::TaskStaging),
        of("b", TaskState::TaskStaging),
        of("a", TaskState::TaskRunning),
        of("c", TaskState::TaskStaging),
    ]);
    let expected = [of("a", TaskState::TaskRunning), of("b", TaskState::TaskStaging), of("c", TaskState::TaskStaging)];
    assert_eq!(left, expected);
}

fn offer(number: u64) -> OfferMade {
    OfferMade {
        key: OfferKey(number),
        framework: "f".into(),
        agent: "a".into(),
        facts: Arc::new(super::super::AgentFacts {
            hostname: "h".to_owned(),
            address: "10.0.0.1".to_owned(),
            port: 5051,
            attributes: Vec::new(),
            domain: None,
            version: "0".to_owned(),
        }),
        role: "*".into(),
        resources: Arc::new(crate::types::Resources::cpus_mem(1.0, 32.0)),
        multi_role: true,
        refinement: true,
    }
}

#[test]
fn an_offer_that_waits_and_its_rescission_leave_nothing_and_one_that_has_left_is_rescinded() {
    let mut queue = queue();
    let push = |queue: &mut SessionQueue<Event>, event: Event| {
        let before = queue.bytes();
        let weight = event.weight();
        event.into_parts().for_each(|part| queue.push(Now::default(), usize::MAX, RecordNumber(0), part));
        (queue.bytes(), before + weight)
    };
    let (after, charged) = push(&mut queue, Event::Offers((1..=3).map(offer).collect()));
    assert_eq!(after, charged, "the parts weigh what the whole weighs");
    push(&mut queue, Event::Rescinded { offer: OfferKey(2) });
    let one = |number| Event::Offers(vec![offer(number)]);
    assert_eq!(left(&mut queue), [one(1), one(3)]);
    push(&mut queue, Event::Rescinded { offer: OfferKey(1) });
    assert_eq!(left(&mut queue), [Event::Rescinded { offer: OfferKey(1) }]);
}

#[test]
fn a_call_counts_as_applied_after_its_refusal_and_a_run_of_numbers_is_one() {
    let applied = |seq| Event::Applied { seq };
    let refused = |seq| Event::Refused { seq, field: "f".to_owned(), text: "t".to_owned(), partially_applied: false };
    let left = leaving([applied(1), applied(2), refused(3), applied(3), applied(4)]);
    assert_eq!(left, [applied(2), refused(3), applied(4)]);
}

#[test]
fn the_offers_of_a_round_leave_in_frames_of_at_most_a_mebibyte() {
    let offers: Vec<OfferMade> = (1..=10_000).map(offer).collect();
    let mut queue = queue();
    let parts = Event::Offers(offers.clone()).into_parts();
    parts.for_each(|part| queue.push(Now::default(), usize::MAX, RecordNumber(0), part));
    let (mut all, mut frames) = (0, 0);
    loop {
        let frame = left(&mut queue);
        if frame.is_empty() {
            break;
        }
        assert!(frame.iter().map(Message::weight).sum::<usize>() <= 1 << 20);
        (all, frames) = (all + frame.len(), frames + 1);
    }
    assert_eq!(all, offers.len());
    assert!(frames <= 10, "{frames} frames: they are not cut smaller than they need be");
}

#[test]
fn an_offer_weighs_at_least_what_it_takes_on_the_wire() {
    let master = crate::master::api::MasterFacts {
        id: uuid::Uuid::nil().to_string(),
        hostname: "m".to_owned(),
        address: ([127, 0, 0, 1], 5050).into(),
        started: 0.0,
    };
    let mut made = offer(1);
    made.framework = "00000000-0000-0000-0000-000000000000-0001".into();
    made.agent = "00000000-0000-0000-0000-000000000000-S100000".into();
    made.resources = Arc::new("cpus:4;mem:1024;disk:10000;ports:[1-5,7-9,31000-32000]".parse().unwrap());
    let mut facts = (*made.facts).clone();
    facts.hostname = "a-rather-long-host-name.of.some.data-centre.example".to_owned();
    facts.attributes = "rack:r1;zone:a;kernel:6.1".parse::<crate::types::Attributes>().unwrap().to_proto();
    made.facts = Arc::new(facts);
    let event = Event::Offers(vec![made]);
    let weight = event.weight();
    let frame = crate::master::api::outgo::framework_frame(&master, 1, vec![event]);
    assert!(weight >= frame.encoded_len(), "{weight} for {} bytes", frame.encoded_len());
    assert!(weight <= frame.encoded_len() * 2, "{weight} for {} bytes", frame.encoded_len());
}

#[test]
fn one_run_one_kill_and_the_latest_info_of_a_framework_wait_for_an_agent() {
    let info = |text: &'static str| Order::UpdateFramework { framework: "f".into(), info: text.as_bytes().into() };
    let run = |container: &str| Order::Run { framework: "f".into(), container: container.into(), info: "t".into() };
    let kill =
        |task: &str| Order::Kill { framework: "f".into(), task: task.into(), container: "".into(), policy: None };
    let left = leaving([info("old"), run("c1"), run("c2"), kill("a"), info("new"), run("c1"), kill("a"), kill("b")]);
    assert_eq!(left, [info("new"), run("c1"), run("c2"), kill("a"), kill("b")]);
}
