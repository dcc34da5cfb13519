//! The times at which unreachable tasks count as lost by their partition policies, as far as the driver knows those.
//!
//! The master decides and reports it; the driver only asks in time. A master that has run since the launch reports the
//! loss by itself. One that started later does not know the tasks of an agent that stays disconnected.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::types::Now;

/// Clocks differ: a master whose clock is behind is asked again after this long.
const CLOCK_MARGIN: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct LossDeadlines {
    by_task: BTreeMap<Arc<str>, u64>,
    due: BTreeSet<(u64, Arc<str>)>,
}

impl LossDeadlines {
    /// Schedules a task that is unreachable since `since_ns`, on the wall clock, and lost after `lost_after`.
    pub(super) fn schedule(&mut self, now: Now, task_id: &str, since_ns: i64, lost_after: Duration) {
        let away = Duration::from_nanos(u64::try_from(now.wall_ns.saturating_sub(since_ns)).unwrap_or(0));
        let left = lost_after.saturating_sub(away);
        let at_ns = now.mono_after(if left.is_zero() { CLOCK_MARGIN } else { left });
        let task_id: Arc<str> = task_id.into();
        if let Some(before_ns) = self.by_task.insert(Arc::clone(&task_id), at_ns) {
            self.due.remove(&(before_ns, Arc::clone(&task_id)));
        }
        self.due.insert((at_ns, task_id));
    }

    /// Removes and returns the tasks that are due.
    pub(super) fn due(&mut self, now: Now) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        while self.deadline_ns().is_some_and(|at_ns| at_ns <= now.mono_ns)
            && let Some((_, task_id)) = self.due.pop_first()
        {
            self.by_task.remove(&task_id);
            due.push(task_id);
        }
        due
    }

    pub(super) fn deadline_ns(&self) -> Option<u64> {
        self.due.first().map(|(at_ns, _)| *at_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_due_once_when_its_time_is_over_and_later_where_clocks_differ() {
        let mut loss_deadlines = LossDeadlines::default();
        let now = Now { mono_ns: 1_000, wall_ns: 60_000_000_000 };
        for _ in 0..3 {
            loss_deadlines.schedule(now, "t", 0, Duration::from_secs(90));
        }
        assert_eq!(loss_deadlines.due(now.advanced(Duration::from_secs(29))), []);
        let late = now.advanced(Duration::from_secs(30));
        assert_eq!(loss_deadlines.due(late), ["t".into()]);
        assert_eq!(loss_deadlines.deadline_ns(), None);
        loss_deadlines.schedule(late, "t", 0, Duration::from_secs(90));
        assert_eq!(loss_deadlines.deadline_ns(), Some(late.mono_after(CLOCK_MARGIN)));
    }
}
