//! When unreachable tasks count as lost by their partition policies, as far as the driver knows those.
//!
//! The master decides and says so; the driver only asks at the right moment. A master that has always been there tells
//! it by itself, one that was started anew does not know the tasks of an agent that stays away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::types::Now;

/// Clocks differ: a master for which the time has not come is asked again after this long.
const AGAIN: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct WriteOffs {
    by_task: BTreeMap<Arc<str>, u64>,
    due: BTreeSet<(u64, Arc<str>)>,
}

impl WriteOffs {
    /// The task cannot be reached since then, on the wall clock, and is lost after that time.
    pub(super) fn expect(&mut self, now: Now, task_id: &str, since_ns: i64, lost_after: Duration) {
        let away = Duration::from_nanos(u64::try_from(now.wall_ns.saturating_sub(since_ns)).unwrap_or(0));
        let left = lost_after.saturating_sub(away);
        let at_ns = now.mono_after(if left.is_zero() { AGAIN } else { left });
        let task_id: Arc<str> = task_id.into();
        if let Some(before_ns) = self.by_task.insert(Arc::clone(&task_id), at_ns) {
            self.due.remove(&(before_ns, Arc::clone(&task_id)));
        }
        self.due.insert((at_ns, task_id));
    }

    /// The tasks whose time has come.
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
    fn a_task_is_due_once_when_its_time_has_come_and_later_where_clocks_differ() {
        let mut write_offs = WriteOffs::default();
        let now = Now { mono_ns: 1_000, wall_ns: 60_000_000_000 };
        for _ in 0..3 {
            write_offs.expect(now, "t", 0, Duration::from_secs(90));
        }
        assert_eq!(write_offs.due(now.advanced(Duration::from_secs(29))), []);
        let late = now.advanced(Duration::from_secs(30));
        assert_eq!(write_offs.due(late), ["t".into()]);
        assert_eq!(write_offs.deadline_ns(), None);
        write_offs.expect(late, "t", 0, Duration::from_secs(90));
        assert_eq!(write_offs.deadline_ns(), Some(late.mono_after(AGAIN)));
    }
}
