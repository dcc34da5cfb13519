//! What a driver does about tasks of its framework that it has never heard of.

/// What becomes of a task that this driver neither launched nor was told of: one that an earlier instance of the
/// framework left behind, or that its store lost.
///
/// A task becomes known by a launch of this driver, by
/// [`DriverBuilder::known_tasks`](super::DriverBuilder::known_tasks), or by being named in
/// [`reconcile_tasks`](super::SchedulerDriver::reconcile_tasks). Every task found unknown is counted
/// ([`DriverCounts::unknown_tasks`](super::DriverCounts::unknown_tasks)).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTasks {
    /// Its statuses go to [`unknown_task`](super::Scheduler::unknown_task), and nothing is done.
    #[default]
    Report,
    /// It is known from then on, and its statuses go to [`status_update`](super::Scheduler::status_update).
    Adopt,
    /// It is killed; its statuses go to [`unknown_task`](super::Scheduler::unknown_task).
    Kill,
}
