//! Status messages on how processes end and why they do not start.

use crate::proto::internal::{Exited, StartFailed, exited::Status};

/// Signals by number, as on Linux.
const SIGNALS: [&str; 32] = [
    "",
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// How a container ended: "command exited with status 3".
pub(in crate::agent::core) fn exit(exited: &Exited) -> String {
    let dump = if exited.core_dumped { " and dumped core" } else { "" };
    match &exited.status {
        Some(Status::Code(code)) => format!("command exited with status {code}"),
        Some(Status::Signal(number)) => format!("command ended by signal {}{dump}", signal(*number)),
        Some(Status::Lost(text)) => text.clone(),
        None => "the supervisor did not say how the command ended".to_owned(),
    }
}

/// Why a container did not start: "cannot execute /bin/nope: no such file or directory (os error 2)".
pub(in crate::agent::core) fn start_failure(failed: &StartFailed) -> String {
    let error = std::io::Error::from_raw_os_error(failed.errno).to_string();
    format!("cannot {}: {}", failed.step, uncapitalised(&error))
}

fn signal(number: i32) -> String {
    let known = usize::try_from(number).ok().and_then(|index| SIGNALS.get(index)).filter(|name| !name.is_empty());
    known.map_or_else(|| number.to_string(), |name| format!("{name} ({number})"))
}

fn uncapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(status: Status, core_dumped: bool) -> String {
        exit(&Exited { status: Some(status), core_dumped, ..Exited::default() })
    }

    #[test]
    fn an_exit_is_described_by_its_status_or_its_signal() {
        assert_eq!(message(Status::Code(3), false), "command exited with status 3");
        assert_eq!(message(Status::Signal(9), false), "command ended by signal SIGKILL (9)");
        assert_eq!(message(Status::Signal(11), true), "command ended by signal SIGSEGV (11) and dumped core");
        assert_eq!(message(Status::Signal(40), false), "command ended by signal 40");
        assert_eq!(message(Status::Signal(-1), false), "command ended by signal -1");
        assert_eq!(message(Status::Lost("unobserved".to_owned()), false), "unobserved");
    }

    #[test]
    fn a_failed_start_names_the_step_and_the_error() {
        let failed = StartFailed { step: "execute /bin/nope".to_owned(), errno: 2, ..StartFailed::default() };
        assert_eq!(start_failure(&failed), "cannot execute /bin/nope: no such file or directory (os error 2)");
    }
}
