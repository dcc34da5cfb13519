//! A view of the whole cluster, beyond the current offers.
//!
//! Placement reads from it which values an attribute has, which agents could ever run a request, and what is running.
//! It is plain data that any framework can fill. Agents that are not in it are known from their offers.

use std::collections::BTreeMap;

use crate::proto::v1;
use crate::types::{Attributes, Resources};

/// The known agents of a cluster, by id.
///
/// ```
/// use divvy::allocator::{ClusterAgent, ClusterView};
/// use divvy::proto::v1;
///
/// let id = v1::AgentId { value: "S1".into() };
/// let agent = ClusterAgent::new(id, "h1")
///     .attributes("zone:a;rack:r1".parse()?)
///     .total("cpus:8;mem:16384".parse()?)
///     .task("db", [("app", "db")], 2);
/// let view = ClusterView::new().agent(agent);
/// assert_eq!(view.agents().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterView {
    agents: BTreeMap<v1::AgentId, ClusterAgent>,
}

/// One agent of a [`ClusterView`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ClusterAgent {
    /// The agent's id.
    pub agent_id: v1::AgentId,
    /// Its host name.
    pub hostname: String,
    /// Its attributes.
    pub attributes: Attributes,
    /// Its total resources; if `None`, any request could fit.
    pub total: Option<Resources>,
    /// Its resources that no task uses, offered or not; `None` if not known.
    pub free: Option<Resources>,
    /// Its running tasks.
    pub tasks: Vec<ClusterTasks>,
}

/// Equal tasks on one agent, of any framework.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterTasks {
    /// The name of the request that they were made from, or their own.
    pub name: String,
    /// Their labels, key and value.
    pub labels: Vec<(String, String)>,
    /// How many there are.
    pub count: u32,
}

impl ClusterView {
    /// Creates a view without agents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent, or replaces the one of that id.
    #[must_use]
    pub fn agent(mut self, agent: ClusterAgent) -> Self {
        self.agents.insert(agent.agent_id.clone(), agent);
        self
    }

    /// Iterates over the agents in the order of their ids.
    pub fn agents(&self) -> impl Iterator<Item = &ClusterAgent> {
        self.agents.values()
    }

    /// Returns the agent of that id.
    #[must_use]
    pub fn get(&self, agent_id: &v1::AgentId) -> Option<&ClusterAgent> {
        self.agents.get(agent_id)
    }
}

impl ClusterAgent {
    /// Creates an agent without attributes or tasks, of unknown size.
    #[must_use]
    pub fn new(agent_id: v1::AgentId, hostname: impl Into<String>) -> Self {
        let (hostname, attributes) = (hostname.into(), Attributes::default());
        Self { agent_id, hostname, attributes, total: None, free: None, tasks: Vec::new() }
    }

    /// Sets its attributes.
    #[must_use]
    pub fn attributes(self, attributes: Attributes) -> Self {
        Self { attributes, ..self }
    }

    /// Sets its total resources.
    #[must_use]
    pub fn total(self, total: Resources) -> Self {
        Self { total: Some(total), ..self }
    }

    /// Sets its resources that no task uses, offered or not.
    #[must_use]
    pub fn free(self, free: Resources) -> Self {
        Self { free: Some(free), ..self }
    }

    /// Adds running tasks: the name of their request, their labels, and how many.
    #[must_use]
    pub fn task<K: Into<String>, V: Into<String>>(
        mut self,
        name: impl Into<String>,
        labels: impl IntoIterator<Item = (K, V)>,
        count: u32,
    ) -> Self {
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.tasks.push(ClusterTasks { name: name.into(), labels, count });
        self
    }
}

impl ClusterTasks {
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}
