//! What a task does in a simulated cluster.

use std::{fmt, sync::Arc, time::Duration};

use rand::{Rng as _, RngCore};

use crate::proto::v1::TaskInfo;

/// Decides what a task does, from its `TaskInfo` and the seed.
pub(super) type TaskBehaviour = Arc<dyn Fn(&TaskInfo, &mut dyn RngCore) -> TaskRun + Send + Sync>;

/// The run of a task's process: start delay, duration, end, and reaction to SIGTERM.
///
/// ```
/// use std::time::Duration;
/// use divvy::sim::TaskRun;
///
/// let nightly = TaskRun::exits(0).after(Duration::from_mins(20));
/// let server = TaskRun::forever().ignoring_sigterm();
/// # assert_ne!(format!("{nightly:?}"), format!("{server:?}"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRun {
    pub(super) starts_after: Duration,
    /// Until it is killed, if `None`.
    pub(super) runs_for: Option<Duration>,
    pub(super) end: End,
    pub(super) ignores_term: bool,
}

/// How it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    NotStarted,
    Code(i32),
    Signal(i32),
}

impl TaskRun {
    /// Exits with this status, at once unless [`after`](Self::after) sets a time.
    #[must_use]
    pub fn exits(status: i32) -> Self {
        let end = End::Code(status);
        Self { starts_after: Duration::from_millis(2), runs_for: Some(Duration::ZERO), end, ignores_term: false }
    }

    /// Ends by a signal from outside the cluster, such as the kernel's OOM kill.
    #[must_use]
    pub fn dies_of(signal: i32) -> Self {
        Self { end: End::Signal(signal), ..Self::exits(0) }
    }

    /// Runs until it is killed.
    #[must_use]
    pub fn forever() -> Self {
        Self { runs_for: None, ..Self::exits(0) }
    }

    /// Fails to start: there is no such program.
    #[must_use]
    pub fn cannot_start() -> Self {
        Self { end: End::NotStarted, ..Self::exits(0) }
    }

    /// Runs for so long before it ends.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self { runs_for: Some(time), ..self }
    }

    /// Takes so long to start; 2 ms by default.
    #[must_use]
    pub fn starting_for(self, time: Duration) -> Self {
        Self { starts_after: time, ..self }
    }

    /// Ignores SIGTERM, and ends only by SIGKILL.
    #[must_use]
    pub fn ignoring_sigterm(self) -> Self {
        Self { ignores_term: true, ..self }
    }
}

/// The default behaviour of tasks: they run for 1 to 60 s and exit with 0.
pub(super) fn usual(_task: &TaskInfo, chance: &mut dyn RngCore) -> TaskRun {
    TaskRun::exits(0).after(Duration::from_millis(chance.random_range(1_000..=60_000)))
}

/// A behaviour with a `Debug` implementation.
pub(super) struct OptionalTaskBehaviour(pub(super) Option<TaskBehaviour>);

impl fmt::Debug for OptionalTaskBehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "decided by the author" } else { "drawn from the seed" })
    }
}
