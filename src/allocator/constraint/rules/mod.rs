//! The compiled constraints of all requests of one placement, with counts that are updated as instances are placed.
//!
//! Agents are numbers: the offered ones first, in the order given, then those only in the view. Placing instances
//! changes a few counters by attribute value, and each query reads a few; none scans the agents. `remove` undoes
//! `place` exactly, so that a search can backtrack.

mod columns;
mod compile;
mod counts;
mod effects;
mod groups;
mod queries;
#[cfg(test)]
mod tests;
mod watches;

use std::sync::Arc;

use self::columns::{Column, Known};
use self::counts::{Change, Counts, Limit};
use self::groups::Groups;
use self::watches::{Occupancy, Watch};
use crate::allocator::reason::Host;
use crate::allocator::request::TaskRequest;
use crate::proto::v1;
use crate::types::{AttributeValue, Attributes};

/// An offered agent.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::allocator) struct Described {
    pub(in crate::allocator) host: Arc<Host>,
    pub(in crate::allocator) attributes: Attributes,
}

/// See the [module](self).
#[derive(Debug)]
pub(in crate::allocator) struct Rules<'a> {
    requests: &'a [TaskRequest],
    agents: Vec<Known<'a>>,
    columns: Vec<Column>,
    tests: Vec<Tested>,
    compiled: Vec<Compiled>,
    watches: Vec<Watch<'a>>,
    occupancy: Occupancy,
}

/// The results of one test, by the value lists of its column.
#[derive(Debug)]
struct Tested {
    column: usize,
    passes: Vec<bool>,
}

/// The constraints of one request. A number beside a rule is its index in the request's list.
#[derive(Debug, Default)]
struct Compiled {
    /// Hard tests.
    required: Vec<(usize, usize)>,
    /// Soft tests, with their weights.
    wished: Vec<(usize, f64)>,
    counts: Vec<Counts>,
    distributed: Vec<Distributed>,
    near: Vec<Near>,
    /// Whether instances are exclusive.
    is_exclusive: bool,
    /// The weights of soft `exclusive` constraints.
    alone_wished: Vec<f64>,
    /// The sum of the absolute weights; 0 without soft constraints.
    weights: f64,
    /// The watches whose label its tasks carry.
    carries: Vec<usize>,
    /// The watches whose tasks it avoids.
    avoids: Vec<usize>,
    /// Whether placing changes no result of its rules.
    is_static: bool,
    groups: Groups,
}

/// A rule on the distribution over the values of one of the request's counts.
#[derive(Debug)]
struct Distributed {
    counts: usize,
    limit: Limit,
    rule: usize,
    /// The weight of a soft constraint.
    weight: Option<f64>,
}

impl Distributed {
    /// Returns whether it is a hard rule that placing more elsewhere can satisfy.
    fn opens(&self) -> bool {
        self.weight.is_none() && matches!(self.limit, Limit::GroupBy { .. })
    }
}

/// A rule on neighbours.
#[derive(Debug)]
struct Near {
    watch: usize,
    avoid: bool,
    /// Whether the request carries the label itself.
    carries: bool,
    /// The weight of a soft constraint.
    weight: Option<f64>,
}

impl Near {
    /// Returns whether it is a hard rule that placing its neighbours can satisfy.
    fn opens(&self) -> bool {
        !self.avoid && self.weight.is_none()
    }
}

impl Described {
    /// Describes an offered agent. Invalid attributes are left out, and a set is several values.
    pub(in crate::allocator) fn new(host: Arc<Host>, list: &[v1::Attribute]) -> Self {
        let mut attributes = Attributes::default();
        for attribute in list {
            if let Some(set) = attribute.set.as_ref().filter(|_| attribute.r#type() == v1::value::Type::Set) {
                set.item.iter().for_each(|item| attributes.push(&attribute.name, AttributeValue::Text(item.clone())));
            } else if let Ok(one) = Attributes::from_proto(std::slice::from_ref(attribute)) {
                one.iter().for_each(|one| attributes.push(&one.name, one.value.clone()));
            }
        }
        Self { host, attributes }
    }
}

impl Rules<'_> {
    /// Counts instances placed on an agent. [`check`](Self::check) has allowed each of them, or will allow all in some
    /// order.
    pub(in crate::allocator) fn place(&mut self, request: usize, agent: usize, instances: u32) {
        self.change_own(request, agent, Change::Add(instances.into()));
        self.change_others(request, agent, Change::Add(instances.into()));
    }

    /// Undoes [`place`](Self::place).
    pub(in crate::allocator) fn remove(&mut self, request: usize, agent: usize, instances: u32) {
        self.change_own(request, agent, Change::Remove(instances.into()));
        self.change_others(request, agent, Change::Remove(instances.into()));
    }

    /// Updates the counts of the request's own instances.
    fn change_own(&mut self, request: usize, agent: usize, change: Change) {
        let compiled = &mut self.compiled[request];
        for counts in &mut compiled.counts {
            if let Some(value) = self.columns[counts.column].key(agent) {
                counts.change(value, change);
            }
        }
        for &watch in &compiled.avoids {
            self.watches[watch].change_avoiders(&self.columns, agent, change);
        }
        if self.occupancy.is_kept() {
            self.occupancy.change_instances(request, agent, change);
            if compiled.is_exclusive {
                change.apply(&mut self.occupancy.alone[agent]);
            }
        }
    }

    /// Updates what the instances count for as neighbours of others.
    fn change_others(&mut self, request: usize, agent: usize, change: Change) {
        for &watch in &self.compiled[request].carries {
            self.watches[watch].change(&self.columns, agent, change);
        }
        if self.occupancy.is_kept() {
            change.apply(&mut self.occupancy.tasks[agent]);
        }
    }
}
