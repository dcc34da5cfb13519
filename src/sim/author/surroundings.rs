//! What surrounds a framework's driver in the simulation: virtual time, timers, tasks, and a line to the simulated master.
//!
//! User code and the driver's own futures come here from within a poll; what they ask for is kept until the world takes
//! it after all futures have come to rest.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::future::BoxFuture;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::line;
use crate::{
    framework::{
        SchedulerEvent,
        core::Request,
        environment::{CallFrames, Environment, EventFrames, Gone},
    },
    proto::ext,
    sim::links::Frame,
    types::Now,
};

/// Whom everything in a simulated cluster runs as.
const USER: &str = "simulated";

/// Whose future it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The driver's own.
    Driver,
    /// The callbacks, and what they spawned.
    User,
}

/// What the futures want of the world, in order.
#[derive(Debug)]
pub(in crate::sim) enum Ask {
    /// A connection to the master.
    Reach {
        attempt: u64,
    },
    Send {
        attempt: u64,
        calls: ext::Calls,
    },
    LetGo {
        attempt: u64,
    },
    Called(Request),
    Given(SchedulerEvent),
    Returned {
        event: SchedulerEvent,
        ok: bool,
    },
    /// The driver has ended; with an error where it did not end as it was told.
    Ended(Result<(), String>),
}

type Spawned = (Owner, BoxFuture<'static, ()>);

/// A handle on the surroundings of one life of a framework.
#[derive(Clone)]
pub(in crate::sim) struct Surroundings(Arc<Mutex<State>>);

struct State {
    name: String,
    now: Now,
    seed: u64,
    spawned: Vec<Spawned>,
    /// Whose future is polled.
    polled: Owner,
    timers: BTreeMap<(u64, u64), (Owner, Waker)>,
    /// Counts the timers.
    timed: u64,
    asks: Vec<Ask>,
    lines: BTreeMap<u64, Inbox>,
    /// Counts the connections.
    opened: u64,
    /// The callback that runs.
    callback: Option<&'static str>,
    /// A callback that panicked, and its words.
    panicked: Option<String>,
    stopping: bool,
}

/// What came for a connection.
#[derive(Debug, Default)]
struct Inbox {
    frames: VecDeque<Frame>,
    waker: Option<Waker>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Surroundings").field(&self.lock().name).finish()
    }
}

impl Surroundings {
    pub(super) fn new(name: &str, now: Now, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            name: name.to_owned(),
            now,
            seed,
            spawned: Vec::new(),
            polled: Owner::User,
            timers: BTreeMap::new(),
            timed: 0,
            asks: Vec::new(),
            lines: BTreeMap::new(),
            opened: 0,
            callback: None,
            panicked: None,
            stopping: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the time be `now`, and wakes whoever waited for it.
    pub(super) fn advance(&self, now: Now) {
        let mut state = self.lock();
        state.now = now;
        let later = state.timers.split_off(&(now.mono_ns + 1, 0));
        let due = std::mem::replace(&mut state.timers, later);
        drop(state);
        for (_, waker) in due.into_values() {
            waker.wake();
        }
    }

    /// When the next timer is due, in monotonic nanoseconds.
    pub(in crate::sim) fn deadline(&self) -> Option<u64> {
        self.lock().timers.first_key_value().map(|((at_ns, _), _)| *at_ns)
    }

    pub(super) fn spawned(&self) -> Vec<Spawned> {
        std::mem::take(&mut self.lock().spawned)
    }

    /// From here on a future of this owner is polled.
    pub(super) fn polls(&self, owner: Owner) {
        self.lock().polled = owner;
    }

    pub(super) fn spawn_as(&self, owner: Owner, task: BoxFuture<'static, ()>) {
        self.lock().spawned.push((owner, task));
    }

    pub(super) fn ask(&self, ask: Ask) {
        self.lock().asks.push(ask);
    }

    pub(super) fn asks(&self) -> Vec<Ask> {
        std::mem::take(&mut self.lock().asks)
    }

    /// A callback begins.
    pub(super) fn begins(&self, callback: &'static str) {
        self.lock().callback = Some(callback);
    }

    pub(super) fn ends(&self) {
        self.lock().callback = None;
    }

    pub(super) fn panics(&self, words: String) {
        self.lock().panicked.get_or_insert(words);
    }

    pub(super) fn panicked(&self) -> Option<String> {
        self.lock().panicked.clone()
    }

    /// What is wrong with the callback that runs when all has come to rest: it waits, and no timer of the framework's own
    /// can wake it. A driver that is about to end needs none.
    pub(super) fn waits_in_vain(&self) -> bool {
        let state = self.lock();
        let timed = state.timers.values().any(|(owner, _)| *owner == Owner::User);
        state.callback.is_some() && !timed && !state.stopping
    }

    /// Who did something wrong, and what.
    pub(super) fn blame(&self, what: &str) -> String {
        let state = self.lock();
        match state.callback {
            Some(callback) => format!("the callback {callback} of framework {} {what}", state.name),
            None => format!("a task of framework {} {what}", state.name),
        }
    }

    /// Something has come for a connection.
    pub(super) fn arrived(&self, attempt: u64, frame: Frame) {
        let mut state = self.lock();
        let Some(inbox) = state.lines.get_mut(&attempt) else { return };
        inbox.frames.push_back(frame);
        let waker = inbox.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Asks for a connection; returns its number.
    pub(super) fn open_line(&self) -> u64 {
        let mut state = self.lock();
        state.opened += 1;
        let attempt = state.opened;
        state.lines.insert(attempt, Inbox::default());
        state.asks.push(Ask::Reach { attempt });
        attempt
    }

    pub(super) fn close_line(&self, attempt: u64) {
        let mut state = self.lock();
        if state.lines.remove(&attempt).is_some() {
            state.asks.push(Ask::LetGo { attempt });
        }
    }

    pub(super) fn poll_line(&self, attempt: u64, cx: &mut Context<'_>) -> Poll<Frame> {
        let mut state = self.lock();
        let Some(inbox) = state.lines.get_mut(&attempt) else { return Poll::Pending };
        if let Some(frame) = inbox.frames.pop_front() {
            return Poll::Ready(frame);
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Environment for Surroundings {
    fn now(&self) -> Now {
        self.lock().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // A loop that sleeps for no time at all would never let time pass.
        let at_ns = self.now().mono_after(duration.max(Duration::from_nanos(1)));
        Box::pin(Sleep { at_ns, number: None, surroundings: self.clone() })
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut state = self.lock();
        let owner = state.polled;
        state.spawned.push((owner, task));
    }

    fn spawn_own(&self, task: BoxFuture<'static, ()>) {
        self.spawn_as(Owner::Driver, task);
    }

    fn seed(&self) -> u64 {
        self.lock().seed
    }

    fn identity(&self) -> [u8; 16] {
        // Another stream of chance than the driver's own, which begins with the seed itself.
        StdRng::seed_from_u64(!self.lock().seed).random()
    }

    fn can_spawn(&self) -> bool {
        true
    }

    fn attach(&self, _master: String, calls: CallFrames) -> BoxFuture<'static, Result<EventFrames, Gone>> {
        Box::pin(line::attach(self.clone(), calls))
    }

    fn user(&self) -> String {
        USER.to_owned()
    }

    fn called(&self, request: &Request) {
        let mut state = self.lock();
        state.stopping |= matches!(request, Request::Stop(_));
        state.asks.push(Ask::Called(request.clone()));
    }
}

/// Done at a moment of virtual time.
struct Sleep {
    at_ns: u64,
    number: Option<u64>,
    surroundings: Surroundings,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.surroundings.lock();
        if state.now.mono_ns >= this.at_ns {
            return Poll::Ready(());
        }
        let number = *this.number.get_or_insert_with(|| {
            state.timed += 1;
            state.timed
        });
        let owner = state.polled;
        state.timers.insert((this.at_ns, number), (owner, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.surroundings.lock().timers.remove(&(self.at_ns, number));
        }
    }
}
