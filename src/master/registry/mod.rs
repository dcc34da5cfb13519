//! The durable facts of a master: its epoch, admitted agents, weights, quotas, and framework instances and tombstones.
//!
//! A [`Registry`] stores changes in order: after a crash it holds a prefix of what was appended. Each
//! [`load`](Registry::load) raises the epoch and returns a [`Fence`] of it. An append with an older fence is refused,
//! so a replaced master cannot write. Descriptions of frameworks, tasks and offers are not stored: agents and
//! frameworks report them again.

mod backup;
pub mod conformance;
mod embedded;
mod lineage;
mod memory;
mod restore;
#[cfg(test)]
mod samples;
mod state;
mod subject;
mod tombstones;

pub(crate) use self::backup::Pieces;
pub use self::{
    backup::{Backup, BackupError},
    embedded::Embedded,
    lineage::Lineage,
    memory::Memory,
    restore::{RestoreError, Restored, restore},
    state::State,
    tombstones::Tombstones,
};
use crate::proto::internal::RegistryChange;

/// The format of a stored registry.
///
/// It is raised whenever a kind of change is added, because a master that does not know the kind would lose it. A
/// registry of a newer format is refused; one of an older format is read and rewritten in this one.
pub const FORMAT: u32 = 4;

/// The right to append, returned by a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence {
    epoch: u64,
}

impl Fence {
    /// The fence of an epoch, for implementations of [`Registry`].
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { epoch }
    }

    /// The epoch of this fence; it is higher after every load.
    #[must_use]
    pub fn epoch(self) -> u64 {
        self.epoch
    }
}

/// The number of changes ever appended to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Why a registry operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Another master has loaded the registry since; this one must stop.
    #[error("epoch {mine} is over: a master of epoch {current} has taken the registry over")]
    Fenced {
        /// The epoch of the caller's fence.
        mine: u64,
        /// The registry's epoch.
        current: u64,
    },
    /// The store cannot be reached or written now; a retry may succeed.
    #[error("the registry cannot be used: {text}")]
    Unavailable {
        /// The store's error.
        text: String,
    },
    /// The store failed and no retry can find out whether the last append is durable: the master must stop.
    #[error(
        "the registry's disk failed: {text}; what was being written may or may not be there: start the master again once \
         the disk is sound"
    )]
    Indeterminate {
        /// The store's error.
        text: String,
    },
    /// What is stored cannot be read.
    #[error(
        "the registry is damaged: {text}; restore a backup, or start with an empty --work-dir and let agents register anew"
    )]
    Corrupt {
        /// What is wrong.
        text: String,
    },
    /// A later version of divvy wrote it.
    #[error("the registry has format {found}, and this master reads up to {FORMAT}: run the divvy it was written by")]
    Newer {
        /// Its format.
        found: u64,
    },
}

/// A store of the master's durable facts.
///
/// Calls block until their effect is synced; the master calls them on a thread of their own. An implementation is
/// tested with [`conformance::run`]. It need not store the history of changes, only the facts they produce.
///
/// After [`RegistryError::Unavailable`] the master retries on the same value until a call succeeds. The first retry is
/// without changes: its position shows how many changes were appended. Then the master appends the others. So once a
/// position is returned, an earlier failed append must not take effect any more.
pub trait Registry: Send + std::fmt::Debug {
    /// Raises the epoch durably and returns all facts.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::Corrupt`] or [`RegistryError::Newer`]. It never returns part
    /// of the facts.
    fn load(&mut self) -> Result<(State, Fence), RegistryError>;

    /// Appends changes in order and syncs them; after a crash a prefix of them is stored. Without changes it checks the
    /// fence and returns the position.
    ///
    /// # Errors
    /// [`RegistryError::Fenced`] after a later load, [`RegistryError::Unavailable`] when a retry may succeed,
    /// [`RegistryError::Indeterminate`] when there must be no retry, or [`RegistryError::Corrupt`].
    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError>;
}
