//! What was not placed: how many, why on each agent, and what would help.

use std::collections::BTreeMap;
use std::fmt;

use crate::allocator::feasible::Names;
use crate::allocator::reason::{AgentReason, Reason};
use crate::allocator::request::{RequestError, TaskRequest};
use crate::types::Milli;

/// A request, or the rest of one, that is not placed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Unplaced {
    /// The request's name.
    pub task: String,
    /// How many instances were asked for.
    pub asked: u32,
    /// How many of them are not placed.
    pub missing: u32,
    /// Why the next instance does not fit, one entry for each agent and role offered, in the order of the offers.
    pub reasons: Vec<AgentReason>,
    /// Set when the request makes no sense: then there are no reasons, and no offer helps.
    pub error: Option<RequestError>,
    /// What would make room for the missing instances; `None` when nothing would.
    pub unblock: Option<Unblock>,
}

/// What would make room for missing instances. Its text reads "1 more agent with 0.5 cpus and 64 MiB".
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unblock {
    /// How many instances are missing.
    pub instances: u32,
    /// How many of them one agent may run; no limit if `None`.
    pub per_agent: Option<u32>,
    /// What one instance needs of scalar resources, by name; `mem` and `disk` in MiB.
    pub scalars: BTreeMap<String, Milli>,
    /// How many ports one instance needs, fixed ones included.
    pub ports: u32,
}

impl Unplaced {
    pub(in crate::allocator) fn new(request: &TaskRequest, missing: u32, reasons: Vec<AgentReason>) -> Self {
        let unblock = Unblock::of(request, missing);
        Self { task: request.name.clone(), asked: request.count, missing, reasons, error: None, unblock }
    }

    pub(in crate::allocator) fn invalid(request: &TaskRequest, error: RequestError) -> Self {
        let (asked, missing) = (request.count, request.count);
        Self { task: request.name.clone(), asked, missing, reasons: Vec::new(), error: Some(error), unblock: None }
    }

    /// The reasons in one line: "2 agents: at their limit of 2", "12 agents: 7 cpus, 4 zone, 1 port".
    #[must_use]
    pub fn summary(&self) -> String {
        let Some(first) = self.reasons.first() else { return "nothing is offered".to_owned() };
        let agents = counted(self.reasons.len() as u64, "agent");
        let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in &self.reasons {
            *by_rule.entry(reason.reason().rule()).or_default() += 1;
        }
        if by_rule.len() == 1 {
            return format!("{agents}: {}", self.one_rule(first.reason()));
        }
        let mut rules: Vec<_> = by_rule.into_iter().collect();
        rules.sort_by_key(|&(rule, count)| (std::cmp::Reverse(count), rule));
        let rules: Vec<String> = rules.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
        format!("{agents}: {}", rules.join(", "))
    }

    /// The text for agents that all fail by the first one's rule.
    fn one_rule(&self, first: &Reason) -> String {
        if self.reasons.len() == 1 {
            return first.to_string();
        }
        let most = self.reasons.iter().filter_map(|reason| reason.reason().left()).max().unwrap_or_default();
        match first {
            Reason::AgentLimit { limit } => format!("at their limit of {limit}"),
            Reason::Scalar { name, asked, .. } => format!("{name}: asked {asked}, at most {most} left"),
            Reason::Ports { asked, .. } => format!("ports: asked {asked}, at most {most} left"),
            Reason::Items { name, asked, .. } => format!("{name}: asked {asked} items, at most {most} left"),
            Reason::Offer { .. }
            | Reason::Role { .. }
            | Reason::Port { .. }
            | Reason::Item { .. }
            | Reason::AnyOf(_)
            | Reason::Kind { .. } => first.to_string(),
        }
    }
}

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            return write!(f, "cannot be placed: {error}");
        }
        let verb = if self.missing == 1 { "does" } else { "do" };
        write!(f, "{} of {} {verb} not fit: {}", self.missing, self.asked, self.summary())?;
        match &self.unblock {
            Some(unblock) => write!(f, "; needs {unblock}"),
            None => write!(f, "; a limit of 0 allows none anywhere"),
        }
    }
}

impl Unblock {
    fn of(request: &TaskRequest, missing: u32) -> Option<Self> {
        let demand = &request.demand;
        let exclusive = demand.is_exclusive().then_some(1);
        let per_agent = [request.max_per_agent, exclusive].into_iter().flatten().min();
        let fixed = u32::try_from(demand.fixed_ports.len()).expect("there are 65536 port numbers");
        let ports = demand.ports.saturating_add(fixed);
        let scalars = demand.scalars.clone();
        (per_agent != Some(0)).then_some(Self { instances: missing, per_agent, scalars, ports })
    }

    /// What so many instances need: "1 cpu, 128 MiB and 2 ports".
    fn amounts(&self, instances: u32) -> String {
        let mut wanted: Vec<(&str, Milli)> =
            self.scalars.iter().map(|(name, &amount)| (name.as_str(), amount)).collect();
        wanted.retain(|(_, amount)| !amount.is_zero());
        wanted.sort_by_key(|(name, _)| Names::rank(name));
        let each = wanted.into_iter().map(|(name, amount)| measured(name, amount.times(i64::from(instances))));
        let port_count = u64::from(self.ports) * u64::from(instances);
        let parts: Vec<String> = each.chain((port_count > 0).then(|| counted(port_count, "port"))).collect();
        match parts.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            _ => parts.concat(),
        }
    }
}

impl fmt::Display for Unblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, per_agent, .. } = *self;
        match per_agent.filter(|&limit| limit > 0) {
            Some(limit) if instances <= limit => write!(f, "1 more agent with {}", self.amounts(instances)),
            Some(limit) => {
                write!(f, "{} more agents with {} each", instances.div_ceil(limit), self.amounts(limit))
            }
            None if instances == 1 => write!(f, "an agent with {}", self.amounts(1)),
            None => write!(f, "{} more, in parts of {}", self.amounts(instances), self.amounts(1)),
        }
    }
}

/// "1 agent", "2 agents".
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// An amount in its unit: "0.5 cpus", "1 cpu", "64 MiB", "10 MiB of disk", "3 licences".
fn measured(name: &str, amount: Milli) -> String {
    match name {
        "mem" => format!("{amount} MiB"),
        "disk" => format!("{amount} MiB of disk"),
        "cpus" | "gpus" if amount == Milli::from_units(1) => format!("1 {}", &name[..3]),
        _ => format!("{amount} {name}"),
    }
}
