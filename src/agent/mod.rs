//! The agent: runs tasks on this host as real processes and reports every change of their state.
//!
//! [`core`] decides, without any I/O. [`log`] stores its records, [`supervisor`] runs its processes, [`sandbox`] holds
//! their directories, [`facts`] finds the host's resources; the service connects them.

pub mod core;
mod damage;
mod ending;
pub mod facts;
mod isolation;
pub mod log;
mod pace;
pub mod sandbox;
mod service;
pub mod supervisor;
pub(crate) mod watcher;

pub use self::core::Retention;
pub use damage::{Damage, Kept, Recover, UnknownRecover};
pub use service::{Agent, AgentError, Ended, Options, StartError, SupervisorMode};
