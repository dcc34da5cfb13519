//! The master's state machine: who is in the cluster, what each has, and who was promised what.
//!
//! Inputs and the time go in, effects come out; there is no socket, clock or file here, and chance comes from the
//! generator handed in. The shell carries effects out in order and lets an effect leave only when every earlier
//! [`Effect::Persist`] is synced. After each batch of inputs it calls [`Master::settle`], which makes the offers.
//!
//! One rule holds after every input: for each agent, offered + used + free = total.

mod absences;
mod agents;
mod allocation;
mod check;
mod clients;
mod departures;
mod frameworks;
mod identity;
mod interned;
mod keys;
mod kills;
mod launch;
mod message;
mod offers;
mod operators;
mod orphans;
mod partitions;
mod quotas;
mod reconcile;
mod registration;
mod removals;
mod statuses;
mod tasks;
mod timers;
mod view;
mod weights;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use rand::rngs::StdRng;

pub use self::removals::RemovalRate;
use self::{
    absences::Absences,
    agents::Agent,
    frameworks::Framework,
    identity::Identities,
    interned::Interned,
    keys::Counters,
    removals::Removals,
    timers::{Timer, Timers},
};
pub(crate) use self::{
    agents::{AgentBucket, AgentFacts, Presence},
    clients::Client,
    frameworks::{FrameworkBucket, Link},
    keys::{AgentKey, FrameworkKey, OfferKey, RequestId, SessionId, offer_id},
    message::{
        Accept, Answer, Call, Departed, Doubt, Effect, Event, FrameworkFacts, Input, Launch, OfferMade, Operation,
        Order, Quantities, Question, Register, Report, ReportedTask, Subscribe, Update,
    },
    partitions::Partition,
    quotas::quota,
    registration::spoken_with,
    tasks::{Seen, Task},
    view::{Counts, Snapshot},
};
use crate::{
    allocator::fair::{Allocator, Quota, Touched},
    master::registry,
    proto::internal::RegistryChange,
    types::Now,
};

/// Every this many inputs the whole state is checked, in debug builds.
const FULL_CHECK_EVERY: u64 = 1_000;

/// Times and limits of a master. The defaults are Mesos' where Mesos has one.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) ping_interval: Duration,
    pub(crate) pings_missed: u32,
    pub(crate) reregister_timeout: Duration,
    /// An offer nobody answered is taken back after this long; `None` leaves it out.
    pub(crate) offer_timeout: Option<Duration>,
    /// An offer somebody else could use is taken back after this long.
    pub(crate) contended_after: Duration,
    /// A refusal holds at least this long, and an outstanding offer keeps others to the same client away for it.
    pub(crate) refusal_floor: Duration,
    /// The cool clients share one allocation run in this time.
    pub(crate) cool_interval: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) completed_tasks: usize,
    pub(crate) completed_frameworks: usize,
    pub(crate) unreachable_agents: usize,
    /// How fast agents may be given up; `None`: at once.
    pub(crate) removal_rate: Option<RemovalRate>,
    /// The registry is looked through this often,
    pub(crate) registry_gc_interval: Duration,
    /// and forgets agents that were unreachable or gone for longer than this,
    pub(crate) registry_max_age: Duration,
    /// and of each kind the oldest beyond so many; the same with the runs of frameworks nothing is known of.
    pub(crate) registry_max_agents: usize,
    /// An offer has to hold one of these.
    pub(crate) minimum: Vec<Quantities>,
}

impl Config {
    /// How long an agent may be silent.
    fn ping_timeout(&self) -> Duration {
        self.ping_interval * self.pings_missed
    }
}

impl Default for Config {
    fn default() -> Self {
        use crate::types::Milli;
        let least = |name: &str, milli| vec![(Arc::from(name), Milli::from_raw(milli))];
        Self {
            ping_interval: Duration::from_secs(15),
            pings_missed: 5,
            reregister_timeout: Duration::from_mins(10),
            offer_timeout: Some(Duration::from_mins(2)),
            contended_after: Duration::from_secs(10),
            refusal_floor: Duration::from_secs(1),
            cool_interval: Duration::from_secs(1),
            heartbeat: Duration::from_secs(15),
            completed_tasks: 1_000,
            completed_frameworks: 50,
            unreachable_agents: 10_000,
            removal_rate: None,
            registry_gc_interval: Duration::from_mins(15),
            registry_max_age: Duration::from_hours(14 * 24),
            registry_max_agents: 102_400,
            minimum: vec![least("cpus", 10), least("mem", 32_000)],
        }
    }
}

/// Who is at the other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Attached, and has not said who it is.
    Stranger,
    Framework(FrameworkKey),
    Agent(AgentKey),
}

/// What one input may use: the time it came at and the place for its effects.
#[derive(Debug)]
struct Turn<'a> {
    now: Now,
    out: &'a mut Vec<Effect>,
    closing: Vec<SessionId>,
}

impl<'a> Turn<'a> {
    fn new(now: Now, out: &'a mut Vec<Effect>) -> Self {
        Self { now, out, closing: Vec::new() }
    }

    /// The session ends with this input, after all that is said to it on the way.
    fn close(&mut self, session: SessionId) {
        self.closing.push(session);
    }

    fn end(self) {
        self.out.extend(self.closing.into_iter().map(|session| Effect::Close { session }));
    }

    fn tell(&mut self, session: Option<SessionId>, event: Event) {
        if let Some(session) = session {
            self.out.push(Effect::Tell { session, event });
        }
    }

    fn order(&mut self, session: Option<SessionId>, order: Order) {
        if let Some(session) = session {
            self.out.push(Effect::Order { session, order });
        }
    }

    /// All of them are stored, or none.
    fn persist(&mut self, changes: Vec<RegistryChange>) {
        if !changes.is_empty() {
            self.out.push(Effect::Persist(changes));
        }
    }
}

/// The state of a master.
#[derive(Debug)]
pub(crate) struct Master {
    id: Arc<str>,
    epoch: u64,
    config: Config,
    rng: StdRng,
    counters: Counters,
    sessions: BTreeMap<SessionId, Peer>,
    agents: BTreeMap<AgentKey, Agent>,
    agent_ids: HashMap<Arc<str>, AgentKey>,
    identities: Identities,
    frameworks: BTreeMap<FrameworkKey, Framework>,
    framework_ids: HashMap<Arc<str>, FrameworkKey>,
    completed_frameworks: VecDeque<Arc<FrameworkBucket>>,
    /// Where each outstanding offer is kept.
    offers: BTreeMap<OfferKey, AgentKey>,
    /// Offers that are old enough to be taken back as soon as somebody else could use them.
    overdue: BTreeSet<OfferKey>,
    /// When the overdue offers are looked at next.
    next_look_ns: Option<u64>,
    allocator: Allocator<AgentKey, FrameworkKey>,
    timers: Timers,
    /// Agents that changed since the last run for the cool clients.
    stale: Touched<AgentKey>,
    last_cool_ns: u64,
    quotas: BTreeMap<String, Quota>,
    held_off: quotas::HeldOff,
    /// Agents and frameworks the registry knows.
    facts: registry::State,
    /// How long agents have been unreachable or gone.
    absences: Absences,
    /// Agents that are unreachable, by when they became so.
    unreachable: BTreeSet<(i64, AgentKey)>,
    /// Admitted agents that have not come back since this master started.
    recovered: BTreeSet<String>,
    /// Agents that are given up as soon as the rate allows.
    removals: Removals,
    /// What tasks take.
    taken: Interned,
    counts: Counts,
    inputs: u64,
}

impl Master {
    /// A master that starts with what the registry holds. `id` is new at every start.
    pub(crate) fn new(id: &str, epoch: u64, mut facts: registry::State, config: Config, rng: StdRng, now: Now) -> Self {
        weights::keep_sound(&mut facts.weights);
        let mut allocator = Allocator::default();
        for (role, weight) in &facts.weights {
            allocator.set_weight(role, *weight);
        }
        let quotas = quotas::of(&facts);
        for (role, quota) in &quotas {
            allocator.set_quota(role, Some(quota));
        }
        let recovered: BTreeSet<String> =
            facts.agents.keys().filter(|id| !facts.unreachable.contains_key(*id)).cloned().collect();
        let until_ns = now.mono_after(config.reregister_timeout);
        let held_off = quotas::HeldOff { agents: recovered.len(), until_ns };
        let mut timers = Timers::default();
        timers.arm(now.mono_after(config.registry_gc_interval), Timer::RegistryGc);
        if !recovered.is_empty() {
            timers.arm(now.mono_after(config.reregister_timeout), Timer::Recovery);
        }
        Self {
            id: id.into(),
            epoch,
            config,
            rng,
            counters: Counters::default(),
            sessions: BTreeMap::new(),
            agents: BTreeMap::new(),
            agent_ids: HashMap::new(),
            identities: Identities::default(),
            frameworks: BTreeMap::new(),
            framework_ids: HashMap::new(),
            completed_frameworks: VecDeque::new(),
            offers: BTreeMap::new(),
            overdue: BTreeSet::new(),
            next_look_ns: None,
            allocator,
            timers,
            stale: Touched::default(),
            last_cool_ns: now.mono_ns,
            quotas,
            held_off,
            facts,
            absences: Absences::new(now),
            unreachable: BTreeSet::new(),
            recovered,
            removals: Removals::default(),
            taken: Interned::default(),
            counts: Counts::default(),
            inputs: 0,
        }
    }

    /// Takes one input and appends what has to be done to `out`.
    pub(crate) fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.inputs += 1;
        let mut turn = Turn::new(now, out);
        match input {
            Input::Attached { session } => {
                self.sessions.insert(session, Peer::Stranger);
            }
            Input::Detached { session } => self.detached(&mut turn, session),
            Input::Called { session, seq, call } => self.called(&mut turn, session, seq, call),
            Input::Reported { session, report } => self.reported(&mut turn, session, report),
            Input::Asked { request, question } => self.asked(&mut turn, request, question),
            Input::Ticked => self.ticked(&mut turn),
        }
        turn.end();
        if cfg!(debug_assertions) {
            self.check_changed();
            if self.inputs.is_multiple_of(FULL_CHECK_EVERY) {
                self.check();
            }
        }
    }

    /// Makes the offers that the inputs since the last call have made possible.
    pub(crate) fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        let mut turn = Turn::new(now, out);
        self.allocate(&mut turn);
        turn.end();
        if cfg!(debug_assertions) {
            self.check_changed();
        }
    }

    /// When [`Input::Ticked`] is due, in monotonic nanoseconds.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let cool = (!self.stale.is_empty()).then(|| self.next_cool_ns());
        [self.timers.next(), cool, self.next_look_ns].into_iter().flatten().min()
    }

    /// How many timers are armed.
    #[cfg(test)]
    fn timers(&self) -> usize {
        self.timers.len()
    }

    fn detached(&mut self, turn: &mut Turn<'_>, session: SessionId) {
        match self.sessions.remove(&session) {
            None | Some(Peer::Stranger) => {}
            Some(Peer::Framework(key)) => self.framework_detached(turn, key, session),
            Some(Peer::Agent(key)) => self.agent_detached(turn, key, session),
        }
    }

    fn called(&mut self, turn: &mut Turn<'_>, session: SessionId, seq: u64, call: Call) {
        let Some(peer) = self.sessions.get(&session).copied() else { return };
        self.counts.calls += 1;
        let outcome = match (peer, call) {
            (Peer::Stranger, Call::Subscribe(subscribe)) => {
                self.subscribe(turn, session, *subscribe);
                Ok(())
            }
            (Peer::Stranger, Call::Invalid { field, text }) => {
                let text = format!("{field}: {text}");
                Self::subscription_error(turn, session, &text);
                Ok(())
            }
            (Peer::Framework(key), call) => self.framework_called(turn, key, call),
            (Peer::Stranger | Peer::Agent(_), _) => Err(Refusal::new("type", "subscribe first")),
        };
        if let Err(Refusal { field, text, taken_up }) = outcome {
            self.counts.refused += 1;
            turn.tell(Some(session), Event::Refused { seq, field, text, taken_up });
        }
        turn.tell(Some(session), Event::Applied { seq });
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
            Call::Reconcile { tasks } => {
                self.reconcile(turn, key, &tasks);
                Ok(())
            }
            Call::Message { agent, executor, data } => self.message(turn, key, &agent, executor, data),
            Call::UpdateFramework(update) => self.update_framework(turn, key, *update),
            Call::Invalid { field, text } => Err(Refusal::new(&field, text)),
        }
    }

    fn reported(&mut self, turn: &mut Turn<'_>, session: SessionId, report: Report) {
        let peer = self.sessions.get(&session).copied();
        if let Some(Peer::Agent(key)) = peer {
            self.heard_of(key);
        }
        match (peer, report) {
            (None, _) | (Some(Peer::Agent(_)), Report::Ponged) => {}
            (Some(Peer::Stranger), Report::Register(register)) => self.register(turn, session, *register),
            (Some(Peer::Agent(key)), Report::Updated(update)) => self.updated(turn, key, *update),
            (Some(Peer::Agent(key)), Report::Sent { framework, executor, data }) => {
                self.forward_message(turn, key, &framework, executor, data);
            }
            (Some(Peer::Agent(key)), Report::OrphanGone { container }) => self.orphan_gone(key, &container),
            (Some(Peer::Agent(key)), Report::Unregistered) => self.agent_unregistered(turn, key),
            (Some(_), Report::Invalid { text }) => {
                turn.order(Some(session), Order::Refused { text, permanent: false });
                turn.close(session);
            }
            (Some(Peer::Stranger | Peer::Framework(_) | Peer::Agent(_)), _) => {
                let text = "a session starts with one registration".to_owned();
                turn.order(Some(session), Order::Refused { text, permanent: false });
                turn.close(session);
            }
        }
    }

    fn ticked(&mut self, turn: &mut Turn<'_>) {
        while let Some(timer) = self.timers.due(turn.now) {
            match timer {
                Timer::Ping(agent, session) => self.ping_due(turn, agent, session),
                Timer::Reregistration(agent, attempt) => self.reregistration_due(turn, agent, attempt),
                Timer::Failover(framework) => self.failover_due(turn, framework),
                Timer::Heartbeat(framework, session) => self.heartbeat_due(turn, framework, session),
                Timer::OfferContended(offer) => {
                    if self.offers.contains_key(&offer) {
                        self.overdue.insert(offer);
                        self.next_look_ns.get_or_insert(turn.now.mono_ns);
                    }
                }
                Timer::OfferExpired(offer) => self.expire(turn, offer),
                Timer::RefusalEnded(agent) => self.refusal_ended(turn, agent),
                Timer::WithholdingEnded => self.touch_all(),
                Timer::WriteOff(agent, task, absence) => self.write_off_due(turn, agent, task, absence),
                Timer::Removal => self.removals_due(turn),
                Timer::RegistryGc => self.registry_due(turn),
                Timer::Recovery => self.recovery_over(turn),
            }
        }
    }
}

/// Why a call was not applied, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    field: String,
    text: String,
    /// It was applied otherwise, and its tasks are answered for by their statuses.
    taken_up: bool,
}

impl Refusal {
    fn new(field: &str, text: impl Into<String>) -> Self {
        Self { field: field.to_owned(), text: text.into(), taken_up: false }
    }
}

#[cfg(test)]
mod tests;
