//! The real cores of master, agents and drivers under virtual time, from one seed.
//!
//! A history is a cluster of a few nodes whose links, disks, supervisors, processes and schedulers are simulated. Any
//! process crashes at any effect boundary, hosts lose what was not synced, links are cut at any frame; [`invariants`]
//! says what must hold meanwhile and afterwards. One seed gives one history, byte for byte.
//!
//! The messages between the cores are the wire's, translated by the functions that the sockets use.

#![cfg_attr(not(test), expect(dead_code, reason = "tests alone play histories until the simulator is public"))]

mod agent;
mod chance;
mod disk;
mod fact;
mod failure;
mod faults;
mod framework;
mod host;
mod invariants;
mod links;
mod master;
mod nodes;
mod plan;
mod queue;
mod sabotage;
mod scheduler;
#[cfg(test)]
mod tests;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::{
    failure::Failure,
    plan::Plan,
    sabotage::Sabotage,
    world::{Outcome, World},
};

/// Plays a history; a core that panics has failed like one that breaks an invariant.
fn play(world: &mut World) -> Result<Outcome, Failure> {
    catch_unwind(AssertUnwindSafe(|| world.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(world.failed("a core's own check", &text.unwrap_or_default()))
    })
}

/// Plays the history of a seed.
fn history(seed: u64, plan: Plan, sabotage: Option<Sabotage>) -> Result<Outcome, Failure> {
    play(&mut World::new(seed, plan, sabotage))
}
