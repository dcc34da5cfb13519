//! Compares the queue with a slow model: order, keys, gate and byte counts must be equal after every step.

use proptest::prelude::*;

use super::{Class, Limits, Merge, Message, RecordNumber, SessionQueue, Taken};
use crate::types::Now;

/// A message whose key, class and weight are drawn, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) number: u32,
    pub(super) key: Option<u8>,
    pub(super) class: Class,
    pub(super) weight: usize,
    pub(super) merge: Merge,
}

impl Message for Drawn {
    type Key = u8;

    fn weight(&self) -> usize {
        self.weight
    }

    fn class(&self) -> Class {
        self.class
    }

    fn key(&self) -> Option<u8> {
        self.key
    }

    fn merge(&self, newer: &Self, _is_last: bool) -> Merge {
        newer.merge
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push { after: u64, message: Drawn },
    Take,
    Sync(u64),
    NextTurn,
}

fn message() -> impl Strategy<Value = Drawn> {
    let class = prop_oneof![
        6 => Just(Class::Bounded),
        2 => Just(Class::Control),
        1 => Just(Class::Repeated),
        1 => Just(Class::BestEffort),
        1 => Just(Class::Urgent),
    ];
    let merge = prop_oneof![Just(Merge::Both), Just(Merge::Replace), Just(Merge::KeepWaiting), Just(Merge::Cancel)];
    let weight = prop_oneof![8 => 1..2_000_usize, 1 => 60_000..100_000_usize];
    (proptest::option::of(0..4_u8), class, weight, merge).prop_map(|(key, class, weight, merge)| {
        // What overtakes is one of a kind, of its own.
        let key = if class == Class::Urgent { Some(9) } else { key };
        let merge = if class == Class::Urgent { Merge::Replace } else { merge };
        Drawn { number: 0, key, class, weight, merge }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..20_u64, message()).prop_map(|(after, message)| Step::Push { after, message }),
        3 => Just(Step::Take),
        2 => (0..20_u64).prop_map(Step::Sync),
        2 => Just(Step::NextTurn),
    ];
    proptest::collection::vec(step, 0..200)
}

/// The rules, without an index: what waits in order, and beside it what overtakes.
#[derive(Default)]
struct Model {
    ordered: Vec<(u64, Drawn)>,
    /// The numbers of those that a newer one did not replace although it has their key: they only wait.
    passed: Vec<u32>,
    urgent: Option<Drawn>,
    charged: usize,
    freed: usize,
}

impl Model {
    fn bytes(&self) -> usize {
        let urgent = self.urgent.iter().map(|message| message.weight);
        self.ordered.iter().map(|(_, message)| message.weight).chain(urgent).sum()
    }

    fn push(&mut self, allowance: usize, after: u64, message: Drawn) {
        self.charged += message.weight;
        let is_full = match message.class {
            Class::BestEffort => self.bytes() > allowance / 2,
            Class::Repeated => self.bytes() > allowance,
            Class::Opening | Class::Bounded | Class::Control | Class::Urgent => false,
        };
        if is_full {
            self.freed += message.weight;
            return;
        }
        if message.class == Class::Urgent {
            self.freed += self.urgent.replace(message).map_or(0, |old| old.weight);
            return;
        }
        let waiting = self.ordered.iter().rposition(|(_, waiting)| {
            message.key.is_some() && waiting.key == message.key && !self.passed.contains(&waiting.number)
        });
        match (waiting, message.merge) {
            (None, _) | (Some(_), Merge::Both) => {
                self.passed.extend(waiting.map(|at| self.ordered[at].1.number));
                self.ordered.push((after, message));
            }
            (Some(at), Merge::Replace) => {
                self.freed += self.ordered[at].1.weight;
                self.ordered[at] = (self.ordered[at].0.max(after), message);
            }
            (Some(_), Merge::KeepWaiting) => self.freed += message.weight,
            (Some(at), Merge::Cancel) => {
                self.freed += message.weight + self.ordered[at].1.weight;
                self.ordered.remove(at);
            }
        }
    }

    /// What may leave, first what overtakes.
    fn may_leave(&self, durable: u64) -> Vec<u32> {
        let ordered = self.ordered.iter().take_while(|(after, _)| *after <= durable);
        self.urgent.iter().chain(ordered.map(|(_, message)| message)).map(|message| message.number).collect()
    }

    fn left(&mut self, number: u32) {
        let urgent = self.urgent.take_if(|urgent| urgent.number == number);
        let at = self.ordered.iter().position(|(_, message)| message.number == number);
        let ordered = at.map(|at| self.ordered.remove(at).1);
        self.freed += urgent.or(ordered).map_or(0, |message| message.weight);
    }
}

fn opened(now: Now, limits: Limits) -> SessionQueue<Drawn> {
    let mut queue = SessionQueue::new(now, limits);
    let opening = Drawn { number: u32::MAX, key: None, class: Class::Opening, weight: 1, merge: Merge::Both };
    queue.push(now, usize::MAX, RecordNumber(0), opening);
    assert_eq!(queue.take(now, RecordNumber(0)), Taken::Frame(vec![opening]));
    assert_eq!(queue.take_freed(), 1);
    queue
}

proptest! {
    #[test]
    fn order_keys_gate_and_account_are_those_of_the_model(steps in steps(), allowance in 1_000..200_000_usize) {
        let limits = Limits { session_bytes: usize::MAX, ..Limits::default() };
        let (mut now, mut durable) = (Now::default(), 0);
        let (mut queue, mut model) = (opened(now, limits), Model::default());
        let (mut number, mut freed) = (0, 0);
        for step in steps {
            match step {
                Step::Push { after, mut message } => {
                    number += 1;
                    message.number = number;
                    model.push(allowance, after, message);
                    queue.push(now, allowance, RecordNumber(after), message);
                }
                Step::Take => {
                    let may_leave = model.may_leave(durable);
                    let frame = match queue.take(now, RecordNumber(durable)) {
                        Taken::Frame(frame) => frame,
                        Taken::Wait(_) => Vec::new(),
                        Taken::End => panic!("it was not closed"),
                    };
                    prop_assert!(frame.is_empty() == may_leave.is_empty(), "all that may leave leaves at some time");
                    let bytes: usize = frame.iter().map(Message::weight).sum();
                    prop_assert!(frame.len() == 1 || bytes <= super::FRAME_BYTES + 2_000, "{bytes}");
                    for (message, number) in frame.iter().zip(&may_leave) {
                        prop_assert_eq!(message.number, *number);
                        model.left(*number);
                    }
                }
                Step::Sync(by) => durable = durable.max(by),
                Step::NextTurn => now = now.advanced(std::time::Duration::from_millis(1)),
            }
            freed += queue.take_freed();
            prop_assert_eq!(queue.bytes(), model.bytes());
            prop_assert_eq!(freed, model.freed);
            prop_assert_eq!(model.charged - freed, queue.bytes(), "charged less freed is what waits");
        }
        queue.end(super::EndReason::Gone);
        prop_assert_eq!(model.charged, freed + queue.take_freed(), "the end frees all");
    }
}
