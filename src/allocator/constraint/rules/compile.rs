//! Compiles [`Rules`] of requests: columns of their attributes, results of tests, counts of running instances.

use std::collections::HashMap;

use super::columns::{Column, Known};
use super::counts::{Change, Counts, Limit, Targets};
use super::groups::Groupings;
use super::watches::{Occupancy, Watch};
use super::{Compiled, Described, Distributed, Near, Rules, Tested};
use crate::allocator::constraint::rule::{Neighbours, Rule, Test};
use crate::allocator::constraint::{ClusterView, Constraint};
use crate::allocator::feasible::{Names, Room, Want};
use crate::allocator::request::TaskRequest;
use crate::proto::v1;

impl<'a> Rules<'a> {
    /// Compiles the rules; `hosts[i]` describes agent number `i`, and the view adds what its offer lacks.
    ///
    /// Running instances count where the request lists them. As neighbours of other tasks they count only as far as the
    /// view does not list them under the request's name.
    pub(in crate::allocator) fn new(
        requests: &'a [TaskRequest],
        hosts: &'a [Described],
        view: Option<&'a ClusterView>,
    ) -> Self {
        let agents = Known::all(hosts, view);
        let mut shared = Compiler::new(requests, agents);
        let compiled = requests.iter().map(|request| shared.compile(request)).collect();
        let Compiler { agents, columns, tests, watches, .. } = shared;
        let occupancy = Occupancy::default();
        let mut rules = Self { requests, agents, columns, tests, compiled, watches, occupancy };
        rules.connect(hosts.len());
        rules.count_viewed();
        rules.count_running();
        rules
    }

    /// Links a request's rules to the others' tasks.
    fn connect(&mut self, offered: usize) {
        let any_exclusive = self.compiled.iter().any(|compiled| compiled.is_exclusive);
        if any_exclusive || self.compiled.iter().any(|compiled| !compiled.alone_wished.is_empty()) {
            self.occupancy = Occupancy::new(self.agents.len());
        }
        for compiled in &self.compiled {
            compiled.avoids.iter().for_each(|&watch| self.watches[watch].is_avoided = true);
        }
        let by_watch: Vec<Option<usize>> = self.watches.iter().map(|watch| watch.column).collect();
        let mut groupings = Groupings::default();
        for (compiled, request) in self.compiled.iter_mut().zip(self.requests) {
            let labels =
                || request.labels.iter().map(|label| (label.key.as_str(), label.value.as_deref().unwrap_or("")));
            let carried = |watch: &&usize| self.watches[**watch].neighbours.carried(labels());
            compiled.carries = (0..self.watches.len()).filter(|watch| carried(&watch)).collect();
            let is_avoided = compiled.carries.iter().any(|&watch| self.watches[watch].is_avoided);
            let own = compiled.distributed.is_empty() && compiled.near.is_empty() && compiled.alone_wished.is_empty();
            compiled.is_static = own && !any_exclusive && !is_avoided;
            let near: Vec<Option<usize>> = compiled.near.iter().map(|near| by_watch[near.watch]).collect();
            compiled.groups = groupings.group(compiled, &near, &self.tests, &self.columns, offered);
        }
    }

    fn count_viewed(&mut self) {
        let viewed = self.agents.iter().enumerate().filter_map(|(agent, known)| Some((agent, known.viewed?)));
        for (agent, tasks) in viewed.flat_map(|(agent, viewed)| viewed.tasks.iter().map(move |tasks| (agent, tasks))) {
            let change = Change::Add(tasks.count.into());
            for watch in &mut self.watches {
                if watch.neighbours.carried(tasks.labels()) {
                    watch.change(&self.columns, agent, change);
                }
            }
            if self.occupancy.is_kept() {
                change.apply(&mut self.occupancy.tasks[agent]);
            }
        }
    }

    fn count_running(&mut self) {
        if self.requests.iter().all(|request| request.running.is_empty()) {
            return;
        }
        let number = |(agent, known): (usize, &Known<'a>)| Some((known.agent_id()?, agent));
        let by_id: HashMap<&v1::AgentId, usize> = self.agents.iter().enumerate().filter_map(number).collect();
        for (index, request) in self.requests.iter().enumerate() {
            let running = request.running.iter().filter(|&(_, &instances)| instances > 0);
            for (agent, instances) in running.filter_map(|(id, &instances)| Some((*by_id.get(id)?, instances))) {
                let tasks = self.agents[agent].viewed.into_iter().flat_map(|viewed| &viewed.tasks);
                let shown = tasks.filter(|tasks| tasks.name == request.name).map(|tasks| u64::from(tasks.count)).sum();
                self.change_own(index, agent, Change::Add(instances.into()));
                self.change_others(index, agent, Change::Add(u64::from(instances).saturating_sub(shown)));
            }
        }
    }
}

/// State shared by requests with equal rules.
struct Compiler<'a> {
    agents: Vec<Known<'a>>,
    names: Names,
    /// The agents' total resources; `None` where they are not known.
    totals: Vec<Option<Room>>,
    columns: Vec<Column>,
    column_of: HashMap<&'a str, usize>,
    tests: Vec<Tested>,
    test_of: HashMap<String, usize>,
    watches: Vec<Watch<'a>>,
    watch_of: HashMap<&'a Neighbours, usize>,
}

impl<'a> Compiler<'a> {
    fn new(requests: &'a [TaskRequest], agents: Vec<Known<'a>>) -> Self {
        let rules = requests.iter().flat_map(|request| &request.constraints).map(Constraint::rule);
        let compares = rules.clone().any(compares);
        let names = Names::of(if compares { requests } else { &[] });
        let total = |known: &Known<'a>| Some(Room::new(known.viewed?.total.as_ref()?, &names));
        let totals = if compares { agents.iter().map(total).collect() } else { Vec::new() };
        let mut column_of = HashMap::new();
        let mut columns = Vec::new();
        for name in rules.filter_map(Rule::attribute) {
            column_of.entry(name).or_insert_with(|| {
                columns.push(Column::new(name, &agents));
                columns.len() - 1
            });
        }
        let (tests, test_of, watches, watch_of) = (Vec::new(), HashMap::new(), Vec::new(), HashMap::new());
        Self { agents, names, totals, columns, column_of, tests, test_of, watches, watch_of }
    }

    /// Compiles the rules of one request; the tests first, since they decide which values it can reach.
    fn compile(&mut self, request: &'a TaskRequest) -> Compiled {
        let mut compiled = Compiled::default();
        let rules = || request.constraints.iter().enumerate();
        for (at, constraint) in rules() {
            let weight = constraint.weight().map(f64::from);
            compiled.weights += weight.unwrap_or_default().abs();
            if let Rule::Attribute { name, test } = constraint.rule() {
                let test = self.test(name, test, constraint);
                match weight {
                    Some(weight) => compiled.wished.push((test, weight)),
                    None => compiled.required.push((test, at)),
                }
            }
        }
        rules().for_each(|(at, constraint)| self.compile_moving(&mut compiled, request, at, constraint));
        compiled.avoids.sort_unstable();
        compiled.avoids.dedup();
        compiled
    }

    /// Compiles a rule whose result changes as instances are placed.
    fn compile_moving(
        &mut self,
        compiled: &mut Compiled,
        request: &TaskRequest,
        at: usize,
        constraint: &'a Constraint,
    ) {
        let weight = constraint.weight().map(f64::from);
        match constraint.rule() {
            Rule::Attribute { .. } => {}
            Rule::PerValue { attribute, limit } => {
                let counts = self.counts(compiled, attribute, request);
                let limit = Limit::PerValue { limit: *limit };
                compiled.distributed.push(Distributed { counts, limit, rule: at, weight });
            }
            Rule::GroupBy { attribute, skew } => {
                let counts = self.counts(compiled, attribute, request);
                let limit = Limit::GroupBy { skew: *skew };
                compiled.distributed.push(Distributed { counts, limit, rule: at, weight });
            }
            Rule::Spread { attribute, targets } => {
                let counts = self.counts(compiled, attribute, request);
                let limit = self.shares(targets, &compiled.counts[counts], request);
                compiled.distributed.push(Distributed { counts, limit, rule: at, weight });
            }
            Rule::With(neighbours) => compiled.near.push(self.near(neighbours, false, weight, request)),
            Rule::Avoid(neighbours) => {
                let near = self.near(neighbours, true, weight, request);
                compiled.avoids.extend(weight.is_none().then_some(near.watch));
                compiled.near.push(near);
            }
            Rule::Exclusive => match weight {
                Some(weight) => compiled.alone_wished.push(weight),
                None => compiled.is_exclusive = true,
            },
        }
    }

    fn test(&mut self, name: &str, test: &Test, constraint: &Constraint) -> usize {
        let column = self.column_of[name];
        *self.test_of.entry(constraint.rule().to_string()).or_insert_with(|| {
            let passes = self.columns[column].lists.iter().map(|values| test.holds(values)).collect();
            self.tests.push(Tested { column, passes });
            self.tests.len() - 1
        })
    }

    /// Returns the request's counts by that attribute; rules on the same one share them.
    fn counts(&self, compiled: &mut Compiled, attribute: &str, request: &TaskRequest) -> usize {
        let column = self.column_of[attribute];
        let known = compiled.counts.iter().position(|counts| counts.column == column);
        known.unwrap_or_else(|| {
            let compares = |rule: &Rule| compares(rule) && rule.attribute() == Some(attribute);
            let reachable = if request.constraints.iter().any(|constraint| compares(constraint.rule())) {
                self.reachable(compiled, column, request)
            } else {
                vec![false; self.columns[column].keys.len()]
            };
            compiled.counts.push(Counts::new(column, reachable));
            compiled.counts.len() - 1
        })
    }

    /// Returns which values have an agent that passes the request's tests and is large enough for it.
    fn reachable(&self, compiled: &Compiled, column: usize, request: &TaskRequest) -> Vec<bool> {
        let column = &self.columns[column];
        let mut reachable = vec![false; column.keys.len()];
        let mut missing = reachable.len();
        let wants: Vec<Want> = request.demands().map(|demand| Want::new(demand, &self.names)).collect();
        for agent in 0..self.agents.len() {
            let Some(value) = column.key(agent).filter(|value| !reachable[*value]) else { continue };
            let passes = |&(test, _): &(usize, usize)| {
                let Tested { column, passes } = &self.tests[test];
                passes[self.columns[*column].list_of[agent]]
            };
            let total = self.totals[agent].as_ref();
            let is_large_enough = |total: &Room| wants.iter().any(|want| total.check(want).is_ok());
            if total.is_none_or(is_large_enough) && compiled.required.iter().all(passes) {
                reachable[value] = true;
                missing -= 1;
                if missing == 0 {
                    break;
                }
            }
        }
        reachable
    }

    fn shares(&self, targets: &[(String, u32)], counts: &Counts, request: &TaskRequest) -> Limit {
        let running: u64 = request.running.values().map(|&instances| u64::from(instances)).sum();
        let total = running + u64::from(request.count);
        if targets.is_empty() {
            return Limit::Even { total };
        }
        let column = &self.columns[counts.column];
        let percents = targets.iter().filter_map(|(value, percent)| Some((column.key_named(value)?, *percent)));
        let sum = targets.iter().fold(0_u32, |sum, (_, percent)| sum.saturating_add(*percent));
        Limit::Targets(Targets::new(percents.collect(), sum, counts.reachable(), total))
    }

    fn near(&mut self, neighbours: &'a Neighbours, avoid: bool, weight: Option<f64>, request: &TaskRequest) -> Near {
        let column = neighbours.same.as_deref().map(|name| self.column_of[name]);
        let watch = *self.watch_of.entry(neighbours).or_insert_with(|| {
            self.watches.push(Watch::new(neighbours, column, &self.columns, self.agents.len()));
            self.watches.len() - 1
        });
        let labels = request.labels.iter().map(|label| (label.key.as_str(), label.value.as_deref().unwrap_or("")));
        Near { watch, avoid, carries: neighbours.carried(labels), weight }
    }
}

/// Returns whether a rule compares the counts of several values, so that it matters which values exist.
fn compares(rule: &Rule) -> bool {
    matches!(rule, Rule::Spread { .. } | Rule::GroupBy { .. })
}
