//! The lag of the registry: how long its oldest append has been pending, for the log, `/health` and `/metrics`.
//!
//! A master whose registry hangs still sends pings and looks alive, but sends nothing that must be durable first. It
//! logs a warning once the lag reaches [`SLOW`], and reports itself unhealthy from [`STALLED`] on.

use std::time::Duration;

use tokio::sync::watch;

use crate::{transport::clock::Clock, types::Now};

/// The lag at which a warning is logged; it is repeated after each further [`STALLED`].
const SLOW: Duration = Duration::from_secs(10);
/// The lag at which the master is unhealthy: agents stop waiting for their registration earlier.
const STALLED: Duration = Duration::from_mins(1);

/// Updates the lag and logs it, on the core's thread.
#[derive(Debug)]
pub(super) struct LagReporter {
    since: watch::Sender<Option<Now>>,
    /// When the next warning is due, in monotonic nanoseconds.
    warn_at: Option<u64>,
    has_warned: bool,
}

/// Reads the lag; clones read the same.
#[derive(Clone, Debug)]
pub(super) struct Lag {
    since: watch::Receiver<Option<Now>>,
    clock: Clock,
}

/// Creates a reporter and its reader.
pub(super) fn channel() -> (LagReporter, Lag) {
    let (sender, receiver) = watch::channel(None);
    (LagReporter { since: sender, warn_at: None, has_warned: false }, Lag { since: receiver, clock: Clock::system() })
}

impl LagReporter {
    /// Sets since when the oldest append has been pending; `None`: none is.
    pub(super) fn update(&mut self, now: Now, since: Option<Now>) {
        if *self.since.borrow() != since {
            self.since.send_replace(since);
        }
        let Some(since) = since else {
            if std::mem::take(&mut self.has_warned) {
                tracing::info!("the registry answers again");
            }
            self.warn_at = None;
            return;
        };
        let warn_at = *self.warn_at.get_or_insert_with(|| since.mono_after(SLOW));
        if warn_at <= now.mono_ns {
            let waited_s = now.since(since.mono_ns).as_secs();
            tracing::warn!(
                waited_s,
                "the registry does not answer: delaying all messages that depend on its pending changes"
            );
            self.warn_at = Some(now.mono_after(STALLED));
            self.has_warned = true;
        }
    }

    /// When [`update`](Self::update) is due.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.warn_at
    }
}

impl Lag {
    /// How long the oldest append has been pending; zero when none is.
    pub(super) fn waited(&self) -> Duration {
        let since = *self.since.borrow();
        since.map_or(Duration::ZERO, |since| self.clock.now().since(since.mono_ns))
    }

    /// A description of the problem once the lag reaches [`STALLED`].
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
    async fn a_registry_that_does_not_answer_for_a_minute_makes_the_master_unhealthy_until_it_answers() {
        let (mut reporter, lag) = channel();
        let start = Clock::system().now();
        reporter.update(start, Some(start));
        assert_eq!(reporter.deadline(), Some(start.mono_after(SLOW)));
        tokio::time::advance(STALLED.saturating_sub(Duration::from_secs(1))).await;
        assert_eq!(lag.stalled(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        let text = "the registry has not answered for 60 s: nothing is registered or removed";
        assert_eq!(lag.stalled().as_deref(), Some(text));
        reporter.update(Clock::system().now(), None);
        assert_eq!((lag.stalled(), lag.waited(), reporter.deadline()), (None, Duration::ZERO, None));
    }

    #[test]
    fn a_warning_is_logged_after_ten_seconds_and_then_every_minute() {
        let (mut reporter, _lag) = channel();
        let start = Now::default();
        reporter.update(start, Some(start));
        assert!(!reporter.has_warned);
        let later = start.advanced(SLOW);
        reporter.update(later, Some(start));
        assert!(reporter.has_warned);
        assert_eq!(reporter.deadline(), Some(later.mono_after(STALLED)));
    }
}
