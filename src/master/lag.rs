//! How long the registry has owed an answer: for the log, for `/health` and for `/metrics`.
//!
//! A master whose registry does not answer goes on pinging and looks alive to everybody, yet nothing that has to be
//! durable first leaves it. So it says so itself: in the log from [`SLOW`] on, and from [`STALLED`] on it is not healthy.

use std::time::Duration;

use tokio::sync::watch;

use crate::{transport::clock::Clock, types::Now};

/// From here on the log tells of it, again after each further [`STALLED`].
const SLOW: Duration = Duration::from_secs(10);
/// From here on the master is not healthy: agents that registered have been waiting longer than they do.
const STALLED: Duration = Duration::from_mins(1);

/// The end that is told of it, on the core's thread.
#[derive(Debug)]
pub(super) struct Watcher {
    since: watch::Sender<Option<Now>>,
    /// When the log is told next, in monotonic nanoseconds.
    tell_at: Option<u64>,
    told: bool,
}

/// The end that asks; clones ask the same.
#[derive(Clone, Debug)]
pub(super) struct Lag {
    since: watch::Receiver<Option<Now>>,
    clock: Clock,
}

/// Both ends.
pub(super) fn watched() -> (Watcher, Lag) {
    let (sender, receiver) = watch::channel(None);
    (Watcher { since: sender, tell_at: None, told: false }, Lag { since: receiver, clock: Clock::system() })
}

impl Watcher {
    /// The registry has owed its oldest answer since then, or owes none.
    pub(super) fn look(&mut self, now: Now, since: Option<Now>) {
        if *self.since.borrow() != since {
            self.since.send_replace(since);
        }
        let Some(since) = since else {
            if std::mem::take(&mut self.told) {
                tracing::info!("the registry answers again");
            }
            self.tell_at = None;
            return;
        };
        let tell_at = *self.tell_at.get_or_insert_with(|| since.mono_after(SLOW));
        if tell_at <= now.mono_ns {
            let waited_s = now.since(since.mono_ns).as_secs();
            tracing::warn!(waited_s, "the registry does not answer: what it has to hold first is held back");
            self.tell_at = Some(now.mono_after(STALLED));
            self.told = true;
        }
    }

    /// When [`look`](Self::look) is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.tell_at
    }
}

impl Lag {
    /// How long the oldest answer has been owed; zero when none is.
    pub(super) fn waited(&self) -> Duration {
        let since = *self.since.borrow();
        since.map_or(Duration::ZERO, |since| self.clock.now().since(since.mono_ns))
    }

    /// What is wrong, once it has lasted for long.
    pub(super) fn stalled(&self) -> Option<String> {
        let waited = self.waited();
        let text =
            || format!("the registry has not answered for {} s: nothing is registered or removed", waited.as_secs());
        (waited >= STALLED).then(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_owes_an_answer_for_a_minute_makes_the_master_unwell_until_it_answers() {
        let (mut watcher, lag) = watched();
        let start = Clock::system().now();
        watcher.look(start, Some(start));
        assert_eq!(watcher.deadline(), Some(start.mono_after(SLOW)));
        tokio::time::advance(STALLED.saturating_sub(Duration::from_secs(1))).await;
        assert_eq!(lag.stalled(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        let text = "the registry has not answered for 60 s: nothing is registered or removed";
        assert_eq!(lag.stalled().as_deref(), Some(text));
        watcher.look(Clock::system().now(), None);
        assert_eq!((lag.stalled(), lag.waited(), watcher.deadline()), (None, Duration::ZERO, None));
    }

    #[test]
    fn the_log_is_told_after_ten_seconds_and_then_every_minute() {
        let (mut watcher, _lag) = watched();
        let start = Now::default();
        watcher.look(start, Some(start));
        assert!(!watcher.told);
        let later = start.advanced(SLOW);
        watcher.look(later, Some(start));
        assert!(watcher.told);
        assert_eq!(watcher.deadline(), Some(later.mono_after(STALLED)));
    }
}
