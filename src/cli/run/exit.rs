//! What a task's end means for ours.

use crate::proto::v1::{TaskState, TaskStatus};

/// The exit code of a task that ended without one.
const UNKNOWN_FAILURE: u8 = 1;
/// What shells add to a signal's number.
const SIGNAL_BASE: u32 = 128;

/// The exit code that tells how a task ended: 0 when it finished, its own where the agent names it, 128 and the signal
/// where one ended it, and 1 for every other end. `None` while it has not ended.
pub(super) fn code(status: &TaskStatus) -> Option<u8> {
    let failed = || from_message(status.message()).filter(|code| *code != 0).unwrap_or(UNKNOWN_FAILURE);
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

/// Agents say "exited with status 3" or "signal SIGKILL (9)" somewhere in the message; the last number after such words
/// counts.
fn from_message(message: &str) -> Option<u8> {
    if let Some((_, rest)) = message.rsplit_once("status ") {
        return leading_number(rest).and_then(|code| u8::try_from(code & 0xff).ok());
    }
    let (_, rest) = message.rsplit_once("signal ")?;
    let number = leading_number(rest).or_else(|| leading_number(rest.split_once('(')?.1))?;
    u8::try_from(SIGNAL_BASE.checked_add(number)?).ok()
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    text[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(state: TaskState, message: &str) -> Option<u8> {
        code(&TaskStatus { state: state.into(), message: Some(message.to_owned()), ..TaskStatus::default() })
    }

    #[test]
    fn the_commands_own_code_is_found_in_the_message() {
        for (message, wanted) in [
            ("command exited with status 3", 3),
            ("command exited with status 255 after 4 s", 255),
            ("Command exited with status 2", 2),
            ("command ended by signal SIGKILL (9)", 137),
            ("command ended by signal SIGSEGV (11) and dumped core", 139),
            ("command ended by signal 40", 168),
            ("cannot execute /bin/nope: no such file or directory (os error 2)", 1),
            ("exited with status", 1),
            ("exited with status 99999999999999", 1),
            ("signal 99999", 1),
            ("failed, yet exited with status 0", 1),
            ("", 1),
        ] {
            assert_eq!(code_of(TaskState::TaskFailed, message), Some(wanted), "{message}");
        }
    }

    #[test]
    fn only_an_end_has_a_code() {
        assert_eq!(code_of(TaskState::TaskFinished, "command exited with status 0"), Some(0));
        assert_eq!(code_of(TaskState::TaskLost, ""), Some(1));
        for state in [TaskState::TaskStaging, TaskState::TaskRunning, TaskState::TaskUnreachable] {
            assert_eq!(code_of(state, ""), None);
        }
        assert_eq!(code(&TaskStatus { state: 4242, ..TaskStatus::default() }), None, "a state from the future");
    }
}
