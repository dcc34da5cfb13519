//! The way to the master: which one, after how long, what was sent on this stream and is not settled yet.
//!
//! Sessions are numbered; whatever comes from another than the current one is dropped. A call that was sent on a stream
//! which broke before the master said so is either sent again (what is harmless twice) or left to reconciliation.

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
/// With so many calls that the master has not settled, no more are taken of the framework.
const UNSETTLED: usize = 65_536;
/// Masters that may pass the driver on to another one in a row.
const HINTS: u32 = 3;

#[derive(Debug)]
pub(super) struct Link {
    masters: Vec<String>,
    next_master: usize,
    leader: Option<String>,
    /// Hints followed in a row. The first is followed at once; after the last the list has its turn again.
    followed: u32,
    /// The user was told that there is no master.
    pub(super) complained: bool,
    backoff: Backoff,
    session: u64,
    seq: u64,
    unsettled: VecDeque<Unsettled>,
    interval: Duration,
}

/// A call on its way.
#[derive(Debug)]
pub(super) struct Unsettled {
    seq: u64,
    /// The number the user knows it by; 0 for the driver's own.
    pub(super) user_seq: u64,
    pub(super) sent: Sent,
}

/// What to know of a call until it is settled.
#[derive(Debug)]
pub(super) enum Sent {
    Plain,
    /// With the tasks it launches.
    Accept(Vec<Arc<str>>),
    Kill(TaskId),
    Revive(Vec<String>),
    Teardown,
}

impl Link {
    pub(super) fn new(masters: Vec<String>) -> Self {
        Self {
            masters,
            next_master: 0,
            leader: None,
            followed: 0,
            complained: false,
            backoff: Backoff::new(BACKOFF_FIRST, BACKOFF_CAP),
            session: 0,
            seq: 0,
            unsettled: VecDeque::new(),
            interval: HEARTBEAT,
        }
    }

    /// Asks for the first connection.
    pub(super) fn open(&mut self, out: &mut Vec<Effect>) -> u64 {
        self.connect(Duration::ZERO, out)
    }

    /// Asks for another connection: to the leader if one was named, otherwise to the next master after a while.
    pub(super) fn reopen(&mut self, leader: Option<String>, rng: &mut StdRng, out: &mut Vec<Effect>) -> u64 {
        self.leader = leader.filter(|leader| !leader.is_empty() && self.followed < HINTS);
        self.followed = if self.leader.is_some() { self.followed + 1 } else { 0 };
        if self.leader.is_none() {
            self.next_master = (self.next_master + 1) % self.masters.len().max(1);
        }
        let after = if self.followed == 1 { Duration::ZERO } else { self.backoff.next_wait(rng) };
        self.connect(after, out)
    }

    /// The master took the subscription and beats every `interval_secs`.
    pub(super) fn established(&mut self, interval_secs: Option<f64>) {
        self.backoff.reset();
        self.complained = false;
        self.followed = 0;
        let told = interval_secs.filter(|secs| *secs > 0.0).and_then(|secs| Duration::try_from_secs_f64(secs).ok());
        self.interval = told.unwrap_or(HEARTBEAT);
    }

    pub(super) fn session(&self) -> u64 {
        self.session
    }

    /// How long the master may be silent.
    pub(super) fn patience(&self) -> Duration {
        self.interval.saturating_mul(MISSED)
    }

    pub(super) fn send(&mut self, call: Call, user_seq: u64, sent: Sent, out: &mut Vec<Effect>) {
        self.seq += 1;
        if user_seq != 0 || !matches!(sent, Sent::Plain) {
            self.unsettled.push_back(Unsettled { seq: self.seq, user_seq, sent });
        }
        out.push(Effect::Send { session: self.session, seq: self.seq, call: Box::new(call) });
    }

    /// True when more calls of the framework can be on their way.
    pub(super) fn has_room(&self) -> bool {
        self.unsettled.len() < UNSETTLED
    }

    /// The call the master refused as number `seq` of this stream.
    pub(super) fn refused(&mut self, seq: u64) -> Option<Unsettled> {
        let index = self.unsettled.binary_search_by_key(&seq, |call| call.seq).ok()?;
        self.unsettled.remove(index)
    }

    /// The master settled every call up to `seq`; true when the teardown is among them.
    pub(super) fn applied(&mut self, seq: u64) -> bool {
        let mut torn_down = false;
        while let Some(call) = self.unsettled.pop_front_if(|call| call.seq <= seq) {
            torn_down |= matches!(call.sent, Sent::Teardown);
        }
        torn_down
    }

    /// What was sent on the broken stream and may not have arrived.
    pub(super) fn unsettled(&mut self) -> VecDeque<Unsettled> {
        std::mem::take(&mut self.unsettled)
    }

    fn connect(&mut self, after: Duration, out: &mut Vec<Effect>) -> u64 {
        self.session += 1;
        self.seq = 0;
        let master = self.leader.clone().or_else(|| self.masters.get(self.next_master).cloned()).unwrap_or_default();
        out.push(Effect::Connect { session: self.session, master, after });
        self.session
    }
}
