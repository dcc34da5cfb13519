//! The small process that starts, owns and reaps the processes of containers, and outlives the agent.
//!
//! An agent holds a [`Link`] per supervisor and receives the events of all on one channel. A supervisor is a process of
//! its own ([`launch`], [`reconnect`]; its body is [`run`]) or a set of threads in this one ([`in_process`]). It
//! records every exit on disk before it reports it. So no exit is lost when the agent is away, nor when the supervisor
//! itself dies: then its containers are killed and reported as lost.
//!
//! It handles containers and processes, never tasks. A pure state machine (`core`) decides. Plain threads with blocking
//! calls do the rest, so that the heap stays small and starting a process stays on the vfork path.

mod accept;
mod build;
mod connection;
pub(crate) mod core;
mod decider;
mod directory;
pub(crate) mod frame;
mod identity;
pub(crate) mod journal;
mod launch;
pub(crate) mod leftovers;
mod link;
mod link_task;
mod peer;
mod probe;
mod process;
mod queue;
mod replay;
mod runtime;
mod service;
mod session;
mod starting;
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

/// The lowest and the highest supported version of the protocol. Since 2 a `Welcome` also contains the containers being
/// started, whether the supervisor is retired, and its program file. Since 3 a `Hello` carries a token, and a `Welcome`
/// names the folder that the supervisor serves.
const VERSIONS: VersionRange = VersionRange { min: 1, max: 3 };

/// Parses bytes as each text that processes on the host control: their environment, stat line and `pid` file.
#[cfg(feature = "fuzz")]
pub(crate) fn read_of_the_host(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(runtime::Mark::Named { container, .. }) = runtime::Mark::parse(bytes) {
        assert!(text.contains(&container), "a container is named by its mark");
    }
    drop((process::Stat::parse(&text), identity::Identity::parse(&text)));
}

/// The id of a supervisor: the name of its folder below `work_dir/supervisors/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SupervisorId(String);

impl SupervisorId {
    fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The id as a string.
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

/// An event from a supervisor, for the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum FromSupervisor {
    /// A supervisor sent an event. The first is a `Welcome`. A later `Welcome` begins a new session: requests sent
    /// before may be lost, and whatever it does not show has to be requested again.
    Event(SupervisorId, SupervisorEvent),
    /// A supervisor died, for the given reason, and its containers are killed. A `Welcome` with all exits, recorded or
    /// lost, follows; the link still accepts `Forget`, but no more starts.
    Lost(SupervisorId, String),
    /// A supervisor is alive but does not answer, for the given reason. Its containers are left alone and it takes no
    /// more starts. A `Welcome` follows when the agent reconnects to it.
    Silent(SupervisorId, String),
}

/// Why a supervisor cannot be started or reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SupervisorError {
    /// A file or directory of the supervisor could not be used.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Directory {
        /// What was being done, for example `create`.
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The program of the supervisor did not start, or ended before it was ready.
    #[error("the supervisor {program} did not start: {text}", program = program.display())]
    NotStarted {
        /// The program.
        program: PathBuf,
        /// An error, or the end of its log.
        text: String,
    },
    /// The supervisor and this agent have no version of their protocol in common.
    #[error(
        "supervisor {0} speaks no version of the protocol that this agent does: end its tasks, or run the agent it was started by"
    )]
    Version(SupervisorId),
    /// A supervisor's journal is damaged, which `--recover=strict` does not accept.
    #[error("{0}; nothing was touched: start with --recover=reconnect or --recover=cleanup to go on without the rest")]
    Damaged(Damage),
    /// A supervisor is alive but does not answer, which `--recover=strict` does not accept.
    #[error(
        "{0}: nothing was touched; start with --recover=reconnect to wait for it, or with --recover=cleanup to kill it with its tasks"
    )]
    Silent(Box<Self>),
    /// The connection failed.
    #[error("no connection to supervisor {id}: {source}")]
    Connection {
        /// Which supervisor.
        id: SupervisorId,
        /// The system's error.
        source: io::Error,
    },
}

impl SupervisorError {
    fn directory(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Directory { action, path, source }
    }
}
