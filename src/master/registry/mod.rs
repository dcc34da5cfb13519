//! The durable facts of a master: its epoch, the agents it admitted, weights, quotas, and of frameworks their tombstones
//! and which run of each has it.
//!
//! A [`Registry`] keeps them in order and prefix-durable: whatever a crash leaves is a prefix of what was appended. Each
//! [`load`](Registry::load) raises the epoch and returns a [`Fence`] of it; an append with an older fence is refused, so
//! a master that was replaced can write no more. What frameworks are, tasks and offers are not here: the master relearns
//! them.

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

/// The format of what a registry stores: raised whenever a kind of change is added, because a master that does not know
/// the kind would lose it. A registry of a newer format is refused, one of an older is read and written in this one.
pub const FORMAT: u32 = 4;

/// The right to append, given by the load of one master's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence {
    epoch: u64,
}

impl Fence {
    /// The fence of an epoch: for those who implement a [`Registry`].
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        Self { epoch }
    }

    /// The epoch this fence stands for; it is higher at every start.
    #[must_use]
    pub fn epoch(self) -> u64 {
        self.epoch
    }
}

/// How far the registry has got: the number of changes ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// Why the registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Another master has loaded the registry since: this one must stop.
    #[error("epoch {mine} is over: a master of epoch {current} has taken the registry over")]
    Fenced {
        /// The epoch of the fence given.
        mine: u64,
        /// The registry's epoch.
        current: u64,
    },
    /// The store cannot be reached or written now; trying again may help.
    #[error("the registry cannot be used: {text}")]
    Unavailable {
        /// What the store said.
        text: String,
    },
    /// The store failed, and neither it nor another try can say what of the last append is durable: the master has to end.
    #[error(
        "the registry's disk failed: {text}; what was being written may or may not be there: start the master again once \
         the disk is sound"
    )]
    Indeterminate {
        /// What the store said.
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
    /// A later divvy wrote it.
    #[error("the registry has format {found}, and this master reads up to {FORMAT}: run the divvy it was written by")]
    Newer {
        /// Its format.
        found: u64,
    },
}

/// A store of the master's durable facts.
///
/// Calls block until what they did is synced; the master calls them on a thread of their own. An implementation shows
/// that it keeps the contract by [`conformance::run`] in a test. How it keeps its size in bounds is its own affair: of the
/// history nothing is needed but the facts it makes.
///
/// After [`RegistryError::Unavailable`] the master calls the same value again, until it answers: first without changes,
/// to learn from the position how many of the changes were appended, then with the others. So a position that was
/// returned must hold: an earlier append that failed must not take effect any more.
pub trait Registry: Send + std::fmt::Debug {
    /// Raises the epoch, durably, and returns all facts.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`], [`RegistryError::Corrupt`] or [`RegistryError::Newer`]; never part of the facts.
    fn load(&mut self) -> Result<(State, Fence), RegistryError>;

    /// Appends changes in order and syncs them: all of them, or after a crash a prefix. Without changes it checks the
    /// fence and returns how far the registry has got.
    ///
    /// # Errors
    /// [`RegistryError::Fenced`] when a later load happened, [`RegistryError::Unavailable`] when trying again may help,
    /// [`RegistryError::Indeterminate`] when it must not be tried again, or [`RegistryError::Corrupt`].
    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError>;
}
