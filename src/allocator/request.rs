//! What a framework wants to run: a command, what one instance of it needs, how many, and where not.
//!
//! The setters never fail, so that requests read as one expression; an amount that makes no sense is remembered and
//! reported by [`TaskRequest::check`], and by placing, which places nothing of such a request.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::v1::{self, environment};
use crate::types::{Milli, PartitionPolicy, QuantityError};

/// A number of equal tasks to be placed on offers.
///
/// ```
/// use divvy::allocator::TaskRequest;
///
/// let hello = TaskRequest::command("hello", "echo hello").cpus(0.5).mem_mib(64).count(6).max_per_agent(2);
/// assert_eq!(hello.check(), Ok(()));
/// assert_eq!(hello.count, 6);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TaskRequest {
    /// The name its tasks get, and under which it is reported.
    pub name: String,
    /// What to run. Assigned ports are added to its environment.
    pub command: v1::CommandInfo,
    /// How many instances are still wanted; 1 unless set.
    pub count: u32,
    /// At most so many instances on one agent, those in [`running`](Self::running) included; no limit unless set.
    pub max_per_agent: Option<u32>,
    /// The role whose offers it may use; any unless set.
    pub role: Option<String>,
    /// What one instance needs of each scalar resource, by name; `mem` and `disk` in MiB.
    pub scalars: BTreeMap<String, Milli>,
    /// How many ports one instance needs besides the fixed ones; which, is chosen while placing.
    pub ports: u32,
    /// Ports that one instance needs by number.
    pub fixed_ports: BTreeSet<u16>,
    /// Labels of its tasks.
    pub labels: Vec<v1::Label>,
    /// What becomes of its tasks when their agent is cut off.
    pub partition: Option<PartitionPolicy>,
    /// How many instances run already, by agent.
    pub running: BTreeMap<v1::AgentId, u32>,
    invalid: Option<RequestError>,
}

/// A request that cannot be placed anywhere, whatever is offered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// An amount that is none.
    #[error("{name}: {problem}")]
    Amount {
        /// Of which resource.
        name: String,
        /// What is wrong with it.
        problem: QuantityError,
    },
    /// A fraction of something that is only had whole.
    #[error("gpus: {0} is not a whole number")]
    Fraction(Milli),
    /// A scalar amount of a resource that has another type.
    #[error("{0} are not a scalar: use ports() or fixed_ports()")]
    NotScalar(String),
    /// No resource at all; masters refuse such tasks.
    #[error("no resources are asked for; say at least how many cpus")]
    Nothing,
}

impl TaskRequest {
    /// One instance of a shell command, with no resources yet.
    #[must_use]
    pub fn command(name: impl Into<String>, shell: impl Into<String>) -> Self {
        let command = v1::CommandInfo { shell: Some(true), value: Some(shell.into()), ..Default::default() };
        Self::new(name, command)
    }

    /// One instance of a command, with no resources yet.
    #[must_use]
    pub fn new(name: impl Into<String>, command: v1::CommandInfo) -> Self {
        Self {
            name: name.into(),
            command,
            count: 1,
            max_per_agent: None,
            role: None,
            scalars: BTreeMap::new(),
            ports: 0,
            fixed_ports: BTreeSet::new(),
            labels: Vec::new(),
            partition: None,
            running: BTreeMap::new(),
            invalid: None,
        }
    }

    /// Processors per instance, in steps of 0.001.
    #[must_use]
    pub fn cpus(self, cpus: f64) -> Self {
        self.amount("cpus", cpus)
    }

    /// Memory per instance, in MiB.
    #[must_use]
    pub fn mem_mib(self, mebibytes: impl Into<f64>) -> Self {
        self.amount("mem", mebibytes.into())
    }

    /// Disk space per instance, in MiB.
    #[must_use]
    pub fn disk_mib(self, mebibytes: impl Into<f64>) -> Self {
        self.amount("disk", mebibytes.into())
    }

    /// Graphics processors per instance.
    #[must_use]
    pub fn gpus(self, gpus: u32) -> Self {
        self.resource("gpus", Milli::from_units(i64::from(gpus)))
    }

    /// So much per instance of a scalar resource of any name.
    #[must_use]
    pub fn resource(mut self, name: impl Into<String>, amount: Milli) -> Self {
        self.scalars.insert(name.into(), amount);
        self
    }

    /// How many ports an instance gets; the lowest free ones, in the environment as `PORT`, `PORT0`, `PORT1`, ... and `PORTS`.
    #[must_use]
    pub fn ports(mut self, count: u32) -> Self {
        self.ports = count;
        self
    }

    /// Ports an instance gets by number, before those of [`ports`](Self::ports). Two instances cannot share an agent then.
    #[must_use]
    pub fn fixed_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.fixed_ports = ports.into_iter().collect();
        self
    }

    /// How many instances are wanted.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// At most so many instances on one agent, those of [`running_on`](Self::running_on) included.
    #[must_use]
    pub fn max_per_agent(mut self, limit: u32) -> Self {
        self.max_per_agent = Some(limit);
        self
    }

    /// Tells that so many instances run on an agent already.
    #[must_use]
    pub fn running_on(mut self, agent_id: v1::AgentId, instances: u32) -> Self {
        self.running.insert(agent_id, instances);
        self
    }

    /// Only offers made to this role are used, for frameworks that have several.
    #[must_use]
    pub fn on_role(mut self, role: impl Into<String>) -> Self {
        self.role = Some(role.into());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let variable = environment::Variable { name: name.into(), value: Some(value.into()), ..Default::default() };
        self.command.environment.get_or_insert_default().variables.push(variable);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push(v1::Label { key: key.into(), value: Some(value.into()) });
        self
    }

    /// What becomes of its tasks when their agent is cut off: nothing unless set.
    #[must_use]
    pub fn partition(mut self, policy: PartitionPolicy) -> Self {
        self.partition = Some(policy);
        self
    }

    /// Whether the request makes sense at all.
    ///
    /// # Errors
    ///
    /// When an amount is negative, not finite or too large, when it asks for parts of a gpu, or for nothing at all.
    pub fn check(&self) -> Result<(), RequestError> {
        if let Some(error) = &self.invalid {
            return Err(error.clone());
        }
        for (name, &amount) in &self.scalars {
            check_scalar(name, amount)?;
        }
        let some = self.scalars.values().any(|amount| !amount.is_zero());
        if some || self.ports > 0 || !self.fixed_ports.is_empty() { Ok(()) } else { Err(RequestError::Nothing) }
    }

    fn amount(mut self, name: &str, amount: f64) -> Self {
        match Milli::amount(amount) {
            Ok(amount) => self.resource(name, amount),
            Err(problem) => {
                self.invalid.get_or_insert_with(|| RequestError::Amount { name: name.to_owned(), problem });
                self
            }
        }
    }
}

fn check_scalar(name: &str, amount: Milli) -> Result<(), RequestError> {
    if name == "ports" {
        return Err(RequestError::NotScalar(name.to_owned()));
    }
    if amount < Milli::ZERO {
        let problem = QuantityError::Negative(amount.as_f64());
        return Err(RequestError::Amount { name: name.to_owned(), problem });
    }
    if name == "gpus" && !amount.is_whole() {
        return Err(RequestError::Fraction(amount));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(request: &TaskRequest) -> String {
        request.check().expect_err("a request that makes no sense").to_string()
    }

    #[test]
    fn an_amount_that_makes_no_sense_is_named() {
        let request = || TaskRequest::command("t", "true");
        assert_eq!(text(&request().cpus(-1.0)), "cpus: -1 is negative");
        assert_eq!(text(&request().cpus(1.0).mem_mib(f64::NAN)), "mem: NaN is not a finite number");
        assert_eq!(text(&request().resource("gpus", Milli::from_raw(500))), "gpus: 0.5 is not a whole number");
        assert_eq!(text(&request().resource("licences", Milli::from_units(-2))), "licences: -2 is negative");
        assert_eq!(
            text(&request().resource("ports", Milli::from_units(1))),
            "ports are not a scalar: use ports() or fixed_ports()"
        );
        assert_eq!(text(&request().cpus(0.0)), "no resources are asked for; say at least how many cpus");
    }

    #[test]
    fn the_first_mistake_is_not_hidden_by_a_later_amount() {
        assert_eq!(text(&TaskRequest::command("t", "true").cpus(-1.0).cpus(1.0)), "cpus: -1 is negative");
    }

    #[test]
    fn ports_alone_are_enough_to_ask_for() {
        assert_eq!(TaskRequest::command("t", "true").ports(1).check(), Ok(()));
        assert_eq!(TaskRequest::command("t", "true").fixed_ports([8080]).check(), Ok(()));
    }

    #[test]
    fn variables_and_labels_keep_their_order() {
        let request = TaskRequest::command("t", "true").env("B", "1").env("A", "2").label("x", "1").label("a", "2");
        let variables = request.command.environment.expect("an environment").variables;
        assert_eq!(variables.iter().map(|variable| variable.name.as_str()).collect::<Vec<_>>(), ["B", "A"]);
        assert_eq!(request.labels.iter().map(|label| label.key.as_str()).collect::<Vec<_>>(), ["x", "a"]);
    }
}
