//! Finds and kills what a container leaves behind: processes that left its group, its session, its parents.
//!
//! One thread serves all containers, so one look at the host serves all that wait for it; and it rests between looks, so
//! that a small host is left to its containers. An exit is reported when a look finds nothing more of the container, or
//! after a bound that only a process stuck in the kernel reaches; never because nobody could look.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io,
    os::unix::ffi::OsStrExt as _,
    time::Duration,
};

use rustix::process::{Signal, kill_process_group};

use super::{
    cull::{self, MAX_ROUNDS, ROUND_MS},
    live::{Key, Live},
    process::{self, Stat},
    queue::Queue,
    survey::{Known, Owner, Survey, marked},
};
use crate::transport::clock::Clock;

/// One part of looking, three of rest, but no longer than this.
const REST: u32 = 3;
const MAX_REST: Duration = Duration::from_millis(2);
/// How long it rests when there are no descriptors or memory to look with.
const SHORTAGE_REST: Duration = Duration::from_millis(100);

/// What is asked of the sweeper.
#[derive(Debug)]
pub(super) enum Job {
    /// The first process ended and was not reaped: kill what is left.
    Finish(Key),
    /// Send a signal to all of a container that the group did not reach.
    Signal { container_id: String, signal: Signal },
}

/// The one who looks.
pub(super) struct Sweeper<'a> {
    live: &'a Live,
    supervisor: &'a OsStr,
    /// The process that orphans come to, if it is our own.
    reaper: Option<u32>,
    /// Sees to it that this process may have more files open, if it can.
    more_files: &'a dyn Fn() -> bool,
    clock: Clock,
    /// Signals that are still to be sent.
    signals: Vec<(String, Signal)>,
    /// Whether the last look was not to be had.
    is_blind: bool,
    /// Containers being finished, with the rounds they took.
    finishing: BTreeMap<Key, u32>,
}

impl<'a> Sweeper<'a> {
    pub(super) fn new(
        live: &'a Live,
        supervisor: &'a OsStr,
        reaper: Option<u32>,
        more_files: &'a dyn Fn() -> bool,
    ) -> Self {
        let (signals, finishing) = (Vec::new(), BTreeMap::new());
        Self { live, supervisor, reaper, more_files, clock: Clock::system(), signals, is_blind: false, finishing }
    }

    /// Serves `jobs` until it is closed; `finished` is told of each container of which nothing is left.
    pub(super) fn run(&mut self, jobs: &Queue<Job>, mut finished: impl FnMut(Key)) {
        loop {
            let mut batch = jobs.take();
            if batch.is_empty() && self.finishing.is_empty() && self.signals.is_empty() {
                match jobs.pop_all() {
                    Some(jobs) => batch = jobs,
                    None => return,
                }
            }
            self.sort(batch);
            let before = self.clock.now();
            let outcome = self.sweep_once(&mut finished);
            let cost = self.clock.now().since(before.mono_ns);
            std::thread::sleep(match &outcome {
                Ok(()) => (cost * REST).min(MAX_REST),
                Err(error) => self.rest_blind(error),
            });
            self.is_blind = outcome.is_err();
        }
    }

    fn sort(&mut self, jobs: impl IntoIterator<Item = Job>) {
        for job in jobs {
            match job {
                Job::Finish(key) => drop(self.finishing.insert(key, 0)),
                Job::Signal { container_id, signal } => self.signals.push((container_id, signal)),
            }
        }
    }

    /// One look, and what follows from it. Signals that did not reach everybody are sent again with the next.
    fn sweep_once(&mut self, finished: &mut impl FnMut(Key)) -> io::Result<()> {
        let view = self.look()?;
        for (container_id, signal) in &self.signals {
            view.reach(container_id, *signal)?;
        }
        self.signals.clear();
        self.kill_left(&view, finished)
    }

    /// All processes of containers; none, cheaply, when only those being finished matter and nothing bears their marks.
    fn look(&self) -> io::Result<View> {
        let supervisor = self.supervisor.as_bytes();
        let firsts = self.live.firsts();
        let ending: BTreeMap<String, Key> =
            self.finishing.keys().filter_map(|key| Some((self.live.container(*key)?, *key))).collect();
        let is_marked =
            || marked(supervisor).map(|marked| marked.iter().any(|container| ending.contains_key(container)));
        if self.signals.is_empty() && self.reaper.is_none() && !is_marked()? {
            return Ok(View { firsts, ending, owned: Vec::new(), strays_are_left: false });
        }
        let quiet = self.quiet();
        let known = Known { firsts, reaper: self.reaper, session: None };
        let owned = Survey::take(supervisor)?.owned(&known);
        // Between its fork and its own environment a first process looks like a stray: none may have begun meanwhile.
        let strays_are_left = quiet.is_some() && quiet == self.quiet();
        Ok(View { firsts: known.firsts, ending, owned, strays_are_left })
    }

    /// How many starts there were, if nothing runs or starts but what is being finished.
    fn quiet(&self) -> Option<u64> {
        self.live.quiet_since(|key| self.finishing.contains_key(&key))
    }

    fn kill_left(&mut self, view: &View, finished: &mut impl FnMut(Key)) -> io::Result<()> {
        let (mut left, mut to_kill) = (BTreeSet::new(), Vec::new());
        for (stat, owner) in &view.owned {
            match owner {
                Owner::Container(container) => match view.ending.get(container) {
                    Some(key) => drop(left.insert(*key)),
                    None => continue,
                },
                Owner::Stray if view.strays_are_left => left.extend(view.ending.values()),
                Owner::Stray | Owner::Foreign => continue,
            }
            to_kill.push(stat);
        }
        process::wait_all(&cull::kill(to_kill)?, ROUND_MS);
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
        Ok(())
    }

    /// What nobody can look for may be there: nothing is finished before there is a look.
    fn rest_blind(&self, error: &io::Error) -> Duration {
        if !self.is_blind {
            tracing::error!(%error, "cannot look for what containers leave: their ends are told when that is possible");
        }
        if (self.more_files)() { Duration::ZERO } else { SHORTAGE_REST }
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
    fn reach(&self, container_id: &str, signal: Signal) -> io::Result<()> {
        for (stat, owner) in &self.owned {
            let is_its = matches!(owner, Owner::Container(id) if id == container_id);
            if is_its
                && !self.firsts.contains_key(&stat.group)
                && let Some(descriptor) = process::open(stat.pid, stat.start_time)?
            {
                let _ = process::signal(&descriptor, signal);
            }
        }
        Ok(())
    }
}

/// Kills all of a container whose first process, not reaped yet, is nobody's entry.
///
/// # Errors
/// No descriptors or memory are left: something of it may still run.
pub(super) fn end(supervisor: &OsStr, container_id: &str, first: u32) -> io::Result<()> {
    if let Some(group) = process::to_pid(first) {
        // It needs no descriptor. A group of which nobody is left is no error.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let firsts = BTreeMap::from([(first, container_id.to_owned())]);
    let known = Known { firsts, ..Known::default() };
    let is_its = |(stat, owner): (Stat, Owner)| (owner == Owner::Container(container_id.to_owned())).then_some(stat);
    let look = || Ok(Survey::take(supervisor.as_bytes())?.owned(&known).into_iter().filter_map(is_its).collect());
    if !cull::kill_all(look)? {
        tracing::warn!(container_id, "processes are left that do not die");
    }
    Ok(())
}
