//! Registration: an agent reports its whole state, the master answers with missing tasks and removed frameworks.
//!
//! No state of a session survives its connection, so both sides exchange full state here and need no other
//! reconciliation. The master sends REGISTERED only after the registry has stored the agent.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    master::core::{
        Event, Master, Order, Peer, Register, ReportedTask, Turn,
        agents::{Agent, AgentInstance, AgentRecord, Presence, arrivals::Arrival},
        keys::{AgentKey, FrameworkKey, SessionId, TaskKey},
        tasks::{StatusRecord, Task, TaskTable, master_status},
    },
    proto::{
        internal::{MissingTask, registry_change},
        v1,
    },
};

/// The versions of the agent protocol that this master speaks. Since version 2, agents report their orphans.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=2;

/// The latest version that this master and an agent that speaks these versions have in common.
pub(crate) fn common_version(min: u32, max: u32) -> Result<u32, String> {
    let (oldest, own) = (*VERSIONS.start(), *VERSIONS.end());
    let version = own.min(max);
    if version < min.max(oldest) {
        let text = "of the agent protocol, the agent";
        return Err(format!("this master speaks versions {oldest} to {own} {text} {min} to {max}"));
    }
    Ok(version)
}

impl Master {
    pub(in crate::master::core) fn register(
        &mut self,
        turn: &mut Turn<'_>,
        session: SessionId,
        mut register: Register,
    ) {
        if register.epoch > self.epoch {
            let text = format!("this master is of epoch {}, the agent has seen epoch {}", self.epoch, register.epoch);
            return refuse(turn, session, text, false);
        }
        if let Some(id) = register.id.as_ref().filter(|id| self.facts.gone.contains_key(*id)) {
            // The agent ends all its tasks: a later master must know it as gone.
            turn.wait_for_records_of(id);
            turn.send_order(Some(session), Order::Gone);
            turn.close(session);
            return;
        }
        let id = self.identify(turn, &mut register);
        if let Some(text) = self.instance_conflict(turn, &id, &register) {
            return refuse(turn, session, text, false);
        }
        let since_ns = self.facts.unreachable.get(&*id).copied();
        let away = since_ns.map(|since_ns| self.absences.lasted(turn.now, &id, since_ns));
        self.admit(turn, &id, &register);
        let key = match self.agents.by_id(&id) {
            Some(key) => {
                self.end_tasks_of_removed(turn, key);
                self.update_agent(turn, key, &register);
                key
            }
            None => self.add_agent(turn, &id, &register),
        };
        if self.agents.is_incomplete(key) {
            self.recovered.insert(id.to_string());
        }
        // The absence before an incomplete registration still counts.
        if let Some(agent) = self.agents.get_mut(key) {
            agent.away = away.or(agent.away);
        }
        self.sessions.identify(session, Peer::Agent(key));
        self.learn_frameworks(turn, &register);
        let frameworks = named_frameworks(&register);
        let removed = frameworks.iter().filter(|id| self.was_removed(id)).cloned().collect();
        self.reconcile_orphans(turn.now, key, &register, &removed);
        turn.spend(register.orphans.len());
        self.agents.begin_arrival(key, Arrival::new(session, register, frameworks));
        self.register_tasks(turn, key);
    }

    /// Records the agent as it describes itself, and as reachable, before anything is sent to it.
    fn admit(&mut self, turn: &mut Turn<'_>, id: &Arc<str>, register: &Register) {
        let mut info = register.info.clone();
        info.id = Some(v1::AgentId { value: id.to_string() });
        if self.facts.agents.get(&**id) != Some(&info) {
            self.record(turn, registry_change::Kind::AgentAdmitted(info));
        }
        if self.facts.unreachable.contains_key(&**id) {
            self.record(turn, registry_change::Kind::AgentReachable(id.to_string()));
        }
        if self.removals.cancel(id) {
            self.counts.agents_unreachable_canceled += 1;
        }
    }

    /// Adds a new agent without tasks.
    fn add_agent(&mut self, turn: &mut Turn<'_>, id: &Arc<str>, register: &Register) -> AgentKey {
        let key = self.counters.agent();
        let record = AgentRecord {
            id: id.clone(),
            facts: Arc::new(register.facts.clone()),
            presence: Presence::Disconnected,
            tasks: TaskTable::default(),
            orphans: std::collections::BTreeMap::default(),
            offers: std::collections::BTreeMap::default(),
            registered_ns: turn.now.wall_ns,
            reregistered_ns: None,
        };
        self.agents.insert(key, Agent::new(record, AgentInstance::of(register)), register);
        self.ledger.set_total(key, &register.total);
        self.ledger.set_disconnected(key);
        self.counts.agents_registered += 1;
        key
    }

    /// Updates a known agent that re-registers.
    fn update_agent(&mut self, turn: &mut Turn<'_>, key: AgentKey, register: &Register) {
        self.rescind_all(turn, key);
        self.agents.redescribe(key, register);
        self.agents.set_presence(key, Presence::Disconnected);
        self.ledger.set_disconnected(key);
        let Some(agent) = self.agents.get_mut(key) else { return };
        if let Some(old) = agent.contact() {
            (agent.session, agent.arrival) = (None, None);
            self.sessions.remove(old);
            turn.close(old);
        }
        agent.absence += 1;
        agent.pings_missed = 0;
        agent.instance = AgentInstance::of(register);
        let changed = *agent.record.facts != register.facts;
        let record = agent.record_mut();
        record.facts = Arc::new(register.facts.clone());
        record.reregistered_ns = Some(turn.now.wall_ns);
        if changed {
            self.ledger.shares_mut().forget_refusals_of(key);
        }
        self.counts.agents_reregistered += 1;
    }

    /// Updates a known task to its reported state, or adds an unknown one. Returns its record, and whether that is the
    /// task of its name and not an older copy.
    pub(super) fn task_reported(
        &mut self,
        turn: &mut Turn<'_>,
        key: AgentKey,
        reported: &ReportedTask,
    ) -> Option<(TaskKey, bool)> {
        let framework = self.frameworks.by_id(&reported.framework)?;
        let Some((on, task)) = self.frameworks[framework].tasks.get(&*reported.id).copied() else {
            if self.has_acknowledged_end(framework, &reported.container) {
                return self.copy_reported(turn, key, framework, reported).map(|task| (task, false));
            }
            return Some((self.learn_task(turn, key, framework, reported, true), true));
        };
        let known = &self.agents[on].record.tasks[task].container;
        if on == key && *known == reported.container {
            self.set_state(key, task, reported.state);
            if let Some(known) = self.task_mut(key, task).filter(|known| known.state == reported.state) {
                known.forwarded = Some(reported.in_flight());
            }
            return Some((task, true));
        }
        // The same id was launched twice: the later launch is the framework's task.
        if *known < reported.container {
            self.kill_copy(turn, on, task, key);
            return Some((self.learn_task(turn, key, framework, reported, true), true));
        }
        self.copy_reported(turn, key, framework, reported).map(|task| (task, false))
    }

    /// Kills a container that is no longer its framework's task; it is counted until it ends.
    fn copy_reported(
        &mut self,
        turn: &mut Turn<'_>,
        key: AgentKey,
        framework: FrameworkKey,
        reported: &ReportedTask,
    ) -> Option<TaskKey> {
        if let Some(known) = self.frameworks[framework].older_copy(key, &reported.container) {
            self.set_state(key, known, reported.state);
            return Some(known);
        }
        if reported.state.is_terminal() {
            let acknowledged = self.has_acknowledged_end(framework, &reported.container);
            return (!acknowledged).then(|| self.learn_task(turn, key, framework, reported, false));
        }
        let task = self.learn_task(turn, key, framework, reported, false);
        self.kill_copy(turn, key, task, key);
        Some(task)
    }

    fn learn_task(
        &mut self,
        turn: &Turn<'_>,
        key: AgentKey,
        framework: FrameworkKey,
        reported: &ReportedTask,
        current: bool,
    ) -> TaskKey {
        let task_key = self.counters.task();
        let on = &self.agents[key].record.id;
        let its = self.frameworks.get_mut(framework).filter(|_| current);
        let kill = its.and_then(|framework| framework.awaited_kills.take(&reported.id, on));
        let task = Task {
            framework,
            id: reported.id.as_str().into(),
            container: reported.container.clone(),
            role: reported.role.clone(),
            info: reported.info.clone(),
            resources: self.interned_resources.share(&reported.resources),
            state: reported.state,
            forwarded: Some(reported.in_flight()),
            unacknowledged: None,
            kill: kill.map(Box::new),
            history: vec![StatusRecord::state_only(reported.state, turn.now)],
            partition: if current { reported.partition.clone() } else { None },
        };
        self.insert_task(key, task_key, task);
        self.index_task(key, task_key, current);
        task_key
    }

    /// Handles a task that the agent did not report. If its end was acknowledged, it is complete. Any other was never
    /// launched or was lost in a power cut; the agent reports that in a status, which is delivered like all others.
    pub(super) fn task_missing(&mut self, key: AgentKey, task_key: TaskKey, turn: &Turn<'_>) -> Option<MissingTask> {
        let task = &self.agents[key].record.tasks[task_key];
        if task.state.is_terminal() {
            // The framework still has to acknowledge an end that the agent lost in a power cut.
            if task.unacknowledged.is_none() {
                self.complete(key, task_key, turn.now);
            }
            return None;
        }
        let framework = &self.frameworks[task.framework];
        let state = if task.was_seen_running() { v1::TaskState::TaskGone } else { v1::TaskState::TaskDropped };
        let state = state.for_framework(framework.record.facts.partition_aware);
        Some(MissingTask {
            framework_id: framework.record.id.to_string(),
            task_id: task.id.to_string(),
            container_id: task.container.to_string(),
            state: state.into(),
        })
    }

    /// Sends the state of a task whose agent was unreachable and re-registers. The agent itself reports an end, with
    /// how the process ended.
    pub(super) fn send_reregistered(&mut self, turn: &mut Turn<'_>, key: AgentKey, task: TaskKey) {
        let task = &self.agents[key].record.tasks[task];
        let framework = &self.frameworks[task.framework];
        let state = task.forwarded.unwrap_or(task.state);
        if state.is_terminal() {
            return;
        }
        let mut status = master_status(&task.id, Some(&self.agents[key].record.id), state, turn.now);
        status.set_reason(v1::task_status::Reason::AgentReregistered);
        status.message = Some("the agent is reachable again".to_owned());
        turn.send_event(framework.session, Event::Updated { status: Arc::new(status) });
    }
}

impl ReportedTask {
    /// The state that is sent to the framework: the unacknowledged one, if any, else the latest.
    fn in_flight(&self) -> v1::TaskState {
        self.unacknowledged.unwrap_or(self.state)
    }
}

fn refuse(turn: &mut Turn<'_>, session: SessionId, text: String, permanent: bool) {
    turn.send_order(Some(session), Order::Refused { text, permanent });
    turn.close(session);
}

/// The frameworks that the agent names, or whose tasks it has. Tasks are mostly grouped by framework.
fn named_frameworks(register: &Register) -> BTreeSet<String> {
    let named = register.frameworks.iter().filter_map(|one| Some(one.info.id.as_ref()?.value.clone()));
    let mut frameworks: BTreeSet<String> = named.collect();
    let mut last = None;
    for task in &register.tasks {
        if last != Some(&task.framework) && !frameworks.contains(&task.framework) {
            frameworks.insert(task.framework.clone());
        }
        last = Some(&task.framework);
    }
    frameworks
}
