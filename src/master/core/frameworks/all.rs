//! The frameworks of this master, with indexes by key and id, and the latest completed ones.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Index,
    sync::Arc,
};

use super::{Framework, FrameworkBucket};
use crate::master::core::keys::FrameworkKey;

/// The frameworks of this master, and every index of them.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Frameworks {
    by_key: BTreeMap<FrameworkKey, Framework>,
    by_id: HashMap<Arc<str>, FrameworkKey>,
    /// Removed frameworks that still have tasks on agents; they are not found by id.
    removing: BTreeSet<FrameworkKey>,
    /// Frameworks that disconnected, failed over or were removed, and whose former offers are still being removed.
    withdrawing: BTreeSet<FrameworkKey>,
    /// Oldest first.
    completed: VecDeque<Arc<FrameworkBucket>>,
}

impl Frameworks {
    pub(super) fn insert(&mut self, key: FrameworkKey, framework: Framework) {
        self.by_id.insert(framework.record.id.clone(), key);
        self.by_key.insert(key, framework);
    }

    /// Begins the removal of a framework: it is not found by its id from now on.
    pub(super) fn begin_removal(&mut self, key: FrameworkKey) -> Option<&mut Framework> {
        let framework = self.by_key.get_mut(&key)?;
        self.by_id.remove(&framework.record.id);
        self.removing.insert(key);
        Some(framework)
    }

    /// Drops a removed framework without tasks.
    pub(super) fn remove(&mut self, key: FrameworkKey) -> Option<Framework> {
        self.removing.remove(&key);
        self.by_key.remove(&key)
    }

    /// Whether removals of frameworks or withdrawals of offers are in progress.
    pub(in crate::master::core) fn are_unfinished(&self) -> bool {
        !(self.removing.is_empty() && self.withdrawing.is_empty())
    }

    pub(in crate::master::core) fn begin_withdrawal(&mut self, key: FrameworkKey) {
        if self.by_key.contains_key(&key) {
            self.withdrawing.insert(key);
        }
    }

    pub(in crate::master::core) fn end_withdrawal(&mut self, key: FrameworkKey) {
        self.withdrawing.remove(&key);
    }

    /// The next framework whose offers are being removed.
    pub(in crate::master::core) fn withdrawing(&self) -> Option<FrameworkKey> {
        self.withdrawing.first().copied()
    }

    /// Whether the framework's former offers are still being removed.
    pub(in crate::master::core) fn is_withdrawing(&self, key: FrameworkKey) -> bool {
        self.withdrawing.contains(&key)
    }

    /// Removed frameworks that still have tasks on agents.
    pub(super) fn removing(&self) -> impl Iterator<Item = FrameworkKey> {
        self.removing.iter().copied()
    }

    pub(in crate::master::core) fn get(&self, key: FrameworkKey) -> Option<&Framework> {
        self.by_key.get(&key)
    }

    pub(in crate::master::core) fn get_mut(&mut self, key: FrameworkKey) -> Option<&mut Framework> {
        self.by_key.get_mut(&key)
    }

    /// The framework of this id.
    pub(in crate::master::core) fn by_id(&self, id: &str) -> Option<FrameworkKey> {
        self.by_id.get(id).copied()
    }

    /// All frameworks, in the order in which they were added.
    pub(in crate::master::core) fn iter(&self) -> impl Iterator<Item = (FrameworkKey, &Framework)> {
        self.by_key.iter().map(|(key, framework)| (*key, framework))
    }

    pub(in crate::master::core) fn values(&self) -> impl Iterator<Item = &Framework> {
        self.by_key.values()
    }

    pub(in crate::master::core) fn values_mut(&mut self) -> impl Iterator<Item = &mut Framework> {
        self.by_key.values_mut()
    }

    /// Keeps a completed framework for readers, and at most `limit` of them.
    pub(super) fn keep_completed(&mut self, record: Arc<FrameworkBucket>, limit: usize) {
        self.completed.push_back(record);
        while self.completed.len() > limit {
            self.completed.pop_front();
        }
    }

    /// Completed frameworks, oldest first.
    pub(in crate::master::core) fn completed(&self) -> impl Iterator<Item = &Arc<FrameworkBucket>> {
        self.completed.iter()
    }

    /// Asserts that the indexes lead to exactly these frameworks.
    pub(in crate::master::core) fn check(&self) {
        assert_eq!(self.by_id.len() + self.removing.len(), self.by_key.len(), "every framework has one id");
        for (key, framework) in self.iter() {
            let expected = (!self.removing.contains(&key)).then_some(key);
            assert_eq!(self.by_id(&framework.record.id), expected, "{key:?} is found by its id, unless it is removed");
        }
    }
}

/// # Panics
/// When the framework is not known.
impl Index<FrameworkKey> for Frameworks {
    type Output = Framework;

    fn index(&self, key: FrameworkKey) -> &Framework {
        &self.by_key[&key]
    }
}
