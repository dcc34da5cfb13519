//! Retention of the sandboxes of ended containers, by age and by number. The oldest are removed first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::agent::core::{ContainerId, Effect, Retention};
use crate::types::Now;

/// The sandboxes of containers that have ended and are removed otherwise.
#[derive(Debug)]
pub(in crate::agent::core) struct Sandboxes {
    retention: Retention,
    /// By the monotonic time of their removal, so the first is the next one removed.
    ended: BTreeSet<(u64, ContainerId)>,
    /// The same by container: every launch asks for its own.
    due: BTreeMap<ContainerId, u64>,
}

impl Sandboxes {
    pub(in crate::agent::core) fn new(retention: Retention) -> Self {
        Self { retention, ended: BTreeSet::new(), due: BTreeMap::new() }
    }

    /// Adds a container's sandbox that was last changed `idle` ago, and removes those over the limit.
    pub(in crate::agent::core) fn retire(
        &mut self,
        now: Now,
        container: ContainerId,
        idle: Duration,
        out: &mut Vec<Effect>,
    ) {
        let remove_at = now.mono_after(self.retention.keep.saturating_sub(idle));
        self.reclaim(&container);
        self.due.insert(container.clone(), remove_at);
        self.ended.insert((remove_at, container));
        while self.ended.len() > self.retention.keep_at_most {
            self.remove_first(out);
        }
    }

    /// Takes a container's sandbox out again, if it is retired: the container is in use once more.
    pub(in crate::agent::core) fn reclaim(&mut self, container: &ContainerId) -> bool {
        self.due.remove(container).is_some_and(|at| self.ended.remove(&(at, container.clone())))
    }

    /// Removes those whose time has come.
    pub(in crate::agent::core) fn expire(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.deadline().is_some_and(|at| at <= now.mono_ns) {
            self.remove_first(out);
        }
    }

    pub(in crate::agent::core) fn deadline(&self) -> Option<u64> {
        self.ended.first().map(|(at, _)| *at)
    }

    #[cfg(debug_assertions)]
    pub(in crate::agent::core) fn iter(&self) -> impl Iterator<Item = &ContainerId> {
        self.ended.iter().map(|(_, container)| container)
    }

    fn remove_first(&mut self, out: &mut Vec<Effect>) {
        if let Some((_, container)) = self.ended.pop_first() {
            self.due.remove(&container);
            out.push(Effect::RemoveSandbox { container });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ContainerId {
        ContainerId::parse(text).unwrap()
    }

    fn removed(out: &[Effect]) -> Vec<String> {
        let name = |effect: &Effect| match effect {
            Effect::RemoveSandbox { container } => container.to_string(),
            other => panic!("unexpected {other:?}"),
        };
        out.iter().map(name).collect()
    }

    #[test]
    fn a_sandbox_is_removed_at_its_age_and_not_before() {
        let mut kept = Sandboxes::new(Retention { keep: Duration::from_secs(10), keep_at_most: 5 });
        let (start, mut out) = (Now::default(), vec![]);
        kept.retire(start, id("young"), Duration::ZERO, &mut out);
        kept.retire(start, id("old"), Duration::from_secs(4), &mut out);
        kept.expire(start.advanced(Duration::from_secs(5)), &mut out);
        assert_eq!(removed(&out), Vec::<String>::new());
        kept.expire(start.advanced(Duration::from_secs(6)), &mut out);
        assert_eq!(removed(&out), ["old"]);
        assert_eq!(kept.deadline(), Some(10_000_000_000));
    }

    #[test]
    fn the_oldest_is_removed_when_there_are_too_many() {
        let mut kept = Sandboxes::new(Retention { keep: Duration::from_secs(10), keep_at_most: 1 });
        let (start, mut out) = (Now::default(), vec![]);
        kept.retire(start, id("z"), Duration::ZERO, &mut out);
        kept.retire(start.advanced(Duration::from_secs(1)), id("a"), Duration::ZERO, &mut out);
        assert_eq!(removed(&out), ["z"]);
    }

    #[test]
    fn nothing_is_kept_when_the_limit_is_none() {
        let mut kept = Sandboxes::new(Retention { keep: Duration::from_secs(10), keep_at_most: 0 });
        let mut out = vec![];
        kept.retire(Now::default(), id("a"), Duration::ZERO, &mut out);
        assert_eq!(removed(&out), ["a"]);
        assert_eq!(kept.deadline(), None);
    }
}
