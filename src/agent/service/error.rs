//! Why an agent does not start, and how it ends.

use std::io;
use std::path::PathBuf;

use crate::agent::facts::FactsError;
use crate::agent::log::{LogError, WorkDirError};
use crate::agent::supervisor::SupervisorError;
use crate::transport::connect::InvalidAddress;
use crate::transport::serve::ListenError;

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// `--master` names no master.
    #[error("--master: {0}")]
    Master(#[from] InvalidAddress),
    /// `--resources` or `--attributes` is not what it should be, or the host does not say what it has.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The work directory cannot be had.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The directory of sandboxes cannot be used.
    #[error("cannot use the directory of sandboxes {path}: {source}", path = path.display())]
    Sandboxes {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No supervisor is there and none can be started.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// The port cannot be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No thread can be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Why an agent ended that should not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// What happened cannot be written down any more.
    #[error("{0}; the agent ends, its tasks go on: start it again when that is mended")]
    Log(#[from] LogError),
    /// A part of it panicked.
    #[error("the agent's core has panicked: this is a defect, please report it")]
    Panicked,
}

/// How an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// It was shut down: its tasks have ended and the master knows that it left.
    ShutDown,
    /// An operator marked it gone.
    Gone,
    /// The master does not take it, for this reason.
    Refused(String),
}
