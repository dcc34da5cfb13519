//! `/state`, rendered element by element.
//!
//! A [`Cursor`] is the position of the next element. The same cursor over the same snapshot yields the same bytes. So a
//! reader may continue at any time, and readers share rendered chunks.

use serde_json::{Value, json};

use super::{MasterFacts, by_framework::FrameworkIndex, render, state};
use crate::master::core::{FrameworkBucket, Snapshot};

/// The minimum size of a chunk; it exceeds this by at most one element.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// The position of the next element in the document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    section: Section,
    /// Whether an element of the same list precedes it.
    follows: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Head,
    Slaves(usize),
    Recovered(usize),
    Framework(Frameworks, usize),
    Tasks(Frameworks, usize, Tasks, usize),
    Orphans(usize),
    End,
}

/// The lists of frameworks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frameworks {
    Present,
    Completed,
}

/// The lists of tasks of a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tasks {
    Reachable,
    Unreachable,
    Completed,
}

/// The sources of the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    pub(super) master: &'a MasterFacts,
    pub(super) snapshot: &'a Snapshot,
    pub(super) by_framework: &'a FrameworkIndex,
}

impl Document<'_> {
    /// The next bytes and the cursor behind them; `None` at the end.
    pub(super) fn chunk(&self, mut cursor: Cursor) -> Option<(Vec<u8>, Cursor)> {
        if cursor.section == Section::End {
            return None;
        }
        let mut out = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        while out.len() < CHUNK_BYTES && cursor.section != Section::End {
            cursor = self.write(cursor, &mut out);
        }
        Some((out, cursor))
    }

    /// Writes an element, or the text between two lists.
    fn write(&self, Cursor { section, follows }: Cursor, out: &mut Vec<u8>) -> Cursor {
        let begins = |section| Cursor { section, follows: false };
        match section {
            Section::Head => {
                open(out, &state::head(self.master, self.snapshot));
                out.extend(b",\"slaves\":[");
                begins(Section::Slaves(0))
            }
            Section::Slaves(at) => match self.snapshot.agents.get(at) {
                Some(agent) if render::is_reachable(agent) => {
                    element(out, follows, &state::slave(agent));
                    Cursor { section: Section::Slaves(at + 1), follows: true }
                }
                Some(_) => Cursor { section: Section::Slaves(at + 1), follows },
                None => {
                    out.extend(b"],\"recovered_slaves\":[");
                    begins(Section::Recovered(0))
                }
            },
            Section::Recovered(at) => {
                if let Some(id) = self.snapshot.recovered.get(at) {
                    element(out, follows, &json!({ "id": id }));
                    Cursor { section: Section::Recovered(at + 1), follows: true }
                } else {
                    out.extend(b"],\"frameworks\":[");
                    begins(Section::Framework(Frameworks::Present, 0))
                }
            }
            Section::Framework(list, at) => self.write_framework(list, at, follows, out),
            Section::Tasks(list, at, tasks, task) => self.write_task((list, at), (tasks, task), follows, out),
            Section::Orphans(at) => {
                if let Some(agent) = self.snapshot.agents.get(at) {
                    let mut follows = follows;
                    for orphan in state::orphans(agent) {
                        element(out, follows, &orphan);
                        follows = true;
                    }
                    Cursor { section: Section::Orphans(at + 1), follows }
                } else {
                    out.extend(b"],\"unregistered_frameworks\":[]}");
                    begins(Section::End)
                }
            }
            Section::End => begins(Section::End),
        }
    }

    fn framework(&self, list: Frameworks, at: usize) -> Option<&FrameworkBucket> {
        let list = match list {
            Frameworks::Present => &self.snapshot.frameworks,
            Frameworks::Completed => &self.snapshot.completed,
        };
        list.get(at).map(|framework| &**framework)
    }

    /// Opens a framework up to its tasks, or ends the list.
    fn write_framework(&self, list: Frameworks, at: usize, follows: bool, out: &mut Vec<u8>) -> Cursor {
        let section = match (self.framework(list, at), list) {
            (Some(framework), _) => {
                comma(out, follows);
                open(out, &state::framework(framework, self.by_framework.get(framework.key)));
                out.extend(b",\"tasks\":[");
                Section::Tasks(list, at, Tasks::Reachable, 0)
            }
            (None, Frameworks::Present) => {
                out.extend(b"],\"completed_frameworks\":[");
                Section::Framework(Frameworks::Completed, 0)
            }
            (None, Frameworks::Completed) => {
                out.extend(b"],\"orphan_tasks\":[");
                Section::Orphans(0)
            }
        };
        Cursor { section, follows: false }
    }

    /// Writes a task of a framework, or begins the framework's next list, or ends the framework.
    fn write_task(
        &self,
        (list, at): (Frameworks, usize),
        (tasks, task): (Tasks, usize),
        follows: bool,
        out: &mut Vec<u8>,
    ) -> Cursor {
        let written = self.framework(list, at).and_then(|framework| self.task(framework, tasks, task));
        if let Some(written) = written {
            element(out, follows, &written);
            return Cursor { section: Section::Tasks(list, at, tasks, task + 1), follows: true };
        }
        match tasks {
            Tasks::Reachable => {
                out.extend(b"],\"unreachable_tasks\":[");
                Cursor { section: Section::Tasks(list, at, Tasks::Unreachable, 0), follows: false }
            }
            Tasks::Unreachable => {
                out.extend(b"],\"completed_tasks\":[");
                Cursor { section: Section::Tasks(list, at, Tasks::Completed, 0), follows: false }
            }
            Tasks::Completed => {
                out.extend(b"]}");
                Cursor { section: Section::Framework(list, at + 1), follows: true }
            }
        }
    }

    fn task(&self, framework: &FrameworkBucket, tasks: Tasks, at: usize) -> Option<Value> {
        if tasks == Tasks::Completed {
            let entry = framework.completed.get(at)?;
            return Some(state::task(&entry.1, &entry.0, &framework.id));
        }
        let contents = self.by_framework.get(framework.key);
        let (agent, task) = contents.task(self.snapshot, tasks == Tasks::Reachable, at)?;
        Some(state::task(task, &agent.id, &framework.id))
    }
}

fn comma(out: &mut Vec<u8>, follows: bool) {
    if follows {
        out.push(b',');
    }
}

fn element(out: &mut Vec<u8>, follows: bool, value: &Value) {
    comma(out, follows);
    out.extend(value.to_string().into_bytes());
}

/// Writes an object without its closing brace.
fn open(out: &mut Vec<u8>, object: &Value) {
    let text = object.to_string();
    out.extend(text.strip_suffix('}').unwrap_or(&text).as_bytes());
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
