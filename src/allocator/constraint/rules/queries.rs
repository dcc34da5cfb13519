//! Queries of the search: whether an instance is allowed, how many are, their score, and which agents are equivalent.

use std::sync::Arc;

use super::counts::{Limit, kept};
use super::watches::Watch;
use super::{Compiled, Distributed, Near, Rules, Tested};
use crate::allocator::constraint::Broken;
use crate::allocator::constraint::rule::Rule;
use crate::allocator::reason::Reason;

impl Rules<'_> {
    /// Checks that one more instance satisfies all hard rules, its own and those of placed instances.
    pub(in crate::allocator) fn check(&self, request: usize, agent: usize) -> Result<(), Reason> {
        self.check_static(request, agent)?;
        if self.moving_room(request, agent, true) > 0 {
            return Ok(());
        }
        Err(Reason::Constraint(self.broken(request, agent)))
    }

    /// Checks only the rules that placing cannot change.
    pub(in crate::allocator) fn check_static(&self, request: usize, agent: usize) -> Result<(), Reason> {
        let failing = self.compiled[request].required.iter().find(|(test, _)| !self.passes(*test, agent));
        let Some(&(test, rule)) = failing else { return Ok(()) };
        let column = &self.columns[self.tests[test].column];
        let found = column.text(agent);
        let asked = match self.requests[request].constraints[rule].rule() {
            Rule::Attribute { test, .. } => test.asked(found.is_some()),
            other => other.to_string(),
        };
        Err(Reason::Constraint(Broken::Attribute { name: Arc::clone(&column.name), found, asked: asked.into() }))
    }

    /// Returns whether placing changes no result of the request's rules, hard or soft.
    pub(in crate::allocator) fn is_static(&self, request: usize) -> bool {
        self.compiled[request].is_static
    }

    /// Scores one more instance by the request's soft constraints, from -1 to 1; `None` if it has none.
    ///
    /// The mean of the rules' scores, weighted by their weights. A rule that holds scores 1, a failed test 0. An
    /// exceeded limit scores 0 or less, and less the more it is exceeded. A spread scores by how much of a value's
    /// share is missing.
    pub(in crate::allocator) fn score(&self, request: usize, agent: usize) -> Option<f64> {
        let compiled = &self.compiled[request];
        if compiled.weights == 0.0 {
            return None;
        }
        let tests = compiled.wished.iter().filter(|(test, _)| self.passes(*test, agent)).map(|(_, weight)| *weight);
        let distributed = compiled.distributed.iter().filter_map(|rule| {
            let counts = &compiled.counts[rule.counts];
            let value = self.columns[counts.column].key(agent);
            Some(rule.weight? * value.map_or(-1.0, |value| rule.limit.score(counts, value)))
        });
        let near = compiled.near.iter().filter_map(|near| Some(near.weight? * self.near_score(near, agent)));
        let alone = compiled.alone_wished.iter().map(|weight| weight * kept(self.occupancy.tasks[agent]));
        Some(tests.chain(distributed).chain(near).chain(alone).sum::<f64>() / compiled.weights)
    }

    /// Returns the number of the agent's group: agents of one group always have the same [`score`](Self::score) and
    /// pass the same tests. Hard rules about each agent alone (`unique hostname`, neighbours on the agent, `exclusive`)
    /// may still refuse one and not another.
    pub(in crate::allocator) fn score_group(&self, request: usize, agent: usize) -> u32 {
        self.compiled[request].groups.of(agent)
    }

    /// Returns whether a hard rule that all agents of the group share excludes further instances for now.
    pub(in crate::allocator) fn is_group_full(&self, request: usize, agent: usize) -> bool {
        let compiled = &self.compiled[request];
        let is_full = |rule: &&Distributed| {
            let is_shared = !self.columns[compiled.counts[rule.counts].column].is_identity();
            rule.weight.is_none() && is_shared && self.room_distributed(compiled, rule, agent) == 0
        };
        let is_unfit = |near: &&Near| {
            let is_shared = self.watches[near.watch].column.is_some();
            near.weight.is_none() && is_shared && self.room_near(near, agent) == 0
        };
        compiled.distributed.iter().any(|rule| is_full(&rule)) || compiled.near.iter().any(|near| is_unfit(&near))
    }

    /// Returns whether placing something may allow instances that hard rules exclude now.
    pub(in crate::allocator) fn may_open(&self, request: usize) -> bool {
        let compiled = &self.compiled[request];
        compiled.distributed.iter().any(Distributed::opens) || compiled.near.iter().any(Near::opens)
    }

    /// Returns how many more instances the agent may have by those rules alone that placing can only tighten. Their
    /// result does not depend on the order in which instances are placed.
    pub(in crate::allocator) fn closing_room(&self, request: usize, agent: usize) -> u32 {
        if self.passes_all(request, agent) { self.moving_room(request, agent, false) } else { 0 }
    }

    /// Returns whether the rules that placing can open depend on the agent, and not only on its group.
    pub(in crate::allocator) fn opens_by_agent(&self, request: usize) -> bool {
        let compiled = &self.compiled[request];
        let on_identity = |rule: &Distributed| {
            let is_identity = self.columns[compiled.counts[rule.counts].column].is_identity();
            rule.weight.is_none() && is_identity && matches!(rule.limit, Limit::GroupBy { .. })
        };
        let on_agent = |near: &Near| near.opens() && self.watches[near.watch].column.is_none();
        compiled.distributed.iter().any(on_identity) || compiled.near.iter().any(on_agent)
    }

    /// Returns whether no agent, offered or in the view, passes the tests of a request.
    pub(in crate::allocator) fn passes_nowhere(&self, request: usize) -> bool {
        (0..self.agents.len()).all(|agent| self.check_static(request, agent).is_err())
    }

    /// Returns the room by the rules that placing changes: those that it can open, or the others.
    pub(super) fn moving_room(&self, request: usize, agent: usize, opening: bool) -> u32 {
        let compiled = &self.compiled[request];
        let mut room = self.room_alone(compiled, agent);
        for rule in compiled.distributed.iter().filter(|rule| rule.weight.is_none() && (opening || !rule.opens())) {
            room = room.min(self.room_distributed(compiled, rule, agent));
        }
        for near in compiled.near.iter().filter(|near| near.weight.is_none() && (opening || !near.opens())) {
            room = room.min(self.room_near(near, agent));
        }
        let avoided = compiled.carries.iter().any(|&watch| self.is_avoided(&self.watches[watch], agent));
        if avoided { 0 } else { u32::try_from(room).unwrap_or(u32::MAX) }
    }

    fn room_alone(&self, compiled: &Compiled, agent: usize) -> u64 {
        if !self.occupancy.is_kept() {
            return u64::MAX;
        }
        match (compiled.is_exclusive, self.occupancy.alone[agent]) {
            (true, _) => u64::from(self.occupancy.tasks[agent] == 0),
            (false, 0) => u64::MAX,
            (false, _) => 0,
        }
    }

    fn room_distributed(&self, compiled: &Compiled, rule: &Distributed, agent: usize) -> u64 {
        let counts = &compiled.counts[rule.counts];
        self.columns[counts.column].key(agent).map_or(0, |value| rule.limit.room(counts, value))
    }

    fn room_near(&self, near: &Near, agent: usize) -> u64 {
        let watch = &self.watches[near.watch];
        if !near.avoid {
            return if watch.has_match(&self.columns, agent, near.carries) { u64::MAX } else { 0 };
        }
        match watch.place(&self.columns, agent) {
            Some(place) if watch.there[place] > 0 => 0,
            Some(_) if near.carries => 1,
            Some(_) | None => u64::MAX,
        }
    }

    fn is_avoided(&self, watch: &Watch<'_>, agent: usize) -> bool {
        watch.is_avoided && watch.place(&self.columns, agent).is_some_and(|place| watch.avoiders[place] > 0)
    }

    fn near_score(&self, near: &Near, agent: usize) -> f64 {
        let watch = &self.watches[near.watch];
        if near.avoid {
            return kept(watch.beside(&self.columns, agent));
        }
        f64::from(u8::from(watch.has_match(&self.columns, agent, near.carries)))
    }

    pub(super) fn passes_all(&self, request: usize, agent: usize) -> bool {
        self.compiled[request].required.iter().all(|(test, _)| self.passes(*test, agent))
    }

    fn passes(&self, test: usize, agent: usize) -> bool {
        let Tested { column, passes } = &self.tests[test];
        passes[self.columns[*column].list_of[agent]]
    }

    /// Returns the rule that leaves no room; there must be one.
    fn broken(&self, request: usize, agent: usize) -> Broken {
        let compiled = &self.compiled[request];
        if self.room_alone(compiled, agent) == 0 {
            return self.crowded(compiled, agent);
        }
        let full = |rule: &&Distributed| rule.weight.is_none() && self.room_distributed(compiled, rule, agent) == 0;
        if let Some(rule) = compiled.distributed.iter().find(full) {
            return self.unbalanced(request, rule, agent);
        }
        let unfit = |near: &&Near| near.weight.is_none() && self.room_near(near, agent) == 0;
        if let Some(near) = compiled.near.iter().find(unfit) {
            return self.misplaced(near, agent);
        }
        let unwelcome = compiled.carries.iter().find(|&&watch| self.is_avoided(&self.watches[watch], agent));
        let watch = unwelcome.expect("some rule leaves no room");
        let avoider = |(_, compiled): &(usize, &Compiled)| compiled.avoids.contains(watch);
        let by =
            self.compiled.iter().enumerate().find(avoider).map(|(request, _)| self.requests[request].name.as_str());
        let label = self.watches[*watch].neighbours.label().into();
        Broken::Avoided { label, by: by.unwrap_or_default().into() }
    }

    fn crowded(&self, compiled: &Compiled, agent: usize) -> Broken {
        let there = self.occupancy.instances[agent].keys();
        if !compiled.is_exclusive {
            let holder = there.into_iter().find(|request| self.compiled[**request].is_exclusive);
            let task = holder.map(|request| self.requests[*request].name.as_str());
            return Broken::Taken { task: task.unwrap_or_default().into() };
        }
        let placed = there.into_iter().next().map(|request| self.requests[*request].name.as_str());
        let viewed = self.agents[agent].viewed.into_iter().flat_map(|viewed| &viewed.tasks);
        let viewed = viewed.filter(|tasks| tasks.count > 0).map(|tasks| tasks.name.as_str()).next();
        Broken::Exclusive { task: placed.or(viewed).unwrap_or_default().into() }
    }

    fn unbalanced(&self, request: usize, rule: &Distributed, agent: usize) -> Broken {
        let counts = &self.compiled[request].counts[rule.counts];
        let column = &self.columns[counts.column];
        let attribute = Arc::clone(&column.name);
        let Some(key) = column.key(agent) else {
            let asked = self.requests[request].constraints[rule.rule].to_string();
            return Broken::Attribute { name: attribute, found: None, asked: asked.into() };
        };
        let (value, there) = (Arc::clone(&column.keys[key]), counts.at(key));
        match &rule.limit {
            Limit::PerValue { limit } => Broken::PerValue { attribute, value, there, limit: *limit },
            Limit::GroupBy { skew } => {
                let least = counts.least_other(key).unwrap_or_default();
                Broken::GroupBy { attribute, value, would_have: there + 1, least, allowed: *skew }
            }
            Limit::Even { total } => Broken::Spread { attribute, value, share: counts.even_share(*total) },
            Limit::Targets(targets) => Broken::Spread { attribute, value, share: targets.share(key) },
        }
    }

    fn misplaced(&self, near: &Near, agent: usize) -> Broken {
        let watch = &self.watches[near.watch];
        let label = watch.neighbours.label().into();
        let same = watch.column.map(|column| {
            let column = &self.columns[column];
            let value = column.key(agent).map_or("not set", |key| &column.keys[key]);
            format!("{} {value}", column.name).into()
        });
        if near.avoid { Broken::Avoid { label, same } } else { Broken::Colocate { label, same } }
    }
}
