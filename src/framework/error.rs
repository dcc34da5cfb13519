//! What can go wrong with a driver, and what a callback may return.

use crate::{transport::connect::InvalidAddress, types::validate::Invalid};

/// Any error at all: a callback may use `?` on whatever it calls.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What callbacks return. An `Err` is logged and counted; for a status it means "tell me again".
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a driver could not be made, did not take a call, or ended otherwise than it was told to.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The call, or what the framework says about itself, breaks a rule. Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No master can be there.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// There is no master at the moment, so the offers at hand are void and a message would be lost. Nothing was sent;
    /// the tasks of a launch are told dropped, by status.
    #[error("there is no master at the moment; offers from before are void, make the call again when registered")]
    Disconnected,
    /// So many calls of that kind wait for a master's answer that this one found no room.
    #[error("65,536 calls of that kind wait for a master to answer them; make this one again when it has")]
    Full,
    /// No callback has taken what became of so many earlier calls that there is no room to tell it of another. Nothing was
    /// sent.
    #[error(
        "1,024 refusals and doubts of earlier calls wait for a callback to take them; make the call again when it has"
    )]
    Unheard,
    /// The driver has ended.
    #[error("the driver has ended; build another one to go on")]
    Ended,
    /// A driver starts once.
    #[error("the driver was started before; build another one to start again")]
    Started,
    /// The driver was not started.
    #[error("the driver was not started; call start() or run()")]
    NotStarted,
    /// Drivers run inside tokio.
    #[error("a driver needs a tokio runtime around it; start it in one, for example under #[tokio::main]")]
    NoRuntime,
    /// The master ended the session for good.
    #[error("the master will not have this framework any more: {0}")]
    Failed(String),
    /// The driver itself failed.
    #[error("the driver failed in a way it should not; the log has the panic, please report it")]
    Broken,
    /// No master confirmed the teardown in time.
    #[error("no master confirmed that the framework is gone; its tasks live on until its failover timeout ends")]
    TeardownUnconfirmed,
}

impl DriverError {
    /// For those who go by what the callbacks tell: without a master the tasks of a launch are told dropped and a decline
    /// is not needed, so the call counts as made.
    ///
    /// # Errors
    /// Whatever else went wrong.
    pub fn unless_disconnected<T>(made: Result<T, Self>) -> Result<(), Self> {
        match made {
            Ok(_) | Err(Self::Disconnected) => Ok(()),
            Err(other) => Err(other),
        }
    }
}
