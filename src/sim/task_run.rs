//! What a task does once it is started in a simulated cluster.

use std::{fmt, sync::Arc, time::Duration};

use rand::{Rng as _, RngCore};

use crate::proto::v1::TaskInfo;

/// Decides what a task does, by what its framework says of it and by the seed.
pub(super) type Lives = Arc<dyn Fn(&TaskInfo, &mut dyn RngCore) -> TaskRun + Send + Sync>;

/// The life of a task's process: when it starts, how long it runs, how it ends, what it makes of SIGTERM.
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
    /// For ever without one.
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
    /// Ends by itself with this exit status, at once unless [`after`](Self::after) says later.
    #[must_use]
    pub fn exits(status: i32) -> Self {
        let end = End::Code(status);
        Self { starts_after: Duration::from_millis(2), runs_for: Some(Duration::ZERO), end, ignores_term: false }
    }

    /// Ends of a signal that nobody the framework knows has sent, as the kernel does to one that takes too much memory.
    #[must_use]
    pub fn dies_of(signal: i32) -> Self {
        Self { end: End::Signal(signal), ..Self::exits(0) }
    }

    /// Runs until it is killed.
    #[must_use]
    pub fn forever() -> Self {
        Self { runs_for: None, ..Self::exits(0) }
    }

    /// Cannot be started: there is no such program.
    #[must_use]
    pub fn cannot_start() -> Self {
        Self { end: End::NotStarted, ..Self::exits(0) }
    }

    /// Runs for so long before it ends.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self { runs_for: Some(time), ..self }
    }

    /// Takes so long to start; 2 ms unless set.
    #[must_use]
    pub fn starting_for(self, time: Duration) -> Self {
        Self { starts_after: time, ..self }
    }

    /// Ends of SIGKILL alone.
    #[must_use]
    pub fn ignoring_sigterm(self) -> Self {
        Self { ignores_term: true, ..self }
    }
}

/// What tasks do unless told otherwise: they run for 1 to 60 s and exit with 0.
pub(super) fn usual(_task: &TaskInfo, chance: &mut dyn RngCore) -> TaskRun {
    TaskRun::exits(0).after(Duration::from_millis(chance.random_range(1_000..=60_000)))
}

/// A function that decides, for `Debug`.
pub(super) struct ShownLives(pub(super) Option<Lives>);

impl fmt::Debug for ShownLives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "as the author says" } else { "as the seed has it" })
    }
}
