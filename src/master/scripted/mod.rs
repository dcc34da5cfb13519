//! Scripted agents and frameworks around the core, for benches only: no promise is made of them.

mod cluster;
mod restart;

#[cfg(test)]
pub(super) use self::cluster::facts;
pub use self::{
    cluster::{ScriptedCluster, Turned},
    restart::{Played, Restart, Restarted},
};
