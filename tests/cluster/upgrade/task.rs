//! What the tasks of an upgrade do, what each records in its own file, and whether a reported end agrees with that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use divvy::proto::v1::{TaskState, TaskStatus};

/// During which step of the upgrade a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// All parts are old and there.
    Before,
    /// Its agent is away.
    AgentAway,
    /// The master is away.
    MasterAway,
    /// All parts are new, but for the supervisors of the old agents.
    After,
    /// Launched on the upgraded cluster, beside what is left of the old one.
    Beside,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::AgentAway => "agent-away",
            Self::MasterAway => "master-away",
            Self::After => "after",
            Self::Beside => "beside",
        }
    }
}

/// How a task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Code(u8),
    /// It sends itself SIGKILL.
    OwnSignal,
    /// The framework kills it, and SIGTERM is enough.
    Killed,
    /// The framework kills it, and it exits with this code.
    KilledWithCode(u8),
    /// The framework kills it, and it ignores SIGTERM.
    KilledAtLast,
}

impl Ending {
    pub(super) fn is_kill(self) -> bool {
        matches!(self, Self::Killed | Self::KilledWithCode(_) | Self::KilledAtLast)
    }

    fn name(self) -> String {
        match self {
            Self::Code(code) => format!("code-{code}"),
            Self::OwnSignal => "signal".to_owned(),
            Self::Killed => "killed".to_owned(),
            Self::KilledWithCode(code) => format!("killed-code-{code}"),
            Self::KilledAtLast => "killed-at-last".to_owned(),
        }
    }

    /// The true state and message of such an end.
    fn truth(self) -> (TaskState, String) {
        let code = |code: u8| format!("command exited with status {code}");
        match self {
            Self::Code(0) => (TaskState::TaskFinished, code(0)),
            Self::Code(other) => (TaskState::TaskFailed, code(other)),
            Self::OwnSignal => (TaskState::TaskFailed, "command ended by signal SIGKILL (9)".to_owned()),
            Self::Killed => (TaskState::TaskKilled, "killed: command ended by signal SIGTERM (15)".to_owned()),
            Self::KilledWithCode(other) => (TaskState::TaskKilled, format!("killed: {}", code(other))),
            Self::KilledAtLast => (TaskState::TaskKilled, "killed: command ended by signal SIGKILL (9)".to_owned()),
        }
    }
}

/// A task, on the agent of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Task {
    pub(super) agent: &'static str,
    pub(super) step: Step,
    pub(super) ending: Ending,
}

impl Task {
    pub(super) fn id(self) -> String {
        format!("{}.{}.{}", self.agent, self.step.name(), self.ending.name())
    }

    /// The shell command of the task.
    pub(super) fn command(self, site: &Path) -> String {
        let file = notes(site, &self.id());
        let note = |text: &str| format!("echo \"{text}\" >> '{}'", file.display());
        let forever = "while :; do sleep 0.5; done";
        let gate = gate(site, self.agent, self.step);
        let wait = format!("while [ ! -e '{}' ]; do sleep 0.5; done", gate.display());
        let start = note("start $$");
        match self.ending {
            Ending::Code(code) => format!("{start}; {wait}; {}; exit {code}", note(&format!("end {code}"))),
            Ending::OwnSignal => format!("{start}; {wait}; {}; kill -9 $$", note("end signal")),
            Ending::Killed => format!("{start}; {forever}"),
            Ending::KilledWithCode(code) => {
                format!(
                    "trap '{}; exit {code}' TERM; {start}; {forever}",
                    note(&format!("end {code}")).replace('\'', "")
                )
            }
            Ending::KilledAtLast => format!("trap '' TERM; {start}; {forever}"),
        }
    }

    pub(super) fn true_state(self) -> TaskState {
        self.ending.truth().0
    }

    /// What is wrong with a reported end, by the task's own file and process.
    pub(super) fn judge_end(self, site: &Path, status: &TaskStatus, kill_sent: bool) -> Option<String> {
        let noted = Noted::read(site, &self.id());
        let (state, words) = self.ending.truth();
        let text = status.message();
        let wrong = if status.state() != state || text != words {
            format!("{state} \"{words}\" is true")
        } else if noted.starts != 1 {
            format!("it started {} times", noted.starts)
        } else if noted.runs() {
            "its process still runs".to_owned()
        } else if self.ending.is_kill() && !kill_sent {
            "no kill was sent".to_owned()
        } else if noted.ends != self.noted_ends() {
            format!("its file has {:?} ends", noted.ends)
        } else {
            return None;
        };
        Some(format!("{}: reported {} \"{text}\", but {wrong}", self.id(), status.state()))
    }

    /// The ends in its file once it has ended.
    fn noted_ends(self) -> Vec<String> {
        match self.ending {
            Ending::Code(code) | Ending::KilledWithCode(code) => vec![code.to_string()],
            Ending::OwnSignal => vec!["signal".to_owned()],
            Ending::Killed | Ending::KilledAtLast => Vec::new(),
        }
    }
}

/// Where a task writes its notes.
fn notes(site: &Path, task: &str) -> PathBuf {
    site.join("notes").join(task)
}

/// The file whose presence ends the tasks of an agent that wait for this step.
pub(super) fn gate(site: &Path, agent: &str, step: Step) -> PathBuf {
    site.join(format!("{agent}.{}.go", step.name()))
}

/// What a task wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Noted {
    starts: usize,
    pid: Option<u32>,
    pub(super) ends: Vec<String>,
}

impl Noted {
    pub(super) fn read(site: &Path, task: &str) -> Self {
        let mut noted = Self::default();
        for line in fs::read_to_string(notes(site, task)).unwrap_or_default().lines() {
            match line.split_once(' ') {
                Some(("start", pid)) => {
                    noted.starts += 1;
                    noted.pid = pid.parse().ok();
                }
                Some(("end", how)) => noted.ends.push(how.to_owned()),
                _ => panic!("{task}: no task writes {line:?}"),
            }
        }
        noted
    }

    /// Whether it started, and its process is there.
    pub(super) fn runs(&self) -> bool {
        let stat = self.pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        // "pid (name) state ..."
        stat.is_some_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z')))
    }
}
