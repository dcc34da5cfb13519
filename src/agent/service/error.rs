//! Why an agent does not start, and how it ends.

use std::io;

use crate::agent::facts::FactsError;
use crate::agent::log::{LogError, WorkDirError};
use crate::agent::sandbox::SandboxError;
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
    /// The declared resources are invalid, or undeclared ones cannot be detected.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The work directory cannot be used.
    #[error(transparent)]
    WorkDir(#[from] WorkDirError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The sandboxes cannot be used.
    #[error(transparent)]
    Sandboxes(#[from] SandboxError),
    /// No supervisor is running and none can be started.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// The port cannot be opened.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// No thread can be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

impl StartError {
    /// Whether damaged records prevent the start under [`Recover::Strict`](crate::agent::Recover::Strict): an operator
    /// has to decide.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Log(error) => matches!(error, LogError::Damaged(_)),
            Self::Supervisor(error) => matches!(error, SupervisorError::Damaged(_) | SupervisorError::Silent(_)),
            Self::Master(_)
            | Self::Facts(_)
            | Self::WorkDir(_)
            | Self::Sandboxes(_)
            | Self::Listen(_)
            | Self::Thread(_) => false,
        }
    }
}

/// Why an agent failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The log cannot be written any more.
    #[error("{0}; the agent ends: mend that and start it again")]
    Log(#[from] LogError),
    /// A thread of it panicked.
    #[error("the agent's core has panicked: this is a defect, please report it")]
    Panicked,
}

/// How an agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// It was shut down: its tasks have ended and it unregistered from the master.
    ShutDown,
    /// An operator marked it gone.
    Gone,
    /// The master refused it permanently, for this reason.
    Refused(String),
}
