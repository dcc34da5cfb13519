//! Finds and kills what a container leaves behind: processes that left its group, its session, its parents.
//!
//! One thread serves all containers, so one look at the host serves all that wait for it; and it rests between looks, so
//! that a small host is left to its containers. An exit is reported when a look finds nothing more of the container, or after a bound
//! that only a process stuck in the kernel reaches.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    time::Duration,
};

use rustix::process::Signal;

use super::{
    live::{Key, Live},
    process::{self, Stat},
    queue::Queue,
    survey::{Owner, Survey, marked},
};
use crate::transport::clock::Clock;

/// How often a container is swept before its exit is reported all the same.
const MAX_ROUNDS: u32 = 200;
/// How long a round waits for those it killed, in milliseconds.
const ROUND_MS: i64 = 50;
/// How many it waits for, so that a container of thousands does not take all descriptors.
const WAITED_FOR: usize = 64;
/// One part of looking, three of rest, but no longer than this.
const REST: u32 = 3;
const MAX_REST: Duration = Duration::from_millis(2);

/// What is asked of the sweeper.
#[derive(Debug)]
pub(super) enum Job {
    /// The first process ended and was not reaped: kill what is left.
    Finish(Key),
    /// Send a signal to all of a container that the group did not reach.
    Signal { container_id: String, signal: Signal },
}

/// The one who looks.
#[derive(Debug)]
pub(super) struct Sweeper<'a> {
    live: &'a Live,
    supervisor: &'a OsStr,
    /// The process that orphans come to, if it is our own.
    reaper: Option<u32>,
    clock: Clock,
    /// Containers being finished, with the rounds they took.
    finishing: BTreeMap<Key, u32>,
}

impl<'a> Sweeper<'a> {
    pub(super) fn new(live: &'a Live, supervisor: &'a OsStr, reaper: Option<u32>) -> Self {
        Self { live, supervisor, reaper, clock: Clock::system(), finishing: BTreeMap::new() }
    }

    /// Serves `jobs` until it is closed; `finished` is told of each container of which nothing is left.
    pub(super) fn run(&mut self, jobs: &Queue<Job>, mut finished: impl FnMut(Key)) {
        loop {
            let mut batch = jobs.take();
            if batch.is_empty() && self.finishing.is_empty() {
                match jobs.pop_all() {
                    Some(jobs) => batch = jobs,
                    None => return,
                }
            }
            let signals = self.sort(batch);
            let before = self.clock.now();
            let view = self.look(&signals);
            let cost = self.clock.now().since(before.mono_ns);
            for (container_id, signal) in &signals {
                view.reach(container_id, *signal);
            }
            self.kill_left(&view, &mut finished);
            std::thread::sleep((cost * REST).min(MAX_REST));
        }
    }

    fn sort(&mut self, jobs: impl IntoIterator<Item = Job>) -> Vec<(String, Signal)> {
        let mut signals = Vec::new();
        for job in jobs {
            match job {
                Job::Finish(key) => drop(self.finishing.insert(key, 0)),
                Job::Signal { container_id, signal } => signals.push((container_id, signal)),
            }
        }
        signals
    }

    /// All processes of containers; none, cheaply, when only those being finished matter and nothing bears their marks.
    fn look(&self, signals: &[(String, Signal)]) -> View {
        let supervisor = self.supervisor.as_bytes();
        let firsts = self.live.firsts();
        let ending: BTreeMap<String, Key> =
            self.finishing.keys().filter_map(|key| Some((self.live.container(*key)?, *key))).collect();
        let is_marked = || marked(supervisor).iter().any(|(_, container)| ending.contains_key(container));
        if signals.is_empty() && self.reaper.is_none() && !is_marked() {
            return View { firsts, ending, owned: Vec::new(), strays_are_left: false };
        }
        let quiet = self.quiet();
        let owned = Survey::take(supervisor).owned(&firsts, self.reaper);
        // Between its fork and its own environment a first process looks like a stray: none may have begun meanwhile.
        let strays_are_left = quiet.is_some() && quiet == self.quiet();
        View { firsts, ending, owned, strays_are_left }
    }

    /// How many starts there were, if nothing runs or starts but what is being finished.
    fn quiet(&self) -> Option<u64> {
        self.live.quiet_since(|key| self.finishing.contains_key(&key))
    }

    fn kill_left(&mut self, view: &View, finished: &mut impl FnMut(Key)) {
        let (mut left, mut killed) = (BTreeSet::new(), Vec::new());
        for (stat, owner) in &view.owned {
            match owner {
                Owner::Container(container) => match view.ending.get(container) {
                    Some(key) => drop(left.insert(*key)),
                    None => continue,
                },
                Owner::Stray if view.strays_are_left => left.extend(view.ending.values()),
                Owner::Stray | Owner::Foreign => continue,
            }
            kill(stat, &mut killed);
        }
        process::wait_all(&killed, ROUND_MS);
        self.finishing.retain(|key, rounds| {
            *rounds += 1;
            let stuck = *rounds >= MAX_ROUNDS;
            if stuck {
                tracing::warn!(container = ?self.live.container(*key), "processes are left that do not die");
            }
            let go_on = left.contains(key) && !stuck;
            if !go_on {
                finished(*key);
            }
            go_on
        });
    }
}

/// What one look at the host showed.
#[derive(Debug)]
struct View {
    firsts: BTreeMap<u32, String>,
    ending: BTreeMap<String, Key>,
    owned: Vec<(Stat, Owner)>,
    /// Whether strays belong to nobody who is still there, because no container is.
    strays_are_left: bool,
}

impl View {
    /// Sends `signal` to all of a container but the group of its first process, which had it already.
    fn reach(&self, container_id: &str, signal: Signal) {
        for (stat, owner) in &self.owned {
            let is_its = matches!(owner, Owner::Container(id) if id == container_id);
            if is_its
                && !self.firsts.contains_key(&stat.group)
                && let Some(descriptor) = process::open(stat.pid, stat.start_time)
            {
                let _ = process::signal(&descriptor, signal);
            }
        }
    }
}

fn kill(stat: &Stat, killed: &mut Vec<OwnedFd>) {
    if let Some(descriptor) = process::open(stat.pid, stat.start_time)
        && process::signal(&descriptor, Signal::KILL).is_ok()
        && killed.len() < WAITED_FOR
    {
        killed.push(descriptor);
    }
}
