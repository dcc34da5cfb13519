//! Tasks on and around the agents: by label, and by exclusive use of an agent.
//!
//! Counts the tasks of the view, running instances that it does not list, and placed instances. A [`Watch`] counts the
//! tasks of one label by agent or attribute value, and the instances that avoid them there.

use std::collections::BTreeMap;

use super::columns::Column;
use super::counts::Change;
use crate::allocator::constraint::rule::Neighbours;

/// Tasks with a label, by place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Watch<'a> {
    pub(super) neighbours: &'a Neighbours,
    /// The column whose values are places; the agents are places if `None`.
    pub(super) column: Option<usize>,
    pub(super) there: Vec<u64>,
    pub(super) anywhere: u64,
    /// Instances that avoid such tasks.
    pub(super) avoiders: Vec<u64>,
    /// Whether some request avoids them.
    pub(super) is_avoided: bool,
}

/// The tasks on each agent; kept only if some request is exclusive.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Occupancy {
    pub(super) tasks: Vec<u64>,
    /// The exclusive instances.
    pub(super) alone: Vec<u64>,
    /// The instances of each request.
    pub(super) instances: Vec<BTreeMap<usize, u64>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(neighbours: &'a Neighbours, column: Option<usize>, columns: &[Column], agents: usize) -> Self {
        let places = column.map_or(agents, |column| columns[column].keys.len());
        let (there, avoiders) = (vec![0; places], vec![0; places]);
        Self { neighbours, column, there, anywhere: 0, avoiders, is_avoided: false }
    }

    /// Returns the place of an agent; `None` if the attribute is missing.
    pub(super) fn place(&self, columns: &[Column], agent: usize) -> Option<usize> {
        self.column.map_or(Some(agent), |column| columns[column].key(agent))
    }

    /// Returns the tasks with the label at the agent's place.
    pub(super) fn beside(&self, columns: &[Column], agent: usize) -> u64 {
        self.place(columns, agent).map_or(0, |place| self.there[place])
    }

    pub(super) fn change(&mut self, columns: &[Column], agent: usize, change: Change) {
        change.apply(&mut self.anywhere);
        if let Some(place) = self.place(columns, agent) {
            change.apply(&mut self.there[place]);
        }
    }

    pub(super) fn change_avoiders(&mut self, columns: &[Column], agent: usize, change: Change) {
        if let Some(place) = self.place(columns, agent) {
            change.apply(&mut self.avoiders[place]);
        }
    }

    /// Returns whether the place satisfies a request for such tasks, also if the instance would be the first of them.
    pub(super) fn has_match(&self, columns: &[Column], agent: usize, carries: bool) -> bool {
        self.place(columns, agent).is_some_and(|place| self.there[place] > 0 || (carries && self.anywhere == 0))
    }
}

impl Occupancy {
    pub(super) fn new(agents: usize) -> Self {
        Self { tasks: vec![0; agents], alone: vec![0; agents], instances: vec![BTreeMap::new(); agents] }
    }

    pub(super) fn is_kept(&self) -> bool {
        !self.tasks.is_empty()
    }

    pub(super) fn change_instances(&mut self, request: usize, agent: usize, change: Change) {
        let instances = self.instances[agent].entry(request).or_default();
        change.apply(instances);
        if *instances == 0 {
            self.instances[agent].remove(&request);
        }
    }
}
