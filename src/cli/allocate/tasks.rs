//! The file format of tasks.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Limits;
use crate::{
    allocator::{Constraint, Demand, RequestError, TaskRequest},
    proto::v1,
    types::Milli,
};

/// One request. Amounts left out are 0; `mem` and `disk` are in MiB.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskText {
    name: String,
    #[serde(default = "one", alias = "instances")]
    count: u32,
    /// A negative limit counts as zero: no instance is allowed.
    #[serde(alias = "colocation", alias = "maxcol")]
    max_per_agent: Option<i64>,
    role: Option<String>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    constraints: Vec<String>,
    /// How many instances run already, by agent.
    #[serde(default)]
    running: BTreeMap<String, u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Alternative demands of an instance, in order of preference.
    #[serde(default)]
    or: Vec<DemandText>,
    // The fields of [`DemandText`], repeated here because a flattened struct loses the name of an unknown field.
    #[serde(default)]
    cpus: f64,
    #[serde(default)]
    mem: f64,
    #[serde(default)]
    disk: f64,
    #[serde(default)]
    gpus: f64,
    #[serde(default)]
    ports: u32,
    #[serde(default)]
    fixed_ports: BTreeSet<u16>,
    #[serde(default)]
    resources: BTreeMap<String, f64>,
    #[serde(default)]
    sets: BTreeMap<String, SetText>,
}

/// The demand of an instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct DemandText {
    cpus: f64,
    mem: f64,
    disk: f64,
    gpus: f64,
    /// How many, whichever they are.
    ports: u32,
    fixed_ports: BTreeSet<u16>,
    /// Amounts of other scalar resources by name.
    resources: BTreeMap<String, f64>,
    /// A number of items of a set, or particular ones.
    sets: BTreeMap<String, SetText>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum SetText {
    Any(u32),
    Items(BTreeSet<String>),
}

fn one() -> u32 {
    1
}

/// Converts the tasks to valid requests; an error names the task's index and field. A task without resources is valid
/// with `allows_empty`.
pub(super) fn requests(texts: &[TaskText], limits: Limits) -> Result<Vec<TaskRequest>, String> {
    let (mut requests, mut instances) = (Vec::with_capacity(texts.len()), 0);
    let mut names = BTreeSet::new();
    for (index, text) in texts.iter().enumerate() {
        // The answer names instances by name and number.
        if !names.insert(text.name.as_str()) {
            return Err(format!("[{index}].name: {:?} is the name of a task before it", text.name));
        }
        let request = text.request().map_err(|error| format!("[{index}]{error}"))?;
        match request.check() {
            Ok(()) => {}
            Err(RequestError::Nothing) if limits.allows_empty => {}
            Err(error) => return Err(format!("[{index}]: {error}")),
        }
        requests.push(request);
        instances += u64::from(text.count);
        if instances > limits.instances {
            let count = text.count;
            return Err(format!("[{index}].count: {count} makes it more than {} instances in all", limits.instances));
        }
    }
    Ok(requests)
}

impl TaskText {
    fn request(&self) -> Result<TaskRequest, String> {
        if self.name.is_empty() {
            return Err(".name: it is empty".to_owned());
        }
        let command = v1::CommandInfo::default();
        let mut request = TaskRequest::new(self.name.clone(), command).count(self.count).priority(self.priority);
        request.max_per_agent = self.max_per_agent.map(|limit| u32::try_from(limit.max(0)).unwrap_or(u32::MAX));
        request.role.clone_from(&self.role);
        request.demand = self.demand().demand(request.demand).map_err(|error| format!(".{error}"))?;
        for (index, text) in self.or.iter().enumerate() {
            let alternative = text.demand(Demand::default()).map_err(|error| format!(".or[{index}].{error}"))?;
            request.alternatives.push(alternative);
        }
        for (index, text) in self.constraints.iter().enumerate() {
            let constraint: Constraint = text.parse().map_err(|error| format!(".constraints[{index}]: {error}"))?;
            request = request.constraint(constraint);
        }
        for (agent, &instances) in &self.running {
            request = request.running_on(v1::AgentId { value: agent.clone() }, instances);
        }
        for (key, value) in &self.labels {
            request = request.label(key, value);
        }
        Ok(request)
    }

    fn demand(&self) -> DemandText {
        DemandText {
            cpus: self.cpus,
            mem: self.mem,
            disk: self.disk,
            gpus: self.gpus,
            ports: self.ports,
            fixed_ports: self.fixed_ports.clone(),
            resources: self.resources.clone(),
            sets: self.sets.clone(),
        }
    }
}

impl DemandText {
    fn demand(&self, nothing: Demand) -> Result<Demand, String> {
        let mut demand = nothing.ports(self.ports).fixed_ports(self.fixed_ports.iter().copied());
        for (name, amount) in self.amounts() {
            let amount = Milli::amount(amount).map_err(|problem| format!("{name}: {problem}"))?;
            if !amount.is_zero() {
                demand = demand.resource(name, amount);
            }
        }
        for (name, set) in &self.sets {
            demand = match set {
                SetText::Any(count) => demand.set_of(name, *count),
                SetText::Items(items) => demand.set_items(name, items.iter().cloned()),
            };
        }
        Ok(demand)
    }

    fn amounts(&self) -> impl Iterator<Item = (&str, f64)> {
        let usual = [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk), ("gpus", self.gpus)];
        usual.into_iter().chain(self.resources.iter().map(|(name, &amount)| (name.as_str(), amount)))
    }
}
