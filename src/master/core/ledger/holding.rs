//! What holds resources of an agent.

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
    expect(dead_code, reason = "executors, reservations and volumes are not made yet; the tests use them")
)]
pub(in crate::master::core) enum Holding {
    Offer(OfferKey),
    Task(TaskKey),
    /// An executor, without its tasks.
    Executor(u64),
    /// A container whose framework was removed, or of which its agent has no record; counts for no client.
    Orphan(TaskKey),
    /// Resources that an operation reserves or unreserves, until its agent confirms.
    Reservation(u64),
    /// Resources of a volume that an operation creates or destroys, until its agent confirms.
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

/// The resources of a holding, and the client for whose share they count.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::master::core) struct Held {
    /// `None`: for no client's share.
    pub(in crate::master::core) client: Option<(FrameworkKey, RoleId)>,
    pub(in crate::master::core) resources: Arc<Resources>,
}

/// Whether an agent's amounts may be offered and count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Connected,
    /// Nothing of it may be offered; its total counts.
    Disconnected,
    /// Nothing of it may be offered, and its total does not count for the cluster.
    Unreachable,
}
