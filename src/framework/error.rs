//! The errors of a driver, and the result type of callbacks.

use crate::{transport::connect::InvalidAddress, types::validate::Invalid};

/// Any error: a callback may use `?` on every call.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of a callback.
///
/// An `Err` is logged and counted, and a status is delivered again.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a driver: building it, a call, or how it ended.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The call or the framework info is invalid. Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The address of a master is invalid.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// There is no connection to a master. Nothing was sent.
    ///
    /// Earlier offers are void. The tasks of a launch are reported as dropped, by status.
    #[error("not connected to a master; earlier offers are void, make the call again when registered")]
    Disconnected,
    /// Too many calls of that kind wait for an answer of the master. Nothing was sent.
    #[error("65,536 calls of that kind wait for an answer of the master; make the call again later")]
    Full,
    /// Too many refusals and launches in doubt wait for a callback. Nothing was sent.
    #[error("1,024 refusals and launches in doubt wait for a callback; make the call again when it has returned")]
    EventBacklogFull,
    /// The driver has ended.
    #[error("the driver has ended; build another one to continue")]
    Ended,
    /// The driver was started before.
    #[error("the driver was started before; build another one to start again")]
    Started,
    /// The driver was not started.
    #[error("the driver was not started; call start() or run()")]
    NotStarted,
    /// There is no tokio runtime.
    #[error("a driver needs a tokio runtime; start it in one, for example under #[tokio::main]")]
    NoRuntime,
    /// The master ended the framework's session permanently.
    #[error("the master ended the session of this framework: {0}")]
    Failed(String),
    /// The driver panicked; this is a bug in divvy.
    #[error("the driver panicked; the log has the message, please report it")]
    Broken,
    /// No master confirmed the teardown in time.
    #[error("no master confirmed the teardown; the tasks may run until the failover timeout ends")]
    TeardownUnconfirmed,
}

impl DriverError {
    /// Treats [`Disconnected`](Self::Disconnected) as success.
    ///
    /// For frameworks that rely on statuses: without a master the tasks of a launch are reported as dropped, and a
    /// decline is not needed.
    ///
    /// # Errors
    /// Every other error.
    pub fn unless_disconnected<T>(made: Result<T, Self>) -> Result<(), Self> {
        match made {
            Ok(_) | Err(Self::Disconnected) => Ok(()),
            Err(other) => Err(other),
        }
    }
}
