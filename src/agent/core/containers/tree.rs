//! All containers, and which is nested in which.

use std::collections::{BTreeMap, BTreeSet};

use super::Container;
use crate::agent::core::ContainerId;

/// The containers of an agent.
#[derive(Debug, Default)]
pub(in crate::agent::core) struct Containers {
    all: BTreeMap<ContainerId, Container>,
    /// Parent and child; a child stays in here when its parent is forgotten first.
    children: BTreeSet<(ContainerId, ContainerId)>,
}

impl Containers {
    /// Adds a container. A parent that is nested in the container itself, which only a damaged record can name, is
    /// none.
    pub(in crate::agent::core) fn insert(&mut self, id: &ContainerId, mut container: Container) {
        self.remove(id);
        container.parent.take_if(|parent| self.is_within(parent, id));
        self.children.extend(container.parent.clone().map(|parent| (parent, id.clone())));
        self.all.insert(id.clone(), container);
    }

    pub(in crate::agent::core) fn remove(&mut self, id: &ContainerId) -> Option<Container> {
        let container = self.all.remove(id)?;
        if let Some(parent) = &container.parent {
            self.children.remove(&(parent.clone(), id.clone()));
        }
        Some(container)
    }

    pub(in crate::agent::core) fn get(&self, id: &ContainerId) -> Option<&Container> {
        self.all.get(id)
    }

    pub(in crate::agent::core) fn get_mut(&mut self, id: &ContainerId) -> Option<&mut Container> {
        self.all.get_mut(id)
    }

    pub(in crate::agent::core) fn contains(&self, id: &ContainerId) -> bool {
        self.all.contains_key(id)
    }

    pub(in crate::agent::core) fn len(&self) -> usize {
        self.all.len()
    }

    #[cfg(test)]
    pub(in crate::agent::core) fn iter(&self) -> impl Iterator<Item = (&ContainerId, &Container)> {
        self.all.iter()
    }

    pub(in crate::agent::core) fn iter_mut(&mut self) -> impl Iterator<Item = (&ContainerId, &mut Container)> {
        self.all.iter_mut()
    }

    /// The containers of which this holds, in order.
    pub(in crate::agent::core) fn ids(&self, which: impl Fn(&ContainerId, &Container) -> bool) -> Vec<ContainerId> {
        self.all.iter().filter(|(id, container)| which(id, container)).map(|(id, _)| id.clone()).collect()
    }

    /// The containers directly within one, in order.
    pub(in crate::agent::core) fn children(&self, parent: &ContainerId) -> Vec<ContainerId> {
        let from = (parent.clone(), ContainerId::first());
        let within = self.children.range(from..).take_while(|(of, _)| of == parent);
        within.map(|(_, child)| child.clone()).collect()
    }

    /// Whether a container is another one, or nested in it at any depth.
    fn is_within(&self, container: &ContainerId, other: &ContainerId) -> bool {
        let parent = |of: &&ContainerId| self.all.get(*of)?.parent.as_ref();
        std::iter::successors(Some(container), |of| parent(of)).any(|of| of == other)
    }

    /// Whether a container has a parent that can hold it no longer.
    pub(in crate::agent::core) fn has_lost_parent(&self, container: &Container) -> bool {
        container.parent.as_ref().is_some_and(|parent| self.get(parent).is_none_or(Container::has_ended))
    }

    /// Asserts that the index names exactly the parents there are, and that what has lost its parent is being ended.
    pub(in crate::agent::core) fn check(&self) {
        let nested = self.all.values().filter(|container| container.parent.is_some()).count();
        assert_eq!(nested, self.children.len(), "each nested container is in the index once");
        for (parent, child) in &self.children {
            let container = &self.all[child];
            assert_eq!(container.parent.as_ref(), Some(parent), "{child} is indexed under its parent");
            let is_ending = container.has_ended() || container.kill.is_some();
            assert!(is_ending || !self.has_lost_parent(container), "{child} goes on without its parent {parent}");
        }
    }
}
