//! Who holds resources of an agent.

use std::sync::Arc;

use crate::{
    allocator::fair::RoleId,
    master::core::{FrameworkKey, OfferKey, TaskKey},
    types::Resources,
};

/// What holds resources of one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "executors, reservations and volumes are not made yet; the laws use them")
)]
pub(in crate::master::core) enum Holding {
    Offer(OfferKey),
    Task(TaskKey),
    /// An executor, besides its tasks.
    Executor(u64),
    /// A container whose framework was removed, or of which its agent has no record; held for no client.
    Orphan(TaskKey),
    /// What an operation is reserving or unreserving, until its agent confirms.
    Reservation(u64),
    /// What an operation makes a volume of or destroys, until its agent confirms.
    Volume(u64),
}

/// The part of an agent's amounts that a holding belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Offered,
    Used,
}

impl Holding {
    pub(super) fn part(self) -> Part {
        match self {
            Self::Offer(_) => Part::Offered,
            Self::Task(_) | Self::Executor(_) | Self::Orphan(_) | Self::Reservation(_) | Self::Volume(_) => Part::Used,
        }
    }
}

/// What is held, and for whose share it counts.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::master::core) struct Held {
    /// `None`: for no client's share.
    pub(in crate::master::core) client: Option<(FrameworkKey, RoleId)>,
    pub(in crate::master::core) resources: Arc<Resources>,
}

/// Whether an agent can be reached, as far as its amounts are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Connected,
    /// Nothing of it may be offered.
    Disconnected,
    /// Nor does what it has count for the cluster.
    Unreachable,
}
