//! One status of a task is told at a time: the next waits until the callback took the one before it.
//!
//! A status that its callback did not take is told again after 1 s, 2 s, 4 s ... 60 s, so a poisonous one neither spins
//! nor holds up other tasks. Bounded: of what the master says of its own only the latest waits, and an agent sends the
//! next status when the one before is acknowledged.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use indexmap::IndexMap;
use uuid::Uuid;

use crate::{proto::v1::TaskStatus, types::Now};

/// How long a status waits after its first failure; doubled at each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
const LAST_WAIT: Duration = Duration::from_mins(1);
/// The most statuses of a task that wait behind the one being told; past that the latest takes the place of the last.
const BEHIND: usize = 8;

/// The tasks of which a status is being told, or waits to be told again.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    by_task: IndexMap<Arc<str>, Lane>,
    due: BTreeSet<(u64, Arc<str>)>,
    redelivered: u64,
}

#[derive(Debug)]
struct Lane {
    /// Of the status at the head.
    uuid: Option<Uuid>,
    failures: u32,
    /// The head, when it waits to be told again, and since when it is due.
    again: Option<(u64, Box<TaskStatus>)>,
    behind: VecDeque<Box<TaskStatus>>,
}

/// What became of a status at the entrance of its lane.
#[derive(Debug, PartialEq)]
pub(super) enum Entrance {
    /// Nothing of that task is being told.
    Free(Box<TaskStatus>),
    /// It is the very status that is being told, or waits already.
    Repeat,
    /// It waits for what is being told.
    Waits,
}

impl Lanes {
    pub(super) fn enter(&mut self, status: Box<TaskStatus>) -> Entrance {
        let Some(lane) = self.by_task.get_mut(status.task_id.value.as_str()) else { return Entrance::Free(status) };
        let uuid = status.acknowledgement();
        if uuid.is_some() && (lane.uuid == uuid || lane.behind.iter().any(|other| other.uuid == status.uuid)) {
            return Entrance::Repeat;
        }
        let replaces = uuid.is_none() && lane.behind.back().is_some_and(|last| last.uuid.is_none());
        if replaces || lane.behind.len() >= BEHIND {
            lane.behind.pop_back();
        }
        lane.behind.push_back(status);
        Entrance::Waits
    }

    /// The status is being told.
    pub(super) fn open(&mut self, status: &TaskStatus) {
        let uuid = status.acknowledgement();
        let lane = Lane { uuid, failures: 0, again: None, behind: VecDeque::new() };
        self.by_task.insert(status.task_id.value.as_str().into(), lane);
    }

    /// What was told is dealt with; what waited behind it.
    pub(super) fn close(&mut self, task_id: &str) -> VecDeque<Box<TaskStatus>> {
        let Some((key, lane)) = self.by_task.swap_remove_entry(task_id) else { return VecDeque::new() };
        if let Some((due_ns, _)) = lane.again {
            self.due.remove(&(due_ns, key));
        }
        lane.behind
    }

    /// The callback did not take the status.
    pub(super) fn failed(&mut self, now: Now, status: Box<TaskStatus>) {
        let Some((key, lane)) = self
            .by_task
            .get_index_of(status.task_id.value.as_str())
            .and_then(|index| self.by_task.get_index_mut(index))
        else {
            return;
        };
        let wait = FIRST_WAIT.saturating_mul(1_u32.checked_shl(lane.failures).unwrap_or(u32::MAX)).min(LAST_WAIT);
        lane.failures = lane.failures.saturating_add(1);
        let due_ns = now.mono_after(wait);
        self.due.insert((due_ns, Arc::clone(key)));
        lane.again = Some((due_ns, status));
    }

    /// The next status that is to be told again by now.
    pub(super) fn next_due(&mut self, now: Now) -> Option<Box<TaskStatus>> {
        if self.deadline_ns()? > now.mono_ns {
            return None;
        }
        let (_, task_id) = self.due.pop_first()?;
        let (_, status) = self.by_task.get_mut(&task_id)?.again.take()?;
        self.redelivered += 1;
        Some(status)
    }

    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.due.first().map(|(due_ns, _)| *due_ns)
    }

    /// How often a status was told again because its callback had not taken it.
    pub(super) fn redelivered(&self) -> u64 {
        self.redelivered
    }

    pub(super) fn check(&self) {
        let waiting = self.by_task.values().filter(|lane| lane.again.is_some()).count();
        assert_eq!(waiting, self.due.len(), "a status waits without being due");
        assert!(self.by_task.values().all(|lane| lane.behind.len() <= BEHIND), "a lane has no bound");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::{TaskId, TaskState};

    fn status(state: TaskState, uuid: Option<u8>) -> Box<TaskStatus> {
        let uuid = uuid.map(|uuid| vec![uuid; 16].into());
        Box::new(TaskStatus { task_id: TaskId::from("t"), state: state as i32, uuid, ..TaskStatus::default() })
    }

    fn open() -> Lanes {
        let mut lanes = Lanes::default();
        lanes.open(&status(TaskState::TaskRunning, Some(1)));
        lanes
    }

    #[test]
    fn of_what_the_master_says_of_its_own_only_the_latest_waits() {
        let mut lanes = open();
        for state in [TaskState::TaskUnreachable, TaskState::TaskRunning, TaskState::TaskLost] {
            assert_eq!(lanes.enter(status(state, None)), Entrance::Waits);
        }
        assert_eq!(lanes.close("t"), [status(TaskState::TaskLost, None)]);
    }

    #[test]
    fn what_waits_is_in_order_and_bounded() {
        let mut lanes = open();
        for uuid in 2..100 {
            lanes.enter(status(TaskState::TaskRunning, Some(uuid)));
            lanes.check();
        }
        let uuids = [2, 3, 4, 5, 6, 7, 8, 99].map(|uuid| status(TaskState::TaskRunning, Some(uuid)));
        assert_eq!(lanes.close("t"), uuids);
    }

    #[test]
    fn a_repeat_of_what_is_told_or_waits_does_not_wait_too() {
        let mut lanes = open();
        assert_eq!(lanes.enter(status(TaskState::TaskFinished, Some(2))), Entrance::Waits);
        for uuid in [1, 2] {
            assert_eq!(lanes.enter(status(TaskState::TaskRunning, Some(uuid))), Entrance::Repeat);
        }
    }

    #[test]
    fn waits_double_up_to_a_minute_however_often_it_fails() {
        let (mut lanes, mut now) = (open(), Now::default());
        let mut waits = Vec::new();
        for _ in 0..80 {
            lanes.failed(now, status(TaskState::TaskRunning, Some(1)));
            let due_ns = lanes.deadline_ns().expect("it waits");
            waits.push((due_ns - now.mono_ns) / 1_000_000_000);
            assert_eq!(lanes.next_due(now), None);
            now.mono_ns = due_ns;
            assert!(lanes.next_due(now).is_some());
            lanes.check();
        }
        assert_eq!(waits[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!((waits.iter().max(), lanes.redelivered()), (Some(&60), 80));
    }
}
