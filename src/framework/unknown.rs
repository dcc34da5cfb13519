//! The policy for tasks of the framework that the driver does not know.

/// The policy for unknown tasks: report, adopt or kill them.
///
/// An unknown task was left behind by an earlier instance of the framework, or its store lost it. A task becomes known
/// by a launch of this driver, by [`DriverBuilder::known_tasks`](super::DriverBuilder::known_tasks), or by being named
/// in [`reconcile_tasks`](super::SchedulerDriver::reconcile_tasks). Every task found unknown is counted
/// ([`DriverCounts::unknown_tasks`](super::DriverCounts::unknown_tasks)).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownTasks {
    /// Its statuses are delivered to [`unknown_task`](super::Scheduler::unknown_task).
    #[default]
    Report,
    /// It becomes known.
    ///
    /// Its statuses are delivered to [`status_update`](super::Scheduler::status_update).
    Adopt,
    /// It is killed.
    ///
    /// Its statuses are delivered to [`unknown_task`](super::Scheduler::unknown_task).
    Kill,
}
