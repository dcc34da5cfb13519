//! Builders and accessors of `TaskStatus`.

use bytes::Bytes;
use uuid::Uuid;

use super::task_state::UnknownTaskState;
use crate::proto::v1::{TaskId, TaskState, TaskStatus, task_status};

impl TaskStatus {
    /// Creates a status that the task is in this state.
    #[must_use]
    pub fn new(task_id: impl Into<TaskId>, state: TaskState) -> Self {
        Self { task_id: task_id.into(), state: state.into(), ..Self::default() }
    }

    /// Sets the message for people.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Sets the reason for programs.
    #[must_use]
    pub fn with_reason(mut self, reason: task_status::Reason) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Sets the source of the status.
    #[must_use]
    pub fn with_source(mut self, source: task_status::Source) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Sets the id, which asks the receiver to acknowledge the status.
    #[must_use]
    pub fn with_uuid(mut self, uuid: Uuid) -> Self {
        self.uuid = Some(Bytes::copy_from_slice(uuid.as_bytes()));
        self
    }

    /// Returns the state. Unlike [`TaskStatus::state`] it does not replace an unknown number by the default.
    ///
    /// # Errors
    /// The number is not a state.
    pub fn task_state(&self) -> Result<TaskState, UnknownTaskState> {
        TaskState::from_wire(self.state)
    }

    /// Returns the id for the acknowledgement; `None` if none is requested, or the id is not 16 bytes long.
    #[must_use]
    pub fn acknowledgement(&self) -> Option<Uuid> {
        self.uuid.as_deref().and_then(|bytes| Uuid::from_slice(bytes).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_without_id_needs_no_acknowledgement() {
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
