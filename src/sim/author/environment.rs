//! The environment of a framework's driver in the simulation: virtual time, timers, tasks, and connections to the master.
//!
//! User code and the driver's own futures use it from within a poll. Their effects are kept until all futures wait; then the
//! world takes them.

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

use super::connection;
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

/// The user of all processes in a simulated cluster.
const USER: &str = "simulated";

/// The owner of a future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The driver's own.
    Driver,
    /// The callbacks and the tasks they spawned.
    User,
}

/// An effect of the futures, which the world executes.
#[derive(Debug)]
pub(in crate::sim) enum AuthorEffect {
    /// Open a connection to the master.
    Connect {
        attempt: u64,
    },
    Send {
        attempt: u64,
        calls: ext::Calls,
    },
    Disconnect {
        attempt: u64,
    },
    Called(Request),
    CallbackStarted(SchedulerEvent),
    CallbackReturned {
        event: SchedulerEvent,
        ok: bool,
    },
    /// The driver has ended; with an error if no call stopped it.
    DriverEnded(Result<(), String>),
}

type Spawned = (Owner, BoxFuture<'static, ()>);

/// A handle to the environment of one life of a framework.
#[derive(Clone)]
pub(in crate::sim) struct AuthorEnvironment(Arc<Mutex<State>>);

struct State {
    name: String,
    now: Now,
    seed: u64,
    spawned: Vec<Spawned>,
    /// The owner of the future being polled.
    polled: Owner,
    timers: BTreeMap<(u64, u64), (Owner, Waker)>,
    /// Counts the timers.
    timed: u64,
    effects: Vec<AuthorEffect>,
    connections: BTreeMap<u64, Inbox>,
    /// Counts the connections.
    opened: u64,
    /// The callback that runs.
    callback: Option<&'static str>,
    /// The error of user code: a panic, or the error of an event loop.
    user_error: Option<String>,
    stopping: bool,
}

/// The frames received on a connection.
#[derive(Debug, Default)]
struct Inbox {
    frames: VecDeque<Frame>,
    waker: Option<Waker>,
}

impl fmt::Debug for AuthorEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthorEnvironment").field(&self.lock().name).finish()
    }
}

impl AuthorEnvironment {
    pub(super) fn new(name: &str, now: Now, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            name: name.to_owned(),
            now,
            seed,
            spawned: Vec::new(),
            polled: Owner::User,
            timers: BTreeMap::new(),
            timed: 0,
            effects: Vec::new(),
            connections: BTreeMap::new(),
            opened: 0,
            callback: None,
            user_error: None,
            stopping: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the time to `now`, and wakes the timers that are due.
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

    pub(super) fn take_spawned(&self) -> Vec<Spawned> {
        std::mem::take(&mut self.lock().spawned)
    }

    /// Sets the owner of the future being polled.
    pub(super) fn set_polled(&self, owner: Owner) {
        self.lock().polled = owner;
    }

    pub(super) fn spawn_as(&self, owner: Owner, task: BoxFuture<'static, ()>) {
        self.lock().spawned.push((owner, task));
    }

    pub(super) fn push_effect(&self, effect: AuthorEffect) {
        self.lock().effects.push(effect);
    }

    pub(super) fn take_effects(&self) -> Vec<AuthorEffect> {
        std::mem::take(&mut self.lock().effects)
    }

    /// A callback starts.
    pub(super) fn begin_callback(&self, callback: &'static str) {
        self.lock().callback = Some(callback);
    }

    pub(super) fn end_callback(&self) {
        self.lock().callback = None;
    }

    pub(super) fn set_user_error(&self, text: String) {
        self.lock().user_error.get_or_insert(text);
    }

    pub(super) fn user_error(&self) -> Option<String> {
        self.lock().user_error.clone()
    }

    /// Whether a callback waits although all futures wait and no timer of user code can wake it.
    ///
    /// A driver that is about to end needs no timer.
    pub(super) fn is_stuck(&self) -> bool {
        let state = self.lock();
        let timed = state.timers.values().any(|(owner, _)| *owner == Owner::User);
        state.callback.is_some() && !timed && !state.stopping
    }

    /// An error text that names the running callback or the framework.
    pub(super) fn error_text(&self, what: &str) -> String {
        let state = self.lock();
        match state.callback {
            Some(callback) => format!("the callback {callback} of framework {} {what}", state.name),
            None => format!("a task of framework {} {what}", state.name),
        }
    }

    /// Delivers a frame to a connection.
    pub(super) fn deliver_frame(&self, attempt: u64, frame: Frame) {
        let mut state = self.lock();
        let Some(inbox) = state.connections.get_mut(&attempt) else { return };
        inbox.frames.push_back(frame);
        let waker = inbox.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Opens a connection; returns its number.
    pub(super) fn open_connection(&self) -> u64 {
        let mut state = self.lock();
        state.opened += 1;
        let attempt = state.opened;
        state.connections.insert(attempt, Inbox::default());
        state.effects.push(AuthorEffect::Connect { attempt });
        attempt
    }

    pub(super) fn close_connection(&self, attempt: u64) {
        let mut state = self.lock();
        if state.connections.remove(&attempt).is_some() {
            state.effects.push(AuthorEffect::Disconnect { attempt });
        }
    }

    pub(super) fn poll_connection(&self, attempt: u64, cx: &mut Context<'_>) -> Poll<Frame> {
        let mut state = self.lock();
        let Some(inbox) = state.connections.get_mut(&attempt) else { return Poll::Pending };
        if let Some(frame) = inbox.frames.pop_front() {
            return Poll::Ready(frame);
        }
        inbox.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Environment for AuthorEnvironment {
    fn now(&self) -> Now {
        self.lock().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // A loop of zero sleeps would keep time from passing.
        let at_ns = self.now().mono_after(duration.max(Duration::from_nanos(1)));
        Box::pin(Sleep { at_ns, number: None, environment: self.clone() })
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
        // Another random stream than the driver's own, which starts with the seed itself.
        StdRng::seed_from_u64(!self.lock().seed).random()
    }

    fn can_spawn(&self) -> bool {
        true
    }

    fn attach(&self, _master: String, calls: CallFrames) -> BoxFuture<'static, Result<EventFrames, Gone>> {
        Box::pin(connection::attach(self.clone(), calls))
    }

    fn user(&self) -> String {
        USER.to_owned()
    }

    fn called(&self, request: &Request) {
        let mut state = self.lock();
        state.stopping |= matches!(request, Request::Stop(_));
        state.effects.push(AuthorEffect::Called(request.clone()));
    }
}

/// Done at a moment of virtual time.
struct Sleep {
    at_ns: u64,
    number: Option<u64>,
    environment: AuthorEnvironment,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let mut state = this.environment.lock();
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
            self.environment.lock().timers.remove(&(self.at_ns, number));
        }
    }
}
