//! `/state`, written one element after the other.
//!
//! A [`Cursor`] says where in the document the next element goes. The same cursor over the same snapshot gives the same
//! bytes, so a reader may go on at any time, and readers may share what one of them had written.

use serde_json::{Value, json};

use super::{MasterFacts, by_framework::ByFramework, render, state};
use crate::master::core::{FrameworkBucket, Snapshot};

/// So many bytes at least are written at a time, and one element more at most.
pub(super) const CHUNK_BYTES: usize = 64 << 10;

/// Where in the document the next element goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    place: Place,
    /// Whether an element of the same list is before it.
    follows: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
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

/// What the document is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Document<'a> {
    pub(super) master: &'a MasterFacts,
    pub(super) snapshot: &'a Snapshot,
    pub(super) by_framework: &'a ByFramework,
}

impl Document<'_> {
    /// The next bytes, and where those after them begin; nothing at the end.
    pub(super) fn chunk(&self, mut cursor: Cursor) -> Option<(Vec<u8>, Cursor)> {
        if cursor.place == Place::End {
            return None;
        }
        let mut out = Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        while out.len() < CHUNK_BYTES && cursor.place != Place::End {
            cursor = self.write(cursor, &mut out);
        }
        Some((out, cursor))
    }

    /// Writes an element, or what stands between two lists.
    fn write(&self, Cursor { place, follows }: Cursor, out: &mut Vec<u8>) -> Cursor {
        let begins = |place| Cursor { place, follows: false };
        match place {
            Place::Head => {
                open(out, &state::head(self.master, self.snapshot));
                out.extend(b",\"slaves\":[");
                begins(Place::Slaves(0))
            }
            Place::Slaves(at) => match self.snapshot.agents.get(at) {
                Some(agent) if render::reachable(agent) => {
                    element(out, follows, &state::slave(agent));
                    Cursor { place: Place::Slaves(at + 1), follows: true }
                }
                Some(_) => Cursor { place: Place::Slaves(at + 1), follows },
                None => {
                    out.extend(b"],\"recovered_slaves\":[");
                    begins(Place::Recovered(0))
                }
            },
            Place::Recovered(at) => {
                if let Some(id) = self.snapshot.recovered.get(at) {
                    element(out, follows, &json!({ "id": id }));
                    Cursor { place: Place::Recovered(at + 1), follows: true }
                } else {
                    out.extend(b"],\"frameworks\":[");
                    begins(Place::Framework(Frameworks::Present, 0))
                }
            }
            Place::Framework(list, at) => self.write_framework(list, at, follows, out),
            Place::Tasks(list, at, tasks, task) => self.write_task((list, at), (tasks, task), follows, out),
            Place::Orphans(at) => {
                if let Some(agent) = self.snapshot.agents.get(at) {
                    let mut follows = follows;
                    for orphan in state::orphans(agent) {
                        element(out, follows, &orphan);
                        follows = true;
                    }
                    Cursor { place: Place::Orphans(at + 1), follows }
                } else {
                    out.extend(b"],\"unregistered_frameworks\":[]}");
                    begins(Place::End)
                }
            }
            Place::End => begins(Place::End),
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
        let place = match (self.framework(list, at), list) {
            (Some(framework), _) => {
                comma(out, follows);
                open(out, &state::framework(framework, self.by_framework.of(framework.key)));
                out.extend(b",\"tasks\":[");
                Place::Tasks(list, at, Tasks::Reachable, 0)
            }
            (None, Frameworks::Present) => {
                out.extend(b"],\"completed_frameworks\":[");
                Place::Framework(Frameworks::Completed, 0)
            }
            (None, Frameworks::Completed) => {
                out.extend(b"],\"orphan_tasks\":[");
                Place::Orphans(0)
            }
        };
        Cursor { place, follows: false }
    }

    /// Writes a task of a framework, or goes on to the framework's next list, or ends the framework.
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
            return Cursor { place: Place::Tasks(list, at, tasks, task + 1), follows: true };
        }
        match tasks {
            Tasks::Reachable => {
                out.extend(b"],\"unreachable_tasks\":[");
                Cursor { place: Place::Tasks(list, at, Tasks::Unreachable, 0), follows: false }
            }
            Tasks::Unreachable => {
                out.extend(b"],\"completed_tasks\":[");
                Cursor { place: Place::Tasks(list, at, Tasks::Completed, 0), follows: false }
            }
            Tasks::Completed => {
                out.extend(b"]}");
                Cursor { place: Place::Framework(list, at + 1), follows: true }
            }
        }
    }

    fn task(&self, framework: &FrameworkBucket, tasks: Tasks, at: usize) -> Option<Value> {
        if tasks == Tasks::Completed {
            let entry = framework.completed.get(at)?;
            return Some(state::task(&entry.1, &entry.0, &framework.id));
        }
        let belongings = self.by_framework.of(framework.key);
        let (agent, task) = belongings.task(self.snapshot, tasks == Tasks::Reachable, at)?;
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

/// Writes an object without its end.
fn open(out: &mut Vec<u8>, object: &Value) {
    let text = object.to_string();
    out.extend(text.strip_suffix('}').unwrap_or(&text).as_bytes());
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
