//! What is told of a history that went wrong: the seed, the step, the invariant with its data, what happened last, and
//! the command that plays it again.

use std::{
    collections::VecDeque,
    fmt::{self, Write as _},
};

use super::fact::Fact;

/// How many of the last facts are told.
const LAST: usize = 40;

/// What happened, as far as it is kept.
#[derive(Debug, Default)]
pub(super) struct Trace {
    last: VecDeque<(u64, u64, Fact)>,
    /// Everything, in text, where two runs are to be compared.
    pub(super) stream: Option<Vec<String>>,
}

impl Trace {
    /// Keeps everything from here on.
    pub(super) fn record(&mut self) {
        self.stream = Some(Vec::new());
    }

    pub(super) fn push(&mut self, step: u64, now_ns: u64, fact: Fact) {
        if let Some(stream) = &mut self.stream {
            stream.push(format!("{step} {now_ns} {fact:?}"));
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back((step, now_ns, fact));
    }

    pub(super) fn effects<E: fmt::Debug>(&mut self, of: &str, effects: &[E]) {
        if let Some(stream) = &mut self.stream {
            stream.extend(effects.iter().map(|effect| format!("{of}: {effect:?}")));
        }
    }
}

/// A broken invariant.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) seed: u64,
    pub(super) step: u64,
    now_ns: u64,
    pub(super) invariant: &'static str,
    pub(super) text: String,
    last: Vec<String>,
}

impl Failure {
    pub(super) fn new(seed: u64, step: u64, now_ns: u64, invariant: &'static str, text: &str, trace: &Trace) -> Self {
        let last = trace.last.iter();
        let line = |(step, now_ns, fact): &(u64, u64, Fact)| format!("{step:>7} {} {fact:?}", seconds(*now_ns));
        Self { seed, step, now_ns, invariant, text: text.to_owned(), last: last.map(line).collect() }
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, invariant, text, .. } = self;
        let mut told = format!("seed {seed}, step {step}, at {}: {invariant}: {text}\n", seconds(self.now_ns));
        writeln!(told, "the last events:")?;
        for line in &self.last {
            let cut = line.char_indices().nth(400).map_or(line.len(), |(at, _)| at);
            writeln!(told, "  {}", &line[..cut])?;
        }
        writeln!(told, "again: DIVVY_SIM_SEED={seed} cargo nextest run --all-features sim::tests::the_seed_given")?;
        f.write_str(&told)
    }
}

fn seconds(nanos: u64) -> String {
    format!("{}.{:06}s", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000)
}
