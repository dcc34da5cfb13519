//! What is told of a history that went wrong: the seed, the step, the invariant with its data, what happened last, and
//! the command that plays it again.

use std::{collections::VecDeque, fmt, time::Duration};

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

    /// The last facts, in text.
    fn lines(&self) -> Vec<String> {
        let line = |(step, now_ns, fact): &(u64, u64, Fact)| format!("{step:>7} {} {fact:?}", seconds(*now_ns));
        self.last.iter().map(line).collect()
    }

    pub(super) fn effects<E: fmt::Debug>(&mut self, of: &str, effects: &[E]) {
        if let Some(stream) = &mut self.stream {
            stream.extend(effects.iter().map(|effect| format!("{of}: {effect:?}")));
        }
    }
}

/// Why a run failed: what the framework did wrong, or the rule that the cluster broke, with what happened last.
#[derive(Clone)]
pub struct Failure {
    pub(super) seed: u64,
    pub(super) step: u64,
    now_ns: u64,
    pub(super) invariant: &'static str,
    pub(super) text: String,
    last: Vec<String>,
    again: String,
}

impl Failure {
    pub(super) fn new(seed: u64, step: u64, now_ns: u64, invariant: &'static str, text: &str, trace: &Trace) -> Self {
        let again = format!(
            "DIVVY_SIM_SEED={seed} cargo nextest run --all-features --lib --run-ignored all sim::tests::the_seed_given"
        );
        Self { seed, step, now_ns, invariant, text: text.to_owned(), last: trace.lines(), again }
    }

    /// One of an author's run.
    pub(super) fn of_author(self, lines: impl Iterator<Item = String>) -> Self {
        let again = format!("run the same test with SimCluster::new({})", self.seed);
        Self { last: lines.collect(), again, ..self }
    }

    /// One that the simulation itself cannot tell of.
    pub(super) fn outside(seed: u64, text: &str) -> Self {
        let failure = Self::new(seed, 0, 0, "framework", text, &Trace::default());
        failure.of_author(std::iter::empty())
    }

    /// The seed of the run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// When it failed, in virtual time since the start.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_nanos(self.now_ns)
    }

    /// The rule that was broken; `framework` when user code did what a simulated framework may not.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.invariant
    }

    /// What was wrong.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What happened last, a line each.
    pub fn history(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, invariant, text, .. } = self;
        writeln!(f, "seed {seed}, step {step}, at {}: {invariant}: {text}", seconds(self.now_ns))?;
        if !self.last.is_empty() {
            writeln!(f, "the last events:")?;
        }
        for line in &self.last {
            let cut = line.char_indices().nth(400).map_or(line.len(), |(at, _)| at);
            writeln!(f, "  {}", &line[..cut])?;
        }
        writeln!(f, "again: {}", self.again)
    }
}

/// The same as for people: a test that unwraps, or returns it, shows what went wrong.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failure {}

pub(super) fn seconds(nanos: u64) -> String {
    format!("{}.{:06}s", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000)
}
