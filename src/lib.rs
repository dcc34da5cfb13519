//! The cluster is a library.
//!
//! A **master** collects what every **agent** has to give and offers it to **frameworks**. A framework answers with
//! tasks to launch on an offer; the agent runs them as real processes and reports every change of state back. All three
//! are Rust values that can live in one process or on many machines, and the framework side is a trait.

pub mod allocator;
pub mod proto;
pub mod types;

#[cfg(feature = "framework")]
pub mod transport;

#[cfg(feature = "framework")]
pub mod framework;

#[cfg(feature = "master")]
pub mod master;

#[cfg(feature = "agent")]
pub mod agent;

#[cfg(all(feature = "framework", feature = "master", feature = "agent"))]
pub mod local;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;

#[cfg(feature = "sim")]
mod sim;
