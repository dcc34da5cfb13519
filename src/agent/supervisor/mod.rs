//! The small process that starts containers' processes, owns and reaps them, and outlives the agent.
//!
//! An agent holds a [`Link`] per supervisor and hears from all of them on one channel. A supervisor is a process of its
//! own ([`launch`], found again by [`reconnect`], its body is [`run`]) or a set of threads in this one ([`in_process`]).
//! What it knows of each container is on disk before anybody hears of it, so an exit is never lost: not when the agent
//! is away, and not when the supervisor itself dies, after which its containers are killed and reported as lost.
//!
//! It speaks of containers and processes, never of tasks. A pure state machine (`core`) decides; plain threads with
//! blocking calls do the rest, so that the heap stays small and starting a process stays on the vfork path.

mod build;
mod connection;
pub(crate) mod core;
mod decider;
mod directory;
mod door;
pub(crate) mod frame;
mod fresh;
mod identity;
pub(crate) mod journal;
mod launch;
pub(crate) mod leftovers;
mod link;
mod link_task;
mod look;
mod peer;
mod process;
mod queue;
mod replay;
mod runtime;
mod service;
mod session;
#[cfg(test)]
mod tests;

use std::{fmt, io, path::PathBuf};

use super::damage::Damage;

pub use self::{
    launch::{Earlier, Reconnected, Settings, in_process, launch, reconnect},
    link::Link,
    service::{IDLE, run},
};
use crate::proto::{ext::VersionRange, internal::SupervisorEvent};

/// The lowest and the highest version of the protocol spoken here. Since 2 a greeting also names the containers being
/// started, says whether the supervisor is retired, and which program file it is. Since 3 the agent's carries a token, and
/// the supervisor's names the folder that it serves.
const VERSIONS: VersionRange = VersionRange { min: 1, max: 3 };

/// Reads bytes as each of the texts that the host tells of processes, which may say what they please there.
#[cfg(feature = "fuzz")]
pub(crate) fn read_of_the_host(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(runtime::Mark::Named { container, .. }) = runtime::Mark::parse(bytes) {
        assert!(text.contains(&container), "a container is named by its mark");
    }
    drop((process::Stat::parse(&text), identity::Identity::parse(&text)));
}

/// Names a supervisor: the name of its folder below `work_dir/supervisors/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SupervisorId(String);

impl SupervisorId {
    fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SupervisorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an agent hears from its supervisors.
#[derive(Clone, Debug, PartialEq)]
pub enum FromSupervisor {
    /// A supervisor said something. The first is a `Welcome`; a later `Welcome` means that the session began anew, and
    /// that requests sent before may be lost: whatever it does not show has to be asked for again.
    Event(SupervisorId, SupervisorEvent),
    /// A supervisor died, for the reason in words, and its containers were killed. A `Welcome` with all exits, recorded
    /// or lost, follows; the link goes on taking `Forget`, but no more starts.
    Lost(SupervisorId, String),
    /// A supervisor lives but does not answer, as the text says. Its containers are left alone, it takes no more starts,
    /// and a `Welcome` follows when it answers again.
    Silent(SupervisorId, String),
}

/// Why there is no supervisor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// A file or directory of the supervisor could not be used.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Directory {
        /// What was being done, for example `create`.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program of the supervisor did not start, or ended before it was ready.
    #[error("the supervisor {program} did not start: {text}", program = program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// What is known of it: an error, or the end of its log.
        text: String,
    },
    /// The supervisor and this agent have no version of their protocol in common.
    #[error(
        "supervisor {0} speaks no version of the protocol that this agent does: end its tasks, or run the agent it was started by"
    )]
    Version(SupervisorId),
    /// A supervisor's journal is damaged, and that is not to be passed over.
    #[error("{0}; nothing was touched: start with --recover=reconnect or --recover=cleanup to go on without the rest")]
    Damaged(Damage),
    /// A supervisor lives but does not answer, and that is not to be passed over.
    #[error(
        "{0}: nothing was touched; start with --recover=reconnect to wait for it, or with --recover=cleanup to kill it with its tasks"
    )]
    Silent(Box<Self>),
    /// The connection failed.
    #[error("no connection to supervisor {id}: {source}")]
    Connection {
        /// Which supervisor.
        id: SupervisorId,
        /// What the system said.
        source: io::Error,
    },
}

impl SupervisorError {
    fn directory(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Directory { action, path, source }
    }
}
