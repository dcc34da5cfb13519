//! What readers get: pointers to the buckets as they are now, and the counters. Rendering happens on other threads.

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

/// A snapshot that is being taken: agents are gone through over turns, and those that changed meanwhile once more in the
/// last, so that all of it is of one moment.
#[derive(Debug, Default)]
pub(in crate::master::core) struct Look {
    waiting: Vec<RequestId>,
    recovered: Vec<String>,
    /// The last id that was gone through, until all were.
    recovered_to: Option<String>,
    /// Nothing in the place of one that went meanwhile.
    agents: Vec<(AgentKey, Option<AgentView>)>,
    /// Where it has got to.
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Recovered,
    Agents,
    Over,
}

/// So many agents count as one unit of a turn's work.
const AGENTS_PER_WORK: usize = 16;

impl Master {
    /// A snapshot is asked for. One that is being taken will be of a later moment than this, so it serves, too.
    pub(super) fn look(&mut self, turn: &mut Turn<'_>, request: RequestId) {
        if self.look.is_none() {
            self.agents.changes.begin();
            self.ledger.changes.begin();
            self.recovered.removed.begin();
        }
        self.look.get_or_insert_default().waiting.push(request);
        self.go_on_looking(turn);
    }

    /// Goes on with the snapshot that is being taken, as far as the turn may.
    pub(in crate::master::core) fn go_on_looking(&mut self, turn: &mut Turn<'_>) {
        let Some(mut look) = self.look.take() else { return };
        while look.stage != Stage::Over {
            if turn.is_spent() {
                self.look = Some(look);
                return;
            }
            turn.spend(1);
            match look.stage {
                Stage::Recovered => self.look_at_recovered(&mut look),
                Stage::Agents => self.look_at_agents(&mut look),
                Stage::Over => {}
            }
        }
        let waiting = std::mem::take(&mut look.waiting);
        let snapshot = Arc::new(self.end_look(look));
        for request in waiting {
            turn.reply(request, Answer::Snapshot(snapshot.clone()));
        }
    }

    fn look_at_recovered(&self, look: &mut Look) {
        let after = look.recovered_to.as_deref().map_or(Unbounded, Excluded);
        let mut next = self.recovered.range::<str, _>((after, Unbounded)).take(AGENTS_PER_WORK).peekable();
        if next.peek().is_none() {
            look.stage = Stage::Agents;
        }
        let mut last = None;
        for id in next {
            last = Some(id.clone());
            if self.agents.by_id(id).is_none() {
                look.recovered.push(id.clone());
            }
        }
        look.recovered_to = last;
    }

    fn look_at_agents(&self, look: &mut Look) {
        let before = look.agents.len();
        let after = look.agents.last().map(|(key, _)| *key);
        let next = self.agents.after(after).take(AGENTS_PER_WORK);
        look.agents.extend(next.map(|(key, agent)| (key, Some(self.view(key, agent)))));
        if look.agents.len() == before {
            look.stage = Stage::Over;
        }
    }

    fn end_look(&mut self, look: Look) -> Snapshot {
        let Look { mut recovered, mut agents, .. } = look;
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
        debug_assert!(snapshot.is(&self.snapshot()), "a snapshot over turns is what one in one go is");
        snapshot
    }

    fn view(&self, key: AgentKey, agent: &Agent) -> AgentView {
        let amounts = self.ledger.amounts(key).expect("every agent has an account").clone();
        AgentView { record: agent.bucket.clone(), amounts }
    }

    /// A snapshot in one go, for tests and checks.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let agents = self.agents.iter().map(|(key, agent)| self.view(key, agent)).collect();
        let recovered = self.recovered.iter().filter(|id| self.agents.by_id(id).is_none()).cloned().collect();
        self.snapshot_of(agents, recovered)
    }

    fn snapshot_of(&self, agents: Vec<AgentView>, recovered: Vec<String>) -> Snapshot {
        Snapshot {
            agents,
            recovered,
            frameworks: self.frameworks.values().map(|framework| framework.bucket.clone()).collect(),
            completed: self.frameworks.completed().cloned().collect(),
            weights: self.facts.weights.clone(),
            quotas: self.facts.quotas.clone(),
            counts: self.counts.clone(),
        }
    }
}

impl Snapshot {
    /// Whether both are of the same agents, to the pointer.
    fn is(&self, other: &Self) -> bool {
        let same = |(one, other): (&AgentView, &AgentView)| {
            Arc::ptr_eq(&one.record, &other.record) && Arc::ptr_eq(&one.amounts, &other.amounts)
        };
        let all_same = self.agents.iter().zip(&other.agents).all(same);
        all_same && self.agents.len() == other.agents.len() && self.recovered == other.recovered
    }
}
