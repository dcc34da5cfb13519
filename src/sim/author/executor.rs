//! Runs the futures of one life of a framework on the simulator's own thread, without a runtime.
//!
//! All that are ready are polled in the order in which they were spawned, again and again until none is ready: virtual
//! time stands still meanwhile. A wake-up from another thread is no part of a history that a seed decides, so it is noted.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
    thread::{self, ThreadId},
};

use futures::future::BoxFuture;

use super::{
    surroundings::{Owner, Surroundings},
    watchdog::Watchdog,
};

/// Futures polled at one moment of virtual time before they count as never coming to rest.
const MOST_POLLS: u32 = 1_000_000;

/// The futures.
pub(super) struct Executor {
    tasks: BTreeMap<u64, (Owner, BoxFuture<'static, ()>)>,
    spawned: u64,
    ready: Arc<Ready>,
    surroundings: Surroundings,
    watchdog: Arc<Watchdog>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// Which futures are to be polled.
#[derive(Debug)]
struct Ready {
    numbers: Mutex<BTreeSet<u64>>,
    thread: ThreadId,
    /// Somebody on another thread woke one.
    foreign: AtomicBool,
}

impl Ready {
    fn add(&self, number: u64) {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
    }

    fn take(&self) -> BTreeSet<u64> {
        std::mem::take(&mut *self.numbers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes one future.
struct Ring {
    number: u64,
    ready: Arc<Ready>,
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        if thread::current().id() != self.ready.thread {
            self.ready.foreign.store(true, Ordering::Release);
        }
        self.ready.add(self.number);
    }
}

impl Executor {
    pub(super) fn new(surroundings: Surroundings, watchdog: Arc<Watchdog>) -> Self {
        let ready =
            Ready { numbers: Mutex::default(), thread: thread::current().id(), foreign: AtomicBool::new(false) };
        Self { tasks: BTreeMap::new(), spawned: 0, ready: Arc::new(ready), surroundings, watchdog }
    }

    /// Polls until nothing is ready.
    ///
    /// # Errors
    /// What no future of a simulated framework may do, in words.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let mut polls = 0;
        loop {
            self.take_in();
            let ready = self.ready.take();
            if self.ready.foreign.swap(false, Ordering::AcqRel) {
                return Err(self.surroundings.blame("was woken by another thread"));
            }
            if ready.is_empty() {
                return Ok(());
            }
            for number in ready {
                polls += 1;
                if polls > MOST_POLLS {
                    return Err(self.surroundings.blame("does not come to rest at one moment of virtual time"));
                }
                self.poll(number)?;
            }
        }
    }

    fn take_in(&mut self) {
        for (owner, task) in self.surroundings.spawned() {
            self.spawned += 1;
            self.tasks.insert(self.spawned, (owner, task));
            self.ready.add(self.spawned);
        }
    }

    fn poll(&mut self, number: u64) -> Result<(), String> {
        let Some((owner, task)) = self.tasks.get_mut(&number) else { return Ok(()) };
        let waker = Waker::from(Arc::new(Ring { number, ready: Arc::clone(&self.ready) }));
        self.surroundings.polls(*owner);
        let watched = self.watchdog.watch(&self.surroundings);
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut Context::from_waker(&waker))));
        drop(watched);
        match polled {
            Ok(polled) => {
                if polled.is_ready() {
                    self.tasks.remove(&number);
                }
                Ok(())
            }
            Err(panic) => {
                self.tasks.remove(&number);
                Err(format!("a task beside the callbacks panicked: {}", super::words_of(&*panic)))
            }
        }
    }
}
