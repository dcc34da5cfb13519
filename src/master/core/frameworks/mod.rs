//! Frameworks: subscribing, failing over, leaving.
//!
//! A framework is known by its id. Who subscribes with an id takes it over; the older instance is told and cut off, and
//! the registry knows of it before anybody does. One that is away longer than its failover timeout is removed, and a
//! removed id never comes back.

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

/// What a run of a framework hears when another has taken over.
const REPLACED: &str = "Framework failed over";

/// Whether a framework's scheduler can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Connected,
    /// It has its failover timeout to come back.
    Disconnected,
    /// Learnt from an agent after this master started; it has not subscribed here yet.
    Recovered,
    /// Removed; kept only to be looked at.
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
    /// The last tasks that ended, with the agents they ran on.
    pub(crate) completed: VecDeque<Arc<(Arc<str>, Task)>>,
}

/// A framework as the core keeps it.
#[derive(Debug)]
pub(crate) struct Framework {
    pub(in crate::master::core) bucket: Arc<FrameworkBucket>,
    pub(in crate::master::core) session: Option<SessionId>,
    /// Where each task is.
    pub(in crate::master::core) tasks: PartedMap<Arc<str>, (AgentKey, TaskKey)>,
    /// The older copies of its tasks on each agent, by container, as long as they are known.
    copies: BTreeMap<AgentKey, BTreeSet<(ContainerId, TaskKey)>>,
    /// The containers of its completed tasks, and of how many each is.
    completed_containers: HashMap<ContainerId, usize>,
    pub(in crate::master::core) awaited_kills: AwaitedKills,
    /// The agents that were sent its info, and in which of their sessions: it holds no longer than that.
    pub(in crate::master::core) introduced: BTreeMap<AgentKey, SessionId>,
    /// The tasks that were launched in the place of others, by the names of those.
    pub(in crate::master::core) replacements: BTreeMap<Arc<str>, (AgentKey, TaskKey)>,
    pub(in crate::master::core) roles: BTreeMap<Arc<str>, ClientState>,
    /// Every role in which it has a place among the shares: its roles, and former ones with tasks.
    entered: BTreeMap<Arc<str>, RoleId>,
    /// How many records of tasks there are in each role.
    tasks_in: BTreeMap<Arc<str>, usize>,
    /// What it is still to be sent, as it reads.
    pub(in crate::master::core) answers: Answers,
    /// More waits to be read by it than may: it gets no offers.
    pub(in crate::master::core) is_over_budget: bool,
    /// Where the minimum of a role stands in its facts.
    minimum_at: Vec<(RoleId, usize)>,
    /// What it asked for and has not launched: it is offered no more than this.
    pub(in crate::master::core) demand: Option<Quantities>,
    /// The offers it has not answered.
    pub(in crate::master::core) outstanding: BTreeSet<OfferKey>,
    /// The scalars its outstanding offers hold. Resources of different agents are never added up.
    offered: BTreeMap<Arc<str>, Milli>,
}

impl Framework {
    pub(in crate::master::core) fn bucket_mut(&mut self) -> &mut FrameworkBucket {
        Arc::make_mut(&mut self.bucket)
    }

    /// The record of an older copy of one of its tasks, by its container.
    pub(in crate::master::core) fn older_copy(&self, agent: AgentKey, container: &ContainerId) -> Option<TaskKey> {
        let copies = self.copies.get(&agent)?;
        let (found, key) = copies.range((container.clone(), TaskKey(0))..).next()?;
        (found == container).then_some(*key)
    }

    /// Keeps a note of a task that is over, and no more than so many of them.
    pub(in crate::master::core) fn keep_completed(&mut self, agent: Arc<str>, task: Task, limit: usize) {
        *self.completed_containers.entry(task.container.clone()).or_default() += 1;
        let bucket = Arc::make_mut(&mut self.bucket);
        bucket.completed.push_back(Arc::new((agent, task)));
        while bucket.completed.len() > limit
            && let Some(dropped) = bucket.completed.pop_front()
        {
            let container = &dropped.1.container;
            match self.completed_containers.get_mut(container) {
                Some(count) if *count > 1 => *count -= 1,
                Some(_) | None => drop(self.completed_containers.remove(container)),
            }
        }
    }

    /// Whether a task that is over, and of which there is a note, was in this container.
    pub(in crate::master::core) fn has_completed(&self, container: &ContainerId) -> bool {
        self.completed_containers.contains_key(container)
    }

    fn count_copies(&self) -> usize {
        self.copies.values().map(BTreeSet::len).sum()
    }

    /// The task's record goes: what leads to it goes too.
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
    /// Notes where a task is that has a record. One that is not `current` is an older copy of the task of its name, and one
    /// whose place it takes becomes such.
    pub(in crate::master::core) fn index_task(&mut self, agent: AgentKey, key: TaskKey, current: bool) {
        let Some(task) = self.agents.get(agent).and_then(|agent| agent.bucket.tasks.get(key)) else { return };
        let Some(framework) = self.frameworks.get_mut(task.framework) else { return };
        *framework.tasks_in.entry(task.role.clone()).or_default() += 1;
        let older = if current { framework.tasks.insert(task.id.clone(), (agent, key)) } else { Some((agent, key)) };
        if let Some((on, older)) = older {
            let container = self.agents[on].bucket.tasks[older].container.clone();
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
        // Nobody who has an id comes without it: the answer to this run's first SUBSCRIBE was lost.
        let given = given.or_else(|| self.framework_of(&instance));
        if let Some(id) = &given {
            // A driver that is refused ends: what it is refused for must be stored.
            turn.follow(id);
        }
        let known = given.as_ref().and_then(|id| self.frameworks.by_id(id.as_str()));
        if let Some(text) = self.objection(given.as_deref(), known, &subscribe.facts, &instance) {
            Self::subscription_error(turn, session, text);
            return;
        }
        let id: Arc<str> = given.unwrap_or_else(|| self.counters.framework_id(&self.id)).into();
        self.note_run(turn, &id, instance);
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

    /// The id of the framework that this run of a driver has.
    fn framework_of(&self, instance: &Bytes) -> Option<String> {
        if instance.is_empty() {
            return None;
        }
        self.facts.runs.iter().find(|(_, lineage)| lineage.present() == instance).map(|(id, _)| id.clone())
    }

    /// Why the framework of this id cannot be had by this run.
    fn objection(
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
        if known.is_some_and(|key| self.frameworks[key].bucket.facts.principal != facts.principal) {
            return Some("the principal of a framework must not change");
        }
        self.facts.runs.get(id).is_some_and(|lineage| lineage.was_replaced(instance)).then_some(REPLACED)
    }

    /// Has it stored which run has the framework from now on, unless that is stored already. The first run is stored too:
    /// a later master may be the one that sees it replaced.
    fn note_run(&mut self, turn: &mut Turn<'_>, id: &str, instance: Bytes) {
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
        turn.tell(Some(session), Event::Error { text: text.to_owned() });
        turn.close(session);
    }

    fn connect_framework(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, session: SessionId) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        self.timers.disarm_sole(Timer::Failover(key));
        framework.session = Some(session);
        framework.answers = Answers::default();
        framework.is_over_budget = false;
        if framework.bucket.link != Link::Connected {
            framework.bucket_mut().link = Link::Connected;
        }
        framework.roles.values_mut().for_each(ClientState::activate);
        let id = framework.bucket.id.clone();
        turn.tell(Some(session), Event::Subscribed { framework: id, heartbeat: self.config.heartbeat });
        turn.tell(Some(session), Event::Heartbeat);
        self.timers.arm_sole(turn.now.mono_after(self.config.heartbeat), Timer::Heartbeat(key, session));
        self.serve_framework(key);
        self.resend_unacknowledged(turn, key);
    }

    /// The older instance, if one is connected, is sent that it was replaced; its offers are void, and none is made before
    /// they are all taken back.
    fn take_over(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, session: SessionId) {
        self.withdraw_offers(turn, key);
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        framework.bucket_mut().reregistered_ns = Some(turn.now.wall_ns);
        if let Some(old) = framework.session.take().filter(|old| *old != session) {
            self.sessions.remove(old);
            turn.tell(Some(old), Event::Error { text: REPLACED.to_owned() });
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
            entered: BTreeMap::new(),
            tasks_in: BTreeMap::new(),
            minimum_at: Vec::new(),
            session: None,
            tasks: PartedMap::default(),
            copies: BTreeMap::new(),
            completed_containers: HashMap::new(),
            awaited_kills: AwaitedKills::default(),
            introduced: BTreeMap::new(),
            answers: Answers::default(),
            is_over_budget: false,
            replacements: BTreeMap::new(),
            demand: None,
            outstanding: BTreeSet::new(),
            offered: BTreeMap::new(),
            bucket: Arc::new(FrameworkBucket {
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
        let bucket = &self.frameworks[key].bucket;
        let facts = &bucket.facts;
        let forbidden = [
            ("principal", facts.principal != update.facts.principal),
            ("user", facts.user != update.facts.user),
            ("checkpoint", checkpoint_of(&bucket.info).unwrap_or_default() != update.info.checkpoint()),
        ];
        if let Some((field, _)) = forbidden.iter().find(|(_, changed)| *changed) {
            return Err(Refusal::new(&format!("update_framework.framework_info.{field}"), "must not change"));
        }
        self.replace_info(turn, key, update);
        Ok(())
    }

    /// Takes the new info, keeping user and checkpoint; offers of roles that went are taken back.
    fn replace_info(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, update: Subscribe) {
        let Some(framework) = self.frameworks.get_mut(key) else { return };
        let Subscribe { mut info, mut facts, suppressed, instance: _ } = update;
        facts.user.clone_from(&framework.bucket.facts.user);
        info.user.clone_from(&facts.user);
        info.checkpoint = checkpoint_of(&framework.bucket.info);
        info.id = Some(v1::FrameworkId { value: framework.bucket.id.to_string() });
        let encoded = Bytes::from(info.encode_to_vec());
        let changed = encoded != framework.bucket.info;
        let gone: Vec<Arc<str>> = framework.roles.keys().filter(|role| !facts.roles.contains(role)).cloned().collect();
        for role in &facts.roles {
            let quiet = suppressed.iter().any(|one| **one == **role);
            if let Some(state) = framework.roles.get_mut(role) {
                state.suppressed = quiet;
            } else {
                framework.roles.insert(role.clone(), ClientState::new(quiet));
            }
        }
        let bucket = framework.bucket_mut();
        bucket.facts = facts;
        bucket.info = encoded;
        for role in gone {
            self.drop_role(turn, key, &role);
        }
        self.serve_framework(key);
        self.index_minima(key);
        if changed {
            self.reintroduce(turn, key);
        }
        self.framework_changed(key);
    }

    fn drop_role(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, role: &Arc<str>) {
        self.rescind_of(turn, key, Some(role));
        if let Some(framework) = self.frameworks.get_mut(key) {
            framework.roles.remove(role);
        }
        if let Some(id) = self.enter(key, role) {
            self.ledger.shares_mut().set_active(id, key, false);
        }
        self.leave_role(key, role);
    }

    /// Agents that know the framework get its new info.
    fn reintroduce(&mut self, turn: &mut Turn<'_>, key: FrameworkKey) {
        let bucket = &self.frameworks[key].bucket;
        let (framework, info) = (bucket.id.clone(), bucket.info.clone());
        for (agent, session) in &self.frameworks[key].introduced {
            let current = self.agents.get(*agent).is_some_and(|agent| agent.session == Some(*session));
            let order = Order::UpdateFramework { framework: framework.clone(), info: info.clone() };
            turn.order(current.then_some(*session), order);
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
        let timeout = framework.bucket.facts.failover;
        framework.bucket_mut().link = Link::Disconnected;
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
            turn.tell(Some(session), Event::Heartbeat);
            self.timers.arm_sole(turn.now.mono_after(self.config.heartbeat), Timer::Heartbeat(key, session));
        }
    }

    /// Frameworks of a registering agent's tasks that this master does not know yet have their failover timeout to come,
    /// and as long as an agent has at least: that their master went is no fault of theirs.
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

/// Whether a framework asked for checkpoints when it first subscribed, which stays for its life.
fn checkpoint_of(info: &Bytes) -> Option<bool> {
    v1::FrameworkInfo::decode(info.clone()).ok()?.checkpoint
}

#[cfg(test)]
mod tests;
