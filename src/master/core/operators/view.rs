//! Snapshots for readers: pointers to the current records, and the counters. Other threads render them.

use std::{
    collections::BTreeMap,
    ops::{
        Bound::{Excluded, Unbounded},
        Deref,
    },
    sync::Arc,
};

use crate::{
    master::core::{
        AgentKey, Answer, Master, RequestId, Turn,
        agents::{Agent, AgentRecord},
        frameworks::FrameworkBucket,
        ledger::Amounts,
    },
    proto::v1::{TaskState, quota::QuotaConfig},
};

/// The whole state at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) agents: Vec<AgentView>,
    /// Ids of admitted agents that have not re-registered since the master started.
    pub(crate) recovered: Vec<String>,
    pub(crate) frameworks: Vec<Arc<FrameworkBucket>>,
    pub(crate) completed: Vec<Arc<FrameworkBucket>>,
    pub(crate) weights: BTreeMap<String, f64>,
    pub(crate) quotas: BTreeMap<String, QuotaConfig>,
    pub(crate) counts: Counts,
}

/// An agent at one moment: its record and its amounts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AgentView {
    record: Arc<AgentRecord>,
    pub(crate) amounts: Arc<Amounts>,
}

impl Deref for AgentView {
    type Target = AgentRecord;

    fn deref(&self) -> &AgentRecord {
        &self.record
    }
}

/// Counters for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) refused: u64,
    /// Messages dropped because their receiver was over its budget.
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
    /// How many tasks entered each state since the start, and how many left it.
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

/// A snapshot that is being taken over several turns. The last turn visits again what changed meanwhile, so that the
/// whole snapshot is of one moment.
#[derive(Debug, Default)]
pub(in crate::master::core) struct SnapshotBuilder {
    waiting: Vec<RequestId>,
    recovered: Vec<String>,
    /// The last visited id.
    recovered_to: Option<String>,
    /// `None` in the place of an agent that was removed meanwhile.
    agents: Vec<(AgentKey, Option<AgentView>)>,
    /// What is visited next.
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Recovered,
    Agents,
    Done,
}

/// So many agents count as one unit of a turn's work.
const AGENTS_PER_WORK: usize = 16;

impl Master {
    /// Takes a snapshot for a request. One in progress will be of a later moment than the request, so it serves it,
    /// too.
    pub(super) fn request_snapshot(&mut self, turn: &mut Turn<'_>, request: RequestId) {
        if self.snapshot_builder.is_none() {
            self.agents.changes.begin();
            self.ledger.changes.begin();
            self.recovered.removed.begin();
        }
        self.snapshot_builder.get_or_insert_default().waiting.push(request);
        self.continue_snapshot(turn);
    }

    /// Continues the snapshot in progress, as far as the turn may.
    pub(in crate::master::core) fn continue_snapshot(&mut self, turn: &mut Turn<'_>) {
        let Some(mut builder) = self.snapshot_builder.take() else { return };
        while builder.stage != Stage::Done {
            if turn.is_spent() {
                self.snapshot_builder = Some(builder);
                return;
            }
            turn.spend(1);
            match builder.stage {
                Stage::Recovered => self.visit_recovered(&mut builder),
                Stage::Agents => self.visit_agents(&mut builder),
                Stage::Done => {}
            }
        }
        let waiting = std::mem::take(&mut builder.waiting);
        let snapshot = Arc::new(self.finish_snapshot(builder));
        for request in waiting {
            turn.reply(request, Answer::Snapshot(snapshot.clone()));
        }
    }

    fn visit_recovered(&self, builder: &mut SnapshotBuilder) {
        let after = builder.recovered_to.as_deref().map_or(Unbounded, Excluded);
        let mut next = self.recovered.range::<str, _>((after, Unbounded)).take(AGENTS_PER_WORK).peekable();
        if next.peek().is_none() {
            builder.stage = Stage::Agents;
        }
        let mut last = None;
        for id in next {
            last = Some(id.clone());
            if self.agents.by_id(id).is_none() {
                builder.recovered.push(id.clone());
            }
        }
        builder.recovered_to = last;
    }

    fn visit_agents(&self, builder: &mut SnapshotBuilder) {
        let before = builder.agents.len();
        let after = builder.agents.last().map(|(key, _)| *key);
        let next = self.agents.after(after).take(AGENTS_PER_WORK);
        builder.agents.extend(next.map(|(key, agent)| (key, Some(self.view(key, agent)))));
        if builder.agents.len() == before {
            builder.stage = Stage::Done;
        }
    }

    fn finish_snapshot(&mut self, builder: SnapshotBuilder) -> Snapshot {
        let SnapshotBuilder { mut recovered, mut agents, .. } = builder;
        let mut changed = self.agents.changes.end();
        changed.append(&mut self.ledger.changes.end());
        let mut known = self.recovered.removed.end();
        for key in changed {
            let view = self.agents.get(key).map(|agent| self.view(key, agent));
            known.extend(view.iter().map(|view| view.id.to_string()));
            match agents.binary_search_by_key(&key, |(key, _)| *key) {
                Ok(at) => agents[at].1 = view,
                Err(at) if view.is_some() => agents.insert(at, (key, view)),
                Err(_) => {}
            }
        }
        let places: Vec<usize> = known.iter().filter_map(|id| recovered.binary_search(id).ok()).collect();
        for at in places {
            recovered[at].clear();
        }
        recovered.retain(|id| !id.is_empty());
        let agents: Vec<AgentView> = agents.into_iter().filter_map(|(_, view)| view).collect();
        let snapshot = self.snapshot_of(agents, recovered);
        debug_assert!(snapshot.shares_agents_with(&self.snapshot()), "a snapshot over turns equals one taken at once");
        snapshot
    }

    fn view(&self, key: AgentKey, agent: &Agent) -> AgentView {
        let amounts = self.ledger.amounts(key).expect("every agent has an account").clone();
        AgentView { record: agent.record.clone(), amounts }
    }

    /// A snapshot taken at once, for tests and checks.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let agents = self.agents.iter().map(|(key, agent)| self.view(key, agent)).collect();
        let recovered = self.recovered.iter().filter(|id| self.agents.by_id(id).is_none()).cloned().collect();
        self.snapshot_of(agents, recovered)
    }

    fn snapshot_of(&self, agents: Vec<AgentView>, recovered: Vec<String>) -> Snapshot {
        Snapshot {
            agents,
            recovered,
            frameworks: self.frameworks.values().map(|framework| framework.record.clone()).collect(),
            completed: self.frameworks.completed().cloned().collect(),
            weights: self.facts.weights.clone(),
            quotas: self.facts.quotas.clone(),
            counts: self.counts.clone(),
        }
    }
}

impl Snapshot {
    /// Whether both share the same records of the same agents.
    fn shares_agents_with(&self, other: &Self) -> bool {
        let same = |(one, other): (&AgentView, &AgentView)| {
            Arc::ptr_eq(&one.record, &other.record) && Arc::ptr_eq(&one.amounts, &other.amounts)
        };
        let all_same = self.agents.iter().zip(&other.agents).all(same);
        all_same && self.agents.len() == other.agents.len() && self.recovered == other.recovered
    }
}
