//! Containers: what a task's description becomes, where it runs, and who runs it.
//!
//! [`launch`] turns a description into a process to be started, [`supervision`] follows the supervisors that start it,
//! [`sandboxes`] keeps the directories of ended ones for a while.

pub(in crate::agent::core) mod environment;
pub(in crate::agent::core) mod launch;
pub(in crate::agent::core) mod sandboxes;
pub(in crate::agent::core) mod supervision;
pub(in crate::agent::core) mod wording;
