//! The configuration of an agent's core, and what was found on the host before it started.

use std::time::Duration;

use super::{ContainerId, SupervisorId};
use crate::proto::internal::WorkDirIdentity;
use crate::proto::v1;

/// The configuration of an agent's core.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hostname, port, resources and attributes as offered to the master; `id` is filled in by the core.
    pub info: v1::AgentInfo,
    /// The version of the program, as it is sent to the master.
    pub divvy_version: String,
    /// The user the agent and so every task runs as.
    pub user: String,
    /// Absolute path of the directory that holds one sandbox per container.
    pub sandboxes: String,
    /// How long sandboxes of ended containers are kept.
    pub retention: Retention,
    /// The first attempt to attach falls at random within this time, so that a thousand agents that start together do
    /// not all connect at once.
    pub spread_first: Duration,
}

/// Limits on the sandboxes of ended containers. The first limit reached counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long after the container's end was acknowledged.
    pub keep: Duration,
    /// How many are kept; the oldest are removed first.
    pub keep_at_most: usize,
}

impl Default for Retention {
    /// One week and 1,000 sandboxes.
    fn default() -> Self {
        Self { keep: Duration::from_hours(7 * 24), keep_at_most: 1_000 }
    }
}

/// A supervisor found on this host, or the records of a dead one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSupervisor {
    /// Its name.
    pub id: SupervisorId,
    /// Whether it has died and only its records are left.
    pub died: bool,
}

/// What the shell found on this host before the core began.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The id of this boot of the host.
    pub boot_id: String,
    /// The kernel's monotonic clock now, in nanoseconds, where that is known. All agents of one boot share it.
    pub boot_ns: Option<u64>,
    /// Supervisors that will either greet or be reported as ended. The agent does not register before each has.
    pub supervisors: Vec<FoundSupervisor>,
    /// Why the records of an earlier run may be incomplete: they are damaged, or its leftovers were ended. Tasks
    /// without a record are reported with this text.
    pub loss: Option<String>,
    /// The directory of the log. It is recorded, so that a copy of the log is recognized.
    pub work_dir: Option<WorkDirIdentity>,
    /// Sandboxes on disk, each with the time of its last change in nanoseconds since the epoch.
    pub sandboxes: Vec<(ContainerId, i64)>,
}
