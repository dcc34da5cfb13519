//! What the benches with a main of their own share: the clock, medians with their spread, and a description of the
//! machine.
#![allow(dead_code, reason = "each bench takes what it needs")]

pub(crate) mod child;

use std::{error::Error, fmt, time::Duration};

use divvy::transport::clock::Clock;

/// As in the released binaries.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The result of a fallible step; an error ends the bench.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Nanoseconds on the monotonic clock.
pub(crate) fn now_ns() -> u64 {
    Clock::system().now().mono_ns
}

/// Resident memory in KiB.
pub(crate) fn resident_kib(pid: u32) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// How long `work` took, and what it answered.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = now_ns();
    let answer = work();
    (Duration::from_nanos(now_ns() - start), answer)
}

/// Repeated measurements of one thing.
#[derive(Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The sample below which this part of all lies.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a short list"
        )]
        let at = ((sorted.len().saturating_sub(1)) as f64 * part).round() as usize;
        sorted.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

impl Extend<Duration> for Samples {
    fn extend<I: IntoIterator<Item = Duration>>(&mut self, samples: I) {
        self.0.extend(samples);
    }
}

/// Median and, in brackets, the least and the most.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2?} [{:.2?} {:.2?}]", self.median(), self.quantile(0.0), self.quantile(1.0));
        f.pad(&text)
    }
}

/// A description of this machine, for the head of a printout.
pub(crate) fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    format!("{cpus} cpus,{} load before {load}", model.trim_start_matches(['\t', ' ', ':']).to_owned() + ",")
}
