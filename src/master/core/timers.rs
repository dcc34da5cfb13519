//! The deadlines of the master, in one ordered set. A timer that fires late or for something that is gone does nothing.
//!
//! A timer that may be armed again long before it is due replaces the earlier one of its name. So frameworks that
//! reconnect often, and offers that are declined for a year, leave no timers behind.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{AgentKey, FrameworkKey, SessionId, TaskKey};
use crate::types::Now;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next ping of that session; void once the session is closed.
    Ping(AgentKey, SessionId),
    /// The disconnected agent did not re-register in time; the number identifies the absence.
    Reregistration(AgentKey, u64),
    /// The framework did not reconnect within its failover timeout.
    Failover(FrameworkKey),
    Heartbeat(FrameworkKey, SessionId),
    /// The first refusal of the agent's resources ends.
    RefusalEnded(AgentKey),
    /// The backoff of a client of the framework ends.
    BackoffEnded(FrameworkKey),
    /// The task was unreachable for as long as its policy allows; the number identifies the absence of its agent.
    WriteOff(AgentKey, TaskKey, u64),
    /// The removal rate allows the next waiting agent to be marked unreachable.
    Removal,
    /// The registry is garbage-collected.
    RegistryGc,
    /// The re-registration timeout after the master's start is over: missing agents are marked unreachable.
    Recovery,
}

/// Refusals end on this grid, so that many of one agent share a timer.
const GRID_NS: u64 = 10_000_000;

/// All armed timers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: BTreeSet<(u64, Timer)>,
    /// The deadlines of timers of which there is one per name.
    sole: BTreeMap<Timer, u64>,
}

impl Timers {
    pub(super) fn arm(&mut self, at_ns: u64, timer: Timer) {
        self.armed.insert((at_ns, timer));
    }

    /// Arms the only timer of that name and disarms any earlier one.
    pub(super) fn arm_sole(&mut self, at_ns: u64, timer: Timer) {
        self.disarm_sole(timer);
        self.sole.insert(timer, at_ns);
        self.armed.insert((at_ns, timer));
    }

    pub(super) fn disarm_sole(&mut self, timer: Timer) {
        if let Some(at_ns) = self.sole.remove(&timer) {
            self.armed.remove(&(at_ns, timer));
        }
    }

    /// Makes the only timer of that name fire at `at_ns` at the latest, rounded up to a grid of 10 ms.
    pub(super) fn arm_roughly(&mut self, at_ns: u64, timer: Timer) {
        let at_ns = at_ns.div_ceil(GRID_NS).saturating_mul(GRID_NS);
        if self.sole.get(&timer).is_none_or(|armed_ns| *armed_ns > at_ns) {
            self.arm_sole(at_ns, timer);
        }
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.armed.first().map(|(at, _)| *at)
    }

    /// Removes and returns the earliest timer that is due.
    pub(super) fn due(&mut self, now: Now) -> Option<Timer> {
        let (at, _) = self.armed.first()?;
        if *at > now.mono_ns {
            return None;
        }
        let (_, timer) = self.armed.pop_first()?;
        self.sole.remove(&timer);
        Some(timer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.armed.len()
    }
}
