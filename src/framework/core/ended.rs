//! Ended tasks, kept to recognise the statuses that an agent resends after a lost acknowledgement.
//!
//! Bounded: the oldest is removed first, and a repeat that arrives later is delivered as new.

use std::{collections::VecDeque, sync::Arc};

use indexmap::IndexMap;
use uuid::Uuid;

use super::{
    kills::Kill,
    tasks::{StatusDigest, Verdict, is_over, outdated_verdict},
};
use crate::proto::v1::TaskState;

/// The most ended tasks that are kept.
const LIMIT: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct EndedTasks {
    by_id: IndexMap<Arc<str>, Ended>,
    /// In the order of their ends; tasks that were removed early are left in.
    order: VecDeque<Arc<str>>,
}

/// The record of an ended task, with the uuid of its last acknowledged status.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) state: TaskState,
    pub(super) uuid: Option<Uuid>,
    /// Whether an agent reported the end.
    pub(super) from_agent: bool,
    /// Whether a master inferred it from a summary: the agent's own status, with the `process_end`, follows.
    pub(super) from_summary: bool,
    /// Whether it was known as the framework's own.
    pub(super) known: bool,
    /// For an inferred end: kills the task if it reappears.
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

    /// Records that the framework named the task as its own; false when it is not known to have ended.
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
    pub(super) fn judge(&mut self, task_id: &str, digest: &StatusDigest) -> Option<Verdict> {
        let ended = self.by_id.get_mut(task_id)?;
        let same_end = digest.uuid.is_some() && digest.state == ended.state;
        // The agent now reports the end that the master inferred from a summary before.
        let completes = same_end && digest.has_process_end && ended.from_summary && !ended.from_agent;
        let repeat = (same_end && !completes) || (digest.uuid.is_some() && digest.uuid == ended.uuid);
        let from_agent = ended.from_agent || same_end;
        ended.from_agent = from_agent;
        let answer = digest.uuid.is_none() && is_over(digest.state);
        // An agent that reported the end and reports another state now has lost its records in a power cut.
        let is_new = completes || (!repeat && !answer && !from_agent && ended.state.may_become(digest.state));
        Some(if is_new { Verdict::Deliver } else { outdated_verdict(digest) })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_id.keys()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn check(&self) {
        assert!(self.order.len() <= LIMIT, "too many ended tasks are kept");
        assert!(self.by_id.len() <= self.order.len(), "an ended task would never be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINISHED: StatusDigest = StatusDigest {
        state: TaskState::TaskFinished,
        uuid: Some(Uuid::from_u128(7)),
        reconciled: false,
        has_process_end: true,
    };

    #[test]
    fn an_end_is_delivered_after_a_loss_though_an_earlier_status_was_repeated_meanwhile() {
        let mut ended = after(TaskState::TaskLost);
        let running = StatusDigest { state: TaskState::TaskRunning, uuid: Some(Uuid::from_u128(7)), ..FINISHED };
        assert_eq!(ended.judge("t", &running), Some(Verdict::Acknowledge));
        assert_eq!(
            ended.judge("t", &StatusDigest { uuid: Some(Uuid::from_u128(8)), ..FINISHED }),
            Some(Verdict::Deliver)
        );
    }

    fn after(state: TaskState) -> EndedTasks {
        let mut ended = EndedTasks::default();
        let one = Ended {
            state,
            uuid: Some(Uuid::from_u128(7)),
            from_agent: false,
            from_summary: false,
            known: true,
            kill: None,
        };
        ended.insert("t".into(), one);
        ended
    }

    #[test]
    fn the_oldest_is_removed_first() {
        let mut ended = EndedTasks::default();
        for task in 0..LIMIT + 10 {
            ended.insert(
                task.to_string().into(),
                Ended {
                    state: TaskState::TaskFinished,
                    uuid: Some(Uuid::from_u128(7)),
                    from_agent: false,
                    from_summary: false,
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
    fn an_end_is_final_unless_it_was_inferred() {
        let running = StatusDigest { state: TaskState::TaskRunning, uuid: Some(Uuid::from_u128(8)), ..FINISHED };
        assert_eq!(after(TaskState::TaskFinished).judge("t", &running), Some(Verdict::Acknowledge));
        assert_eq!(after(TaskState::TaskLost).judge("t", &running), Some(Verdict::Deliver));
        let answer = StatusDigest { uuid: None, reconciled: true, ..running };
        assert_eq!(after(TaskState::TaskFinished).judge("t", &answer), Some(Verdict::Drop));
        assert_eq!(after(TaskState::TaskUnknown).judge("t", &answer), Some(Verdict::Deliver));
    }

    #[test]
    fn the_end_that_the_agent_reports_is_delivered_after_one_from_a_summary_and_then_never_again() {
        let mut ended = after(TaskState::TaskFinished);
        ended.get_mut("t").unwrap().from_summary = true;
        ended.get_mut("t").unwrap().uuid = None;
        assert_eq!(ended.judge("t", &StatusDigest { uuid: None, reconciled: true, ..FINISHED }), Some(Verdict::Drop));
        assert_eq!(ended.judge("t", &FINISHED), Some(Verdict::Deliver));
        assert_eq!(ended.judge("t", &FINISHED), Some(Verdict::Acknowledge));
    }

    #[test]
    fn an_end_that_an_agent_reported_is_never_revoked() {
        let mut ended = after(TaskState::TaskLost);
        let end = StatusDigest { state: TaskState::TaskLost, uuid: Some(Uuid::from_u128(9)), ..FINISHED };
        assert_eq!(ended.judge("t", &end), Some(Verdict::Acknowledge));
        let running = StatusDigest { state: TaskState::TaskRunning, uuid: Some(Uuid::from_u128(8)), ..FINISHED };
        assert_eq!(ended.judge("t", &running), Some(Verdict::Acknowledge));
    }
}
