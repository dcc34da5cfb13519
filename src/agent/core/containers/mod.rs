//! Containers: how a task's description becomes a process, which supervisor runs it, and how it ends.
//!
//! A container is not a task: a command task has one container, an executor has one that its tasks name, a pod has one
//! with a child for each task. [`Containers`] holds them and how they are nested. [`launch`] turns a description into a
//! process to start, [`provisioning`] prepares it, [`life`] tracks it, [`kills`] ends it, [`supervision`] tracks the
//! supervisors, [`recipients`] those that may have received starts, and [`sandboxes`] decides how long the directories
//! of ended containers are kept.

mod container;
pub(in crate::agent::core) mod environment;
pub(in crate::agent::core) mod kills;
pub(in crate::agent::core) mod launch;
pub(in crate::agent::core) mod leftovers;
mod life;
pub(in crate::agent::core) mod provisioning;
mod recipients;
pub(in crate::agent::core) mod sandboxes;
#[cfg(test)]
mod silence_tests;
pub(in crate::agent::core) mod supervision;
mod tree;
#[cfg(test)]
mod tree_tests;
pub(in crate::agent::core) mod wording;

pub use container::Process;
pub(in crate::agent::core) use container::{Container, Limits, Phase};
pub(in crate::agent::core) use life::forget_container;
pub(in crate::agent::core) use tree::Containers;
