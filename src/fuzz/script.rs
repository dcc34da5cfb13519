//! Reads bytes as a script: which step is next, on which node, with which of a few names.
//!
//! Names come from small sets, so that steps concern the same objects; time advances in small steps and leaps.

use std::time::Duration;

use arbitrary::Unstructured;
use rand::{SeedableRng as _, rngs::StdRng};

use crate::types::Now;

/// The most steps of a script, however many bytes there are.
const MOST_STEPS: usize = 2_000;

/// The rest of the bytes, and the present time.
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
    pub(super) fn has_step(&mut self) -> bool {
        self.steps += 1;
        !self.bytes.is_empty() && self.steps <= MOST_STEPS
    }

    /// A number below `end`; 0 when nothing is left.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.bytes.choose_index(end.max(1)).unwrap_or(0)
    }

    /// True in one of so many cases.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 1
    }

    pub(super) fn pick<'c, T>(&mut self, choices: &'c [T]) -> Option<&'c T> {
        choices.get(self.below(choices.len()))
    }

    /// `<prefix>0`, `<prefix>1`, ... or, rarely, an empty name.
    pub(super) fn name(&mut self, prefix: &str, count: usize) -> String {
        let index = self.below(count + 1);
        if index == count { String::new() } else { format!("{prefix}{index}") }
    }

    /// Raw bytes.
    pub(super) fn raw(&mut self) -> &'a [u8] {
        let length = self.below(200).min(self.bytes.len());
        self.bytes.bytes(length).unwrap_or_default()
    }

    /// Advances the time by nothing, milliseconds, seconds, minutes or hours.
    pub(super) fn wait(&mut self) {
        let unit = [0, 1, 10, 1_000, 60_000, 3_600_000][self.below(6)];
        let count = self.below(16) as u64;
        self.now = self.now.advanced(Duration::from_millis(unit * count));
    }

    pub(super) fn rng(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.below(256) as u64)
    }
}
