//! The log of an agent: what is written survives the end of the process, what is synced survives the end of the host.

use rand::{Rng as _, rngs::StdRng};

use crate::proto::internal::AgentRecord;

/// One agent's log file.
#[derive(Debug, Default)]
pub(super) struct Disk {
    records: Vec<AgentRecord>,
    synced: usize,
}

impl Disk {
    pub(super) fn records(&self) -> &[AgentRecord] {
        &self.records
    }

    pub(super) fn append(&mut self, records: &[AgentRecord]) {
        self.records.extend_from_slice(records);
    }

    /// Everything up to this many records is safe.
    pub(super) fn sync(&mut self, upto: usize) {
        self.synced = self.synced.max(upto.min(self.records.len()));
    }

    /// Puts a shorter log in the place of this one, synced before it takes its name.
    pub(super) fn replace(&mut self, records: Vec<AgentRecord>) {
        self.synced = records.len();
        self.records = records;
    }

    /// The power is cut: any suffix of what was not synced goes.
    pub(super) fn lose_unsynced(&mut self, rng: &mut StdRng) {
        let left = rng.random_range(self.synced..=self.records.len());
        self.records.truncate(left);
        self.synced = left;
    }
}
