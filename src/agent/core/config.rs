//! What an agent's core is told when it is made.

use std::time::Duration;

use super::{ContainerId, SupervisorId};
use crate::proto::internal::WorkDirIdentity;
use crate::proto::v1;

/// How the agent presents itself and where it puts things.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hostname, port, resources and attributes as offered to the master; `id` is filled in by the core.
    pub info: v1::AgentInfo,
    /// The version of the program, told to the master.
    pub divvy_version: String,
    /// The user the agent and so every task runs as.
    pub user: String,
    /// Absolute path of the directory that holds one sandbox per container.
    pub sandboxes: String,
    /// How long sandboxes of ended containers are kept.
    pub retention: Retention,
    /// The first attempt to attach falls at random within this time, so that a thousand agents that start together do
    /// not all come at once.
    pub spread_first: Duration,
}

/// When the sandboxes of ended containers are removed: the first limit reached counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long after the container's end was acknowledged.
    pub keep: Duration,
    /// How many; the oldest go first.
    pub keep_at_most: usize,
}

impl Default for Retention {
    /// One week and 1,000 sandboxes.
    fn default() -> Self {
        Self { keep: Duration::from_hours(7 * 24), keep_at_most: 1_000 }
    }
}

/// A supervisor, or what is left of one.
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
    /// Names this run of the host's kernel.
    pub boot_id: String,
    /// What the kernel's monotonic clock reads now, in nanoseconds, where that is known. Agents that follow one another
    /// in one boot share it.
    pub boot_ns: Option<u64>,
    /// Supervisors that will either greet or be reported ended: the agent does not register before all have.
    pub supervisors: Vec<FoundSupervisor>,
    /// Why the records of an earlier run may not tell how it went on, in words: they are damaged, or what was left of it
    /// was ended. Tasks of which nothing is known are reported with it.
    pub loss: Option<String>,
    /// Which directory the log lies in; it is written down, so that a copy of the log is known for one.
    pub work_dir: Option<WorkDirIdentity>,
    /// Sandboxes on disk, each with the time of its last change in nanoseconds since the epoch.
    pub sandboxes: Vec<(ContainerId, i64)>,
}
