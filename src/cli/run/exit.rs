//! The exit code of `divvy run`, from the ends of its tasks.

use crate::proto::{
    ext::{ProcessEnd, process_end::How},
    v1::{TaskState, TaskStatus},
};

/// The exit code of a task that ended without one.
const UNKNOWN_FAILURE: u8 = 1;
/// What shells add to a signal's number.
const SIGNAL_BASE: i32 = 128;

/// The exit code for the end of a task; `None` while it has not ended.
///
/// It is 0 for a finished task, the process's own code or 128 plus its signal if the agent reported that, otherwise 1.
pub(super) fn code(status: &TaskStatus) -> Option<u8> {
    let failed = || status.process_end.and_then(of_process).filter(|code| *code != 0).unwrap_or(UNKNOWN_FAILURE);
    match TaskState::try_from(status.state).ok()? {
        TaskState::TaskFinished => Some(0),
        TaskState::TaskFailed | TaskState::TaskKilled => Some(failed()),
        TaskState::TaskError
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator => Some(UNKNOWN_FAILURE),
        TaskState::TaskStaging
        | TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskUnreachable
        | TaskState::TaskUnknown => None,
    }
}

/// The process's own exit code, or 128 plus the signal, as shells do.
fn of_process(end: ProcessEnd) -> Option<u8> {
    match end.how? {
        How::ExitCode(code) => u8::try_from(code & 0xff).ok(),
        How::Signal(number) => u8::try_from(SIGNAL_BASE.checked_add(number)?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(state: TaskState, how: Option<How>) -> Option<u8> {
        let process_end = how.map(|how| ProcessEnd { how: Some(how) });
        code(&TaskStatus { state: state.into(), process_end, ..TaskStatus::default() })
    }

    #[test]
    fn the_commands_own_code_is_the_one_its_process_ended_with() {
        for (how, wanted) in [
            (Some(How::ExitCode(3)), 3),
            (Some(How::ExitCode(255)), 255),
            (Some(How::Signal(9)), 137),
            (Some(How::Signal(40)), 168),
            (Some(How::Signal(i32::MAX)), 1),
            (Some(How::Signal(-200)), 1),
            (Some(How::ExitCode(0)), 1),
            (None, 1),
        ] {
            for state in [TaskState::TaskFailed, TaskState::TaskKilled] {
                assert_eq!(code_of(state, how), Some(wanted), "{how:?}");
            }
        }
    }

    /// Messages are for people and may change.
    #[test]
    fn the_message_does_not_affect_the_code() {
        let status = TaskStatus::new("t", TaskState::TaskFailed).with_message("command exited with status 3");
        assert_eq!(code(&status), Some(1));
    }

    #[test]
    fn only_an_end_has_a_code() {
        assert_eq!(code_of(TaskState::TaskFinished, Some(How::ExitCode(0))), Some(0));
        assert_eq!(code_of(TaskState::TaskLost, None), Some(1));
        for state in [TaskState::TaskStaging, TaskState::TaskRunning, TaskState::TaskUnreachable] {
            assert_eq!(code_of(state, None), None);
        }
        assert_eq!(code(&TaskStatus { state: 4242, ..TaskStatus::default() }), None, "a state from the future");
    }
}
