//! Resources of tasks, equal ones once: most tasks take what thousands of others take.

use std::{collections::HashSet, sync::Arc};

use crate::types::Resources;

/// So many are kept before those that no task takes any more are looked for.
const FEW: usize = 64;

/// Every amount that some task takes, and some that none takes any more: at most about as many again.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Interned {
    known: HashSet<Arc<Resources>>,
    /// How many there may be until those without a task are forgotten.
    most: usize,
}

impl Interned {
    /// The same resources, shared with all tasks that take as much.
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
