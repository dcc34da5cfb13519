//! Containers: what a task's description becomes, where it runs, who runs it, and how it ends.
//!
//! A container is not a task: a command task has one container, an executor has one that its tasks name, a pod has one
//! with a child for each task. [`Containers`] holds them and who is nested in whom. [`launch`] turns a description into a
//! process to be started, [`provisioning`] makes what that needs, [`life`] follows it, [`kills`] ends it, [`supervision`]
//! knows the supervisors, [`recipients`] those that may have received starts, and [`sandboxes`] keeps the directories of
//! ended ones for a while.

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
