//! Starts and ends containers on this host: the interface between a supervisor's core and the operating system.
//!
//! There is one implementation, [`SurveyRuntime`], for hosts without access to cgroups: it finds a container's
//! processes by scanning all processes.

mod kill_tree;
mod live;
mod reaper;
mod spawn;
mod survey;
mod survey_runtime;
mod sweep;

use std::{io, time::Duration};

use rustix::process::Signal;

#[cfg(feature = "fuzz")]
pub(super) use self::survey::Mark;
pub(super) use self::{
    kill_tree::{Look, kill_all},
    reaper::OrphanReaper,
    survey::{CONTAINER_VARIABLE, Known, Leader, Survey, markers, pids},
    survey_runtime::SurveyRuntime,
};
use crate::proto::internal::{Exited, Start, StartFailed, Started};

/// The variable with a random value in every container's environment, which identifies orphaned processes.
pub(in crate::agent) const MARKER_VARIABLE: &str = "DIVVY_MARKER";

/// The specification of a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ContainerSpec {
    pub(crate) start: Start,
    /// The value of [`MARKER_VARIABLE`], which no other container has.
    pub(crate) marker: String,
}

/// Proof that no process of a container is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent::supervisor) struct Empty;

/// What the processes of a container use now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) processes: u64,
    /// CPU time of the living processes.
    pub(super) cpu: Duration,
    /// Resident memory.
    pub(super) memory_bytes: u64,
}

/// Starts containers, and tracks their processes until none is left.
///
/// All calls block, and may come from several threads. One container has one first process; its exit, found by its
/// number, is the container's, and is reported when nothing else is left.
pub(super) trait ContainerRuntime: Sync {
    /// Starts the first processes of new containers. `started` is called once with all outcomes, in order, before the
    /// exit of any can be reported. Of a container that failed, at the step that is named, nothing is left.
    fn start(&self, specs: &[ContainerSpec], started: &mut dyn FnMut(Vec<Result<Started, StartFailed>>));

    /// Sends `signal` to the group of the first process, and with `tree` to all other processes of the container, some
    /// of which it may reach later. One that is not there has ended.
    fn signal(&self, container_id: &str, signal: Signal, tree: bool);

    /// Kills all of a container but its first process, and returns when nothing of it is left.
    ///
    /// # Errors
    /// No descriptors or memory are left to look, or processes do not die: some may be left.
    #[cfg_attr(not(test), expect(dead_code, reason = "the sweeper ends many containers with one look; others do not"))]
    fn kill_all(&self, container_id: &str) -> io::Result<Empty>;

    /// What the processes of a container use now.
    ///
    /// # Errors
    /// No descriptors or memory are left to look.
    #[cfg_attr(not(test), expect(dead_code, reason = "read once limits are enforced"))]
    fn usage(&self, container_id: &str) -> io::Result<Usage>;

    /// Reports the exits of containers, in batches, until [`Self::stop`]. It is called once, on
    /// the main thread where `reaper` is given: where the process is a supervisor's own, orphans become its children.
    ///
    /// # Errors
    /// No threads or descriptors are left for that; nothing was reported.
    fn exits(&self, reaper: Option<OrphanReaper>, ended: &(dyn Fn(Vec<Exited>) + Sync)) -> io::Result<()>;

    /// Makes [`Self::exits`] return.
    fn stop(&self);
}

#[cfg(test)]
mod tests;
