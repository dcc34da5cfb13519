//! A simulated cluster for the tests of a framework, under virtual time and from one seed.
//!
//! It runs an unchanged [`Scheduler`](crate::framework::Scheduler) with the real master, agents and driver, and injects faults.
//!
//! ```
//! use std::time::Duration;
//! use divvy::allocator::{self, TaskRequest};
//! use divvy::framework::{Result, Scheduler, SchedulerDriver, async_trait};
//! use divvy::proto::v1::{Offer, TaskState};
//! use divvy::sim::{Fault, Faults, SimCluster};
//!
//! struct Hello {
//!     wanted: TaskRequest,
//! }
//!
//! #[async_trait]
//! impl Scheduler for Hello {
//!     async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
//!         let plan = allocator::place(&offers, std::slice::from_ref(&self.wanted));
//!         self.wanted.count -= plan.placed();
//!         driver.apply(plan).await
//!     }
//! }
//!
//! let hello = Hello { wanted: TaskRequest::command("hello", "echo hello").cpus(0.5).mem_mib(64).count(20) };
//! let cluster = SimCluster::new(7).agents(5).faults(Faults::none().with(Fault::MasterCrash).with(Fault::Cut));
//! let run = cluster.run(hello, Duration::from_hours(1))?;
//! assert_eq!(run.count(TaskState::TaskFinished), 20, "{run}");
//! # Ok::<(), divvy::sim::Failure>(())
//! ```
//!
//! A scheduler may wait only for what its driver provides: [`now`](crate::framework::SchedulerDriver::now),
//! [`sleep`](crate::framework::SchedulerDriver::sleep), [`spawn`](crate::framework::SchedulerDriver::spawn),
//! [`rng`](crate::framework::SchedulerDriver::rng) and the calls. A callback that waits for anything else, a panic, and user
//! code that blocks fail the run; the message names them. One seed gives one history, byte for byte, unless user code has
//! randomness of its own: `tokio::select!` without `biased`, the order of a `HashMap`.
//!
//! Any process crashes at any effect boundary, hosts lose what was not synced, links are cut at any frame. [`invariants`]
//! lists what must hold meanwhile. The cores exchange the messages of the wire, translated by the functions that the
//! sockets use. The crate's own tests play clusters of a few nodes; the seed draws their sizes, times and faults.

#![cfg_attr(not(test), expect(dead_code, reason = "the crate's own tests alone play histories drawn from a seed"))]

mod agent;
mod author;
mod chance;
mod client_link;
mod cluster;
mod describe;
mod disk;
mod fact;
mod failover;
mod failure;
mod faults;
mod framework;
mod host;
mod host_faults;
mod invariants;
mod links;
mod master;
mod nodes;
mod plan;
mod queue;
mod queueing;
mod quiescence;
mod readers;
mod record;
mod run;
mod sabotage;
mod scheduler;
mod task_run;
#[cfg(test)]
mod tests;
mod traffic;
mod world;
mod writing;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::{
    cluster::SimCluster,
    failure::Failure,
    faults::{Fault, Faults},
    record::{Counts, Process, ReceivedState, TaskHistory},
    run::Run,
    task_run::TaskRun,
};
use self::{
    plan::Plan,
    sabotage::Sabotage,
    world::{Outcome, World},
};

/// Plays a history. A panic in a core counts as a broken invariant.
fn play(world: &mut World) -> Result<Outcome, Failure> {
    catch_unwind(AssertUnwindSafe(|| world.run()))
        .unwrap_or_else(|panic| Err(world.failed("a core's own check", &author::panic_message(&*panic))))
}

/// Plays the history of a seed.
fn history(seed: u64, plan: Plan, sabotage: Option<Sabotage>) -> Result<Outcome, Failure> {
    play(&mut World::new(seed, plan, sabotage))
}
