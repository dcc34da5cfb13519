//! The queue of one session, pure: order, durability gate, keys and budget. No socket, clock or lock.
//!
//! Rules: a message is sent once its record is durable, and no later message overtakes it. At most one message per key
//! is queued, unless both have to be delivered ([`Merge`]). Pings and heartbeats overtake the rest once the opening
//! message has been sent. Every pushed byte is taken, dropped or merged away exactly once, and counts as freed then.

use std::{collections::HashMap, time::Duration};

use super::{
    FRAME_MESSAGES,
    budget::Limits,
    message::{Class, Merge, Message},
    slots::{SlotNumber, Slots},
};
use crate::types::Now;

/// The capacity that an empty queue keeps, in messages. Thousands of sessions would otherwise keep that of their
/// largest burst.
pub(super) const KEPT_ROOM: usize = 32;

/// The number of a record in the store, rising from 1; 0 stands for no record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordNumber(pub(crate) u64);

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndReason {
    /// It was closed and all queued messages were sent.
    #[error("the session was closed")]
    Closed,
    /// The connection was lost.
    #[error("the connection is gone")]
    Gone,
    /// More control messages are queued than the budget allows.
    #[error(
        "{bytes} bytes of answers wait to be read, the limit is {limit}: read the stream while calls are sent, or send fewer"
    )]
    OverBudget {
        /// Bytes of queued control messages.
        bytes: usize,
        /// The budget of a session.
        limit: usize,
    },
    /// The peer read nothing for the whole stall limit.
    #[error(
        "the peer has read nothing for {} s while {bytes} bytes waited for it; --peer-stall-timeout sets the limit", .after.as_secs()
    )]
    Stalled {
        /// The limit.
        after: Duration,
        /// Bytes that were queued.
        bytes: usize,
    },
}

impl EndReason {
    /// Returns whether the peer caused the end. Then the session fails with this reason.
    pub(crate) fn is_failure(&self) -> bool {
        match self {
            Self::OverBudget { .. } | Self::Stalled { .. } => true,
            Self::Closed | Self::Gone => false,
        }
    }
}

/// What a reader receives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<M> {
    /// One frame of messages.
    Frame(Vec<M>),
    /// No message may be sent yet; the record that the first one waits for, if any.
    Wait(Option<RecordNumber>),
    /// The session has ended.
    End,
}

/// The state of stall detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// The peer is reading, as far as known: check again at this monotonic reading.
    LookAt(u64),
    /// The peer read nothing for the whole stall limit.
    Stalled,
}

#[derive(Debug)]
struct Entry<M> {
    after: RecordNumber,
    weight: usize,
    class: Class,
    /// Whether a newer message of its key may merge with it.
    is_latest: bool,
    message: M,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Ends once all is taken and this record is durable; until then the peer has to keep reading.
    Closing {
        after: RecordNumber,
        until_ns: u64,
    },
    Ended(EndReason),
}

/// The queue of one session.
#[derive(Debug)]
pub(crate) struct SessionQueue<M: Message> {
    limits: Limits,
    state: State,
    slots: Slots<Entry<M>>,
    /// The slot of the latest message of each key.
    by_key: HashMap<M::Key, SlotNumber>,
    /// Urgent messages: a few, one of each key.
    urgent: Vec<Entry<M>>,
    opened: bool,
    bytes: usize,
    control_bytes: usize,
    freed_bytes: usize,
    dropped: u64,
    /// The time of the latest push, and how many control bytes were queued before the first push of that time.
    turn: (u64, usize),
    /// When the peer last took a frame, and whether it was ready for more.
    taken_ns: u64,
    is_ready: bool,
}

impl<M: Message> SessionQueue<M> {
    pub(crate) fn new(now: Now, limits: Limits) -> Self {
        Self {
            limits,
            state: State::Open,
            slots: Slots::default(),
            by_key: HashMap::new(),
            urgent: Vec::new(),
            opened: false,
            bytes: 0,
            control_bytes: 0,
            freed_bytes: 0,
            dropped: 0,
            turn: (now.mono_ns, 0),
            taken_ns: now.mono_ns,
            is_ready: false,
        }
    }

    /// Returns the queued bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the queued messages.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.slots.len() + self.urgent.len()
    }

    /// Returns the slots that they occupy.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.room()
    }

    /// Returns the bytes taken, dropped or merged away since the last call.
    pub(crate) fn take_freed(&mut self) -> usize {
        std::mem::take(&mut self.freed_bytes)
    }

    /// Returns the messages dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Returns why the session ended, once it has.
    pub(crate) fn end_reason(&self) -> Option<&EndReason> {
        match &self.state {
            State::Ended(reason) => Some(reason),
            State::Open | State::Closing { .. } => None,
        }
    }

    /// Pushes a message that may be sent once `after` is durable. `allowance`: the bytes that may be queued. All pushes
    /// of one turn share one time, and what one turn pushes never ends the session.
    pub(crate) fn push(&mut self, now: Now, allowance: usize, after: RecordNumber, message: M) {
        let entry = Entry { after, weight: message.weight(), class: message.class(), is_latest: true, message };
        if self.turn.0 != now.mono_ns {
            self.turn = (now.mono_ns, self.control_bytes);
        }
        if self.state != State::Open {
            self.freed_bytes += entry.weight;
            return;
        }
        match entry.class {
            Class::BestEffort if self.bytes > allowance / 2 => self.drop_entry(&entry),
            Class::Repeated if self.bytes > allowance => self.drop_entry(&entry),
            Class::Control if self.turn.1.min(self.control_bytes) > self.limits.session_bytes => {
                self.freed_bytes += entry.weight;
                self.end(EndReason::OverBudget { bytes: self.control_bytes, limit: self.limits.session_bytes });
            }
            Class::Urgent if self.opened => self.push_urgent(entry),
            Class::Opening | Class::Bounded | Class::Control | Class::Repeated | Class::BestEffort | Class::Urgent => {
                self.push_in_order(entry);
            }
        }
    }

    /// Closes the queue. Queued messages are still sent while the peer reads; the session ends once `after` is durable.
    pub(crate) fn close(&mut self, now: Now, after: RecordNumber) {
        if self.state == State::Open {
            self.state = State::Closing { after, until_ns: now.mono_after(self.limits.stall) };
        }
    }

    /// Ends the session and drops what is queued.
    pub(crate) fn end(&mut self, reason: EndReason) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        self.state = State::Ended(reason);
        self.freed_bytes += std::mem::take(&mut self.bytes);
        self.control_bytes = 0;
        (self.slots, self.by_key, self.urgent) = (Slots::default(), HashMap::new(), Vec::new());
    }

    /// Takes one frame of what may be sent.
    pub(crate) fn take(&mut self, now: Now, durable: RecordNumber) -> Taken<M> {
        if matches!(self.state, State::Ended(_)) {
            return Taken::End;
        }
        let mut frame: Vec<M> = Vec::new();
        let mut bytes = 0_usize;
        for entry in std::mem::take(&mut self.urgent) {
            bytes += entry.weight;
            frame.push(self.leave(entry));
        }
        while let Some(front) = self.slots.front().filter(|front| front.after <= durable) {
            let fits = bytes.saturating_add(front.weight) <= front.message.frame_bytes();
            if !frame.is_empty() && (!fits || frame.len() >= FRAME_MESSAGES) {
                break;
            }
            let Some((number, entry)) = self.slots.pop() else { break };
            self.forget_key(&entry.message, number);
            bytes += entry.weight;
            self.opened |= entry.class == Class::Opening;
            frame.push(self.leave(entry));
        }
        self.is_ready = frame.is_empty();
        self.taken_ns = now.mono_ns;
        if !frame.is_empty() {
            if self.slots.is_empty() && self.by_key.capacity() > KEPT_ROOM {
                self.by_key = HashMap::new();
            }
            return Taken::Frame(frame);
        }
        let waits_for = self.slots.front().map(|front| front.after);
        match (waits_for, &self.state) {
            (None, State::Closing { after, .. }) if *after <= durable => {
                self.state = State::Ended(EndReason::Closed);
                Taken::End
            }
            (None, State::Closing { after, .. }) => Taken::Wait(Some(*after)),
            (waits_for, _) => Taken::Wait(waits_for),
        }
    }

    /// Returns the record that the first queued message waits for, which may be durable already; `None` if nothing is
    /// queued.
    pub(crate) fn waits_for(&self) -> Option<RecordNumber> {
        if !self.urgent.is_empty() || matches!(self.state, State::Ended(_)) {
            return Some(RecordNumber(0));
        }
        let closing = match self.state {
            State::Closing { after, .. } => Some(after),
            State::Open | State::Ended(_) => None,
        };
        self.slots.front().map(|front| front.after).or(closing)
    }

    /// Checks whether the peer still reads. When it does not, the caller ends the session with
    /// [`end_stalled`](Self::end_stalled).
    pub(crate) fn watch(&self, now: Now, durable: RecordNumber) -> Watch {
        let later = now.mono_after(self.limits.stall);
        if let State::Closing { until_ns, .. } = self.state
            && until_ns <= now.mono_ns
        {
            return Watch::Stalled;
        }
        let closes_ns = match self.state {
            State::Closing { until_ns, .. } => until_ns,
            State::Open | State::Ended(_) => u64::MAX,
        };
        if self.is_ready || self.waits_for().is_none_or(|record| record > durable) {
            return Watch::LookAt(later.min(closes_ns));
        }
        let due_ns = self.taken_ns.saturating_add(later - now.mono_ns);
        if due_ns <= now.mono_ns { Watch::Stalled } else { Watch::LookAt(due_ns.min(closes_ns)) }
    }

    /// Ends the session because the peer read nothing for the whole stall limit.
    pub(crate) fn end_stalled(&mut self) {
        let reason = match self.state {
            // A closed queue keeps its reason: the peer had its time to read the last messages.
            State::Closing { .. } if self.is_ready => EndReason::Closed,
            State::Open | State::Closing { .. } | State::Ended(_) => {
                EndReason::Stalled { after: self.limits.stall, bytes: self.bytes }
            }
        };
        self.end(reason);
    }

    fn drop_entry(&mut self, entry: &Entry<M>) {
        self.freed_bytes += entry.weight;
        self.dropped += 1;
    }

    fn push_urgent(&mut self, entry: Entry<M>) {
        let key = entry.message.key();
        self.add(&entry);
        match self.urgent.iter_mut().find(|waiting| key.is_some() && waiting.message.key() == key) {
            Some(waiting) => {
                let old = std::mem::replace(waiting, entry);
                self.subtract(&old);
            }
            None => self.urgent.push(entry),
        }
    }

    fn push_in_order(&mut self, entry: Entry<M>) {
        let Some(key) = entry.message.key() else {
            self.add(&entry);
            self.slots.push(entry);
            return;
        };
        let waiting = self.by_key.get(&key).copied().and_then(|number| Some((number, self.slots.get(number)?)));
        let merge = waiting
            .map(|(number, waiting)| (number, waiting.message.merge(&entry.message, self.slots.is_last(number))));
        match merge {
            None | Some((_, Merge::Both)) => {
                if let Some(waiting) = merge.and_then(|(number, _)| self.slots.get_mut(number)) {
                    waiting.is_latest = false;
                }
                self.add(&entry);
                let number = self.slots.push(entry);
                self.by_key.insert(key, number);
            }
            Some((number, Merge::Replace)) => self.replace(number, entry),
            Some((_, Merge::KeepWaiting)) => self.freed_bytes += entry.weight,
            Some((number, Merge::Cancel)) => {
                self.freed_bytes += entry.weight;
                self.by_key.remove(&key);
                if let Some(old) = self.slots.remove(number) {
                    self.subtract(&old);
                }
                self.compact();
            }
        }
    }

    /// Replaces the older one in its place; the merged entry waits for both records.
    fn replace(&mut self, number: SlotNumber, mut entry: Entry<M>) {
        self.add(&entry);
        let Some(waiting) = self.slots.get_mut(number) else { return };
        entry.after = entry.after.max(waiting.after);
        let old = std::mem::replace(waiting, entry);
        self.subtract(&old);
    }

    fn compact(&mut self) {
        if self.slots.is_sparse() {
            let by_key = &mut self.by_key;
            by_key.clear();
            self.slots.compact(|number, entry| {
                if let Some(key) = entry.message.key().filter(|_| entry.is_latest) {
                    by_key.insert(key, number);
                }
            });
        }
    }

    fn forget_key(&mut self, message: &M, number: SlotNumber) {
        if let Some(key) = message.key()
            && self.by_key.get(&key) == Some(&number)
        {
            self.by_key.remove(&key);
        }
    }

    fn leave(&mut self, entry: Entry<M>) -> M {
        self.subtract(&entry);
        entry.message
    }

    fn add(&mut self, entry: &Entry<M>) {
        self.bytes += entry.weight;
        if entry.class == Class::Control {
            self.control_bytes += entry.weight;
        }
    }

    fn subtract(&mut self, entry: &Entry<M>) {
        self.bytes -= entry.weight;
        self.freed_bytes += entry.weight;
        if entry.class == Class::Control {
            self.control_bytes -= entry.weight;
        }
    }
}
