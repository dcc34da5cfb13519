//! The tasks of an agent, stored in few bytes.
//!
//! Keys of tasks only grow, so the table is a vector sorted by key, and a new task is appended. A removed task leaves
//! its place empty until half of all places are; then the vector is compacted. So a removal moves few entries on
//! average.

use std::{ops::Index, sync::Arc};

use super::Task;
use crate::master::core::keys::TaskKey;

/// The tasks of an agent by key; see the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskTable {
    places: Vec<(TaskKey, Option<Arc<Task>>)>,
    len: usize,
}

impl TaskTable {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn get(&self, key: TaskKey) -> Option<&Arc<Task>> {
        self.places[self.place(key)?].1.as_ref()
    }

    pub(in crate::master::core) fn get_mut(&mut self, key: TaskKey) -> Option<&mut Arc<Task>> {
        let place = self.place(key)?;
        self.places[place].1.as_mut()
    }

    pub(in crate::master::core) fn contains_key(&self, key: TaskKey) -> bool {
        self.get(key).is_some()
    }

    /// All tasks, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TaskKey, &Arc<Task>)> {
        self.starting_at(0)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = TaskKey> {
        self.iter().map(|(key, _)| key)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.iter().map(|(_, task)| task)
    }

    /// The tasks of this key and later ones.
    pub(in crate::master::core) fn since(&self, first: TaskKey) -> impl Iterator<Item = (TaskKey, &Arc<Task>)> {
        self.starting_at(self.places.partition_point(|(key, _)| *key < first))
    }

    /// The first task after this key; without a key, the first.
    pub(crate) fn after(&self, key: Option<TaskKey>) -> Option<(TaskKey, &Arc<Task>)> {
        self.starting_at(self.places.partition_point(|(earlier, _)| Some(*earlier) <= key)).next()
    }

    /// Adds a new task.
    ///
    /// # Panics
    /// When the table has or had this key or a later one.
    pub(in crate::master::core) fn push(&mut self, key: TaskKey, task: Arc<Task>) {
        assert!(self.places.last().is_none_or(|(last, _)| *last < key), "{key:?} is not the latest");
        self.places.push((key, Some(task)));
        self.len += 1;
    }

    pub(in crate::master::core) fn remove(&mut self, key: TaskKey) -> Option<Arc<Task>> {
        let place = self.place(key)?;
        let task = self.places[place].1.take()?;
        self.len -= 1;
        if self.len < self.places.len() / 2 || self.len == 0 {
            self.places.retain(|(_, task)| task.is_some());
            self.places.shrink_to(self.len * 2);
        }
        Some(task)
    }

    fn place(&self, key: TaskKey) -> Option<usize> {
        self.places.binary_search_by_key(&key, |(key, _)| *key).ok()
    }

    fn starting_at(&self, first: usize) -> impl Iterator<Item = (TaskKey, &Arc<Task>)> {
        self.places[first..].iter().filter_map(|(key, task)| Some((*key, task.as_ref()?)))
    }
}

impl PartialEq for TaskTable {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Index<TaskKey> for TaskTable {
    type Output = Arc<Task>;

    fn index(&self, key: TaskKey) -> &Arc<Task> {
        self.get(key).unwrap_or_else(|| panic!("{key:?} is a task of this agent"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        master::core::{keys::FrameworkKey, tasks::StatusRecord},
        proto::v1::TaskState,
        types::{Now, Resources},
    };

    fn task(name: &str) -> Arc<Task> {
        let now = Now { mono_ns: 0, wall_ns: 0 };
        Arc::new(Task {
            framework: FrameworkKey(0),
            id: name.into(),
            container: name.into(),
            role: "*".into(),
            info: [].into(),
            resources: Arc::new(Resources::new()),
            state: TaskState::TaskStaging,
            forwarded: None,
            unacknowledged: None,
            kill: None,
            history: vec![StatusRecord::state_only(TaskState::TaskStaging, now)],
            partition: None,
        })
    }

    fn by_value<'a>((key, task): (&TaskKey, &'a Arc<Task>)) -> (TaskKey, &'a Arc<Task>) {
        (*key, task)
    }

    proptest! {
        #[test]
        fn a_table_is_an_ordered_map_whose_keys_grow(steps in proptest::collection::vec((0u64..4, 0u64..40), 0..200)) {
            let (mut table, mut map, mut next) = (TaskTable::default(), BTreeMap::new(), 0);
            for (step, number) in steps {
                let key = TaskKey(number % (next + 1));
                if step == 0 {
                    prop_assert_eq!(table.remove(key), map.remove(&key));
                } else {
                    next += step;
                    table.push(TaskKey(next), task(&next.to_string()));
                    map.insert(TaskKey(next), task(&next.to_string()));
                }
                prop_assert!(table.iter().eq(map.iter().map(by_value)));
                prop_assert_eq!(table.len(), map.len());
                prop_assert_eq!(table.is_empty(), map.is_empty());
                prop_assert_eq!(table.get(key), map.get(&key));
                prop_assert_eq!(table.get_mut(key), map.get_mut(&key));
                prop_assert!(table.since(key).eq(map.range(key..).map(by_value)));
                prop_assert_eq!(table.after(None), map.first_key_value().map(by_value));
                prop_assert_eq!(table.after(Some(key)), map.range(TaskKey(key.0 + 1)..).next().map(by_value));
                prop_assert!(table.places.len() <= 2 * table.len() + 1, "empty places are given back");
            }
        }
    }

    #[test]
    #[should_panic(expected = "TaskKey(3) is not the latest")]
    fn a_key_is_used_once() {
        let mut table = TaskTable::default();
        table.push(TaskKey(3), task("t"));
        table.push(TaskKey(3), task("t"));
    }
}
