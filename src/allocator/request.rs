//! Requests of a framework: a command, the needs of one instance, how many, and where they may run.
//!
//! The setters never fail, so that requests read as one expression. An invalid amount is stored and reported by
//! [`TaskRequest::check`] and by placement, which places nothing of such a request.

mod demand;

use std::collections::BTreeMap;

pub use self::demand::{Demand, SetDemand};
use super::constraint::{self, Constraint, ConstraintError};
use crate::proto::v1::{self, environment};
use crate::types::{Milli, PartitionPolicy, QuantityError};

/// A request for a number of equal tasks, to be placed on offers.
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
    /// The name of its tasks, under which it is reported.
    pub name: String,
    /// The command. Assigned ports are added to its environment.
    pub command: v1::CommandInfo,
    /// The number of instances still wanted; 1 unless set.
    pub count: u32,
    /// The most instances on one agent, those in [`running`](Self::running) included; no limit unless set.
    pub max_per_agent: Option<u32>,
    /// The role whose offers it may use; any unless set.
    pub role: Option<String>,
    /// The resources of one instance.
    pub demand: Demand,
    /// Alternatives to the resources, the preferred first.
    pub alternatives: Vec<Demand>,
    /// The priority: requests of higher priority are placed first; 0 unless set.
    pub priority: i32,
    /// The labels of its tasks.
    pub labels: Vec<v1::Label>,
    /// The policy for its tasks if their agent is unreachable.
    pub partition: Option<PartitionPolicy>,
    /// The instances that run already, by agent.
    pub running: BTreeMap<v1::AgentId, u32>,
    /// Constraints on where instances may run.
    pub constraints: Vec<Constraint>,
    invalid: Option<RequestError>,
}

/// An error for a request that cannot be placed anywhere, whatever is offered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// An amount is invalid.
    #[error("{name}: {problem}")]
    Amount {
        /// The resource.
        name: String,
        /// What is wrong with it.
        problem: QuantityError,
    },
    /// A fraction was requested of a resource that is only allocated whole.
    #[error("gpus: {0} is not a whole number")]
    Fraction(Milli),
    /// A scalar amount was requested of a resource of another type.
    #[error("{0} are not a scalar: use ports() or fixed_ports()")]
    NotScalar(String),
    /// Items were requested of a resource of another type.
    #[error("{0} is not a set")]
    NotSet(String),
    /// No resources are requested; masters refuse such tasks.
    #[error("no resources are asked for; say at least how many cpus")]
    Nothing,
    /// A constraint is invalid.
    #[error(transparent)]
    Constraint(#[from] ConstraintError),
    /// No agent can satisfy both constraints.
    #[error("constraints `{first}` and `{second}` contradict each other; drop one, or make it soft")]
    Contradiction {
        /// The text of one.
        first: String,
        /// The text of the other.
        second: String,
    },
    /// There are too many constraints.
    #[error("{0} constraints; at most {MAX_CONSTRAINTS} are looked at")]
    TooMany(usize),
}

/// The most constraints of a request.
const MAX_CONSTRAINTS: usize = 256;

impl TaskRequest {
    /// Creates a request for one instance of a shell command, without resources.
    #[must_use]
    pub fn command(name: impl Into<String>, shell: impl Into<String>) -> Self {
        let command = v1::CommandInfo { shell: Some(true), value: Some(shell.into()), ..Default::default() };
        Self::new(name, command)
    }

    /// Creates a request for one instance of a command, without resources.
    #[must_use]
    pub fn new(name: impl Into<String>, command: v1::CommandInfo) -> Self {
        Self {
            name: name.into(),
            command,
            count: 1,
            max_per_agent: None,
            role: None,
            demand: Demand::default(),
            alternatives: Vec::new(),
            priority: 0,
            labels: Vec::new(),
            partition: None,
            running: BTreeMap::new(),
            constraints: Vec::new(),
            invalid: None,
        }
    }

    /// Sets the cpus per instance, in steps of 0.001.
    #[must_use]
    pub fn cpus(self, cpus: f64) -> Self {
        self.demanding(|demand| demand.cpus(cpus))
    }

    /// Sets the memory per instance, in MiB.
    #[must_use]
    pub fn mem_mib(self, mebibytes: impl Into<f64>) -> Self {
        self.demanding(|demand| demand.mem_mib(mebibytes))
    }

    /// Sets the disk space per instance, in MiB.
    #[must_use]
    pub fn disk_mib(self, mebibytes: impl Into<f64>) -> Self {
        self.demanding(|demand| demand.disk_mib(mebibytes))
    }

    /// Sets the gpus per instance.
    #[must_use]
    pub fn gpus(self, gpus: u32) -> Self {
        self.demanding(|demand| demand.gpus(gpus))
    }

    /// Sets the amount of a scalar resource per instance.
    #[must_use]
    pub fn resource(self, name: impl Into<String>, amount: Milli) -> Self {
        self.demanding(|demand| demand.resource(name, amount))
    }

    /// Sets how many ports an instance gets.
    ///
    /// They are the lowest free ones, in the environment as `PORT`, `PORT0`, `PORT1`, ... and `PORTS`.
    #[must_use]
    pub fn ports(self, count: u32) -> Self {
        self.demanding(|demand| demand.ports(count))
    }

    /// Sets the fixed ports of an instance, before those of [`ports`](Self::ports).
    ///
    /// Two instances cannot share an agent then.
    #[must_use]
    pub fn fixed_ports(self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.demanding(|demand| demand.fixed_ports(ports))
    }

    /// Sets how many items of a set an instance gets for itself; the first free ones by name.
    #[must_use]
    pub fn set_of(self, name: impl Into<String>, count: u32) -> Self {
        self.demanding(|demand| demand.set_of(name, count))
    }

    /// Sets the items of a set that an instance gets by name.
    ///
    /// Two instances cannot share an agent then.
    #[must_use]
    pub fn set_items<I: Into<String>>(self, name: impl Into<String>, items: impl IntoIterator<Item = I>) -> Self {
        self.demanding(|demand| demand.set_items(name, items))
    }

    /// Adds an alternative to the resources set so far, which starts from nothing.
    ///
    /// All instances that fit by the first demand use it; only then comes the next.
    ///
    /// ```
    /// use divvy::allocator::TaskRequest;
    ///
    /// let train = TaskRequest::command("train", "train").gpus(1).cpus(4.0).or(|instead| instead.cpus(16.0));
    /// assert_eq!(train.alternatives.len(), 1);
    /// ```
    #[must_use]
    pub fn or(mut self, alternative: impl FnOnce(Demand) -> Demand) -> Self {
        self.alternatives.push(alternative(Demand::default()));
        self
    }

    /// Sets the priority: requests of higher priority are placed first.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Sets the number of instances.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Sets the most instances on one agent, those of [`running_on`](Self::running_on) included.
    #[must_use]
    pub fn max_per_agent(mut self, limit: u32) -> Self {
        self.max_per_agent = Some(limit);
        self
    }

    /// Adds instances that run on an agent already.
    #[must_use]
    pub fn running_on(mut self, agent_id: v1::AgentId, instances: u32) -> Self {
        self.running.insert(agent_id, instances);
        self
    }

    /// Uses only offers made to this role, for frameworks that have several.
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

    /// Adds a constraint; all of them must hold together.
    #[must_use]
    pub fn constraint(mut self, constraint: Constraint) -> Self {
        self.constraints.push(constraint);
        self
    }

    /// Adds a constraint in text form, e.g. `zone = a`; [`Constraint`] has the table of forms.
    #[must_use]
    pub fn constrained(mut self, text: &str) -> Self {
        match text.parse() {
            Ok(constraint) => self.constraint(constraint),
            Err(problem) => {
                self.invalid.get_or_insert(RequestError::Constraint(problem));
                self
            }
        }
    }

    /// Sets the policy for its tasks if their agent is unreachable; none unless set.
    #[must_use]
    pub fn partition(mut self, policy: PartitionPolicy) -> Self {
        self.partition = Some(policy);
        self
    }

    /// Validates the request.
    ///
    /// # Errors
    ///
    /// An amount is negative, not finite or too large, part of a gpu or nothing at all is requested, a constraint is
    /// invalid, or two contradict each other.
    pub fn check(&self) -> Result<(), RequestError> {
        if let Some(error) = &self.invalid {
            return Err(error.clone());
        }
        self.check_constraints()?;
        self.demands().try_for_each(Demand::check)
    }

    /// Iterates over the resources of an instance and their alternatives, the preferred first.
    pub fn demands(&self) -> impl Iterator<Item = &Demand> {
        std::iter::once(&self.demand).chain(&self.alternatives)
    }

    fn check_constraints(&self) -> Result<(), RequestError> {
        if self.constraints.len() > MAX_CONSTRAINTS {
            return Err(RequestError::TooMany(self.constraints.len()));
        }
        self.constraints.iter().try_for_each(Constraint::check)?;
        constraint::conflict(&self.constraints).map_or(Ok(()), |(first, second)| {
            Err(RequestError::Contradiction { first: first.to_string(), second: second.to_string() })
        })
    }

    /// Returns the demand of a variant: 0 is the preferred one, 1 the first alternative.
    pub(super) fn nth_demand(&self, variant: usize) -> &Demand {
        if variant == 0 { &self.demand } else { &self.alternatives[variant - 1] }
    }

    fn demanding(mut self, change: impl FnOnce(Demand) -> Demand) -> Self {
        self.demand = change(self.demand);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(request: &TaskRequest) -> String {
        request.check().expect_err("a request that makes no sense").to_string()
    }

    #[test]
    fn an_invalid_amount_is_named() {
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
    fn invalid_constraints_are_reported_with_their_text() {
        let request = || TaskRequest::command("t", "true").cpus(1.0);
        assert_eq!(text(&request().constrained("zone is a")), "constraint `zone is a`: expected set at character 9");
        let soft = request().constraint(Constraint::unique("zone").soft(0));
        let weight = "constraint `prefer 0: unique zone`: the weight 0 is not one of -100 to -1 and 1 to 100";
        assert_eq!(text(&soft), weight);
        let both = request().constrained("zone = a").constrained("unique hostname").constrained("zone = b");
        assert_eq!(
            text(&both),
            "constraints `zone = a` and `zone = b` contradict each other; drop one, or make it soft"
        );
        assert_eq!(request().constrained("zone = a").constrained("prefer 5: zone = b").check(), Ok(()));
        let many = (0..300).fold(request(), |request, _| request.constrained("zone = a"));
        assert_eq!(text(&many), "300 constraints; at most 256 are looked at");
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
