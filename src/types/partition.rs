//! What is to become of a task whose agent is cut off: [`PartitionPolicy`], read and built in spans of time.
//!
//! The policy travels in `TaskInfo.partition_policy`: its agent carries out [`stop_after`](PartitionPolicy::stop_after),
//! the master the rest. A task without one runs on, is unreachable for as long as it takes, and is told to run when its
//! agent is back.

use std::time::Duration;

pub use crate::proto::ext::{OnReturn, PartitionPolicy};
use crate::proto::v1::{TaskId, TaskInfo};

impl PartitionPolicy {
    /// The same, and the agent kills the task once no master has taken the agent for this long (whole milliseconds,
    /// rounded up).
    ///
    /// No two copies run at once as long as this, the task's kill grace and the master's ping timeout (75 s unless told
    /// otherwise) together are no more than [`lost_after`](Self::lost_after):
    ///
    /// ```
    /// use divvy::types::{OnReturn, PartitionPolicy};
    /// use std::time::Duration;
    ///
    /// let policy = PartitionPolicy::default()
    ///     .stopping_after(Duration::from_mins(2))
    ///     .losing_after(Duration::from_mins(4))
    ///     .on_returning(OnReturn::KeepReplacement);
    /// assert_eq!(policy.stop_after(), Some(Duration::from_mins(2)));
    /// ```
    #[must_use]
    pub fn stopping_after(mut self, time: Duration) -> Self {
        self.stop_after_ms = Some(millis(time));
        self
    }

    /// The same, and the task counts as lost once its agent has been unreachable for this long (whole milliseconds,
    /// rounded up).
    #[must_use]
    pub fn losing_after(mut self, time: Duration) -> Self {
        self.lost_after_ms = Some(millis(time));
        self
    }

    /// The same, with this copy to win when the agent is back.
    #[must_use]
    pub fn on_returning(mut self, winner: OnReturn) -> Self {
        self.set_on_return(winner);
        self
    }

    /// How long the agent lets the task run without a master; `None`: for ever.
    #[must_use]
    pub fn stop_after(&self) -> Option<Duration> {
        self.stop_after_ms.map(Duration::from_millis)
    }

    /// How long the task may be unreachable before it counts as lost; `None`: for ever.
    #[must_use]
    pub fn lost_after(&self) -> Option<Duration> {
        self.lost_after_ms.map(Duration::from_millis)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl TaskInfo {
    /// The same with this to become of it when its agent is cut off.
    #[must_use]
    pub fn with_partition_policy(mut self, policy: PartitionPolicy) -> Self {
        self.partition_policy = Some(Box::new(policy));
        self
    }

    /// The same, launched in the place of an unreachable or lost task of this framework. When that one comes back, its
    /// [`OnReturn`] tells which of the two runs on.
    #[must_use]
    pub fn with_replaced(mut self, task: impl Into<TaskId>) -> Self {
        self.replaces = Some(task.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_policy_comes_back_from_the_wire_as_it_was_given_and_rounds_up() {
        let policy = PartitionPolicy::default()
            .stopping_after(Duration::from_nanos(1))
            .losing_after(Duration::MAX)
            .on_returning(OnReturn::KeepOriginal);
        let task = TaskInfo::shell("a", "true").with_partition_policy(policy).with_replaced("b");
        let again = TaskInfo::decode(task.encode_to_vec().as_slice()).expect("valid");
        let policy = again.partition_policy.expect("kept");
        assert_eq!(policy.stop_after(), Some(Duration::from_millis(1)));
        assert_eq!(policy.lost_after(), Some(Duration::from_millis(u64::MAX)));
        assert_eq!(policy.on_return(), OnReturn::KeepOriginal);
        assert_eq!(again.replaces, Some(TaskId::from("b")));
    }

    #[test]
    fn nothing_said_means_run_on_and_wait() {
        let policy = PartitionPolicy::default();
        assert_eq!((policy.stop_after(), policy.lost_after()), (None, None));
        assert_eq!(policy.on_return(), OnReturn::KeepBoth);
    }
}
