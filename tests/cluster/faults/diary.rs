//! What the scheduler of a run writes down, line by line, before it acts and as it hears. It survives `kill -9`, and the
//! next life of the scheduler begins by reading it.

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
    /// A life of the scheduler begins.
    Life,
    Framework(String),
    /// About to be launched, on this agent and with this port.
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
    /// All that was launched has ended.
    Settled,
    /// The master cut this instance off.
    Error(String),
    /// Something else that helps to understand the rest.
    Note(String),
}

impl Entry {
    pub(super) fn status(status: &TaskStatus) -> Self {
        let uuid = status.acknowledgement().map(|uuid| uuid.to_string()).unwrap_or_default();
        let reason = status.reason.map_or("-", |_| status.reason().as_str_name());
        let text = format!("{reason} {} {}", status.source().as_str_name(), status.message().replace('\n', " "));
        Self::Status { task: status.task_id.value.clone(), state: status.state(), uuid, text }
    }

    fn line(&self) -> String {
        match self {
            Self::Life => format!("life {}", std::process::id()),
            Self::Framework(id) => format!("framework {id}"),
            Self::Launch { task, agent, port } => format!("launch {task} {agent} {port}"),
            Self::Kill(task) => format!("kill {task}"),
            Self::Status { task, state, uuid, text } => format!("status {task} {state} {uuid} {text}"),
            Self::Settled => "settled".to_owned(),
            Self::Error(text) => format!("error {text}"),
            Self::Note(text) => format!("note {text}"),
        }
    }

    fn read(line: &str) -> Option<Self> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.splitn(4, ' ').map(str::to_owned);
        Some(match kind {
            "life" => Self::Life,
            "framework" => Self::Framework(rest.to_owned()),
            "launch" => Self::Launch { task: words.next()?, agent: words.next()?, port: words.next()?.parse().ok()? },
            "kill" => Self::Kill(rest.to_owned()),
            "status" => Self::Status {
                task: words.next()?,
                state: words.next()?.parse().ok()?,
                uuid: words.next()?,
                text: words.next().unwrap_or_default(),
            },
            "settled" => Self::Settled,
            "error" => Self::Error(rest.to_owned()),
            "note" => Self::Note(rest.to_owned()),
            _ => return None,
        })
    }
}

/// The file, open for adding; clones add to the same.
#[derive(Clone, Debug)]
pub(super) struct Diary {
    file: Arc<File>,
}

/// Where the diary of a run is kept.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("diary")
}

impl Diary {
    pub(super) fn open(folder: &Path) -> Self {
        let file = File::options().create(true).append(true).open(path(folder)).expect("a diary");
        Self { file: Arc::new(file) }
    }

    /// Adds a line in one write, so that a kill leaves it whole or out.
    pub(super) fn add(&self, entry: &Entry) {
        (&*self.file).write_all(format!("{}\n", entry.line()).as_bytes()).expect("written");
    }
}

/// All lines so far.
pub(super) fn read(folder: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(path(folder)).unwrap_or_default();
    // The last line may just be on its way.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let entry = |line| Entry::read(line).unwrap_or_else(|| panic!("no line of a diary: {line}"));
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
            Entry::Status { task, state, .. } if over(*state) => drop(open.remove(task)),
            _ => {}
        }
    }
    (open, launched)
}

/// Nothing more is expected of a task in this state.
pub(super) fn over(state: TaskState) -> bool {
    state.is_terminal() || state == TaskState::TaskUnknown
}
