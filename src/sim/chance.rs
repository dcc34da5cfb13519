//! Random generators from one seed, one per purpose, so that draws for one purpose do not shift the others.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// The generators of a world.
#[derive(Debug)]
pub(super) struct Chance {
    pub(super) network: StdRng,
    pub(super) faults: StdRng,
    pub(super) workload: StdRng,
    /// Delays of disks, supervisors and processes.
    pub(super) hosts: StdRng,
    /// Seeds of the cores' own generators.
    pub(super) ids: StdRng,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        let of = |purpose: u64| StdRng::seed_from_u64(seed.wrapping_mul(8).wrapping_add(purpose));
        Self { network: of(1), faults: of(2), workload: of(3), hosts: of(4), ids: of(5) }
    }

    /// A generator for a core that begins.
    pub(super) fn for_core(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.ids.random())
    }
}

/// True with this probability in percent.
pub(super) fn percent(rng: &mut StdRng, percent: u32) -> bool {
    rng.random_ratio(percent.min(100), 100)
}

/// Nanoseconds, saturating.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A time from `least` up to `most`, both included.
pub(super) fn between(rng: &mut StdRng, least: Duration, most: Duration) -> Duration {
    Duration::from_nanos(rng.random_range(nanos(least)..=nanos(most).max(nanos(least))))
}

/// Milliseconds from `least` up to `most`, with all that lies between.
pub(super) fn millis(rng: &mut StdRng, least: u64, most: u64) -> Duration {
    between(rng, Duration::from_millis(least), Duration::from_millis(most))
}
