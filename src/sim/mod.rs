//! A whole cluster under virtual time, from one seed, for the tests of a framework: an unchanged
//! [`Scheduler`](crate::framework::Scheduler), the real master, agents and driver, and everything that can go wrong.
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
//! What a scheduler waits for has to come from its driver: [`now`](crate::framework::SchedulerDriver::now),
//! [`sleep`](crate::framework::SchedulerDriver::sleep), [`spawn`](crate::framework::SchedulerDriver::spawn),
//! [`rng`](crate::framework::SchedulerDriver::rng) and the calls. A callback that waits for anything else, a panic, and user
//! code that blocks fail the run with a message that names them. One seed gives one history, byte for byte, unless user
//! code leaves something to chance of its own: `tokio::select!` without `biased`, the order of a `HashMap`.
//!
//! Any process crashes at any effect boundary, hosts lose what was not synced, links are cut at any frame; [`invariants`]
//! says what must hold meanwhile. The messages between the cores are the wire's, translated by the functions that the
//! sockets use. The crate's own tests play clusters of a few nodes whose sizes, times and faults the seed draws.

#![cfg_attr(not(test), expect(dead_code, reason = "the crate's own tests alone play histories drawn from a seed"))]

mod agent;
mod author;
mod chance;
mod cluster;
mod disk;
mod fact;
mod failover;
mod failure;
mod faults;
mod framework;
mod hardship;
mod host;
mod invariants;
mod links;
mod master;
mod nodes;
mod plan;
mod queue;
mod queueing;
mod reading;
mod record;
mod run;
mod sabotage;
mod scheduler;
mod settling;
mod task_run;
#[cfg(test)]
mod tests;
mod traffic;
mod way;
mod wording;
mod world;
mod writing;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use self::{
    cluster::SimCluster,
    failure::Failure,
    faults::{Fault, Faults},
    record::{Counts, Process, TaskHistory, Told},
    run::Run,
    task_run::TaskRun,
};
use self::{
    plan::Plan,
    sabotage::Sabotage,
    world::{Outcome, World},
};

/// Plays a history; a core that panics has failed like one that breaks an invariant.
fn play(world: &mut World) -> Result<Outcome, Failure> {
    catch_unwind(AssertUnwindSafe(|| world.run()))
        .unwrap_or_else(|panic| Err(world.failed("a core's own check", &author::words_of(&*panic))))
}

/// Plays the history of a seed.
fn history(seed: u64, plan: Plan, sabotage: Option<Sabotage>) -> Result<Outcome, Failure> {
    play(&mut World::new(seed, plan, sabotage))
}
