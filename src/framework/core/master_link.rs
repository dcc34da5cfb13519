//! The link to the master: which address, after which wait, and the calls without a confirmation.
//!
//! Sessions are numbered; inputs of any but the current one are dropped. A call whose stream was lost before its
//! confirmation is either sent again, if that is harmless, or left to reconciliation.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use rand::rngs::StdRng;

use super::input::Effect;
use crate::{
    proto::v1::{TaskId, scheduler::Call},
    transport::backoff::Backoff,
};

const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_CAP: Duration = Duration::from_secs(15);
/// Heartbeats that may be missed.
const MISSED: u32 = 5;
const HEARTBEAT: Duration = Duration::from_secs(15);
/// With so many calls without a confirmation, no further call of the framework is processed.
const MAX_PENDING_CALLS: usize = 65_536;
/// The most leader hints that are followed in a row.
const HINTS: u32 = 3;

#[derive(Debug)]
pub(super) struct MasterLink {
    masters: Vec<String>,
    next_master: usize,
    leader: Option<String>,
    /// Hints followed in a row. The first is followed at once; after the last, the list of masters continues.
    followed: u32,
    /// A warning about the lost connection was logged.
    pub(super) outage_logged: bool,
    backoff: Backoff,
    session: u64,
    seq: u64,
    pending_calls: VecDeque<PendingCall>,
    interval: Duration,
}

/// A call without a confirmation of the master.
#[derive(Debug)]
pub(super) struct PendingCall {
    seq: u64,
    /// The number of the user's call; 0 for the driver's own.
    pub(super) user_seq: u64,
    pub(super) sent: Sent,
}

/// The part of a call that is kept until the master confirms it.
#[derive(Debug)]
pub(super) enum Sent {
    Plain,
    /// With the tasks it launches.
    Accept(Vec<Arc<str>>),
    Kill(TaskId),
    Revive(Vec<String>),
    Teardown,
}

impl MasterLink {
    pub(super) fn new(masters: Vec<String>) -> Self {
        Self {
            masters,
            next_master: 0,
            leader: None,
            followed: 0,
            outage_logged: false,
            backoff: Backoff::new(BACKOFF_FIRST, BACKOFF_CAP),
            session: 0,
            seq: 0,
            pending_calls: VecDeque::new(),
            interval: HEARTBEAT,
        }
    }

    /// Requests the first connection.
    pub(super) fn open(&mut self, out: &mut Vec<Effect>) -> u64 {
        self.connect(Duration::ZERO, out)
    }

    /// Requests another connection: to the leader if one was named, otherwise to the next master after a wait.
    pub(super) fn reopen(&mut self, leader: Option<String>, rng: &mut StdRng, out: &mut Vec<Effect>) -> u64 {
        self.leader = leader.filter(|leader| !leader.is_empty() && self.followed < HINTS);
        self.followed = if self.leader.is_some() { self.followed + 1 } else { 0 };
        if self.leader.is_none() {
            self.next_master = (self.next_master + 1) % self.masters.len().max(1);
        }
        let after = if self.followed == 1 { Duration::ZERO } else { self.backoff.next_wait(rng) };
        self.connect(after, out)
    }

    /// The master accepted the subscription and sends a heartbeat every `interval_secs`.
    pub(super) fn established(&mut self, interval_secs: Option<f64>) {
        self.backoff.reset();
        self.outage_logged = false;
        self.followed = 0;
        let interval = interval_secs.filter(|secs| *secs > 0.0).and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        self.interval = interval.unwrap_or(HEARTBEAT);
    }

    pub(super) fn session(&self) -> u64 {
        self.session
    }

    /// The time without a frame after which the connection is closed.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.interval.saturating_mul(MISSED)
    }

    pub(super) fn send(&mut self, call: Call, user_seq: u64, sent: Sent, out: &mut Vec<Effect>) {
        self.seq += 1;
        if user_seq != 0 || !matches!(sent, Sent::Plain) {
            self.pending_calls.push_back(PendingCall { seq: self.seq, user_seq, sent });
        }
        out.push(Effect::Send { session: self.session, seq: self.seq, call: Box::new(call) });
    }

    /// True while the number of calls without a confirmation is below its limit.
    pub(super) fn has_room(&self) -> bool {
        self.pending_calls.len() < MAX_PENDING_CALLS
    }

    /// Removes the call that the master refused, number `seq` of this stream.
    pub(super) fn refused(&mut self, seq: u64) -> Option<PendingCall> {
        let index = self.pending_calls.binary_search_by_key(&seq, |call| call.seq).ok()?;
        self.pending_calls.remove(index)
    }

    /// The master applied every call up to `seq`; true when the teardown is among them.
    pub(super) fn applied(&mut self, seq: u64) -> bool {
        let mut torn_down = false;
        while let Some(call) = self.pending_calls.pop_front_if(|call| call.seq <= seq) {
            torn_down |= matches!(call.sent, Sent::Teardown);
        }
        torn_down
    }

    /// Removes and returns the calls that may not have arrived.
    pub(super) fn take_pending(&mut self) -> VecDeque<PendingCall> {
        std::mem::take(&mut self.pending_calls)
    }

    fn connect(&mut self, after: Duration, out: &mut Vec<Effect>) -> u64 {
        self.session += 1;
        self.seq = 0;
        let master = self.leader.clone().or_else(|| self.masters.get(self.next_master).cloned()).unwrap_or_default();
        out.push(Effect::Connect { session: self.session, master, after });
        self.session
    }
}
