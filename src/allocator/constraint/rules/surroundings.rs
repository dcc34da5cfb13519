//! What runs on and around the agents: tasks by label, and who has an agent for itself.
//!
//! Counted are tasks of the view, running instances that it does not show, and what is placed. A [`Watch`] follows the
//! tasks of one label by agent or by attribute value, and the instances that avoid them there.

use std::collections::BTreeMap;

use super::columns::Column;
use super::counts::Change;
use crate::allocator::constraint::rule::Neighbours;

/// Tasks with a label, by place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Watch<'a> {
    pub(super) neighbours: &'a Neighbours,
    /// The column whose values are places; agents are if `None`.
    pub(super) column: Option<usize>,
    pub(super) there: Vec<u64>,
    pub(super) anywhere: u64,
    /// Instances that must not have such tasks beside them.
    pub(super) avoiders: Vec<u64>,
    /// Whether some request must avoid them.
    pub(super) is_avoided: bool,
}

/// What runs on each agent; kept only where some request is exclusive.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Occupancy {
    pub(super) tasks: Vec<u64>,
    /// Instances that have the agent for themselves.
    pub(super) alone: Vec<u64>,
    /// Instances of each request.
    pub(super) instances: Vec<BTreeMap<usize, u64>>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(neighbours: &'a Neighbours, column: Option<usize>, columns: &[Column], agents: usize) -> Self {
        let places = column.map_or(agents, |column| columns[column].keys.len());
        let (there, avoiders) = (vec![0; places], vec![0; places]);
        Self { neighbours, column, there, anywhere: 0, avoiders, is_avoided: false }
    }

    /// Which place the agent is; `None` where the attribute is missing.
    pub(super) fn place(&self, columns: &[Column], agent: usize) -> Option<usize> {
        self.column.map_or(Some(agent), |column| columns[column].key(agent))
    }

    /// Tasks with the label at the agent's place.
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

    /// Whether the place is fit for those that want to be with such tasks: also when they would be the first of them.
    pub(super) fn is_company(&self, columns: &[Column], agent: usize, carries: bool) -> bool {
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
