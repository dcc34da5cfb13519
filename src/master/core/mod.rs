//! The master's state machine: the agents and frameworks of the cluster, their tasks and their offers.
//!
//! Inputs and the time go in, effects come out. There is no socket, clock or file here, and random numbers come from
//! the generator handed in. The shell sends an effect once the record that it depends on is durable. After each batch
//! of inputs the shell calls [`Core::end_batch`], which makes the offers.
//!
//! One rule holds after every input: for each agent, offered + used + free = total.

mod agents;
mod authorization;
mod changes;
mod check;
mod container;
mod delivery;
mod effect;
mod frameworks;
mod input;
mod keys;
mod ledger;
mod offers;
mod operators;
mod options;
mod outgoing;
mod parted;
mod sessions;
mod tasks;
mod timers;
mod turn;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rand::rngs::StdRng;

pub use self::agents::RemovalRate;
use self::{
    agents::{Absences, Agents, Recovered, Removals},
    authorization::{Action, Object, Policy, allow_all, authorize},
    frameworks::Frameworks,
    keys::Counters,
    ledger::Ledger,
    offers::Overdue,
    operators::{AllocationHold, SnapshotBuilder},
    outgoing::Outgoing,
    sessions::{Peer, Sessions},
    tasks::Interned,
    timers::{Timer, Timers},
    turn::{Refusal, Turn},
};
pub(crate) use self::{
    agents::{AgentFacts, Partition, Presence, common_version},
    authorization::Principal,
    container::ContainerId,
    effect::{Answer, Departed, Effect, Event, OfferMade, Order},
    frameworks::{Client, FrameworkBucket, Link},
    input::{
        Accept, Call, FrameworkFacts, Input, Launch, Operation, Quantities, Question, ReconcileTask, Register, Report,
        ReportedTask, Subscribe, Update,
    },
    keys::{AgentKey, FrameworkKey, OfferKey, RequestId, SessionId, TaskKey, offer_id},
    operators::{AgentView, Counts, Snapshot, quota},
    options::Config,
    tasks::{StatusRecord, Task},
};
use crate::{
    allocator::fair::{Allocator, Quota},
    harness::Core,
    master::registry,
    types::Now,
};

/// In debug builds the whole state is checked every so many inputs.
const FULL_CHECK_EVERY: u64 = 1_000;

/// The state of a master.
#[derive(Debug)]
pub(crate) struct Master {
    id: Arc<str>,
    epoch: u64,
    config: Config,
    rng: StdRng,
    counters: Counters,
    sessions: Sessions,
    outgoing: Outgoing,
    /// Frameworks whose pending answers can be sent at once.
    answering: BTreeSet<FrameworkKey>,
    /// The framework whose answers are sent first in the next turn.
    answers_next: FrameworkKey,
    policy: Policy,
    agents: Agents,
    frameworks: Frameworks,
    /// The agent of each outstanding offer.
    offers: BTreeMap<OfferKey, AgentKey>,
    overdue: Overdue,
    ledger: Ledger,
    timers: Timers,
    last_idle_run_ns: u64,
    quotas: BTreeMap<String, Quota>,
    allocation_hold: AllocationHold,
    /// What the registry holds.
    facts: registry::State,
    /// How long agents have been unreachable or gone.
    absences: Absences,
    /// Agents that may have tasks unknown to this master.
    recovered: Recovered,
    /// The snapshot that is being taken.
    snapshot_builder: Option<SnapshotBuilder>,
    /// Agents that are marked unreachable as soon as the rate allows.
    removals: Removals,
    /// The resources of tasks, equal ones stored once.
    interned_resources: Interned,
    counts: Counts,
    inputs: u64,
}

impl Core for Master {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.inputs += 1;
        let mut turn = Turn::new(now, out, std::mem::take(&mut self.outgoing), self.config.work_per_turn);
        match input {
            Input::Attached { session, principal } => self.sessions.attach(session, principal),
            Input::Detached { session } => {
                self.detached(&mut turn, session);
                turn.outgoing().forget(session);
            }
            Input::Called { session, seq, call } => self.called(&mut turn, session, seq, call),
            Input::Reported { session, report } => self.reported(&mut turn, session, report),
            Input::Asked { request, principal, question } => self.asked(&mut turn, request, &principal, question),
            Input::Synced { number } => turn.outgoing().synced(number),
            Input::Written { session, bytes } => turn.outgoing().written(session, bytes),
            Input::Ticked => self.ticked(&mut turn),
        }
        for session in turn.closing() {
            self.detached(&mut turn, session);
        }
        self.send_failures(&mut turn);
        self.outgoing = turn.end();
        self.apply_budget_changes();
        if cfg!(debug_assertions) {
            self.check_changed();
            if self.inputs.is_multiple_of(FULL_CHECK_EVERY) {
                self.check();
            }
        }
    }

    /// Makes the offers that the inputs since the last call allow.
    fn end_batch(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut turn = Turn::new(now, out, std::mem::take(&mut self.outgoing), self.config.work_per_turn);
        self.allocate(&mut turn);
        self.outgoing = turn.end();
        self.apply_budget_changes();
        if cfg!(debug_assertions) {
            self.check_changed();
        }
    }

    fn deadline(&self) -> Option<u64> {
        let idle_run_ns = || self.next_idle_run_ns().max(self.allocation_held_until_ns());
        let idle_run = self.ledger.shares().is_changed().then(idle_run_ns);
        let unfinished = self.is_running()
            || !self.answering.is_empty()
            || self.frameworks.are_unfinished()
            || self.agents.are_arriving()
            || self.snapshot_builder.is_some();
        let unfinished = unfinished.then_some(0);
        [self.timers.next(), idle_run, self.next_overdue_ns(), unfinished].into_iter().flatten().min()
    }

    fn tick() -> Input {
        Input::Ticked
    }
}

impl Master {
    /// Creates a master from what the registry holds. `id` is new at every start.
    pub(crate) fn new(id: &str, epoch: u64, mut facts: registry::State, config: Config, rng: StdRng, now: Now) -> Self {
        operators::remove_invalid_weights(&mut facts.weights);
        let mut allocator = Allocator::default();
        for (role, weight) in &facts.weights {
            allocator.set_weight(role, *weight);
        }
        let quotas = operators::quotas_of(&facts);
        for (role, quota) in &quotas {
            allocator.set_quota(role, Some(quota));
        }
        let recovered: BTreeSet<String> =
            facts.agents.keys().filter(|id| !facts.unreachable.contains_key(*id)).cloned().collect();
        let until_ns = now.mono_after(config.reregister_timeout);
        let allocation_hold = AllocationHold { agents: recovered.len(), until_ns };
        let mut timers = Timers::default();
        timers.arm(now.mono_after(config.registry_gc_interval), Timer::RegistryGc);
        if !recovered.is_empty() {
            timers.arm(now.mono_after(config.reregister_timeout), Timer::Recovery);
        }
        Self {
            id: id.into(),
            epoch,
            rng,
            counters: Counters::default(),
            sessions: Sessions::default(),
            outgoing: Outgoing::new(config.queues),
            config,
            answering: BTreeSet::new(),
            answers_next: FrameworkKey(0),
            policy: allow_all,
            agents: Agents::default(),
            frameworks: Frameworks::default(),
            offers: BTreeMap::new(),
            overdue: Overdue::default(),
            ledger: Ledger::new(allocator),
            timers,
            last_idle_run_ns: now.mono_ns,
            quotas,
            allocation_hold,
            facts,
            absences: Absences::new(now),
            recovered: Recovered::new(recovered),
            snapshot_builder: None,
            removals: Removals::default(),
            interned_resources: Interned::default(),
            counts: Counts::default(),
            inputs: 0,
        }
    }

    /// Whether an allocation run continues at the next [`end_batch`](Core::end_batch).
    pub(crate) fn is_running(&self) -> bool {
        self.ledger.shares().is_running()
    }

    /// The number of armed timers.
    #[cfg(test)]
    fn timers(&self) -> usize {
        self.timers.len()
    }

    fn detached(&mut self, turn: &mut Turn<'_>, session: SessionId) {
        match self.sessions.remove(session) {
            None | Some(Peer::Unidentified) => {}
            Some(Peer::Framework(key)) => self.framework_detached(turn, key, session),
            Some(Peer::Agent(key)) => self.agent_detached(turn, key, session),
        }
    }

    fn called(&mut self, turn: &mut Turn<'_>, session: SessionId, seq: u64, call: Call) {
        let Some(peer) = self.sessions.peer(session) else { return };
        self.counts.calls += 1;
        let outcome = match (peer, call) {
            (peer, call) if let Err(text) = self.authorize_peer(session, call.action()) => {
                if peer == Peer::Unidentified {
                    Self::subscription_error(turn, session, &text);
                }
                Err(Refusal::new("type", text))
            }
            (Peer::Unidentified, Call::Subscribe(subscribe)) => {
                self.subscribe(turn, session, *subscribe);
                Ok(())
            }
            (Peer::Unidentified, Call::Invalid { field, text }) => {
                let text = format!("{field}: {text}");
                Self::subscription_error(turn, session, &text);
                Ok(())
            }
            (Peer::Framework(key), call) => self.framework_called(turn, key, call),
            (Peer::Unidentified | Peer::Agent(_), _) => Err(Refusal::new("type", "subscribe first")),
        };
        if let Err(Refusal { field, text, partially_applied }) = outcome {
            self.counts.refused += 1;
            turn.send_event(Some(session), Event::Refused { seq, field, text, partially_applied });
        }
        turn.send_event(Some(session), Event::Applied { seq });
    }

    fn framework_called(&mut self, turn: &mut Turn<'_>, key: FrameworkKey, call: Call) -> Result<(), Refusal> {
        match call {
            Call::Subscribe(_) => Err(Refusal::new("type", "this stream is subscribed already")),
            Call::Teardown => {
                self.remove_framework(turn, key);
                Ok(())
            }
            Call::Accept(accept) => self.accept(turn, key, *accept),
            Call::Decline { offers, refuse } => {
                self.decline(turn, key, &offers, refuse);
                Ok(())
            }
            Call::Revive { roles } => self.revive(turn, key, &roles),
            Call::Suppress { roles } => self.suppress(key, &roles),
            Call::Request { resources } => {
                self.request(turn, key, &resources);
                Ok(())
            }
            Call::Kill { task, agent, policy } => {
                self.kill(turn, key, &task, agent.as_deref(), policy);
                Ok(())
            }
            Call::Acknowledge { agent, task, uuid } => self.acknowledge(turn, key, &agent, &task, &uuid),
            Call::Reconcile { tasks } => self.reconcile(turn, key, tasks),
            Call::Message { agent, executor, data } => self.message(turn, key, &agent, executor, data),
            Call::UpdateFramework(update) => self.update_framework(turn, key, *update),
            Call::Invalid { field, text } => Err(Refusal::new(&field, text)),
        }
    }

    fn reported(&mut self, turn: &mut Turn<'_>, session: SessionId, report: Report) {
        let Some(peer) = self.sessions.peer(session) else { return };
        if let Err(text) = self.authorize_peer(session, report.action()) {
            return Self::refuse_agent(turn, session, text);
        }
        if let Peer::Agent(key) = peer {
            self.record_liveness(key);
        }
        match (peer, report) {
            (Peer::Agent(_), Report::Ponged) => {}
            (Peer::Agent(key), _) if self.agents[key].session.is_none() => {
                Self::refuse_agent(turn, session, "the registration has not been answered".to_owned());
            }
            (Peer::Unidentified, Report::Register(register)) => self.register(turn, session, *register),
            (Peer::Agent(key), Report::Updated(update)) => self.updated(turn, key, *update),
            (Peer::Agent(key), Report::Sent { framework, executor, data }) => {
                self.forward_message(turn, key, &framework, executor, data);
            }
            (Peer::Agent(key), Report::OrphanGone { container }) => self.orphan_gone(key, &container),
            (Peer::Agent(key), Report::Unregistered) => self.agent_unregistered(turn, key),
            (_, Report::Invalid { text }) => Self::refuse_agent(turn, session, text),
            (Peer::Unidentified | Peer::Framework(_) | Peer::Agent(_), _) => {
                Self::refuse_agent(turn, session, "a session starts with one registration".to_owned());
            }
        }
    }

    /// Closes a session in which an agent broke the protocol; the agent may reconnect.
    fn refuse_agent(turn: &mut Turn<'_>, session: SessionId, text: String) {
        turn.send_order(Some(session), Order::Refused { text, permanent: false });
        turn.close(session);
    }

    /// Authorizes an input of a session; no other code does.
    fn authorize_peer(&self, session: SessionId, wanted: Option<(Action, Object<'_>)>) -> Result<(), String> {
        let principal = self.sessions.principal(session);
        principal.zip(wanted).map_or(Ok(()), |(principal, wanted)| authorize(self.policy, principal, wanted))
    }

    fn ticked(&mut self, turn: &mut Turn<'_>) {
        const PARTS: usize = 6;
        turn.begin_part(PARTS);
        self.answers_due(turn);
        turn.begin_part(PARTS);
        self.continue_removals(turn);
        turn.begin_part(PARTS);
        self.continue_registrations(turn);
        turn.begin_part(PARTS);
        self.continue_snapshot(turn);
        turn.begin_part(PARTS);
        // Timers that are left are still due: the next turn handles them.
        while !turn.is_spent()
            && let Some(timer) = self.timers.due(turn.now)
        {
            turn.spend(1);
            match timer {
                Timer::Ping(agent, session) => self.ping_due(turn, agent, session),
                Timer::Reregistration(agent, attempt) => self.reregistration_due(turn, agent, attempt),
                Timer::Failover(framework) => self.failover_due(turn, framework),
                Timer::Heartbeat(framework, session) => self.heartbeat_due(turn, framework, session),
                Timer::RefusalEnded(agent) => self.refusal_ended(turn, agent),
                Timer::BackoffEnded(framework) => self.backoff_ended(turn, framework),
                Timer::WriteOff(agent, task, absence) => self.write_off_due(turn, agent, task, absence),
                Timer::Removal => self.removals_due(turn),
                Timer::RegistryGc => self.registry_due(turn),
                Timer::Recovery => self.recovery_over(turn),
            }
        }
        turn.begin_part(PARTS);
        self.expire_overdue(turn);
    }
}

#[cfg(test)]
pub(in crate::master) mod tests;
