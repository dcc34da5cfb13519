//! The queue of a session and its two ends, case by case.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _};

use super::{
    Budget, Class, Durable, EndReason, FRAME_BYTES, Limits, Merge, Message as _, Outbox, RecordNumber, SessionQueue,
    Taken, model::Drawn, outlet::Batches, queue::Watch,
};
use crate::{transport::clock::Clock, types::Now};

const NONE: RecordNumber = RecordNumber(0);
const LIMITS: Limits = Limits { session_bytes: 1_000, total_bytes: 10_000, stall: Duration::from_secs(75) };

fn at(seconds: u64) -> Now {
    Now::default().advanced(Duration::from_secs(seconds))
}

fn message(number: u32, class: Class) -> Drawn {
    let key = (class == Class::Urgent).then_some(0);
    Drawn { number, key, class, weight: 100, merge: Merge::Replace }
}

fn control(number: u32) -> Drawn {
    message(number, Class::Control)
}

fn queue() -> SessionQueue<Drawn> {
    SessionQueue::new(at(0), LIMITS)
}

fn push(queue: &mut SessionQueue<Drawn>, seconds: u64, after: u64, message: Drawn) {
    queue.push(at(seconds), LIMITS.session_bytes, RecordNumber(after), message);
}

/// Takes the numbers of the messages that may be sent when everything up to `durable` is durable.
fn take(queue: &mut SessionQueue<Drawn>, seconds: u64, durable: u64) -> Vec<u32> {
    match queue.take(at(seconds), RecordNumber(durable)) {
        Taken::Frame(frame) => frame.into_iter().map(|message| message.number).collect(),
        Taken::Wait(_) | Taken::End => Vec::new(),
    }
}

/// A reader that is polled by hand and counts how often it is woken.
struct Polled {
    batches: Batches<Drawn>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Polled {
    fn new(batches: Batches<Drawn>) -> Self {
        Self { batches, wakes: Arc::default() }
    }

    /// The numbers of the next frame, if there is one.
    fn poll(&mut self) -> Option<Vec<u32>> {
        let waker = self.wakes.clone().into();
        match self.batches.poll_next_unpin(&mut Context::from_waker(&waker)) {
            Poll::Ready(frame) => frame.map(|frame| frame.into_iter().map(|message| message.number).collect()),
            Poll::Pending => None,
        }
    }

    fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_message_leaves_when_its_record_is_durable_and_nothing_overtakes_it() {
    let mut queue = queue();
    push(&mut queue, 0, 0, control(1));
    push(&mut queue, 0, 2, control(2));
    push(&mut queue, 0, 1, control(3));
    assert_eq!(take(&mut queue, 0, 1), [1]);
    assert_eq!(queue.take(at(0), RecordNumber(1)), Taken::Wait(Some(RecordNumber(2))));
    assert_eq!(take(&mut queue, 0, 2), [2, 3]);
    assert_eq!(queue.take(at(0), RecordNumber(2)), Taken::Wait(None));
}

#[test]
fn pings_and_heartbeats_overtake_once_the_opening_message_has_left_and_one_of_each_waits() {
    let mut queue = queue();
    push(&mut queue, 0, 1, message(1, Class::Opening));
    push(&mut queue, 0, 1, message(2, Class::Urgent));
    assert_eq!(take(&mut queue, 0, 0), [0_u32; 0], "nothing comes before SUBSCRIBED or REGISTERED");
    assert_eq!(take(&mut queue, 0, 1), [1, 2]);
    push(&mut queue, 0, 2, control(3));
    push(&mut queue, 0, 2, message(4, Class::Urgent));
    push(&mut queue, 0, 2, message(5, Class::Urgent));
    assert_eq!(take(&mut queue, 0, 1), [5]);
    assert_eq!(take(&mut queue, 0, 2), [3]);
}

#[test]
fn what_nothing_depends_on_is_dropped_and_counted_while_there_is_no_room() {
    let mut queue = queue();
    (1..=6).for_each(|number| push(&mut queue, 0, 0, message(number, Class::Bounded)));
    push(&mut queue, 0, 0, message(7, Class::BestEffort));
    push(&mut queue, 0, 0, message(8, Class::Repeated));
    assert_eq!((queue.bytes(), queue.take_dropped()), (700, 1), "more than half of the budget waits");
    (9..=12).for_each(|number| push(&mut queue, 0, 0, message(number, Class::Bounded)));
    push(&mut queue, 0, 0, message(13, Class::Repeated));
    assert_eq!((queue.bytes(), queue.take_dropped()), (1_100, 1), "what is bounded otherwise has room");
    assert_eq!(take(&mut queue, 0, 0), [1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12]);
}

#[test]
fn control_messages_beyond_the_budget_end_the_session_but_those_of_one_turn_do_not() {
    let mut queue = queue();
    (1..=20).for_each(|number| push(&mut queue, 0, 0, control(number)));
    assert_eq!(queue.end_reason(), None, "one turn put them in, and the peer had no time to take any");
    let mut read = queue;
    assert_eq!(take(&mut read, 1, 0).len(), 20);
    (1..=10).for_each(|number| push(&mut read, 2, 0, control(number)));
    push(&mut read, 3, 0, control(11));
    assert_eq!(read.end_reason(), None, "as much as the budget allows");
    push(&mut read, 4, 0, message(12, Class::Bounded));
    push(&mut read, 4, 0, control(13));
    assert_eq!(read.end_reason(), Some(&EndReason::OverBudget { bytes: 1_100, limit: 1_000 }));
    assert_eq!((read.bytes(), read.take(at(4), NONE)), (0, Taken::End));
    let text = read.end_reason().map(ToString::to_string).unwrap_or_default();
    assert!(text.starts_with("1100 bytes of answers wait to be read, the limit is 1000: "), "{text}");
}

#[test]
fn a_peer_is_stalled_when_it_takes_nothing_of_what_may_leave_for_the_whole_limit() {
    let mut queue = queue();
    assert_eq!(queue.watch(at(100), NONE), Watch::LookAt(at(175).mono_ns), "nothing waits");
    push(&mut queue, 100, 0, control(1));
    push(&mut queue, 100, 7, control(2));
    assert_eq!(take(&mut queue, 100, 0), [1]);
    assert_eq!(queue.watch(at(500), NONE), Watch::LookAt(at(575).mono_ns), "the store is slow, not the peer");
    let durable = RecordNumber(7);
    assert_eq!(queue.watch(at(174), durable), Watch::LookAt(at(175).mono_ns));
    assert_eq!(queue.watch(at(175), durable), Watch::Stalled);
    assert_eq!(take(&mut queue, 174, 7), [2]);
    assert_eq!(queue.take(at(174), durable), Taken::Wait(None));
    push(&mut queue, 400, 0, control(3));
    assert_eq!(queue.watch(at(401), durable), Watch::LookAt(at(476).mono_ns), "it is ready: this end has to move");
}

#[test]
fn a_closed_session_gives_what_waits_and_then_ends_and_the_peer_has_the_limit_for_that() {
    let mut queue = queue();
    push(&mut queue, 0, 0, control(1));
    push(&mut queue, 0, 3, control(2));
    queue.close(at(0), RecordNumber(4));
    push(&mut queue, 0, 0, control(3));
    assert_eq!(take(&mut queue, 0, 0), [1]);
    assert_eq!(take(&mut queue, 0, 3), [2]);
    assert_eq!(queue.take(at(0), RecordNumber(3)), Taken::Wait(Some(RecordNumber(4))));
    assert_eq!(queue.watch(at(74), RecordNumber(4)), Watch::LookAt(at(75).mono_ns));
    assert_eq!(queue.watch(at(75), RecordNumber(4)), Watch::Stalled);
    assert_eq!(queue.take(at(0), RecordNumber(4)), Taken::End);
    assert_eq!(queue.end_reason(), Some(&EndReason::Closed));
}

#[test]
fn a_frame_holds_what_fits_and_a_message_over_the_limit_leaves_alone() {
    let mut queue = SessionQueue::new(at(0), Limits::unlimited());
    let sizes = [FRAME_BYTES / 2, FRAME_BYTES / 2, 1, FRAME_BYTES * 3, 1, 1];
    for (number, weight) in (1..).zip(sizes) {
        queue.push(at(0), usize::MAX, NONE, Drawn { weight, ..control(number) });
    }
    let frames: Vec<Vec<u32>> = (0..4).map(|_| take(&mut queue, 0, 0)).collect();
    assert_eq!(frames, [vec![1, 2], vec![3], vec![4], vec![5, 6]]);
}

#[test]
fn offers_that_are_made_and_withdrawn_for_ever_behind_one_that_waits_take_no_room() {
    let mut queue = SessionQueue::new(at(0), Limits::unlimited());
    queue.push(at(0), usize::MAX, RecordNumber(1), control(0));
    for number in 1..100_000 {
        let made = Drawn { key: Some(1), ..message(number, Class::Bounded) };
        queue.push(at(0), usize::MAX, NONE, made);
        let other = Drawn { key: Some(2), ..message(number, Class::Bounded) };
        queue.push(at(0), usize::MAX, NONE, other);
        queue.push(at(0), usize::MAX, NONE, Drawn { merge: Merge::Cancel, ..made });
        if number % 2 == 0 {
            queue.push(at(0), usize::MAX, NONE, Drawn { merge: Merge::Cancel, ..other });
        }
    }
    assert_eq!(queue.len(), 2);
    assert!(queue.slots() < 1_000, "{}", queue.slots());
}

fn outbox(limits: Limits) -> (Outbox<Drawn>, Budget, Durable) {
    let (budget, durable) = (Budget::new(limits), Durable::default());
    (Outbox::new(&budget, &durable), budget, durable)
}

#[tokio::test]
async fn a_reader_wakes_when_something_may_leave_and_the_end_comes_after_it() {
    let (outbox, budget, durable) = outbox(LIMITS);
    let now = Clock::system().now();
    let mut batches = outbox.batches();
    let reading = tokio::spawn(async move {
        let first = batches.next().await;
        let second = batches.next().await;
        (first, second, batches.next().await)
    });
    tokio::task::yield_now().await;
    outbox.push(now, RecordNumber(1), [control(1)]);
    tokio::task::yield_now().await;
    assert_eq!(budget.waiting_bytes(), control(1).weight());
    durable.advance(RecordNumber(1));
    tokio::task::yield_now().await;
    assert_eq!(budget.waiting_bytes(), 0);
    outbox.push(now, NONE, [control(2)]);
    outbox.close(now, RecordNumber(2));
    durable.advance(RecordNumber(2));
    let read = reading.await.expect("it does not panic");
    assert_eq!(read, (Some(vec![control(1)]), Some(vec![control(2)]), None));
    assert_eq!(outbox.ended().await, EndReason::Closed);
    assert_eq!(outbox.failure(), None);
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_peer_reads_nothing_ends_after_the_limit_and_a_slow_ones_does_not() {
    let (outbox, budget, _durable) = outbox(LIMITS);
    let mut batches = outbox.batches();
    let started = tokio::time::Instant::now();
    outbox.push(Clock::system().now(), NONE, (1..=3).map(|number| Drawn { weight: FRAME_BYTES, ..control(number) }));
    let reading = tokio::spawn(async move {
        for _ in 0..2 {
            tokio::time::sleep(LIMITS.stall.mul_f64(0.9)).await;
            batches.next().await.expect("a frame");
        }
        std::future::pending::<()>().await;
    });
    let reason = outbox.ended().await;
    assert_eq!(reason, EndReason::Stalled { after: LIMITS.stall, bytes: FRAME_BYTES });
    assert_eq!(started.elapsed().as_secs(), 210);
    assert_eq!((outbox.failure(), budget.ended_sessions()), (Some(reason), 1));
    reading.abort();
}

#[tokio::test]
async fn what_is_put_in_at_once_wakes_its_reader_once_and_leaves_together_but_for_what_waits_for_a_record() {
    let (outbox, _budget, durable) = outbox(LIMITS);
    let mut batches = Polled::new(outbox.batches());
    assert_eq!(batches.poll(), None);
    let messages = [(0, 1), (1, 2), (1, 3), (2, 4)].map(|(after, number)| (RecordNumber(after), control(number)));
    durable.advance(RecordNumber(1));
    outbox.push_all(Clock::system().now(), messages);
    assert_eq!(batches.wakes(), 1);
    assert_eq!(batches.poll(), Some(vec![1, 2, 3]));
    assert_eq!(batches.poll(), None);
    durable.advance(RecordNumber(2));
    assert_eq!((batches.wakes(), batches.poll()), (2, Some(vec![4])));
}

#[tokio::test]
async fn a_connection_that_is_gone_ends_its_queue_and_frees_what_waited() {
    let (outbox, budget, durable) = outbox(LIMITS);
    let mut batches = outbox.batches();
    outbox.push(Clock::system().now(), RecordNumber(1), [control(1)]);
    assert_eq!(batches.next().now_or_never(), None);
    drop(batches);
    assert_eq!(outbox.ended().await, EndReason::Gone);
    durable.advance(RecordNumber(1));
    assert_eq!(budget.waiting_bytes(), 0);
}

#[tokio::test]
async fn while_all_sessions_together_exceed_the_total_each_has_an_equal_share() {
    let budget = Budget::new(Limits { session_bytes: 1_000, total_bytes: 1_500, ..LIMITS });
    let durable = Durable::default();
    let outboxes: Vec<Outbox<Drawn>> = (0..3).map(|_| Outbox::new(&budget, &durable)).collect();
    let now = Clock::system().now();
    let bounded = |count| (0..count).map(|number| message(number, Class::Bounded));
    outboxes[0].push(now, NONE, bounded(4));
    outboxes[0].push(now, NONE, [message(9, Class::BestEffort)]);
    assert_eq!(budget.dropped_messages(), 0, "it is within half of its own budget");
    outboxes[1].push(now, NONE, bounded(12));
    outboxes[0].push(now, NONE, [message(9, Class::BestEffort)]);
    outboxes[2].push(now, NONE, [message(9, Class::BestEffort)]);
    assert_eq!(budget.dropped_messages(), 1, "500 bytes are a third of the total, and half of them wait already");
    drop(outboxes);
    assert_eq!(budget.waiting_bytes(), 0);
}
