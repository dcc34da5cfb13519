//! Bytes read as a script of what happens: which thing next, to whom, with which of a few names.
//!
//! Names come from small sets, so that different steps concern the same things; time runs by small steps and leaps.

use std::time::Duration;

use arbitrary::Unstructured;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::types::Now;

/// No script goes further, however many bytes there are.
const MOST_STEPS: usize = 2_000;

/// What is left of the bytes, and the time it has got to.
#[derive(Debug)]
pub(super) struct Script<'a> {
    bytes: Unstructured<'a>,
    steps: usize,
    pub(super) now: Now,
}

impl<'a> Script<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let now = Now { mono_ns: 1_000_000_000, wall_ns: 1_700_000_000_000_000_000 };
        Self { bytes: Unstructured::new(bytes), steps: 0, now }
    }

    /// Whether there is another step.
    pub(super) fn goes_on(&mut self) -> bool {
        self.steps += 1;
        !self.bytes.is_empty() && self.steps <= MOST_STEPS
    }

    /// A number below `end`; 0 when nothing is left.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.bytes.choose_index(end.max(1)).unwrap_or(0)
    }

    /// One time in so many.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 1
    }

    pub(super) fn pick<'c, T>(&mut self, choices: &'c [T]) -> Option<&'c T> {
        choices.get(self.below(choices.len()))
    }

    /// `<prefix>0`, `<prefix>1`, ... or, rarely, no name of that kind.
    pub(super) fn name(&mut self, prefix: &str, count: usize) -> String {
        let index = self.below(count + 1);
        if index == count { String::new() } else { format!("{prefix}{index}") }
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self) -> &'a [u8] {
        let length = self.below(200).min(self.bytes.len());
        self.bytes.bytes(length).unwrap_or_default()
    }

    /// Time passes: nothing, milliseconds, seconds, minutes, hours.
    pub(super) fn wait(&mut self) {
        let unit = [0, 1, 10, 1_000, 60_000, 3_600_000][self.below(6)];
        let count = self.below(16) as u64;
        self.now = self.now.advanced(Duration::from_millis(unit * count));
    }

    pub(super) fn rng(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.below(256) as u64)
    }
}
