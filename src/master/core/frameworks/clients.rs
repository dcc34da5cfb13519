//! Clients: a client is one role of one framework, and offers are made to clients.

use std::{sync::Arc, time::Duration};

use crate::{master::core::keys::FrameworkKey, types::Now};

/// One role of one framework.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client {
    pub(crate) framework: FrameworkKey,
    pub(crate) role: Arc<str>,
}

/// The longest backoff of a client that lets offers expire.
const BACKOFF_MAX: Duration = Duration::from_mins(1);

/// The state of a client, which decides when the allocator serves it.
#[derive(Clone, Debug)]
pub(in crate::master::core) struct ClientState {
    /// Whether it waits for the run of idle clients once a second; every change serves the active ones.
    pub(in crate::master::core) idle: bool,
    pub(in crate::master::core) suppressed: bool,
    /// The number of unanswered offers.
    pub(in crate::master::core) outstanding: u32,
    /// Whether an offer of the current round brought a launch.
    pub(in crate::master::core) launched: bool,
    backoff: Option<Backoff>,
    /// The length of the last backoff; zero once the client has answered.
    last_backoff: Duration,
}

/// A time without offers for a client that let offers expire.
#[derive(Clone, Copy, Debug)]
struct Backoff {
    /// Offers made before this moment belong to the same unanswered period.
    since_ns: u64,
    /// `None` once it has ended.
    until_ns: Option<u64>,
}

impl ClientState {
    /// Creates the state of a newly subscribed client.
    pub(in crate::master::core) fn new(suppressed: bool) -> Self {
        Self { idle: false, suppressed, outstanding: 0, launched: false, backoff: None, last_backoff: Duration::ZERO }
    }

    pub(in crate::master::core) fn activate(&mut self) {
        self.idle = false;
        self.launched = false;
    }

    pub(in crate::master::core) fn offered(&mut self) {
        self.outstanding += 1;
    }

    /// Records that the client accepted or declined an offer.
    pub(in crate::master::core) fn answered(&mut self, launched: bool) {
        (self.backoff, self.last_backoff) = (None, Duration::ZERO);
        self.idle &= !launched;
        self.launched |= launched;
        self.returned();
    }

    /// Records that an offer is no longer outstanding; after a round without a launch the client is idle.
    pub(in crate::master::core) fn returned(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding == 0 {
            self.idle |= !self.launched;
            self.launched = false;
        }
    }

    /// Records that the master rescinded an offer; the round may end, but the client does not become idle.
    pub(in crate::master::core) fn rescinded(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        self.launched &= self.outstanding > 0;
    }

    /// Records that an offer made at `made_ns` expired: a backoff of 1, 2, 4 ... 60 s begins. Offers of the same
    /// unanswered period count once. Returns when the backoff ends, if it begins now.
    pub(in crate::master::core) fn expired(&mut self, now: Now, made_ns: u64) -> Option<u64> {
        self.returned();
        if self.backoff.is_some_and(|backoff| made_ns < backoff.since_ns) {
            return None;
        }
        self.last_backoff = (self.last_backoff * 2).clamp(Duration::from_secs(1), BACKOFF_MAX);
        let until_ns = Some(now.mono_after(self.last_backoff));
        self.backoff = Some(Backoff { since_ns: now.mono_ns, until_ns });
        until_ns
    }

    /// Ends the backoff if its time is over.
    pub(in crate::master::core) fn end_backoff(&mut self, now: Now) {
        if let Some(backoff) = &mut self.backoff {
            backoff.until_ns = backoff.until_ns.filter(|until_ns| *until_ns > now.mono_ns);
        }
    }

    pub(in crate::master::core) fn is_in_backoff(&self) -> bool {
        self.backoff.is_some_and(|backoff| backoff.until_ns.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_idle_after_a_round_without_a_launch_and_active_after_a_launch() {
        let mut state = ClientState::new(false);
        state.offered();
        state.offered();
        state.answered(true);
        state.answered(false);
        assert!(!state.idle, "one of the round was used");
        state.offered();
        state.answered(false);
        assert!(state.idle, "none of the round was used");
        state.offered();
        state.answered(true);
        assert!(!state.idle);
    }

    #[test]
    fn a_client_that_lets_offers_expire_waits_longer_each_time_until_it_answers() {
        let mut state = ClientState::new(false);
        let mut now = Now::default();
        let mut expire = |state: &mut ClientState| {
            let until_ns = state.expired(now, now.mono_ns);
            let wait = until_ns.map(|until_ns| (until_ns - now.mono_ns) / 1_000_000_000);
            now = now.advanced(Duration::from_mins(2));
            state.end_backoff(now);
            wait
        };
        let waits: Vec<Option<u64>> = (0..8).map(|_| expire(&mut state)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60].map(Some));
        state.answered(false);
        assert!(!state.is_in_backoff());
        assert_eq!(expire(&mut state), Some(1));
    }

    #[test]
    fn offers_from_before_a_backoff_belong_to_the_same_unanswered_period() {
        let mut state = ClientState::new(false);
        let at = |secs: u64| Now { mono_ns: secs * 1_000_000_000, wall_ns: 0 };
        assert_eq!(state.expired(at(120), 0), Some(at(121).mono_ns));
        assert_eq!(state.expired(at(120), 0), None, "expired at once with the first");
        assert_eq!(state.expired(at(180), at(60).mono_ns), None, "made and expired before the backoff");
        state.end_backoff(at(121));
        assert!(!state.is_in_backoff());
        assert_eq!(state.expired(at(300), at(121).mono_ns), Some(at(302).mono_ns), "made after the backoff");
    }
}
