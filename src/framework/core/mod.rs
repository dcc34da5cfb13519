//! The driver as a state machine: what a framework calls and what a master tells go in, calls to send and callbacks to
//! run come out.
//!
//! It owns no socket, clock or task. The shell feeds it [`Input`]s with the time they happened at, carries out the
//! [`Effect`]s in the order given, and sends [`Input::Tick`] when its deadline has passed. Rule: a status is
//! acknowledged when the callback that got it returned `Ok`, never before; an offer that reached the driver is answered
//! or given back, whatever the callbacks do.

mod calls;
mod deliveries;
mod ended;
mod input;
mod kills;
mod lanes;
mod link;
mod offers;
mod queued;
mod reconcile;
mod session;
mod standing;
mod statuses;
mod stop;
mod tasks;
#[cfg(test)]
mod tests;
mod wire;
mod write_offs;

use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;

pub(crate) use self::{
    deliveries::BATCH,
    input::{Effect, Finished, Input, Outcome, Request, Stop},
    standing::{Objection, Standing},
};
use self::{
    deliveries::Deliveries, lanes::Lanes, link::Link, offers::Offers, queued::Queued, reconcile::Reconciliation,
    stop::Stopping, tasks::Tasks,
};
use super::{counts::DriverCounts, event::SchedulerEvent, unknown::UnknownTasks};
use crate::{
    harness::Core,
    proto::{
        ext::PartitionPolicy,
        v1::{AgentId, FrameworkId, FrameworkInfo, TaskId, framework_info::capability},
    },
    types::Now,
};

/// Versions of the stream that this driver speaks.
pub(crate) const VERSION: u32 = 1;

/// Full checks of the invariants are this many inputs apart where more than a few tasks are remembered.
const CHECK_EVERY: u64 = 1000;

/// What a driver is told once.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) framework: FrameworkInfo,
    /// `host:port` each; at least one.
    pub(crate) masters: Vec<String>,
    /// Roles that want no offers at first.
    pub(crate) suppressed_roles: Vec<String>,
    /// The user acknowledges, not the driver.
    pub(crate) explicit: bool,
    /// How long offers may go unanswered.
    pub(crate) hold: Duration,
    /// About how often all tasks are reconciled; never between registrations when unset.
    pub(crate) reconcile_every: Option<Duration>,
    /// By what the master tells this run of the framework from those before and after it.
    pub(crate) instance: Bytes,
    /// Tasks that an earlier instance launched, with their agents where known.
    pub(crate) known_tasks: Vec<(TaskId, Option<AgentId>)>,
    /// What those were launched with, where it was more than nothing.
    pub(crate) partition_policies: Vec<(TaskId, PartitionPolicy)>,
    /// What is done about tasks that are not known.
    pub(crate) unknown_tasks: UnknownTasks,
}

/// The state of one driver.
#[derive(Debug)]
pub(crate) struct Driver {
    options: Options,
    roles: Vec<String>,
    rng: StdRng,
    phase: Phase,
    /// The master has told the framework its id, in this driver's life or before.
    framework_id: Option<FrameworkId>,
    /// SUBSCRIBE was sent at some time, whether or not it was answered.
    introduced: bool,
    registered: bool,
    stopping: Option<Stopping>,
    link: Link,
    offers: Offers,
    tasks: Tasks,
    queued: Queued,
    reconciliation: Reconciliation,
    lanes: Lanes,
    deliveries: Deliveries,
    finished: Option<Finished>,
    repeats: u64,
    inputs: u64,
}

/// Where the driver stands with the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not started.
    Disconnected,
    /// A connection was asked for; later inputs of other sessions do not count.
    Connecting,
    /// SUBSCRIBE was sent; without an answer the connection is given up at `due_ns`.
    Subscribing { due_ns: u64 },
    /// Without a word from the master the connection is given up at `due_ns`.
    Subscribed { due_ns: u64 },
    /// The driver ended as it was told, or because the master said so.
    Stopped,
    /// The driver was aborted.
    Aborted,
}

impl Core for Driver {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        if self.ended() {
            return;
        }
        match input {
            Input::Started => self.started(out),
            Input::Called { seq, request } => self.called(now, seq, request, out),
            Input::Connected { session } => self.connected(now, session, out),
            Input::Disconnected { session, reason, leader } => self.disconnected(session, &reason, leader, out),
            Input::Received { session, events } => self.received(now, session, *events, out),
            Input::Returned { callback, outcome } => self.returned(now, callback, outcome, out),
            Input::Tick => self.ticked(now, out),
        }
        self.deliver(now, out);
        self.inputs += 1;
        if cfg!(debug_assertions) {
            self.check_session();
            let few = self.tasks.are_few() && self.deliveries.are_few();
            if few || self.inputs.is_multiple_of(CHECK_EVERY) {
                self.check();
            }
        }
    }

    fn deadline(&self) -> Option<u64> {
        let phase = match self.phase {
            Phase::Subscribing { due_ns } | Phase::Subscribed { due_ns } => Some(due_ns),
            Phase::Disconnected | Phase::Connecting => None,
            Phase::Stopped | Phase::Aborted => return None,
        };
        let stopping = self.stopping.as_ref().map(|stopping| stopping.due_ns);
        let others = [self.offers.deadline_ns(), self.reconciliation.deadline_ns(), self.lanes.deadline_ns()];
        others.into_iter().chain([phase, stopping]).flatten().min()
    }

    fn tick() -> Input {
        Input::Tick
    }
}

impl Driver {
    /// A driver that has not begun. `rng` decides its jitter.
    pub(crate) fn new(mut options: Options, rng: StdRng) -> Self {
        let mut queued = Queued::default();
        queued.suppress(&options.suppressed_roles);
        let mut tasks = Tasks::default();
        for (task_id, agent_id) in std::mem::take(&mut options.known_tasks) {
            tasks.claimed(&task_id.value, agent_id.as_ref());
        }
        for (task_id, policy) in std::mem::take(&mut options.partition_policies) {
            tasks.has_policy(&task_id.value, policy);
        }
        Self {
            phase: Phase::Disconnected,
            roles: options.framework.all_roles().into_iter().map(str::to_owned).collect(),
            framework_id: options.framework.id.clone().filter(|id| !id.value.is_empty()),
            introduced: false,
            registered: false,
            stopping: None,
            link: Link::new(options.masters.clone()),
            offers: Offers::new(options.hold),
            tasks,
            queued,
            reconciliation: Reconciliation::default(),
            lanes: Lanes::default(),
            deliveries: Deliveries::default(),
            finished: None,
            repeats: 0,
            inputs: 0,
            options,
            rng,
        }
    }

    /// The framework's id, once the master has given one.
    pub(crate) fn framework_id(&self) -> Option<&FrameworkId> {
        self.framework_id.as_ref()
    }

    /// Whether a master has ever subscribed this run.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn was_registered(&self) -> bool {
        self.registered
    }

    /// How the driver ended, once it has.
    pub(crate) fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    /// True while the master settles calls as they are made; otherwise they are better left where they are.
    pub(crate) fn takes_calls(&self) -> bool {
        self.link.has_room()
    }

    /// What was counted so far, but for the callbacks.
    pub(crate) fn counts(&self) -> DriverCounts {
        DriverCounts {
            repeats: self.repeats,
            redelivered: self.lanes.redelivered(),
            lost: self.deliveries.lost(),
            unknown_tasks: self.tasks.found_unknown(),
            reconciliations: self.reconciliation.runs(),
            unanswered_tasks: self.reconciliation.unanswered() as u64,
            live_tasks: self.tasks.len() as u64,
            ..DriverCounts::default()
        }
    }

    /// Asserts what holds between any two inputs.
    pub(crate) fn check(&self) {
        self.offers.check();
        self.tasks.check();
        self.deliveries.check();
        self.lanes.check();
        self.check_session();
    }

    fn check_session(&self) {
        if !self.subscribed() {
            assert!(self.offers.is_empty(), "an offer outlived its session");
        }
        if self.registered {
            assert!(self.framework_id.is_some(), "registered without an id");
        }
    }

    fn ticked(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.stop_overdue(now, out);
        if self.ended() {
            return;
        }
        match self.phase {
            Phase::Subscribing { due_ns } if due_ns <= now.mono_ns => self.give_up("no answer to SUBSCRIBE", out),
            Phase::Subscribed { due_ns } if due_ns <= now.mono_ns => self.give_up("no heartbeat", out),
            Phase::Subscribed { .. } => {
                self.return_overdue_offers(now, out);
                self.reconcile_due(now, out);
            }
            Phase::Disconnected | Phase::Connecting | Phase::Subscribing { .. } | Phase::Stopped | Phase::Aborted => {}
        }
        self.tell_again(now, out);
    }

    /// Hands the callbacks their next batch when they are done with the last one.
    fn deliver(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.ended() || self.stopping.is_some() || !self.deliveries.idle() {
            return;
        }
        if !self.deliveries.is_waiting() && !self.offers.has_waiting() {
            return;
        }
        for (callback, event) in self.deliveries.next_batch(now) {
            out.push(Effect::Deliver { callback, event });
        }
        if self.offers.has_waiting() {
            let offers = self.offers.hand_over();
            let (callback, event) = self.deliveries.offers(offers);
            out.push(Effect::Deliver { callback, event });
        }
    }

    fn tell(&mut self, event: SchedulerEvent) {
        self.deliveries.push(event);
    }

    fn subscribed(&self) -> bool {
        matches!(self.phase, Phase::Subscribed { .. })
    }

    fn ended(&self) -> bool {
        matches!(self.phase, Phase::Stopped | Phase::Aborted)
    }

    fn capable_of(&self, capability: capability::Type) -> bool {
        self.options.framework.has(capability)
    }
}
