//! A client is one role of one framework: what offers are made to, and what refuses them.

use std::{sync::Arc, time::Duration};

use crate::{master::core::keys::FrameworkKey, types::Now};

/// One role of one framework.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client {
    pub(crate) framework: FrameworkKey,
    pub(crate) role: Arc<str>,
}

/// Longest time a framework that let offers expire is withheld.
const WITHHELD_MAX: Duration = Duration::from_mins(1);

/// How a client behaves, which decides when it is served.
#[derive(Clone, Debug)]
pub(in crate::master::core) struct Habits {
    /// Warm clients are served by every change, cool ones share one run a second.
    pub(in crate::master::core) warm: bool,
    pub(in crate::master::core) suppressed: bool,
    /// Offers not answered yet.
    pub(in crate::master::core) outstanding: u32,
    /// Whether the offers since the round began brought a launch.
    pub(in crate::master::core) launched: bool,
    withheld_until_ns: u64,
    withheld_for: Duration,
}

impl Habits {
    /// A client that has just subscribed.
    pub(in crate::master::core) fn new(suppressed: bool) -> Self {
        Self {
            warm: true,
            suppressed,
            outstanding: 0,
            launched: false,
            withheld_until_ns: 0,
            withheld_for: Duration::ZERO,
        }
    }

    pub(in crate::master::core) fn warm_up(&mut self) {
        self.warm = true;
        self.launched = false;
    }

    pub(in crate::master::core) fn offered(&mut self) {
        self.outstanding += 1;
    }

    /// The client said what it does with an offer.
    pub(in crate::master::core) fn answered(&mut self, launched: bool) {
        self.withheld_for = Duration::ZERO;
        self.withheld_until_ns = 0;
        self.warm |= launched;
        self.launched |= launched;
        self.returned();
    }

    /// An offer is no longer outstanding; a whole round without a launch cools the client.
    pub(in crate::master::core) fn returned(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding == 0 {
            self.warm &= self.launched;
            self.launched = false;
        }
    }

    /// The client did not answer: it is withheld for 1, 2, 4 ... 60 s, until it does.
    pub(in crate::master::core) fn expired(&mut self, now: Now) -> u64 {
        self.withheld_for = (self.withheld_for * 2).clamp(Duration::from_secs(1), WITHHELD_MAX);
        self.withheld_until_ns = now.mono_after(self.withheld_for);
        self.returned();
        self.withheld_until_ns
    }

    pub(in crate::master::core) fn withheld(&self, now: Now) -> bool {
        self.withheld_until_ns > now.mono_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_without_a_launch_cools_and_a_launch_warms() {
        let mut habits = Habits::new(false);
        habits.offered();
        habits.offered();
        habits.answered(true);
        habits.answered(false);
        assert!(habits.warm, "one of the round was used");
        habits.offered();
        habits.answered(false);
        assert!(!habits.warm, "none of the round was used");
        habits.offered();
        habits.answered(true);
        assert!(habits.warm);
    }

    #[test]
    fn who_lets_offers_expire_waits_longer_each_time_until_it_answers() {
        let mut habits = Habits::new(false);
        let now = Now::default();
        let waits: Vec<u64> = (0..8).map(|_| habits.expired(now) / 1_000_000_000).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        habits.answered(false);
        assert!(!habits.withheld(now));
        assert_eq!(habits.expired(now), 1_000_000_000);
    }
}
