//! Partition policies: what happens to a task whose agent is unreachable.
//!
//! The policy is in `TaskInfo.partition_policy`. The agent carries out [`stop_after`](PartitionPolicy::stop_after), the
//! master the rest. A task without one keeps running and stays unreachable until its agent re-registers; then it is
//! reported as running.

use std::time::Duration;

pub use crate::proto::ext::{OnReturn, PartitionPolicy};
use crate::proto::v1::{TaskId, TaskInfo};

impl PartitionPolicy {
    /// Sets `stop_after`: the agent kills the task after this long without a master (whole milliseconds, rounded up).
    ///
    /// No two copies run at once if the sum of this, the task's kill grace period and the master's ping timeout (75 s
    /// by default) is at most [`lost_after`](Self::lost_after):
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

    /// Sets `lost_after`: the task is lost once its agent has been unreachable for this long (whole milliseconds,
    /// rounded up).
    #[must_use]
    pub fn losing_after(mut self, time: Duration) -> Self {
        self.lost_after_ms = Some(millis(time));
        self
    }

    /// Sets which copy is kept when the agent re-registers.
    #[must_use]
    pub fn on_returning(mut self, winner: OnReturn) -> Self {
        self.set_on_return(winner);
        self
    }

    /// Returns how long the agent lets the task run without a master; `None`: for ever.
    #[must_use]
    pub fn stop_after(&self) -> Option<Duration> {
        self.stop_after_ms.map(Duration::from_millis)
    }

    /// Returns how long the task may be unreachable before it is lost; `None`: for ever.
    #[must_use]
    pub fn lost_after(&self) -> Option<Duration> {
        self.lost_after_ms.map(Duration::from_millis)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl TaskInfo {
    /// Sets the policy for when its agent is unreachable.
    #[must_use]
    pub fn with_partition_policy(mut self, policy: PartitionPolicy) -> Self {
        self.partition_policy = Some(Box::new(policy));
        self
    }

    /// Marks the task as the replacement of an unreachable or lost task of this framework. When that one returns, its
    /// [`OnReturn`] decides which of the two is kept.
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
    fn a_policy_survives_the_wire_and_rounds_up() {
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
    fn an_empty_policy_means_run_on_and_wait() {
        let policy = PartitionPolicy::default();
        assert_eq!((policy.stop_after(), policy.lost_after()), (None, None));
        assert_eq!(policy.on_return(), OnReturn::KeepBoth);
    }
}
