//! Slow readers: peers that read slowly, or nothing for a while.
//!
//! The bytes queued for them are bounded, and count as written only when read. A peer that stops reading takes one more
//! frame, which its socket holds. Freed bytes are reported to the core as connections do it: when they are many, or when a
//! queue that held many has run empty.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use rand::Rng as _;

use super::{
    chance::{millis, nanos, percent},
    links::End,
    master::{MasterProcess, Outbox},
    nodes::{Client, Node},
    queue::Event as Coming,
    sabotage::Sabotage,
    world::{Phase, World},
};
use crate::{
    master::core::{Event, SessionId},
    transport::outbox::{EndReason, Limits, RecordNumber, SessionQueue, queue::Watch},
    types::Now,
};

/// Bytes written to one session that are reported at once; fewer are reported with the core's next input.
const REPORT_BYTES: usize = 256 << 10;

/// The state of all readers.
#[derive(Debug, Default)]
pub(super) struct Readers {
    /// Clients that read nothing, with the end of that time.
    stopped_until: BTreeMap<Client, u64>,
    /// The statuses that were sent.
    sent: BTreeSet<Bytes>,
    /// Whether the inputs being processed contain a RECONCILE.
    pub(super) is_asked: bool,
    /// Whether they contain the registration of an agent.
    pub(super) is_registered_with: bool,
}

impl Readers {
    /// Whether this status was sent before.
    pub(super) fn was_sent(&self, uuid: &Bytes) -> bool {
        self.sent.contains(uuid)
    }
}

/// How the peer of one session reads.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The longest time between two frames; zero for a peer that reads at once.
    every: Duration,
    next_ns: u64,
    /// It reads nothing, and its socket holds a frame.
    holds_frame: bool,
    /// Whether its next frame, or the end of its time, is scheduled.
    is_awaited: bool,
    is_watched: bool,
    /// Freed bytes not yet reported to the core.
    pub(super) unreported: usize,
    since_empty: usize,
    pub(super) is_over: bool,
}

impl Reader {
    /// Adds the bytes that a queue freed.
    pub(super) fn add_freed(&mut self, freed: usize) {
        self.unreported += freed;
        self.since_empty += freed;
    }

    /// Whether the freed bytes are reported at once.
    fn should_report(&mut self, limits: &Limits, is_empty: bool) -> bool {
        let threshold = REPORT_BYTES.min(limits.session_bytes / 4).max(1);
        let enough = self.unreported >= threshold || (is_empty && self.since_empty >= threshold);
        if is_empty {
            self.since_empty = 0;
        }
        enough && self.unreported > 0
    }
}

impl Outbox {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Framework(queue) => queue.bytes(),
            Self::Agent(queue) => queue.bytes(),
        }
    }

    pub(super) fn take_freed(&mut self) -> usize {
        match self {
            Self::Framework(queue) => queue.take_freed(),
            Self::Agent(queue) => queue.take_freed(),
        }
    }

    pub(super) fn end_reason(&self) -> Option<&EndReason> {
        match self {
            Self::Framework(queue) => queue.end_reason(),
            Self::Agent(queue) => queue.end_reason(),
        }
    }

    /// Checks whether the peer reads; ends the queue of one that stalled.
    fn watch(&mut self, now: Now, durable: RecordNumber) -> Watch {
        fn of<M: crate::transport::outbox::Message>(
            queue: &mut SessionQueue<M>,
            now: Now,
            durable: RecordNumber,
        ) -> Watch {
            let watch = queue.watch(now, durable);
            if watch == Watch::Stalled {
                queue.end_stalled();
            }
            watch
        }
        match self {
            Self::Framework(queue) => of(queue, now, durable),
            Self::Agent(queue) => of(queue, now, durable),
        }
    }
}

impl MasterProcess {
    /// The bytes that may be queued for one session now.
    pub(super) fn allowance(&self, limits: &Limits) -> usize {
        let total = self.sessions.values().map(|known| known.outbox.bytes()).sum();
        limits.allowance(total, self.sessions.len())
    }
}

impl World {
    /// Draws how the peer of a new session reads.
    pub(super) fn new_reader(&mut self) -> Reader {
        let slow = self.plan.slow_readers.filter(|_| self.phase == Phase::Faults);
        let every = slow.filter(|_| percent(&mut self.chance.network, 40)).unwrap_or_default();
        Reader { every, ..Reader::default() }
    }

    /// Stops a client from reading for a while; its connection stays open.
    pub(super) fn stop_reading(&mut self, client: Client, until_ns: u64) {
        self.readers.stopped_until.insert(client, until_ns);
    }

    /// Makes all clients read again.
    pub(super) fn resume_reading(&mut self) {
        self.readers.stopped_until.clear();
        let life = self.master.life;
        let Some(process) = &mut self.master.process else { return };
        for (session, known) in &mut process.sessions {
            known.reader.every = Duration::ZERO;
            known.reader.next_ns = 0;
            self.queue.at(self.now_ns, Coming::Read { life, session: *session });
        }
    }

    /// Until when a client reads nothing: it stopped reading, or its process is stopped.
    fn reads_again(&self, client: Client) -> Option<u64> {
        let stopped = self.readers.stopped_until.get(&client).copied().filter(|until_ns| *until_ns > self.now_ns);
        stopped.max(self.paused(client.node()))
    }

    /// Whether the peer takes a frame now; if not, schedules the next attempt.
    pub(super) fn takes_frame(&mut self, session: SessionId) -> bool {
        let life = self.master.life;
        let link = self.master.process.as_ref().and_then(|process| process.sessions.get(&session)).map(|it| it.link);
        let Some(client) = link.and_then(|link| self.links.get(link)).map(|link| link.client) else { return true };
        let stopped_until = self.reads_again(client);
        let now_ns = self.now_ns;
        let Some(process) = &mut self.master.process else { return true };
        let Some(known) = process.sessions.get_mut(&session) else { return true };
        let reader = &mut known.reader;
        reader.holds_frame &= stopped_until.is_some();
        let at_ns = stopped_until.filter(|_| reader.holds_frame).unwrap_or(0).max(reader.next_ns);
        if at_ns <= now_ns || known.outbox.end_reason().is_some() {
            return true;
        }
        if known.outbox.bytes() > 0 && !std::mem::replace(&mut reader.is_awaited, true) {
            self.queue.at(at_ns, Coming::Read { life, session });
        }
        self.watch_reader(session);
        false
    }

    /// The peer has taken a frame.
    pub(super) fn took_frame(&mut self, session: SessionId) {
        let now_ns = self.now_ns;
        let link = self.master.process.as_ref().and_then(|process| process.sessions.get(&session)).map(|it| it.link);
        let Some(client) = link.and_then(|link| self.links.get(link)).map(|link| link.client) else { return };
        let is_stopped = self.reads_again(client).is_some();
        let rng = &mut self.chance.network;
        let Some(known) = self.master.process.as_mut().and_then(|process| process.sessions.get_mut(&session)) else {
            return;
        };
        known.reader.holds_frame = is_stopped;
        if known.reader.every > Duration::ZERO {
            known.reader.next_ns = now_ns + rng.random_range(1..=nanos(known.reader.every));
        }
    }

    /// Schedules the end of the session in case its peer reads nothing until the stall timeout.
    fn watch_reader(&mut self, session: SessionId) {
        let (now, life) = (self.time(Node::Master), self.master.life);
        let Some(process) = &mut self.master.process else { return };
        let durable = process.durable;
        let Some(known) = process.sessions.get_mut(&session).filter(|known| !known.reader.is_watched) else { return };
        match known.outbox.watch(now, durable) {
            Watch::Stalled => {
                process.waiting.insert(session);
                self.queue.at(self.now_ns + 1_000, Coming::Read { life, session });
            }
            Watch::LookAt(at_ns) => {
                known.reader.is_watched = true;
                let at_ns = self.now_ns.saturating_add(at_ns.saturating_sub(now.mono_ns).max(1_000_000));
                self.queue.at(at_ns, Coming::Watch { life, session });
            }
        }
    }

    /// Checks whether the peer of a session has read something.
    pub(super) fn watch_is_due(&mut self, life: u64, session: SessionId) {
        if self.master.life != life {
            return;
        }
        let Some(process) = &mut self.master.process else { return };
        let Some(known) = process.sessions.get_mut(&session) else { return };
        known.reader.is_watched = false;
        if known.outbox.bytes() > 0 {
            self.read_is_due(life, session);
        }
    }

    /// The peer of a session reads what is queued for it.
    pub(super) fn read_is_due(&mut self, life: u64, session: SessionId) {
        if self.master.life != life {
            return;
        }
        if let Some(process) = &mut self.master.process
            && let Some(known) = process.sessions.get_mut(&session)
        {
            known.reader.is_awaited = false;
            self.flush_session(session, true);
        }
    }

    /// Schedules a report of the freed bytes to the core, if they are enough.
    pub(super) fn report_written(&mut self, session: SessionId) {
        let (life, limits) = (self.master.life, self.plan.master.queues);
        let mut over = None;
        if let Some(process) = &mut self.master.process
            && let Some(known) = process.sessions.get_mut(&session)
        {
            let freed = known.outbox.take_freed();
            known.reader.add_freed(freed);
            let is_empty = known.outbox.bytes() == 0;
            if known.reader.should_report(&limits, is_empty) && !std::mem::replace(&mut process.report_is_due, true) {
                self.queue.at(self.now_ns + 50_000, Coming::Report { life });
            }
            let is_over = process.harness.core.is_over_budget(session);
            let was_over = std::mem::replace(&mut known.reader.is_over, is_over);
            over = (is_over && !was_over).then_some("session over its budget");
        }
        if let Some(over) = over {
            self.count(over);
        }
    }

    /// Reports written bytes to the core without any other input.
    pub(super) fn report_is_due(&mut self, life: u64) {
        if self.master.life == life && self.master.process.is_some() {
            self.give_master(Vec::new());
        }
    }

    /// Takes the bytes written to each session since the core's last input.
    pub(super) fn take_written(&mut self) -> Vec<(SessionId, usize)> {
        let sabotage = self.sabotage;
        let Some(process) = &mut self.master.process else { return Vec::new() };
        process.report_is_due = false;
        let written = |(session, known): (&SessionId, &mut super::master::Session)| {
            let bytes = std::mem::take(&mut known.reader.unreported);
            let bytes = match sabotage {
                Some(Sabotage::FreesBytesTwice) => bytes * 2,
                Some(Sabotage::ForgetsWhatWasWritten) if known.reader.is_over => 0,
                _ => bytes,
            };
            (bytes > 0).then_some((*session, bytes))
        };
        process.sessions.iter_mut().filter_map(written).collect()
    }

    /// Counts the statuses that waited for their reader, and those that were sent before.
    pub(super) fn count_events(&mut self, events: &[Event], waited: bool) {
        for event in events {
            let Event::Updated { status } = event else { continue };
            if waited {
                self.count("status that waited for its reader");
            }
            if let Some(uuid) = status.uuid.clone()
                && !self.readers.sent.insert(uuid)
            {
                self.count("status sent again");
            }
        }
    }

    /// Counts why a session ended by itself; returns whether it did.
    pub(super) fn count_end(&mut self, reason: Option<&EndReason>) -> bool {
        match reason {
            Some(EndReason::Stalled { .. }) => self.count("session whose peer read nothing for too long"),
            Some(EndReason::OverBudget { .. }) => self.count("session with more answers than its budget"),
            Some(EndReason::Closed | EndReason::Gone) | None => return false,
        }
        true
    }

    /// Stops a client from reading for a while, often beyond the stall timeout.
    pub(super) fn stop_some_reader(&mut self, client: Client) {
        let stall_ms = u64::try_from(self.plan.master.queues.stall.as_millis()).unwrap_or(u64::MAX).min(90_000);
        let long = percent(&mut self.chance.faults, 40);
        let rng = &mut self.chance.faults;
        let time = if long { millis(rng, stall_ms / 2, stall_ms * 3) } else { millis(rng, 100, 8_000) };
        self.stop_reading(client, self.now_ns + nanos(time));
    }

    /// Whether the session is over its budget.
    pub(super) fn is_reader_behind(&self, session: SessionId) -> bool {
        let Some(known) = self.master.process.as_ref().and_then(|process| process.sessions.get(&session)) else {
            return false;
        };
        known.reader.is_over
    }

    /// Schedules the end of a session that ended by itself, as its connection does.
    pub(super) fn end_session_soon(&mut self, link: super::links::LinkId) {
        self.queue.at(self.now_ns + 1_000, Coming::Notice { link, end: End::Master });
    }
}
