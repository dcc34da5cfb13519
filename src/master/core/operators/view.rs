//! What readers get: pointers to the buckets as they are now, and the counters. Rendering happens on other threads.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use crate::{
    master::core::{
        AgentKey, Master,
        agents::{Agent, AgentBucket},
        frameworks::FrameworkBucket,
        ledger::Amounts,
    },
    proto::v1::{TaskState, quota::QuotaConfig},
};

/// The whole state at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) agents: Vec<AgentView>,
    /// Ids of admitted agents that have not come back since the master started.
    pub(crate) recovered: Vec<String>,
    pub(crate) frameworks: Vec<Arc<FrameworkBucket>>,
    pub(crate) completed: Vec<Arc<FrameworkBucket>>,
    pub(crate) weights: BTreeMap<String, f64>,
    pub(crate) quotas: BTreeMap<String, QuotaConfig>,
    pub(crate) counts: Counts,
}

/// An agent at one moment: what is known of it, and what it has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentView {
    record: Arc<AgentBucket>,
    pub(crate) amounts: Arc<Amounts>,
}

impl Deref for AgentView {
    type Target = AgentBucket;

    fn deref(&self) -> &AgentBucket {
        &self.record
    }
}

/// Counters for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    /// Messages to frameworks and executors whose peer was over its budget.
    pub(crate) messages_dropped: u64,
    pub(crate) updates: u64,
    pub(crate) acknowledgements: u64,
    pub(crate) offers_made: u64,
    pub(crate) offers_accepted: u64,
    pub(crate) offers_declined: u64,
    pub(crate) offers_rescinded: u64,
    pub(crate) offers_expired: u64,
    pub(crate) allocation_runs: u64,
    pub(crate) tasks_launched: u64,
    pub(crate) tasks_invalid: u64,
    pub(crate) agents_registered: u64,
    pub(crate) agents_reregistered: u64,
    pub(crate) agents_disconnected: u64,
    pub(crate) agents_unreachable: u64,
    pub(crate) agents_unreachable_scheduled: u64,
    pub(crate) agents_unreachable_canceled: u64,
    pub(crate) agents_unregistered: u64,
    pub(crate) agents_displaced: u64,
    pub(crate) agents_gone: u64,
    pub(crate) agents_forgotten: u64,
    pub(crate) frameworks_registered: u64,
    pub(crate) frameworks_removed: u64,
    /// How many tasks entered and left each state since the start.
    pub(crate) entered: BTreeMap<TaskState, u64>,
    pub(crate) left: BTreeMap<TaskState, u64>,
}

impl Counts {
    pub(in crate::master::core) fn entered(&mut self, state: TaskState) {
        *self.entered.entry(state).or_default() += 1;
    }

    pub(in crate::master::core) fn left(&mut self, state: TaskState) {
        *self.left.entry(state).or_default() += 1;
    }
}

impl Master {
    fn view(&self, key: AgentKey, agent: &Agent) -> AgentView {
        let amounts = self.ledger.amounts(key).expect("every agent has an account").clone();
        AgentView { record: agent.bucket.clone(), amounts }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            agents: self.agents.iter().map(|(key, agent)| self.view(key, agent)).collect(),
            recovered: self.recovered.iter().filter(|id| self.agents.by_id(id).is_none()).cloned().collect(),
            frameworks: self.frameworks.values().map(|framework| framework.bucket.clone()).collect(),
            completed: self.frameworks.completed().cloned().collect(),
            weights: self.facts.weights.clone(),
            quotas: self.facts.quotas.clone(),
            counts: self.counts.clone(),
        }
    }
}
