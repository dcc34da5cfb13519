//! Semantics of task states: terminal states, resource use, transitions, and the states that old frameworks receive.

use std::fmt;
use std::str::FromStr;

use crate::proto::v1::TaskState;

/// An error for a number or name that is not a task state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a task state; they are called like TASK_RUNNING")]
pub struct UnknownTaskState(pub String);

impl TaskState {
    /// Returns whether the state is terminal for the master. `TASK_UNREACHABLE` is not: the agent may return.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::TaskFinished
            | Self::TaskFailed
            | Self::TaskKilled
            | Self::TaskError
            | Self::TaskLost
            | Self::TaskDropped
            | Self::TaskGone
            | Self::TaskGoneByOperator => true,
            Self::TaskStaging
            | Self::TaskStarting
            | Self::TaskRunning
            | Self::TaskKilling
            | Self::TaskUnreachable
            | Self::TaskUnknown => false,
        }
    }

    /// Returns whether a task in this state uses its resources. A terminal task does not, acknowledged or not. Nothing
    /// of an unreachable agent is offered anyway. A task of unknown state may use its resources.
    #[must_use]
    pub const fn holds_resources(self) -> bool {
        !self.is_terminal() && !matches!(self, Self::TaskUnreachable)
    }

    /// Returns whether a task in this state may be reported as `next` afterwards.
    ///
    /// A terminal state is final, except one that was inferred while the agent was away (lost, unreachable, gone): the
    /// agent may return with the task still running. No task returns to `TASK_STAGING`. `TASK_UNKNOWN` is a reply, not
    /// a state of a task.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        let guessed = matches!(self, Self::TaskLost | Self::TaskGoneByOperator);
        !matches!(next, Self::TaskStaging | Self::TaskUnknown) && (guessed || !self.is_terminal())
    }

    /// Returns the state for frameworks without `PARTITION_AWARE`, which know only `TASK_LOST` for partitions.
    #[must_use]
    pub const fn downgraded(self) -> Self {
        match self {
            Self::TaskDropped
            | Self::TaskUnreachable
            | Self::TaskGone
            | Self::TaskGoneByOperator
            | Self::TaskUnknown => Self::TaskLost,
            Self::TaskStaging
            | Self::TaskStarting
            | Self::TaskRunning
            | Self::TaskKilling
            | Self::TaskFinished
            | Self::TaskFailed
            | Self::TaskKilled
            | Self::TaskError
            | Self::TaskLost => self,
        }
    }

    /// Returns the state that a framework receives, given whether it has `PARTITION_AWARE`.
    #[must_use]
    pub const fn for_framework(self, partition_aware: bool) -> Self {
        if partition_aware { self } else { self.downgraded() }
    }

    /// Converts a number on the wire. Unlike the generated accessors it does not replace an unknown number by the
    /// default.
    ///
    /// # Errors
    /// The number is not a state.
    pub fn from_wire(number: i32) -> Result<Self, UnknownTaskState> {
        Self::try_from(number).ok().ok_or_else(|| UnknownTaskState(number.to_string()))
    }
}

/// Formats the name as in Mesos: `TASK_RUNNING`.
impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str_name())
    }
}

impl FromStr for TaskState {
    type Err = UnknownTaskState;

    fn from_str(name: &str) -> Result<Self, UnknownTaskState> {
        Self::from_str_name(name).ok_or_else(|| UnknownTaskState(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = TaskState> {
        (0..=13).map(|number| TaskState::from_wire(number).unwrap())
    }

    fn names(states: impl Iterator<Item = TaskState>) -> String {
        states.map(|state| state.to_string().replace("TASK_", "")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn eight_states_are_terminal() {
        let ends = names(all().filter(|state| state.is_terminal()));
        assert_eq!(ends, "FINISHED FAILED KILLED LOST ERROR DROPPED GONE GONE_BY_OPERATOR");
    }

    #[test]
    fn a_task_holds_resources_until_it_is_over_or_out_of_reach() {
        assert_eq!(names(all().filter(|state| state.holds_resources())), "STARTING RUNNING STAGING KILLING UNKNOWN");
        assert!(!TaskState::TaskUnreachable.is_terminal());
    }

    #[test]
    fn frameworks_without_partition_aware_receive_lost() {
        let lost = names(all().filter(|state| state.downgraded() != *state));
        assert_eq!(lost, "DROPPED UNREACHABLE GONE GONE_BY_OPERATOR UNKNOWN");
        assert!(all().all(|state| state.for_framework(true) == state));
        assert!(all().all(|state| state.downgraded().downgraded() == state.downgraded()));
    }

    #[test]
    fn a_terminal_state_is_final_unless_it_was_inferred() {
        let back = names(all().filter(|state| state.is_terminal() && state.may_become(TaskState::TaskRunning)));
        assert_eq!(back, "LOST GONE_BY_OPERATOR");
        assert!(TaskState::TaskUnreachable.may_become(TaskState::TaskFinished));
        assert!(all().all(|state| !state.may_become(TaskState::TaskStaging)));
    }

    #[test]
    fn unknown_numbers_and_names_are_refused() {
        assert!(TaskState::from_wire(14).is_err() && TaskState::from_wire(-1).is_err());
        assert!(all().all(|state| state.to_string().parse() == Ok(state)));
        let error = "RUNNING".parse::<TaskState>().unwrap_err();
        assert_eq!(error.to_string(), "`RUNNING` is not a task state; they are called like TASK_RUNNING");
    }
}
