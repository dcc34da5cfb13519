//! All frameworks this master knows, found by key and by id, and the last of those that were removed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Index,
    sync::Arc,
};

use super::{Framework, FrameworkBucket};
use crate::master::core::keys::FrameworkKey;

/// The frameworks of this master. Every index of them is kept here and nowhere else.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Frameworks {
    by_key: BTreeMap<FrameworkKey, Framework>,
    by_id: HashMap<Arc<str>, FrameworkKey>,
    /// Those that are removed, and still have tasks on agents: no id leads to them.
    leaving: BTreeSet<FrameworkKey>,
    /// Those that left or were taken over, and whose offers of before are still being taken back.
    withdrawing: BTreeSet<FrameworkKey>,
    /// Oldest first.
    completed: VecDeque<Arc<FrameworkBucket>>,
}

impl Frameworks {
    pub(super) fn insert(&mut self, key: FrameworkKey, framework: Framework) {
        self.by_id.insert(framework.bucket.id.clone(), key);
        self.by_key.insert(key, framework);
    }

    /// The framework is over: its id leads nowhere from now on.
    pub(super) fn leave(&mut self, key: FrameworkKey) -> Option<&mut Framework> {
        let framework = self.by_key.get_mut(&key)?;
        self.by_id.remove(&framework.bucket.id);
        self.leaving.insert(key);
        Some(framework)
    }

    /// Nothing is left of a framework that is over.
    pub(super) fn remove(&mut self, key: FrameworkKey) -> Option<Framework> {
        self.leaving.remove(&key);
        self.by_key.remove(&key)
    }

    /// Whether tasks of frameworks that left, or offers of them or of runs that were replaced, are still there.
    pub(in crate::master::core) fn are_unfinished(&self) -> bool {
        !(self.leaving.is_empty() && self.withdrawing.is_empty())
    }

    pub(in crate::master::core) fn begin_withdrawal(&mut self, key: FrameworkKey) {
        if self.by_key.contains_key(&key) {
            self.withdrawing.insert(key);
        }
    }

    pub(in crate::master::core) fn end_withdrawal(&mut self, key: FrameworkKey) {
        self.withdrawing.remove(&key);
    }

    /// The next of those whose offers are being taken back.
    pub(in crate::master::core) fn withdrawing(&self) -> Option<FrameworkKey> {
        self.withdrawing.first().copied()
    }

    /// Whether its offers are being taken back.
    pub(in crate::master::core) fn is_withdrawing(&self, key: FrameworkKey) -> bool {
        self.withdrawing.contains(&key)
    }

    /// Those that are over and still have tasks on agents.
    pub(super) fn leaving(&self) -> impl Iterator<Item = FrameworkKey> {
        self.leaving.iter().copied()
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

    /// In the order in which they were met.
    pub(in crate::master::core) fn iter(&self) -> impl Iterator<Item = (FrameworkKey, &Framework)> {
        self.by_key.iter().map(|(key, framework)| (*key, framework))
    }

    pub(in crate::master::core) fn values(&self) -> impl Iterator<Item = &Framework> {
        self.by_key.values()
    }

    pub(in crate::master::core) fn values_mut(&mut self) -> impl Iterator<Item = &mut Framework> {
        self.by_key.values_mut()
    }

    /// Keeps what readers see of a framework that is over, and no more than `limit` of them.
    pub(super) fn keep_completed(&mut self, bucket: Arc<FrameworkBucket>, limit: usize) {
        self.completed.push_back(bucket);
        while self.completed.len() > limit {
            self.completed.pop_front();
        }
    }

    /// Frameworks that are over, oldest first.
    pub(in crate::master::core) fn completed(&self) -> impl Iterator<Item = &Arc<FrameworkBucket>> {
        self.completed.iter()
    }

    /// The indexes lead to the frameworks, and to no others.
    pub(in crate::master::core) fn check(&self) {
        assert_eq!(self.by_id.len() + self.leaving.len(), self.by_key.len(), "every framework has one id");
        for (key, framework) in self.iter() {
            let expected = (!self.leaving.contains(&key)).then_some(key);
            assert_eq!(self.by_id(&framework.bucket.id), expected, "{key:?} is found by its id, unless it is over");
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
