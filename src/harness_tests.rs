//! What a harness does with a batch.

use std::time::Duration;

use rand::{SeedableRng as _, rngs::StdRng};

use super::{Harness, ROOM};
use crate::{
    master::{
        core::{Answer, Config, Effect, Input, Master, Principal, Question, RequestId},
        registry::State,
    },
    transport::outbox::RecordNumber,
    types::Now,
};

const START: Now = Now { mono_ns: 1_000_000_000, wall_ns: 1 };

fn harness() -> Harness<Master> {
    Harness::new(Master::new("m", 1, State::default(), Config::default(), StdRng::seed_from_u64(1), START))
}

fn asked(number: u64) -> Input {
    Input::Asked { request: RequestId(number), principal: Principal::Anonymous, question: Question::Alive }
}

#[test]
fn effects_are_delivered_once_in_the_order_of_their_inputs() {
    let (mut harness, mut effects) = (harness(), Vec::new());
    harness.give(START, [asked(1), asked(2)], &mut effects);
    let replies = [1, 2].map(|number| Effect::Reply {
        request: RequestId(number),
        after: RecordNumber::default(),
        answer: Answer::Alive,
    });
    assert_eq!(effects, replies);
    harness.deliver(START, &mut effects);
    assert_eq!(effects.len(), 2);
}

#[test]
fn a_batch_that_ends_past_the_deadline_ticks_the_core() {
    let mut harness = harness();
    let due = harness.deadline().expect("the registry is looked through now and then");
    let late = START.advanced(Duration::from_nanos(due - START.mono_ns));
    harness.give(late, [], &mut Vec::new());
    assert!(harness.deadline().is_some_and(|next| next > due));
}

#[test]
fn the_room_a_peak_needed_is_given_back() {
    let (mut harness, mut effects) = (harness(), Vec::new());
    let peak = u64::try_from(ROOM).expect("small") * 10;
    harness.give(START, (0..peak).map(asked), &mut effects);
    assert_eq!(effects.len(), ROOM * 10);
    assert!(harness.effects.capacity() <= ROOM, "{} are kept room for", harness.effects.capacity());
}
