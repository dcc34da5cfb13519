//! Resources of tasks, interned: most tasks have the same resources as thousands of others.

use std::{collections::HashSet, sync::Arc};

use crate::types::Resources;

/// So many amounts are kept before unused ones are dropped.
const FEW: usize = 64;

/// The resources of all tasks, and some unused ones: at most about as many again.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Interned {
    known: HashSet<Arc<Resources>>,
    /// How many there may be before unused ones are dropped.
    most: usize,
}

impl Interned {
    /// Returns equal resources, shared with all tasks that have them.
    pub(in crate::master::core) fn share(&mut self, resources: &Resources) -> Arc<Resources> {
        if let Some(known) = self.known.get(resources) {
            return known.clone();
        }
        if self.known.len() >= self.most {
            self.known.retain(|one| Arc::strong_count(one) > 1);
            self.most = FEW.max(2 * self.known.len());
        }
        let shared = Arc::new(resources.clone());
        self.known.insert(shared.clone());
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_resources_are_kept_once_and_none_for_ever() {
        let mut interned = Interned::default();
        let cpus = |cpus: u32| Resources::cpus_mem(f64::from(cpus), 1.0);
        let kept = interned.share(&cpus(1));
        assert!(Arc::ptr_eq(&kept, &interned.share(&cpus(1))));
        for other in 2..10_000 {
            interned.share(&cpus(other));
        }
        assert!(interned.known.len() <= FEW, "{} are kept", interned.known.len());
        assert!(Arc::ptr_eq(&kept, &interned.share(&cpus(1))));
    }
}
