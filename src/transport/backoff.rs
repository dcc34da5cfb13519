//! Exponential backoff with a cap and full jitter.
//!
//! Pure: random numbers come from the generator passed in, so the same seed gives the same waits. Full jitter (anything
//! between zero and the current ceiling) keeps ten thousand agents from reconnecting in the same millisecond.

use std::time::Duration;

use rand::Rng;

/// The backoff of one sequence of attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Creates a backoff that waits up to `first`, then up to twice that, and so on up to `cap`.
    #[must_use]
    pub fn new(first: Duration, cap: Duration) -> Self {
        let first = first.min(cap);
        Self { first, cap, ceiling: first }
    }

    /// Returns the wait before the next attempt and doubles the ceiling for the one after.
    pub fn next_wait(&mut self, rng: &mut (impl Rng + ?Sized)) -> Duration {
        let ceiling = self.ceiling;
        self.ceiling = ceiling.saturating_mul(2).min(self.cap);
        rng.random_range(Duration::ZERO..=ceiling)
    }

    /// Starts over after a successful attempt: the next wait is short again.
    pub fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_wait_stays_under_a_ceiling_that_doubles_up_to_the_cap() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut longest = [Duration::ZERO; 8];
        for _ in 0..2_000 {
            let mut backoff = Backoff::new(SECOND, 10 * SECOND);
            for slot in &mut longest {
                *slot = (*slot).max(backoff.next_wait(&mut rng));
            }
        }
        for (longest, ceiling) in longest.into_iter().zip([1, 2, 4, 8, 10, 10, 10, 10]) {
            let ceiling = ceiling * SECOND;
            assert!(longest <= ceiling && longest > ceiling.mul_f64(0.95), "{longest:?} against {ceiling:?}");
        }
    }

    #[test]
    fn the_same_seed_waits_the_same() {
        let waits = |seed| {
            let (mut rng, mut backoff) = (StdRng::seed_from_u64(seed), Backoff::new(SECOND, 60 * SECOND));
            std::array::from_fn::<_, 9, _>(|_| backoff.next_wait(&mut rng))
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn a_success_starts_over() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut backoff = Backoff::new(SECOND, 60 * SECOND);
        for _ in 0..20 {
            backoff.next_wait(&mut rng);
        }
        backoff.reset();
        assert_eq!(backoff, Backoff::new(SECOND, 60 * SECOND));
    }

    #[test]
    fn a_ceiling_at_the_end_of_time_does_not_overflow() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        backoff.next_wait(&mut rng);
        backoff.next_wait(&mut rng);
    }
}
