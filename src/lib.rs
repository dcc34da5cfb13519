//! The cluster is a library.
//!
//! A **master** collects the resources of every **agent** and offers them to **frameworks**. A framework accepts an
//! offer with tasks to launch. The agent runs them as real processes and reports every change of state, and no report
//! is lost. All three are Rust values that run in one process or on many machines.
//!
//! | you want to | look at |
//! |---|---|
//! | write a scheduler | [`framework`], with [`allocator`] to place tasks and explain why some do not fit |
//! | try it | [`local::LocalCluster`]: a whole cluster in your process, with real tasks |
//! | test it | `sim::SimCluster` (feature `sim`): the same scheduler under virtual time, with faults from a seed |
//! | run a cluster | [`master::Master`] and [`agent::Agent`], or the binaries around them |
//! | handle the messages | [`proto::v1`], which is Mesos v1 field for field, and [`types`] for their meaning |
//!
//! Features: `framework` alone is the scheduler's side, without database, web server and process code; `master`, `agent`
//! and `cli` add theirs; `sim` runs the parts' state machines under virtual time. The default is all of these but `sim`.
//! (`fuzz` is for the development of this crate.)

pub mod allocator;
pub mod proto;
pub mod types;

#[cfg(feature = "framework")]
pub mod transport;

#[cfg(feature = "framework")]
mod harness;

#[cfg(feature = "framework")]
pub mod framework;

#[cfg(feature = "framework")]
pub mod prelude;

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
pub mod sim;

#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
