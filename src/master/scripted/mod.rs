//! Scripted agents and frameworks around the master's core, for benches only: not a stable API.

mod cluster;
mod restart;

#[cfg(test)]
pub(super) use self::cluster::facts;
pub use self::{
    cluster::{ScriptedCluster, TurnResult},
    restart::{Played, Restart, Restarted},
};
