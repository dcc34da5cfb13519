//! The kinds of faults of a simulated cluster, and how often they occur.
//!
//! A crash falls between any two effects of its process. Links keep the order within a stream, but not among streams. When
//! a stream breaks, the frames under way arrive up to any point. [`inflict`] injects the faults.

mod inflict;

use std::{collections::BTreeSet, time::Duration};

/// A kind of fault. The seed decides which node it affects, and for how long.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An agent's process ends, and restarts after a while; its tasks keep running.
    AgentCrash,
    /// A host loses power: its tasks end, and any suffix of the agent's unsynced records is lost.
    HostCrash,
    /// An agent's host is down for longer than the master waits for it.
    LongAbsence,
    /// Most agents crash, or lose the master, at once.
    MassLoss,
    /// The supervisor of an agent ends, and its tasks with it.
    SupervisorDeath,
    /// The master's process ends, and restarts after a while.
    MasterCrash,
    /// The registry completes no write for a while.
    RegistryOutage,
    /// A framework's process ends, and restarts after a while.
    FrameworkCrash,
    /// A connection breaks.
    Cut,
    /// A connection loses everything in one direction; neither end is notified.
    OneWayCut,
    /// A node and the master cannot reach each other for a while.
    Isolation,
    /// Messages between a node and the master are slow for a while.
    SlowLink,
    /// The disk writes of a node are slow for a while.
    SlowDisk,
    /// The wall clock of a node is set forward or back.
    WallStep,
    /// An operator marks an agent gone, which ends its tasks; its host registers as a new agent.
    MarkedGone,
    /// The disk of an agent or of the master is full for a while.
    ///
    /// The agent accepts no tasks and retries necessary writes. The master ends when it has to write, and restarts.
    FullDisk,
    /// A node's process is stopped for a while (as by SIGSTOP) and then continues.
    Pause,
    /// The supervisor of an agent is stopped for a while and then continues; its tasks keep running.
    SupervisorStopped,
    /// The folder of an agent's supervisors is removed, and the agent is restarted.
    SupervisorsRemoved,
    /// A node reads nothing from the master for a while; its connection stays open.
    SlowReader,
    /// The folder of an agent's supervisor is copied, and the agent is restarted.
    FolderCopied,
}

/// All kinds.
pub(super) const ALL: [Fault; 21] = [
    Fault::AgentCrash,
    Fault::HostCrash,
    Fault::LongAbsence,
    Fault::MassLoss,
    Fault::SupervisorDeath,
    Fault::MasterCrash,
    Fault::RegistryOutage,
    Fault::FrameworkCrash,
    Fault::Cut,
    Fault::OneWayCut,
    Fault::Isolation,
    Fault::SlowLink,
    Fault::SlowDisk,
    Fault::WallStep,
    Fault::MarkedGone,
    Fault::FullDisk,
    Fault::Pause,
    Fault::SupervisorStopped,
    Fault::SupervisorsRemoved,
    Fault::SlowReader,
    Fault::FolderCopied,
];

/// Which kinds of faults occur, and how often.
///
/// ```
/// use std::time::Duration;
/// use divvy::sim::{Fault, Faults};
///
/// let faults = Faults::none().with(Fault::MasterCrash).with(Fault::Cut).every(Duration::from_mins(5));
/// assert!(faults.has(Fault::Cut) && !faults.has(Fault::HostCrash));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    kinds: BTreeSet<Fault>,
    pub(super) every: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Self::none()
    }
}

impl Faults {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self { kinds: BTreeSet::new(), every: Duration::from_mins(1) }
    }

    /// The common faults, one a minute: processes end and connections break.
    #[must_use]
    pub fn mild() -> Self {
        let kinds = [Fault::AgentCrash, Fault::MasterCrash, Fault::FrameworkCrash, Fault::Cut, Fault::SlowLink];
        Self::none().with_all(kinds)
    }

    /// All kinds of faults, one every 5 s.
    #[must_use]
    pub fn wild() -> Self {
        Self::none().with_all(ALL).every(Duration::from_secs(5))
    }

    /// Adds a kind of fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.kinds.insert(fault);
        self
    }

    /// Removes a kind of fault.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.kinds.remove(&fault);
        self
    }

    /// Sets the mean time between two faults.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// Whether this kind of fault occurs.
    #[must_use]
    pub fn has(&self, fault: Fault) -> bool {
        self.kinds.contains(&fault)
    }

    pub(super) fn with_all(mut self, kinds: impl IntoIterator<Item = Fault>) -> Self {
        self.kinds.extend(kinds);
        self
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = Fault> {
        self.kinds.iter().copied()
    }
}
