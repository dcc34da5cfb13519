//! Tasks as people write them in a file.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{allocator::TaskRequest, proto::v1, types::Milli};

/// One request. Amounts left out are 0; `mem` and `disk` are in MiB.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskText {
    name: String,
    #[serde(default = "one", alias = "instances")]
    count: u32,
    /// Below zero allows none, as zero does.
    #[serde(alias = "colocation", alias = "maxcol")]
    max_per_agent: Option<i64>,
    role: Option<String>,
    #[serde(default)]
    cpus: f64,
    #[serde(default)]
    mem: f64,
    #[serde(default)]
    disk: f64,
    #[serde(default)]
    gpus: f64,
    /// How many, whichever they are.
    #[serde(default)]
    ports: u32,
    #[serde(default)]
    fixed_ports: BTreeSet<u16>,
    /// Amounts of other scalar resources by name.
    #[serde(default)]
    resources: BTreeMap<String, f64>,
    /// How many instances run already, by agent.
    #[serde(default)]
    running: BTreeMap<String, u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// The tasks as requests that make sense; what makes none is named by its place and field.
pub(super) fn requests(texts: &[TaskText]) -> Result<Vec<TaskRequest>, String> {
    let one = |(index, text): (usize, &TaskText)| text.request().map_err(|error| format!("[{index}]{error}"));
    texts.iter().enumerate().map(one).collect()
}

impl TaskText {
    fn request(&self) -> Result<TaskRequest, String> {
        if self.name.is_empty() {
            return Err(".name: it is empty".to_owned());
        }
        let mut request = TaskRequest::new(self.name.clone(), v1::CommandInfo::default())
            .count(self.count)
            .ports(self.ports)
            .fixed_ports(self.fixed_ports.iter().copied());
        request.max_per_agent = self.max_per_agent.map(|limit| u32::try_from(limit.max(0)).unwrap_or(u32::MAX));
        request.role.clone_from(&self.role);
        for (name, amount) in self.amounts() {
            let amount = Milli::amount(amount).map_err(|problem| format!(".{name}: {problem}"))?;
            if !amount.is_zero() {
                request = request.resource(name, amount);
            }
        }
        for (agent, &instances) in &self.running {
            request = request.running_on(v1::AgentId { value: agent.clone() }, instances);
        }
        for (key, value) in &self.labels {
            request = request.label(key, value);
        }
        request.check().map_err(|error| format!(": {error}"))?;
        Ok(request)
    }

    fn amounts(&self) -> impl Iterator<Item = (&str, f64)> {
        let usual = [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk), ("gpus", self.gpus)];
        usual.into_iter().chain(self.resources.iter().map(|(name, &amount)| (name.as_str(), amount)))
    }
}
