//! Resource names as indices, so that checks compare numbers.

use std::sync::Arc;

use crate::allocator::request::TaskRequest;

/// The names that some request uses. Scalars are in the order in which they are checked; `cpus` and `mem` are always
/// among them.
#[derive(Debug)]
pub(in crate::allocator) struct Names {
    scalars: Vec<Arc<str>>,
    sets: Vec<Arc<str>>,
}

impl Names {
    /// The index of `cpus`.
    pub(in crate::allocator) const CPUS: usize = 0;
    /// The index of `mem`.
    pub(in crate::allocator) const MEM: usize = 1;

    pub(in crate::allocator) fn of<'a>(requests: impl IntoIterator<Item = &'a TaskRequest>) -> Self {
        let (mut scalars, mut sets) = (vec!["cpus", "mem"], Vec::new());
        for demand in requests.into_iter().flat_map(TaskRequest::demands) {
            scalars.extend(demand.scalars.keys().map(String::as_str));
            sets.extend(demand.sets.keys().map(String::as_str));
        }
        scalars.sort_unstable_by_key(|&name| (Self::rank(name), name));
        scalars.dedup();
        sets.sort_unstable();
        sets.dedup();
        let shared = |names: Vec<&str>| names.into_iter().map(Arc::from).collect();
        Self { scalars: shared(scalars), sets: shared(sets) }
    }

    /// Returns the position of a resource in lists: the usual four in their order, then the others.
    pub(in crate::allocator) fn rank(name: &str) -> usize {
        let usual = ["cpus", "mem", "disk", "gpus"];
        usual.iter().position(|known| *known == name).unwrap_or(usual.len())
    }

    pub(in crate::allocator) fn scalar(&self, name: &str) -> Option<usize> {
        self.scalars.iter().position(|known| **known == *name)
    }

    pub(in crate::allocator) fn set(&self, name: &str) -> Option<usize> {
        self.sets.iter().position(|known| **known == *name)
    }

    pub(in crate::allocator) fn scalars(&self) -> &[Arc<str>] {
        &self.scalars
    }

    pub(in crate::allocator) fn sets(&self) -> &[Arc<str>] {
        &self.sets
    }
}
