//! What would make room for missing instances.

use std::fmt;

use crate::allocator::constraint::Constraint;
use crate::allocator::feasible::Names;
use crate::allocator::request::{Demand, TaskRequest};
use crate::types::Milli;

/// What would make room for missing instances; its text reads "1 more agent with 0.5 cpus and 64 MiB".
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Unblock {
    /// The number of missing instances.
    pub instances: u32,
    /// How many of them one agent may run; no limit if `None`.
    pub per_agent: Option<u32>,
    /// The needs of one instance: any of these, the preferred first.
    pub demands: Vec<Demand>,
    /// The attribute tests that the agents must pass as well.
    pub constraints: Vec<Constraint>,
}

impl Unblock {
    pub(super) fn of(request: &TaskRequest, missing: u32) -> Option<Self> {
        let exclusive = request.demands().all(Demand::is_exclusive).then_some(1);
        let per_agent = [request.max_per_agent, exclusive].into_iter().flatten().min();
        let demands = request.demands().cloned().collect();
        let hard = request.constraints.iter().filter(|constraint| constraint.weight().is_none());
        let constraints = hard.cloned().collect();
        (per_agent != Some(0)).then_some(Self { instances: missing, per_agent, demands, constraints })
    }

    /// Formats the needs of so many instances: "1 cpu, 128 MiB and 2 ports, or 4 cpus".
    fn amounts(&self, instances: u32) -> String {
        let tests: Vec<String> = self.constraints.iter().filter(|it| it.is_test()).map(test).collect();
        let all: Vec<String> = self.demands.iter().map(|demand| amounts(&tests, demand, instances)).collect();
        all.join(", or ")
    }

    /// Formats the rules on how instances are distributed, which more agents have to satisfy as well.
    fn keeping(&self) -> String {
        let others: Vec<String> =
            self.constraints.iter().filter(|it| !it.is_test()).map(Constraint::to_string).collect();
        if others.is_empty() { String::new() } else { format!(", keeping \"{}\"", others.join("\" and \"")) }
    }
}

impl fmt::Display for Unblock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, per_agent, .. } = *self;
        match per_agent.filter(|&limit| limit > 0) {
            Some(limit) if instances <= limit => write!(f, "1 more agent with {}", self.amounts(instances))?,
            Some(limit) => {
                write!(f, "{} more agents with {} each", instances.div_ceil(limit), self.amounts(limit))?;
            }
            None if instances == 1 => write!(f, "an agent with {}", self.amounts(1))?,
            None => write!(f, "{} more, in parts of {}", self.amounts(instances), self.amounts(1))?,
        }
        f.write_str(&self.keeping())
    }
}

/// Formats "zone a" for `zone = a`, other tests as they are written.
fn test(constraint: &Constraint) -> String {
    constraint.to_string().replacen(" = ", " ", 1)
}

fn amounts(tests: &[String], demand: &Demand, instances: u32) -> String {
    let mut wanted: Vec<(&str, Milli)> = demand.scalars.iter().map(|(name, &amount)| (name.as_str(), amount)).collect();
    wanted.retain(|(_, amount)| !amount.is_zero());
    wanted.sort_by_key(|(name, _)| Names::rank(name));
    let scalars = wanted.into_iter().map(|(name, amount)| measured(name, amount.times(i64::from(instances))));
    let mut parts: Vec<String> = tests.iter().cloned().chain(scalars).collect();
    let port_count = (u64::from(demand.ports) + demand.fixed_ports.len() as u64) * u64::from(instances);
    if port_count > 0 {
        parts.push(counted(port_count, "port"));
    }
    for (name, set) in &demand.sets {
        parts.extend(set.items.iter().map(|item| format!("{name} {item}")));
        if set.any > 0 {
            parts.push(format!("{} of {name}", counted(u64::from(set.any) * u64::from(instances), "item")));
        }
    }
    listed(&parts)
}

/// Formats "a, b and c".
fn listed(parts: &[String]) -> String {
    match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => parts.concat(),
    }
}

/// Formats "1 port", "2 ports".
fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Formats an amount in its unit: "0.5 cpus", "1 cpu", "64 MiB", "10 MiB of disk", "3 licences".
fn measured(name: &str, amount: Milli) -> String {
    match name {
        "mem" => format!("{amount} MiB"),
        "disk" => format!("{amount} MiB of disk"),
        "cpus" | "gpus" if amount == Milli::from_units(1) => format!("1 {}", &name[..3]),
        _ => format!("{amount} {name}"),
    }
}
