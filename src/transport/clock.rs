//! The clocks: the only module that reads the host's time.
//!
//! Shells read a [`Now`] here and pass it to their cores. All clocks of a process share one start, so their readings
//! are comparable. Monotonic time follows tokio's, so a test can pause it.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;

use crate::types::Now;

/// The start of monotonic readings in this process: when the first clock is created.
static START: OnceLock<Instant> = OnceLock::new();

/// A source of time. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Returns the host's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self { start: *START.get_or_init(Instant::now) }
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono_ns: nanos(Instant::now().saturating_duration_since(self.start)), wall_ns: wall_ns() }
    }

    /// Waits until the monotonic clock reads `mono_ns`; returns at once when it already does.
    pub async fn sleep_until(&self, mono_ns: u64) {
        match self.start.checked_add(Duration::from_nanos(mono_ns)) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }
}

/// Reads the host's monotonic clock, in nanoseconds. All processes of one boot share it; it stops while the host
/// sleeps.
#[cfg(feature = "agent")]
pub(crate) fn host_monotonic_ns() -> u64 {
    let read = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(read.tv_nsec).unwrap_or(0))
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
fn wall_ns() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn sleeping_until_a_reading_moves_the_clock_to_it() {
        let clock = Clock::system();
        let due = clock.now().mono_after(Duration::from_secs(90));
        clock.sleep_until(due).await;
        let now = clock.now().mono_ns;
        assert!((due..due + 5_000_000).contains(&now), "slept to {now}, wanted {due}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_that_has_passed_is_not_waited_for() {
        let clock = Clock::system();
        let before = clock.now().mono_ns;
        clock.sleep_until(0).await;
        assert!(clock.now().mono_ns - before < 5_000_000);
    }

    #[test]
    fn two_clocks_of_a_process_agree() {
        let (one, other) = (Clock::system(), Clock::system());
        let first = one.now().mono_ns;
        assert!(other.now().mono_ns >= first);
        assert!(one.now().wall_secs() > 1.6e9, "the wall clock counts from 1970");
    }
}
