//! The report on a history that failed.
//!
//! It names the seed, the step, the broken invariant with its data, the last events, and the command that plays it again.

use std::{collections::VecDeque, fmt, time::Duration};

use super::{describe, fact::Fact};

/// How many of the last facts a report shows, and how many bytes of one that has no description.
const LAST: usize = 40;
const MAX_RAW_LEN: usize = 200;

/// The last facts of a history, and all of them as text on request.
#[derive(Debug, Default)]
pub(super) struct Trace {
    last: VecDeque<(u64, u64, Fact)>,
    /// Everything as text, when two runs are compared.
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

    /// The last facts, described, or their debug form cut short.
    fn lines(&self) -> Vec<String> {
        let line = |(step, now_ns, fact): &(u64, u64, Fact)| {
            let text = describe::describe_fact(fact).unwrap_or_else(|| {
                let mut text = format!("  {fact:?}");
                text.truncate(text.floor_char_boundary(MAX_RAW_LEN));
                text
            });
            format!("{step:>7} {:>12} {text}", seconds(*now_ns))
        };
        self.last.iter().map(line).collect()
    }

    pub(super) fn effects<E: fmt::Debug>(&mut self, of: &str, effects: &[E]) {
        if let Some(stream) = &mut self.stream {
            stream.extend(effects.iter().map(|effect| format!("{of}: {effect:?}")));
        }
    }
}

/// Why a simulated run failed, with its last events.
///
/// Either the framework did what a simulation does not allow, or the cluster broke a rule.
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
            "DIVVY_SIM_SEED={seed} cargo nextest run --all-features --lib --run-ignored all sim::tests::the_seed_given \
             (with DIVVY_SIM_TRACE=1 it prints all that happens)"
        );
        Self { seed, step, now_ns, invariant, text: text.to_owned(), last: trace.lines(), again }
    }

    /// The failure of an author's run.
    pub(super) fn of_author(self, lines: impl Iterator<Item = String>) -> Self {
        let again = format!("run the same test with SimCluster::new({})", self.seed);
        Self { last: lines.collect(), again, ..self }
    }

    /// Names the test, by the name of its thread.
    pub(super) fn in_test(self, test: Option<&str>) -> Self {
        let Some(test) = test.filter(|test| *test != "main") else { return self };
        let again = format!("cargo test {test}, with SimCluster::new({})", self.seed);
        Self { again, ..self }
    }

    /// A failure outside the simulation: it did not start, or did not return.
    pub(super) fn outside(seed: u64, text: &str) -> Self {
        let failure = Self::new(seed, 0, 0, "framework", text, &Trace::default());
        failure.of_author(std::iter::empty())
    }

    /// The seed of the run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// When the run failed, in virtual time since its start.
    #[must_use]
    pub fn at(&self) -> Duration {
        Duration::from_nanos(self.now_ns)
    }

    /// The rule that was broken; `framework` when user code did what a simulated framework may not.
    #[must_use]
    pub fn rule(&self) -> &str {
        self.invariant
    }

    /// What went wrong.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The last events, one line each.
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
