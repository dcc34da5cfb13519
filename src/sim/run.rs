//! The result of a simulated run, for the assertions of a framework's tests.

use std::{collections::BTreeMap, time::Duration};

use super::{
    failure::seconds,
    record::{Counts, Record, TaskHistory},
};
use crate::proto::v1::TaskState;

/// The result of a run that broke no invariant: task histories, counts and faults.
#[derive(Debug)]
#[must_use = "a run is a result to assert on"]
pub struct Run {
    pub(super) seed: u64,
    pub(super) elapsed: Duration,
    pub(super) steps: u64,
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) ended: Vec<Option<Result<(), String>>>,
    pub(super) record: Record,
}

impl Run {
    /// The seed it was played from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The virtual time that passed: the time given, or less when every driver ended before.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The number of simulated events.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The number of faults injected, by kind.
    #[must_use]
    pub fn faults(&self) -> &BTreeMap<String, u64> {
        &self.faults
    }

    /// The counts of offers, launches, statuses and the like.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.record.counts
    }

    /// All tasks that a scheduler launched or received a status of, by framework and id.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskHistory> {
        self.record.tasks.values()
    }

    /// The task of this id, of whichever framework.
    #[must_use]
    pub fn task(&self, id: &str) -> Option<&TaskHistory> {
        self.tasks().find(|task| task.id == id)
    }

    /// The number of tasks whose last status that a callback accepted has this state.
    #[must_use]
    pub fn count(&self, state: TaskState) -> usize {
        self.tasks().filter(|task| task.state() == Some(state)).count()
    }

    /// The tasks that had a running process at this virtual time.
    #[must_use]
    pub fn running_at(&self, at: Duration) -> Vec<&TaskHistory> {
        self.tasks().filter(|task| task.runs_at(at)).collect()
    }

    /// The most tasks that ran at one time.
    #[must_use]
    pub fn most_running(&self) -> usize {
        let mut changes: Vec<(Duration, bool)> = Vec::new();
        for process in self.tasks().flat_map(|task| &task.processes) {
            changes.push((process.started, true));
            changes.extend(process.ended.map(|ended| (ended, false)));
        }
        // At one time an end comes before a start.
        changes.sort_unstable();
        let (mut running, mut most) = (0, 0);
        for (_, starts) in changes {
            running = if starts { running + 1 } else { running - 1 };
            most = most.max(running);
        }
        most
    }

    /// How the driver of a framework (numbered from 0) ended; `None` while it runs.
    ///
    /// It is an error when the driver ended without a call that stops it.
    #[must_use]
    pub fn driver_ended(&self, framework: usize) -> Option<Result<(), &str>> {
        let ended = self.ended.get(framework)?.as_ref()?;
        Some(ended.as_ref().copied().map_err(String::as_str))
    }

    /// The history of the run, one line per event with its virtual time; only the last 5,000.
    pub fn history(&self) -> impl Iterator<Item = &str> {
        self.record.lines.iter().map(String::as_str)
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { offers, launched, statuses, .. } = self.counts();
        let elapsed = seconds(u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX));
        write!(f, "seed {}: {elapsed} in {} steps, {offers} offers, {launched} launches, ", self.seed, self.steps)?;
        write!(f, "{statuses} statuses; faults: {:?}", self.faults)
    }
}
