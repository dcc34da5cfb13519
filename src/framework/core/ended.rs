//! Tasks that ended, remembered against the repeats that an agent sends when an acknowledgement got lost on the way.
//!
//! Bounded: the oldest is forgotten first, and a repeat that comes later than that is told as news.

use std::{collections::VecDeque, sync::Arc};

use indexmap::IndexMap;
use uuid::Uuid;

use super::{
    kills::Kill,
    tasks::{Seen, Verdict, over, stale},
};
use crate::proto::v1::TaskState;

/// How many ended tasks are remembered.
const LIMIT: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct EndedTasks {
    by_id: IndexMap<Arc<str>, Ended>,
    /// In the order of their ends; tasks that were forgotten early are left in.
    order: VecDeque<Arc<str>>,
}

/// How a task ended, and the uuid of the status that told it if it had one.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) state: TaskState,
    pub(super) uuid: Option<Uuid>,
    /// Whether an agent told the end.
    pub(super) by_agent: bool,
    /// Whether a master concluded it from a summary: the agent's own status, which says how the process ended, is to come.
    pub(super) inferred: bool,
    /// Whether it was the framework's own, as it said.
    pub(super) known: bool,
    /// Where the end was only guessed: the task may be back, and is to be killed then.
    pub(super) kill: Option<Box<Kill>>,
}

impl EndedTasks {
    pub(super) fn insert(&mut self, task_id: Arc<str>, ended: Ended) {
        while self.order.len() >= LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.swap_remove(&oldest);
        }
        self.order.push_back(Arc::clone(&task_id));
        self.by_id.insert(task_id, ended);
    }

    pub(super) fn forget(&mut self, task_id: &str) -> Option<Ended> {
        self.by_id.swap_remove(task_id)
    }

    /// The framework says that the task is its own; false when it is not known to have ended.
    pub(super) fn claim(&mut self, task_id: &str) -> bool {
        self.by_id.get_mut(task_id).is_some_and(|ended| {
            ended.known = true;
            true
        })
    }

    pub(super) fn get_mut(&mut self, task_id: &str) -> Option<&mut Ended> {
        self.by_id.get_mut(task_id)
    }

    pub(super) fn is_killed(&self, task_id: &str) -> bool {
        self.by_id.get(task_id).is_some_and(|ended| ended.kill.is_some())
    }

    pub(super) fn is_known(&self, task_id: &str) -> bool {
        self.by_id.get(task_id).is_some_and(|ended| ended.known)
    }

    /// What to do with a status of an ended task; `None` when the task is not known to have ended.
    pub(super) fn judge(&mut self, task_id: &str, seen: &Seen) -> Option<Verdict> {
        let ended = self.by_id.get_mut(task_id)?;
        let same_end = seen.uuid.is_some() && seen.state == ended.state;
        // The end that was inferred before is now reported by the one that saw it.
        let completes = same_end && seen.says_how && ended.inferred && !ended.by_agent;
        let repeat = (same_end && !completes) || (seen.uuid.is_some() && seen.uuid == ended.uuid);
        let told_by_agent = ended.by_agent || same_end;
        ended.by_agent = told_by_agent;
        let answer = seen.uuid.is_none() && over(seen.state);
        // An agent that told the end and tells something else now has lost its memory in a power cut.
        let news = completes || (!repeat && !answer && !told_by_agent && ended.state.may_become(seen.state));
        Some(if news { Verdict::Deliver } else { stale(seen) })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_id.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn check(&self) {
        assert!(self.order.len() <= LIMIT, "the memory of ended tasks has a bound");
        assert!(self.by_id.len() <= self.order.len(), "an ended task would never be forgotten");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINISHED: Seen =
        Seen { state: TaskState::TaskFinished, uuid: Some(Uuid::from_u128(7)), reconciled: false, says_how: true };

    #[test]
    fn an_end_is_news_after_a_loss_though_an_earlier_status_was_repeated_meanwhile() {
        let mut ended = after(TaskState::TaskLost);
        let running = Seen { state: TaskState::TaskRunning, uuid: Some(Uuid::from_u128(7)), ..FINISHED };
        assert_eq!(ended.judge("t", &running), Some(Verdict::Acknowledge));
        assert_eq!(ended.judge("t", &Seen { uuid: Some(Uuid::from_u128(8)), ..FINISHED }), Some(Verdict::Deliver));
    }

    fn after(state: TaskState) -> EndedTasks {
        let mut ended = EndedTasks::default();
        let one =
            Ended { state, uuid: Some(Uuid::from_u128(7)), by_agent: false, inferred: false, known: true, kill: None };
        ended.insert("t".into(), one);
        ended
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut ended = EndedTasks::default();
        for task in 0..LIMIT + 10 {
            ended.insert(
                task.to_string().into(),
                Ended {
                    state: TaskState::TaskFinished,
                    uuid: Some(Uuid::from_u128(7)),
                    by_agent: false,
                    inferred: false,
                    known: true,
                    kill: None,
                },
            );
        }
        ended.check();
        assert_eq!(ended.judge("10", &FINISHED), Some(Verdict::Acknowledge));
        assert_eq!(ended.judge("9", &FINISHED), None);
    }

    #[test]
    fn an_end_is_final_unless_it_was_guessed() {
        let running = Seen { state: TaskState::TaskRunning, uuid: Some(Uuid::from_u128(8)), ..FINISHED };
        assert_eq!(after(TaskState::TaskFinished).judge("t", &running), Some(Verdict::Acknowledge));
        assert_eq!(after(TaskState::TaskLost).judge("t", &running), Some(Verdict::Deliver));
        let answer = Seen { uuid: None, reconciled: true, ..running };
        assert_eq!(after(TaskState::TaskFinished).judge("t", &answer), Some(Verdict::Drop));
        assert_eq!(after(TaskState::TaskUnknown).judge("t", &answer), Some(Verdict::Deliver));
    }

    #[test]
    fn the_end_that_the_agent_saw_is_delivered_after_one_that_was_inferred_and_then_never_again() {
        let mut ended = after(TaskState::TaskFinished);
        ended.get_mut("t").unwrap().inferred = true;
        ended.get_mut("t").unwrap().uuid = None;
        assert_eq!(ended.judge("t", &Seen { uuid: None, reconciled: true, ..FINISHED }), Some(Verdict::Drop));
        assert_eq!(ended.judge("t", &FINISHED), Some(Verdict::Deliver));
        assert_eq!(ended.judge("t", &FINISHED), Some(Verdict::Acknowledge));
    }

    #[test]
    fn an_end_that_an_agent_told_is_never_taken_back() {
        let mut ended = after(TaskState::TaskLost);
        let told = Seen { state: TaskState::TaskLost, uuid: Some(Uuid::from_u128(9)), ..FINISHED };
        assert_eq!(ended.judge("t", &told), Some(Verdict::Acknowledge));
        let running = Seen { state: TaskState::TaskRunning, uuid: Some(Uuid::from_u128(8)), ..FINISHED };
        assert_eq!(ended.judge("t", &running), Some(Verdict::Acknowledge));
    }
}
