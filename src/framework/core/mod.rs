//! The driver as a state machine: calls of the framework and frames of the master go in, calls to send and callbacks to
//! run come out.
//!
//! It owns no socket, clock or task. The shell feeds it timestamped [`Input`]s, carries out the [`Effect`]s in order,
//! and sends [`Input::Tick`] when its deadline has passed. Rules: a status is acknowledged after its callback returned
//! `Ok`, never before. Every offer is accepted or declined, whatever the callbacks do.

mod admission;
mod calls;
mod deliveries;
mod ended;
mod input;
mod kills;
mod loss_deadlines;
mod master_link;
mod offers;
mod queued;
mod reconcile;
mod session;
mod status_queues;
mod statuses;
mod stop;
mod tasks;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;

pub(crate) use self::{
    admission::{CallAdmission, RefusalReason},
    deliveries::BATCH,
    input::{Effect, Finished, Input, Outcome, Request, Stop},
};
use self::{
    deliveries::Deliveries, master_link::MasterLink, offers::Offers, queued::Queued, reconcile::Reconciliation,
    status_queues::StatusQueues, stop::Stopping, tasks::Tasks,
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

/// The version of the stream that this driver supports.
pub(crate) const VERSION: u32 = 1;

/// The inputs between full checks of the invariants, when the state is large.
const CHECK_EVERY: u64 = 1000;

/// The configuration of a driver.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) framework: FrameworkInfo,
    /// `host:port` each; at least one.
    pub(crate) masters: Vec<String>,
    /// Roles that are suppressed at the start.
    pub(crate) suppressed_roles: Vec<String>,
    /// The user acknowledges, not the driver.
    pub(crate) explicit: bool,
    /// The time after which an unanswered offer is declined.
    pub(crate) hold: Duration,
    /// The interval of periodic reconciliations; `None` for none.
    pub(crate) reconcile_every: Option<Duration>,
    /// The unique name of this instance of the framework.
    pub(crate) instance: Bytes,
    /// Tasks that an earlier instance launched, with their agents where known.
    pub(crate) known_tasks: Vec<(TaskId, Option<AgentId>)>,
    /// The partition policies of those, where they have one.
    pub(crate) partition_policies: Vec<(TaskId, PartitionPolicy)>,
    /// The policy for unknown tasks.
    pub(crate) unknown_tasks: UnknownTasks,
}

/// The state of one driver.
#[derive(Debug)]
pub(crate) struct Driver {
    options: Options,
    roles: Vec<String>,
    rng: StdRng,
    phase: Phase,
    /// The id that a master assigned, to this instance or an earlier one.
    framework_id: Option<FrameworkId>,
    /// SUBSCRIBE was sent at least once, answered or not.
    subscribe_sent: bool,
    registered: bool,
    stopping: Option<Stopping>,
    link: MasterLink,
    offers: Offers,
    tasks: Tasks,
    queued: Queued,
    reconciliation: Reconciliation,
    status_queues: StatusQueues,
    deliveries: Deliveries,
    finished: Option<Finished>,
    repeats: u64,
    inputs: u64,
}

/// The state of the connection to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not started.
    Disconnected,
    /// A connection was requested; inputs of other sessions are ignored.
    Connecting,
    /// SUBSCRIBE was sent; without an answer the connection is closed at `due_ns`.
    Subscribing { due_ns: u64 },
    /// Without a frame from the master the connection is closed at `due_ns`.
    Subscribed { due_ns: u64 },
    /// The user stopped the driver, or the master ended its session.
    Stopped,
    /// The user aborted the driver.
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
            let few = self.tasks.is_small() && self.deliveries.is_small();
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
        let others = [self.offers.deadline_ns(), self.reconciliation.deadline_ns(), self.status_queues.deadline_ns()];
        others.into_iter().chain([phase, stopping]).flatten().min()
    }

    fn tick() -> Input {
        Input::Tick
    }
}

impl Driver {
    /// A driver that is not started. `rng` decides its jitter.
    pub(crate) fn new(mut options: Options, rng: StdRng) -> Self {
        let mut queued = Queued::default();
        queued.suppress(&options.suppressed_roles);
        let mut tasks = Tasks::default();
        for (task_id, agent_id) in std::mem::take(&mut options.known_tasks) {
            tasks.claimed(&task_id.value, agent_id.as_ref());
        }
        for (task_id, policy) in std::mem::take(&mut options.partition_policies) {
            tasks.set_policy(&task_id.value, policy);
        }
        Self {
            phase: Phase::Disconnected,
            roles: options.framework.all_roles().into_iter().map(str::to_owned).collect(),
            framework_id: options.framework.id.clone().filter(|id| !id.value.is_empty()),
            subscribe_sent: false,
            registered: false,
            stopping: None,
            link: MasterLink::new(options.masters.clone()),
            offers: Offers::new(options.hold),
            tasks,
            queued,
            reconciliation: Reconciliation::default(),
            status_queues: StatusQueues::default(),
            deliveries: Deliveries::default(),
            finished: None,
            repeats: 0,
            inputs: 0,
            options,
            rng,
        }
    }

    /// The framework's id, once the master has assigned one.
    pub(crate) fn framework_id(&self) -> Option<&FrameworkId> {
        self.framework_id.as_ref()
    }

    /// True when a master has registered this instance.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn was_registered(&self) -> bool {
        self.registered
    }

    /// How the driver ended, once it has.
    pub(crate) fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    /// True while the number of unconfirmed calls is below its limit.
    pub(crate) fn takes_calls(&self) -> bool {
        self.link.has_room()
    }

    /// The counters, except those of the callbacks.
    pub(crate) fn counts(&self) -> DriverCounts {
        DriverCounts {
            repeats: self.repeats,
            redelivered: self.status_queues.redelivered(),
            lost: self.deliveries.lost(),
            unknown_tasks: self.tasks.found_unknown(),
            reconciliations: self.reconciliation.runs(),
            unanswered_tasks: self.reconciliation.unanswered() as u64,
            live_tasks: self.tasks.len() as u64,
            ..DriverCounts::default()
        }
    }

    /// Asserts the invariants.
    pub(crate) fn check(&self) {
        self.offers.check();
        self.tasks.check();
        self.deliveries.check();
        self.status_queues.check();
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
            Phase::Subscribing { due_ns } if due_ns <= now.mono_ns => self.reconnect("no answer to SUBSCRIBE", out),
            Phase::Subscribed { due_ns } if due_ns <= now.mono_ns => self.reconnect("no heartbeat", out),
            Phase::Subscribed { .. } => {
                self.return_overdue_offers(now, out);
                self.reconcile_due(now, out);
            }
            Phase::Disconnected | Phase::Connecting | Phase::Subscribing { .. } | Phase::Stopped | Phase::Aborted => {}
        }
        self.redeliver(now, out);
    }

    /// Delivers the next batch when all callbacks of the last one have returned.
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
            let offers = self.offers.take_waiting();
            let (callback, event) = self.deliveries.offers(offers);
            out.push(Effect::Deliver { callback, event });
        }
    }

    fn queue_event(&mut self, event: SchedulerEvent) {
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
