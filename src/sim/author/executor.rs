//! Runs the futures of one life of a framework on the simulator's own thread, without a runtime.
//!
//! It polls ready futures in the order in which they were spawned until none is ready; virtual time stands still meanwhile.
//! A wake-up from another thread does not depend on the seed, so it is an error.

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
    environment::{AuthorEnvironment, Owner},
    watchdog::Watchdog,
};

/// The most polls at one moment of virtual time.
const MOST_POLLS: u32 = 1_000_000;

/// The futures of a framework.
pub(super) struct Executor {
    tasks: BTreeMap<u64, (Owner, BoxFuture<'static, ()>)>,
    spawned: u64,
    ready: Arc<Ready>,
    environment: AuthorEnvironment,
    watchdog: Arc<Watchdog>,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

/// The futures that are ready to be polled.
#[derive(Debug)]
struct Ready {
    numbers: Mutex<BTreeSet<u64>>,
    thread: ThreadId,
    /// Whether another thread woke a future.
    foreign_wake: AtomicBool,
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
struct TaskWaker {
    number: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if thread::current().id() != self.ready.thread {
            self.ready.foreign_wake.store(true, Ordering::Release);
        }
        self.ready.add(self.number);
    }
}

impl Executor {
    pub(super) fn new(environment: AuthorEnvironment, watchdog: Arc<Watchdog>) -> Self {
        let ready =
            Ready { numbers: Mutex::default(), thread: thread::current().id(), foreign_wake: AtomicBool::new(false) };
        Self { tasks: BTreeMap::new(), spawned: 0, ready: Arc::new(ready), environment, watchdog }
    }

    /// Polls until nothing is ready.
    ///
    /// # Errors
    /// A future did what a simulation does not allow.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let mut polls = 0;
        loop {
            self.add_spawned();
            let ready = self.ready.take();
            if self.ready.foreign_wake.swap(false, Ordering::AcqRel) {
                return Err(self.environment.error_text("was woken by another thread"));
            }
            if ready.is_empty() {
                return Ok(());
            }
            for number in ready {
                polls += 1;
                if polls > MOST_POLLS {
                    return Err(self.environment.error_text("does not come to rest at one moment of virtual time"));
                }
                self.poll(number)?;
            }
        }
    }

    fn add_spawned(&mut self) {
        for (owner, task) in self.environment.take_spawned() {
            self.spawned += 1;
            self.tasks.insert(self.spawned, (owner, task));
            self.ready.add(self.spawned);
        }
    }

    fn poll(&mut self, number: u64) -> Result<(), String> {
        let Some((owner, task)) = self.tasks.get_mut(&number) else { return Ok(()) };
        let waker = Waker::from(Arc::new(TaskWaker { number, ready: Arc::clone(&self.ready) }));
        self.environment.set_polled(*owner);
        let watched = self.watchdog.watch(&self.environment);
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
                Err(format!("a task beside the callbacks panicked: {}", super::panic_message(&*panic)))
            }
        }
    }
}
