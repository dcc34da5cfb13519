//! The deadlines of the master, in one ordered set. A timer that fires late or for something that is gone does nothing.
//!
//! What may be armed again long before it is due is armed as the only one of its name, so that frameworks that come and
//! go, and offers that are declined for a year, leave nothing behind.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{AgentKey, FrameworkKey, SessionId, TaskKey};
use crate::types::Now;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Of that session: it ends with it.
    Ping(AgentKey, SessionId),
    /// The agent whose stream broke was away for as long as it may be; the number tells one absence from the next.
    Reregistration(AgentKey, u64),
    /// The framework was away for its failover timeout.
    Failover(FrameworkKey),
    Heartbeat(FrameworkKey, SessionId),
    /// The first of the refusals of the agent's resources ends.
    RefusalEnded(AgentKey),
    /// A client of the framework that was silent may be offered something again.
    BackoffEnded(FrameworkKey),
    /// The task was unreachable for as long as its policy lets it; the number tells one absence of its agent from the next.
    WriteOff(AgentKey, TaskKey, u64),
    /// The next agent that waits for it may be given up.
    Removal,
    /// The registry is looked through for what may be forgotten.
    RegistryGc,
    /// The re-registration timeout is over: agents of the registry that did not come back are given up now.
    Recovery,
}

/// Refusals end on this grid, so that many of one agent share a timer.
const GRID_NS: u64 = 10_000_000;

/// All armed timers.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: BTreeSet<(u64, Timer)>,
    /// Those that are the only ones of their names.
    sole: BTreeMap<Timer, u64>,
}

impl Timers {
    pub(super) fn arm(&mut self, at_ns: u64, timer: Timer) {
        self.armed.insert((at_ns, timer));
    }

    /// Arms the only timer of that name, in the place of any earlier one.
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

    /// Sees to it that the only timer of that name fires no later than at `at_ns`, or up to 10 ms later: on a grid.
    pub(super) fn arm_roughly(&mut self, at_ns: u64, timer: Timer) {
        let at_ns = at_ns.div_ceil(GRID_NS).saturating_mul(GRID_NS);
        if self.sole.get(&timer).is_none_or(|armed_ns| *armed_ns > at_ns) {
            self.arm_sole(at_ns, timer);
        }
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.armed.first().map(|(at, _)| *at)
    }

    /// Takes the earliest timer whose time has come.
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
