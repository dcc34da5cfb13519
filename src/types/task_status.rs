//! Building and reading the reports on a task.

use bytes::Bytes;
use uuid::Uuid;

use super::task_state::UnknownTaskState;
use crate::proto::v1::{TaskId, TaskState, TaskStatus, task_status};

impl TaskStatus {
    /// A report that the task is in this state.
    #[must_use]
    pub fn new(task_id: impl Into<TaskId>, state: TaskState) -> Self {
        Self { task_id: task_id.into(), state: state.into(), ..Self::default() }
    }

    /// The same with a sentence for people.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// The same with a reason for programs.
    #[must_use]
    pub fn with_reason(mut self, reason: task_status::Reason) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The same, saying who reports.
    #[must_use]
    pub fn with_source(mut self, source: task_status::Source) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with an id, which makes whoever receives it acknowledge it.
    #[must_use]
    pub fn with_uuid(mut self, uuid: Uuid) -> Self {
        self.uuid = Some(Bytes::copy_from_slice(uuid.as_bytes()));
        self
    }

    /// The state, strictly: unlike [`TaskStatus::state`] it takes no unknown number for the default.
    ///
    /// # Errors
    /// A number that stands for no state.
    pub fn task_state(&self) -> Result<TaskState, UnknownTaskState> {
        TaskState::from_wire(self.state)
    }

    /// The id to acknowledge it with. `None` if it wants no acknowledgement, or its id is not 16 bytes long.
    #[must_use]
    pub fn acknowledgement(&self) -> Option<Uuid> {
        self.uuid.as_deref().and_then(|bytes| Uuid::from_slice(bytes).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_id_wants_no_acknowledgement() {
        let status = TaskStatus::new("t", TaskState::TaskRunning).with_message("up");
        assert_eq!((status.acknowledgement(), status.task_state()), (None, Ok(TaskState::TaskRunning)));
        let id = Uuid::from_u128(7);
        assert_eq!(status.clone().with_uuid(id).acknowledgement(), Some(id));
        assert_eq!(TaskStatus { uuid: Some(Bytes::from_static(b"short")), ..status }.acknowledgement(), None);
    }

    #[test]
    fn an_unknown_state_is_not_taken_for_the_default() {
        let status = TaskStatus { state: 99, ..TaskStatus::default() };
        assert!(status.task_state().is_err());
    }
}
