//! Frameworks: subscription, failover, removal.
//!
//! A framework is identified by its id. An instance that subscribes with an id takes over the framework; the older
//! instance receives an error and is closed. The registry stores the takeover before either is notified. A framework
//! that is disconnected longer than its failover timeout is removed, and a removed id cannot subscribe again.

mod all;
mod clients;
mod removal;
mod serving;
mod tombstones;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use prost::Message as _;

pub(crate) use self::clients::Client;
pub(in crate::master::core) use self::{all::Frameworks, clients::ClientState};
use crate::{
    allocator::fair::RoleId,
    master::core::{
        ContainerId, Event, FrameworkFacts, Master, Order, Peer, Quantities, Refusal, Register, Subscribe, Turn,
        keys::{AgentKey, FrameworkKey, OfferKey, SessionId, TaskKey},
        parted::PartedMap,
        tasks::Task,
        tasks::{Answers, AwaitedKills},
        timers::Timer,
    },
    proto::{
        internal::{FrameworkRun, registry_change::Kind},
        v1,
    },
    types::Milli,
};

/// The error that an instance receives when another has taken over.
const REPLACED: &str = "Framework failed over";

/// Whether a framework's scheduler can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Connected,
    /// It has its failover timeout to reconnect.
    Disconnected,
    /// Reported by an agent after this master started; it has not subscribed here yet.
    Recovered,
    /// Removed; kept for readers only.
    Completed,
}

/// A framework as readers see it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FrameworkBucket {
    pub(crate) key: FrameworkKey,
    pub(crate) id: Arc<str>,
    pub(crate) facts: FrameworkFacts,
    /// The encoded `FrameworkInfo`, its id set.
    pub(crate) info: Bytes,
    pub(crate) link: Link,
    pub(crate) registered_ns: i64,
    pub(crate) reregistered_ns: Option<i64>,
    pub(crate) unregistered_ns: Option<i64>,
    /// The latest completed tasks, each with its agent.
    pub(crate) completed: VecDeque<Arc<(Arc<str>, Task)>>,
}

/// A framework as the core keeps it.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(in crate::master::core) record: Arc<FrameworkBucket>,
    pub(in crate::master::core) session: Option<SessionId>,
    /// The agent and record of each task.
    pub(in crate::master::core) tasks: PartedMap<Arc<str>, (AgentKey, TaskKey)>,
    /// The older copies of its tasks on each agent, by container.
    copies: BTreeMap<AgentKey, BTreeSet<(ContainerId, TaskKey)>>,
    /// The containers of its completed tasks, each with its number of tasks.
    completed_containers: HashMap<ContainerId, usize>,
    pub(in crate::master::core) awaited_kills: AwaitedKills,
    /// The agents that were sent its info, each with the session in which it was sent.
    pub(in crate::master::core) info_sent: BTreeMap<AgentKey, SessionId>,
    /// The replacements of its tasks, by the id of the replaced one.
    pub(in crate::master::core) replacements: BTreeMap<Arc<str>, (AgentKey, TaskKey)>,
    pub(in crate::master::core) roles: BTreeMap<Arc<str>, ClientState>,
    /// The allocator's ids of its roles, and of former roles in which it has tasks.
    role_ids: BTreeMap<Arc<str>, RoleId>,
    /// The number of task records in each role.
    tasks_in: BTreeMap<Arc<str>, usize>,
    /// The reconciliation answers still to be sent.
    pub(in crate::master::core) answers: Answers,
    /// Too many bytes wait to be read by it: it gets no offers.
    pub(in crate::master::core) is_over_budget: bool,
    /// The index in `facts.minimum` of each role that has one.
    minimum_at: Vec<(RoleId, usize)>,
    /// The demand it stated and has not launched yet: it is offered no more than this.
    pub(in crate::master::core) demand: Option<Quantities>,
    /// Its unanswered offers.
    pub(in crate::master::core) outstanding: BTreeSet<OfferKey>,
    /// The scalars in its outstanding offers; only these are summed over agents.
    offered: BTreeMap<Arc<str>, Milli>,
}

impl Framework {
    pub(in crate::master::core) fn record_mut(&mut self) -> &mut FrameworkBucket {
        Arc::make_mut(&mut self.record)
    }

    /// The record of an older copy of one of its tasks, by its container.
    pub(in crate::master::core) fn older_copy(&self, agent: AgentKey, container: &ContainerId) -> Option<TaskKey> {
        let copies = self.copies.get(&agent)?;
        let (found, key) = copies.range((container.clone(), TaskKey(0))..).next()?;
        (found == container).then_some(*key)
    }

    /// Keeps a completed task, and at most `limit` of them.
    pub(in crate::master::core) fn keep_completed(&mut self, agent: Arc<str>, task: Task, limit: usize) {
        *self.completed_containers.entry(task.container.clone()).or_default() += 1;
        let record = Arc::make_mut(&mut self.record);
        record.completed.push_back(Arc::new((agent, task)));
        while record.completed.len() > limit
            && let Some(dropped) = record.completed.pop_front()
        {
            let container = &dropped.1.container;
            match self.completed_containers.get_mut(container) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => drop(self.completed_containers.remove(container)),
            }
        }
    }

    /// Whether a kept completed task was in this container.
    pub(in crate::master::core) fn has_completed(&self, container: &ContainerId) -> bool {
        self.completed_containers.contains_key(container)
    }

    fn count_copies(&self) -> usize {
        self.copies.values().map(BTreeSet::len).sum()
    }

    /// Removes a task from all indexes.
    fn forget_task(&mut self, agent: AgentKey, key: TaskKey, task: &Task) {
        if let Some(copies) = self.copies.get_mut(&agent) {
            copies.remove(&(task.container.clone(), key));
            if copies.is_empty() {
                self.copies.remove(&agent);
            }
        }
        if let Some(count) = self.tasks_in.get_mut(&task.role) {
            *count -= 1;
            if *count == 0 {
                self.tasks_in.remove(&task.role);
            }
        }
        if self.tasks.get(&task.id) == Some(&(agent, key)) {
            self.tasks.remove(&task.id);
        }
        if let Some(replaced) = task.replaces()
            && self.replacements.get(replaced) == Some(&(agent, key))
        {
            self.replacements.remove(replaced);
        }
    }
}

impl Master {
    /// Indexes a task record. If it is not `current`, it is an older copy of the task of its name; if it is, the record
    /// that it replaces becomes an older copy.
    pub(in crate::master::core) fn index_task(&mut self, agent: AgentKey, key: TaskKey, current: bool) {
        let Some(task) = self.agents.get(agent).and_then(|agent| agent.record.tasks.get(key)) else { return };
        let Some(framework) = self.frameworks.get_mut(task.framework) else { return };
        *framework.tasks_in.entry(task.role.clone()).or_default() += 1;
        let older = if current { framework.tasks.insert(task.id.clone(), (agent, key)) } else { Some((agent, key)) };
        if let Some((on, older)) = older {
            let container = self.agents[on].record.tasks[older].container.clone();
            framework.copies.entry(on).or_default().insert((container, older));
        }
    }

    pub(in crate::master::core) fn subscribe(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        mut subscribe: Subscribe,
    ) {
        let instance = std::mem::take(&mut subscribe.instance);
        let given = subscribe.info.id.as_ref().map(|id| id.value.clone()).filter(|id| !id.is_empty());
        // Without an id, a known instance did not receive the answer to its first SUBSCRIBE.
        let given = given.or_else(|| self.framework_id_of(&instance));
        if let Some(id) = &given {
            // A refused driver ends: the reason must be durable first.
            turn.wait_for_records_of(id);
        }
        let known = given.as_ref().and_then(|id| self.frameworks.by_id(id.as_str()));
        if let Some(text) = self.refusal_reason(given.as_deref(), known, &subscribe.facts, &instance) {
            Self::subscription_error(turn, session, text);
            return;
        }
        let id: Arc<str> = given.unwrap_or_else(|| self.counters.framework_id(&self.id)).into();
        self.record_instance(turn, &id, instance);
        let key = if let Some(key) = known {
            self.take_over(turn, key, session);
            self.replace_info(turn, key, subscribe);
            key
        } else {
            self.add_framework(turn, id, subscribe, Link::Connected)
        };
        self.sessions.identify(session, Peer::Framework(key));
        self.connect_framework(turn, key, session);
    }

    /// The id of the framework that this instance of a driver has.
    fn framework_id_of(&self, instance: &Bytes) -> Option<String> {
        if instance.is_empty() {
            return None;
        }
        self.facts.runs.iter().find(|(_, lineage)| lineage.present() == instance).map(|(id, _)| id.clone())
    }

    /// Why this instance may not subscribe with this id.
    fn refusal_reason(
        &self,
        id: Option<&str>,
        known: Option<FrameworkKey>,
        facts: &FrameworkFacts,
        instance: &Bytes,
    ) -> Option<&'static str> {
        let id = id?;
        if self.was_removed(id) {
            return Some("Framework has been removed");
        }
        if known.is_some_and(|key| self.frameworks[key].record.facts.principal != facts.principal) {
            return Some("the principal of a framework must not change");
        }
        self.facts.runs.get(id).is_some_and(|lineage| lineage.was_replaced(instance)).then_some(REPLACED)
    }

    /// Records which instance has the framework, unless that is recorded already. The first instance is recorded, too:
    /// it may be replaced under a later master.
    fn record_instance(&mut self, turn: &mut Turn<'_>, id: &str, instance: Bytes) {
        let same = match self.facts.runs.get(id) {
            Some(lineage) => *lineage.present() == instance,
            None => instance.is_empty(),
        };
        if !same {
            let wall_ns = turn.now.wall_ns;
            self.record(turn, Kind::FrameworkRun(FrameworkRun { framework_id: id.to_owned(), instance, wall_ns }));
        }
    }

    pub(in crate::master::core) fn subscription_error(turn: &mut Turn<'_>, session: SessionId, text: &str) {
        turn.send_event(Some(session), Event::Error { text: text.to_owned() });
        turn.close(session);
    }

    fn connect_framework(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, session: SessionId) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        self.timers.disarm_sole(Timer::Failover(key));
        framework.session = Some(session);
        framework.answers = Answers::default();
        framework.is_over_budget = false;
        if framework.record.link != Link::Connected {
            framework.record_mut().link = Link::Connected;
        }
        framework.roles.values_mut().for_each(ClientState::activate);
        let id = framework.record.id.clone();
        turn.send_event(Some(session), Event::Subscribed { framework: id, heartbeat: self.config.heartbeat });
        turn.send_event(Some(session), Event::Heartbeat);
        self.timers.arm_sole(turn.now.mono_after(self.config.heartbeat), Timer::Heartbeat(key, session));
        self.serve_framework(key);
        self.resend_unacknowledged(turn, key);
    }

    /// Hands the framework over to a new instance. A connected older one receives an error and is closed. New offers
    /// are made once all former ones are removed.
    fn take_over(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, session: SessionId) {
        self.withdraw_offers(turn, key);
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        framework.record_mut().reregistered_ns = Some(turn.now.wall_ns);
        if let Some(old) = framework.session.take().filter(|old| *old != session) {
            self.sessions.remove(old);
            turn.send_event(Some(old), Event::Error { text: REPLACED.to_owned() });
            turn.close(old);
        }
    }

    pub(in crate::master::core) fn add_framework(
        &mut self,
        turn: &Turn<'_>,
        id: Arc<str>,
        subscribe: Subscribe,
        link: Link,
    ) -> FrameworkKey {
        let key = self.counters.framework();
        let Subscribe { mut info, facts, suppressed, instance: _ } = subscribe;
        info.id = Some(v1::FrameworkId { value: id.to_string() });
        let roles = facts.roles.iter().map(|role| {
            let quiet = suppressed.iter().any(|one| **one == **role);
            (role.clone(), ClientState::new(quiet))
        });
        let framework = Framework {
            roles: roles.collect(),
            role_ids: BTreeMap::new(),
            tasks_in: BTreeMap::new(),
            minimum_at: Vec::new(),
            session: None,
            tasks: PartedMap::default(),
            copies: BTreeMap::new(),
            completed_containers: HashMap::new(),
            awaited_kills: AwaitedKills::default(),
            info_sent: BTreeMap::new(),
            answers: Answers::default(),
            is_over_budget: false,
            replacements: BTreeMap::new(),
            demand: None,
            outstanding: BTreeSet::new(),
            offered: BTreeMap::new(),
            record: Arc::new(FrameworkBucket {
                key,
                id,
                info: info.encode_to_vec().into(),
                facts,
                link,
                registered_ns: turn.now.wall_ns,
                reregistered_ns: None,
                unregistered_ns: None,
                completed: VecDeque::new(),
            }),
        };
        self.frameworks.insert(key, framework);
        self.serve_framework(key);
        self.index_minima(key);
        self.counts.frameworks_registered += 1;
        key
    }

    pub(in crate::master::core) fn update_framework(
        &mut self,
        turn: &mut Turn<'_>,
        key: FrameworkKey,
        update: Subscribe,
    ) -> Result<(), Refusal> {
        let record = &self.frameworks[key].record;
        let facts = &record.facts;
        let forbidden = [
            ("principal", facts.principal != update.facts.principal),
            ("user", facts.user != update.facts.user),
            ("checkpoint", checkpoint_of(&record.info).unwrap_or_default() != update.info.checkpoint()),
        ];
        if let Some((field, _)) = forbidden.iter().find(|(_, changed)| *changed) {
            return Err(Refusal::new(&format!("update_framework.framework_info.{field}"), "must not change"));
        }
        self.replace_info(turn, key, update);
        Ok(())
    }

    /// Replaces the info except for user and checkpoint; rescinds the offers of dropped roles.
    fn replace_info(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, update: Subscribe) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        let Subscribe { mut info, mut facts, suppressed, instance: _ } = update;
        facts.user.clone_from(&framework.record.facts.user);
        info.user.clone_from(&facts.user);
        info.checkpoint = checkpoint_of(&framework.record.info);
        info.id = Some(v1::FrameworkId { value: framework.record.id.to_string() });
        let encoded = Bytes::from(info.encode_to_vec());
        let changed = encoded != framework.record.info;
        let gone: Vec<Arc<str>> = framework.roles.keys().filter(|role| !facts.roles.contains(role)).cloned().collect();
        for role in &facts.roles {
            let quiet = suppressed.iter().any(|one| **one == **role);
            if let Some(state) = framework.roles.get_mut(role) {
                state.suppressed = quiet;
            } else {
                framework.roles.insert(role.clone(), ClientState::new(quiet));
            }
        }
        let record = framework.record_mut();
        record.facts = facts;
        record.info = encoded;
        for role in gone {
            self.drop_role(turn, key, &role);
        }
        self.serve_framework(key);
        self.index_minima(key);
        if changed {
            self.resend_framework_info(turn, key);
        }
        self.framework_changed(key);
    }

    fn drop_role(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, role: &Arc<str>) {
        self.rescind_of(turn, key, Some(role));
        if let Some(framework) = self.frameworks.get_mut(key) {
            framework.roles.remove(role);
        }
        if let Some(id) = self.ensure_client(key, role) {
            self.ledger.shares_mut().set_active(id, key, false);
        }
        self.remove_unused_client(key, role);
    }

    /// Sends the new info to the agents that were sent the former one.
    fn resend_framework_info(&mut self, turn: &mut Turn<'_>, key: FrameworkKey) {
        let record = &self.frameworks[key].record;
        let (framework, info) = (record.id.clone(), record.info.clone());
        for (agent, session) in &self.frameworks[key].info_sent {
            let current = self.agents.get(*agent).is_some_and(|agent| agent.session == Some(*session));
            let order = Order::UpdateFramework { framework: framework.clone(), info: info.clone() };
            turn.send_order(current.then_some(*session), order);
        }
    }

    pub(in crate::master::core) fn framework_detached(
        &mut self,
        turn: &mut Turn<'_>,
        key: FrameworkKey,
        session: SessionId,
    ) {
        let Some(framework) = self.frameworks.get_mut(key).filter(|one| one.session == Some(session)) else { return };
        framework.session = None;
        self.timers.disarm_sole(Timer::Heartbeat(key, session));
        let timeout = framework.record.facts.failover;
        framework.record_mut().link = Link::Disconnected;
        self.withdraw_offers(turn, key);
        self.serve_framework(key);
        self.timers.arm_sole(turn.now.mono_after(timeout), Timer::Failover(key));
    }

    pub(in crate::master::core) fn failover_due(&mut self, turn: &mut Turn<'_>, key: FrameworkKey) {
        if self.frameworks.get(key).is_some_and(|one| one.session.is_none()) {
            self.remove_framework(turn, key);
        }
    }

    pub(in crate::master::core) fn heartbeat_due(
        &mut self,
        turn: &mut Turn<'_>,
        key: FrameworkKey,
        session: SessionId,
    ) {
        if self.frameworks.get(key).is_some_and(|framework| framework.session == Some(session)) {
            turn.send_event(Some(session), Event::Heartbeat);
            self.timers.arm_sole(turn.now.mono_after(self.config.heartbeat), Timer::Heartbeat(key, session));
        }
    }

    /// Adds unknown frameworks that a registering agent names. They have their failover timeout to subscribe, and at
    /// least the re-registration timeout of agents, since the restart of the master disconnected them.
    pub(in crate::master::core) fn learn_frameworks(&mut self, turn: &mut Turn<'_>, register: &Register) {
        for known in &register.frameworks {
            let Some(id) = known.info.id.as_ref().map(|id| id.value.as_str()) else { continue };
            if self.frameworks.by_id(id).is_some() || self.was_removed(id) {
                continue;
            }
            let key = self.add_framework(turn, id.into(), known.clone(), Link::Recovered);
            let timeout = known.facts.failover.max(self.config.reregister_timeout);
            self.timers.arm_sole(turn.now.mono_after(timeout), Timer::Failover(key));
        }
    }
}

/// Whether the framework's info asks for checkpoints, which an update cannot change.
fn checkpoint_of(info: &Bytes) -> Option<bool> {
    v1::FrameworkInfo::decode(info.clone()).ok()?.checkpoint
}

#[cfg(test)]
mod tests;
