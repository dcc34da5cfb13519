//! What may go wrong in a simulated cluster, and how often.
//!
//! A crash falls between any two effects of its process. Links keep the order of one stream and no order among streams;
//! whatever of a stream was under way when it broke arrives up to any point. [`inflict`] carries it out.

mod inflict;

use std::{collections::BTreeSet, time::Duration};

/// A kind of fault. Which node it strikes, and how long it lasts, is drawn from the seed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An agent's process ends, and starts again after a while; its tasks go on.
    AgentCrash,
    /// A host loses its power: its tasks end, and of what the agent had not synced any suffix is gone.
    HostCrash,
    /// An agent's host is away for longer than the master waits for it.
    LongAbsence,
    /// Most agents crash, or lose the master, at once.
    MassLoss,
    /// The supervisor of an agent dies, and its tasks with it.
    SupervisorDeath,
    /// The master's process ends, and starts again after a while.
    MasterCrash,
    /// The registry takes nothing for a while.
    RegistryOutage,
    /// A framework's process ends, and starts again after a while.
    FrameworkCrash,
    /// A connection breaks.
    Cut,
    /// A connection carries nothing any more in one direction, and neither end knows.
    OneWayCut,
    /// A node and the master cannot reach each other for a while.
    Isolation,
    /// What a node and the master say to each other takes long for a while.
    SlowLink,
    /// Everything that a node writes takes long for a while.
    SlowDisk,
    /// The wall clock of a node is set forward or back.
    WallStep,
    /// An operator marks an agent gone, which ends all it runs; its host comes back as an agent that nobody knows.
    MarkedGone,
    /// The disk of an agent or of the master is full for a while: the agent takes no tasks and writes what it must as soon as
    /// it can; the master ends when it has to write, and is started again.
    FullDisk,
    /// A node's process is stopped for a while and then goes on, as if no time had passed.
    Pause,
    /// The supervisor of an agent is stopped for a while and then goes on; what it runs goes on all the time.
    SupervisorStopped,
    /// The folder of an agent's supervisors is removed, and the agent is started again.
    SupervisorsRemoved,
    /// A node reads nothing of what the master sends for a while, though its connection stands.
    SlowReader,
    /// The folder of an agent's supervisor is copied beside it, and the agent is started again.
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

/// Which faults there are and how often one comes.
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
    /// Nothing goes wrong.
    #[must_use]
    pub fn none() -> Self {
        Self { kinds: BTreeSet::new(), every: Duration::from_mins(1) }
    }

    /// What happens on every cluster now and then, one a minute: processes end and connections break.
    #[must_use]
    pub fn mild() -> Self {
        let kinds = [Fault::AgentCrash, Fault::MasterCrash, Fault::FrameworkCrash, Fault::Cut, Fault::SlowLink];
        Self::none().with_all(kinds)
    }

    /// Every kind, one each 5 s.
    #[must_use]
    pub fn wild() -> Self {
        Self::none().with_all(ALL).every(Duration::from_secs(5))
    }

    /// This kind too.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.kinds.insert(fault);
        self
    }

    /// All but this kind.
    #[must_use]
    pub fn without(mut self, fault: Fault) -> Self {
        self.kinds.remove(&fault);
        self
    }

    /// The mean time between two faults.
    #[must_use]
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// Whether there are such faults.
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
