//! The event log of a run's scheduler: one line for each action before it is taken, and for each callback. It survives
//! `kill -9`, and the scheduler's next process begins by reading it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use divvy::proto::v1::{TaskState, TaskStatus};

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// A process of the scheduler starts.
    Start,
    Framework(String),
    /// A launch that follows, on this agent and with this port.
    Launch {
        task: String,
        agent: String,
        port: u64,
    },
    Kill(String),
    Status {
        task: String,
        state: TaskState,
        uuid: String,
        text: String,
    },
    /// Every launched task has ended.
    Drained,
    /// The master ended this instance.
    Error(String),
    /// Something else that helps to read the log.
    Note(String),
}

impl Entry {
    pub(super) fn status(status: &TaskStatus) -> Self {
        let uuid = status.acknowledgement().map(|uuid| uuid.to_string()).unwrap_or_default();
        let reason = status.reason.map_or("-", |_| status.reason().as_str_name());
        let text = format!("{reason} {} {}", status.source().as_str_name(), status.message().replace('\n', " "));
        Self::Status { task: status.task_id.value.clone(), state: status.state(), uuid, text }
    }

    fn to_line(&self) -> String {
        match self {
            Self::Start => format!("start {}", std::process::id()),
            Self::Framework(id) => format!("framework {id}"),
            Self::Launch { task, agent, port } => format!("launch {task} {agent} {port}"),
            Self::Kill(task) => format!("kill {task}"),
            Self::Status { task, state, uuid, text } => format!("status {task} {state} {uuid} {text}"),
            Self::Drained => "drained".to_owned(),
            Self::Error(text) => format!("error {text}"),
            Self::Note(text) => format!("note {text}"),
        }
    }

    fn from_line(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.splitn(4, ' ').map(str::to_owned);
        Some(match kind {
            "start" => Self::Start,
            "framework" => Self::Framework(rest.to_owned()),
            "launch" => Self::Launch { task: words.next()?, agent: words.next()?, port: words.next()?.parse().ok()? },
            "kill" => Self::Kill(rest.to_owned()),
            "status" => Self::Status {
                task: words.next()?,
                state: words.next()?.parse().ok()?,
                uuid: words.next()?,
                text: words.next().unwrap_or_default(),
            },
            "drained" => Self::Drained,
            "error" => Self::Error(rest.to_owned()),
            "note" => Self::Note(rest.to_owned()),
            _ => return None,
        })
    }
}

/// The file, open for adding; clones add to the same.
#[derive(Clone, Debug)]
pub(super) struct EventLog {
    file: Arc<File>,
}

/// The path of a run's event log.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("event-log")
}

impl EventLog {
    pub(super) fn open(folder: &Path) -> Self {
        let file = File::options().create(true).append(true).open(path(folder)).expect("an event log");
        Self { file: Arc::new(file) }
    }

    /// Adds a line in one write, so that a kill leaves it whole or out.
    pub(super) fn add(&self, entry: &Entry) {
        (&*self.file).write_all(format!("{}\n", entry.to_line()).as_bytes()).expect("written");
    }
}

/// All lines so far.
pub(super) fn read(folder: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(path(folder)).unwrap_or_default();
    // The last line may be written in part only.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let entry = |line| Entry::from_line(line).unwrap_or_else(|| panic!("no line of an event log: {line}"));
    whole.lines().map(entry).collect()
}

/// Tasks launched and not ended, with their agents; and how many were launched at all.
pub(super) fn open_tasks(entries: &[Entry]) -> (BTreeMap<String, String>, u64) {
    let (mut open, mut launched) = (BTreeMap::new(), 0);
    for entry in entries {
        match entry {
            Entry::Launch { task, agent, .. } => {
                open.insert(task.clone(), agent.clone());
                launched += 1;
            }
            Entry::Status { task, state, .. } if state.is_terminal() => drop(open.remove(task)),
            _ => {}
        }
    }
    (open, launched)
}
