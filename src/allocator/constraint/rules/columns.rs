//! All known agents, first those offered, then those only in the view, and their attributes by number.
//!
//! A [`Column`] numbers the agents' values of one attribute. So a test runs once for equal agents, and a count is found
//! by index.

use std::collections::HashMap;
use std::sync::Arc;

use super::Described;
use crate::allocator::constraint::view::{ClusterAgent, ClusterView};
use crate::proto::v1;
use crate::types::{AttributeValue, Attributes};

/// An agent that is offered, in the view, or both.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) offered: Option<&'a Described>,
    pub(super) viewed: Option<&'a ClusterAgent>,
}

/// The agents' values of one attribute.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Arc<str>,
    /// The index of each agent's list of values.
    pub(super) list_of: Vec<usize>,
    /// The distinct lists of values; several values of one name are one list.
    pub(super) lists: Vec<Vec<AttributeValue>>,
    /// The number of the first value of each list; `None` for an empty one.
    key_of: Vec<Option<usize>>,
    pub(super) keys: Vec<Arc<str>>,
}

impl<'a> Known<'a> {
    /// Returns the offered agents in their order, then the others of the view.
    pub(super) fn all(hosts: &'a [Described], view: Option<&'a ClusterView>) -> Vec<Self> {
        let mut viewed: HashMap<&v1::AgentId, &ClusterAgent> =
            view.into_iter().flat_map(ClusterView::agents).map(|agent| (&agent.agent_id, agent)).collect();
        let offered = |host: &'a Described| {
            let viewed = viewed.remove(&host.host.agent_id);
            Self { offered: Some(host), viewed }
        };
        let mut all: Vec<Self> = hosts.iter().map(offered).collect();
        let others = view.into_iter().flat_map(ClusterView::agents);
        let others = others.filter(|agent| viewed.contains_key(&agent.agent_id));
        all.extend(others.map(|agent| Self { offered: None, viewed: Some(agent) }));
        all
    }

    pub(super) fn agent_id(&self) -> Option<&'a v1::AgentId> {
        let viewed = self.viewed.map(|agent| &agent.agent_id);
        self.offered.map(|offered| &offered.host.agent_id).or(viewed)
    }

    fn hostname(&self) -> Option<&'a str> {
        let offered = self.offered.map(|offered| offered.host.hostname.as_str()).filter(|name| !name.is_empty());
        offered.or_else(|| self.viewed.map(|agent| agent.hostname.as_str()))
    }

    /// Returns the offer's values of the attribute, or else the view's.
    fn values(&self, name: &str) -> Vec<AttributeValue> {
        let text = |text: &str| vec![AttributeValue::Text(text.to_owned())];
        match name {
            "hostname" => self.hostname().map(text).unwrap_or_default(),
            "agent" => self.agent_id().map(|id| text(&id.value)).unwrap_or_default(),
            _ => {
                let all = |attributes: &'a Attributes| attributes.all(name).cloned().collect::<Vec<_>>();
                let offered = self.offered.map(|offered| all(&offered.attributes)).filter(|values| !values.is_empty());
                offered.or_else(|| self.viewed.map(|viewed| all(&viewed.attributes))).unwrap_or_default()
            }
        }
    }
}

impl Column {
    pub(super) fn new(name: &str, agents: &[Known<'_>]) -> Self {
        let (mut numbers, mut lists, mut list_of) = (HashMap::new(), Vec::new(), Vec::with_capacity(agents.len()));
        for agent in agents {
            let values = agent.values(name);
            let number = *numbers.entry(values).or_insert_with_key(|values| {
                lists.push(values.clone());
                lists.len() - 1
            });
            list_of.push(number);
        }
        let (mut numbers, mut keys) = (HashMap::new(), Vec::new());
        let key_of = lists.iter().map(|values: &Vec<AttributeValue>| {
            let text: Arc<str> = values.first()?.to_string().into();
            Some(*numbers.entry(text).or_insert_with_key(|text| {
                keys.push(Arc::clone(text));
                keys.len() - 1
            }))
        });
        Self { name: name.into(), list_of, key_of: key_of.collect(), lists, keys }
    }

    /// Returns whether the attribute identifies agents, nearly.
    pub(super) fn is_identity(&self) -> bool {
        matches!(&*self.name, "hostname" | "agent")
    }

    /// Returns the number of the value by which instances on the agent are counted.
    pub(super) fn key(&self, agent: usize) -> Option<usize> {
        self.key_of[self.list_of[agent]]
    }

    pub(super) fn key_named(&self, value: &str) -> Option<usize> {
        self.keys.iter().position(|key| **key == *value)
    }

    /// Returns the values as one text; `None` if there are none.
    pub(super) fn text(&self, agent: usize) -> Option<Arc<str>> {
        let values: Vec<String> = self.lists[self.list_of[agent]].iter().map(AttributeValue::to_string).collect();
        (!values.is_empty()).then(|| values.join(", ").into())
    }
}
