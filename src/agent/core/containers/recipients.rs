//! The recorded supervisors that may have received starts. They prove that a launch never began.
//!
//! A supervisor is recorded before the first start is sent to it, and removed from the record when it has ended. A
//! launch that no supervisor names certainly did not begin only if every recorded supervisor has greeted: a supervisor
//! that this run of the agent started has no record of what an earlier one received.

use std::collections::{BTreeMap, BTreeSet};

use crate::agent::core::{Effect, Level, SupervisorId, persist, record};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{AgentRecord, SupervisorWelcome};

/// In place of a name: every supervisor is recorded from here on.
const ALL_FROM_HERE: &str = "";

/// The supervisors that may have received starts.
#[derive(Debug, Default)]
pub(in crate::agent::core) struct StartRecipients {
    /// By the names of their folders.
    recorded: BTreeSet<String>,
    /// Those that have greeted in this run and have not ended.
    greeted: BTreeMap<SupervisorId, String>,
    /// Whether the log has all of them: earlier versions recorded none.
    is_complete: bool,
}

impl StartRecipients {
    /// Replays a record of the log.
    pub(in crate::agent::core) fn replay(&mut self, name: &str) {
        if name == ALL_FROM_HERE {
            self.is_complete = true;
        } else {
            self.recorded.insert(name.to_owned());
        }
    }

    pub(in crate::agent::core) fn replay_ended(&mut self, name: &str) {
        self.recorded.remove(name);
    }

    /// Records that from here on the log has every recipient: no earlier start is open.
    pub(in crate::agent::core) fn begin(&mut self, out: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.is_complete, true) {
            out.push(persist([Kind::StartsGoTo(ALL_FROM_HERE.to_owned())], Level::Process));
        }
    }

    /// This supervisor greets. Its name stays the one of its first greeting.
    pub(super) fn greeted(&mut self, supervisor: SupervisorId, welcome: &SupervisorWelcome) {
        self.greeted.entry(supervisor).or_insert_with(|| name(welcome));
    }

    /// Records a supervisor that has greeted before a start is sent to it, or one that has a start already.
    pub(super) fn record(&mut self, supervisor: SupervisorId, out: &mut Vec<Effect>) {
        if let Some(name) = self.greeted.get(&supervisor)
            && !self.recorded.contains(name)
        {
            self.recorded.insert(name.clone());
            out.push(persist([Kind::StartsGoTo(name.clone())], Level::Process));
        }
    }

    /// This supervisor has ended.
    pub(super) fn ended(&mut self, supervisor: SupervisorId, out: &mut Vec<Effect>) {
        if let Some(name) = self.greeted.remove(&supervisor)
            && !self.greeted.values().any(|other| *other == name)
            && self.recorded.remove(&name)
        {
            out.push(persist([Kind::SupervisorEnded(name)], Level::Process));
        }
    }

    /// Whether a supervisor that may have received starts has not greeted in this run.
    pub(super) fn has_unknown(&self) -> bool {
        !self.is_complete || self.missing().next().is_some()
    }

    /// Removes the missing supervisors: all they may have started has ended.
    pub(super) fn forget_missing(&mut self, out: &mut Vec<Effect>) {
        self.begin(out);
        let missing: Vec<String> = self.missing().cloned().collect();
        for name in missing {
            self.recorded.remove(&name);
            out.push(persist([Kind::SupervisorEnded(name)], Level::Process));
        }
    }

    /// Whether the log names this supervisor as a recipient.
    pub(in crate::agent::core) fn is_recorded(&self, supervisor: SupervisorId) -> bool {
        self.greeted.get(&supervisor).is_some_and(|name| self.recorded.contains(name))
    }

    /// The records that describe this.
    pub(in crate::agent::core) fn records(&self) -> impl Iterator<Item = AgentRecord> {
        let begun = self.is_complete.then_some(ALL_FROM_HERE);
        let names = begun.into_iter().chain(self.recorded.iter().map(String::as_str));
        names.map(|name| record(Kind::StartsGoTo(name.to_owned())))
    }

    fn missing(&self) -> impl Iterator<Item = &String> {
        let has_greeted = |name: &String| self.greeted.values().any(|greeted| greeted == name);
        self.recorded.iter().filter(move |name| !has_greeted(name))
    }
}

/// The permanent name of a supervisor: its folder, or its pid before version 3 of the protocol.
fn name(welcome: &SupervisorWelcome) -> String {
    if welcome.folder.is_empty() { format!("pid {}", welcome.pid) } else { welcome.folder.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: SupervisorId = SupervisorId(1);
    const TWO: SupervisorId = SupervisorId(2);

    fn welcome(folder: &str) -> SupervisorWelcome {
        SupervisorWelcome { folder: folder.to_owned(), ..SupervisorWelcome::default() }
    }

    #[test]
    fn a_supervisor_stays_on_record_when_it_names_another_folder_or_another_that_names_its_own_ends() {
        let (mut recipients, mut out) = (StartRecipients::default(), vec![]);
        recipients.greeted(ONE, &welcome("folder"));
        recipients.greeted(TWO, &welcome("folder"));
        recipients.record(ONE, &mut out);
        recipients.greeted(ONE, &welcome("another"));
        recipients.ended(TWO, &mut out);
        assert!(recipients.is_recorded(ONE));
        assert_eq!(out.len(), 1, "{out:?}");
        recipients.ended(ONE, &mut out);
        let ended = Kind::SupervisorEnded("folder".to_owned());
        assert!(matches!(&out[1], Effect::Persist { records, .. } if records[0].kind == Some(ended)), "{out:?}");
    }

    #[test]
    fn a_supervisor_whose_end_is_on_record_is_not_missing_after_a_restart() {
        let mut recipients = StartRecipients::default();
        for name in [ALL_FROM_HERE, "one", "two"] {
            recipients.replay(name);
        }
        recipients.greeted(TWO, &welcome("two"));
        assert!(recipients.has_unknown());
        recipients.replay_ended("one");
        assert!(!recipients.has_unknown());
        assert_eq!(recipients.records().count(), 2);
    }
}
