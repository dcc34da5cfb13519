//! Finds and kills the processes that containers leave behind: those that left their group, session or parents.
//!
//! One thread serves all containers, so one survey of the host serves all that end. It pauses between surveys, to leave
//! a small host to its containers. An exit is reported when a survey finds no more processes of the container, or after
//! a bounded number of rounds if a process is stuck in the kernel; never because a survey failed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use rustix::process::Signal;

use super::{
    super::{
        process::{self, Stat},
        queue::Queue,
    },
    kill_tree::{self, Look, MAX_ROUNDS},
    live::{Key, Live},
    survey::{Known, Owner, Survey},
};
use crate::transport::clock::Clock;

/// The pause after a survey: three times its duration, but no longer than [`MAX_REST`].
const REST: u32 = 3;
const MAX_REST: Duration = Duration::from_millis(2);
/// The pause when no descriptors or memory are left for a survey.
const SHORTAGE_REST: Duration = Duration::from_millis(100);

/// A job for the sweeper.
#[derive(Debug)]
pub(super) enum Job {
    /// The first process ended and was not reaped: kill what is left.
    Finish(Key),
    /// Send a signal to all of a container that the group did not reach.
    Signal { container_id: String, signal: Signal },
}

/// Surveys the host and kills what containers leave behind.
pub(super) struct Sweeper<'a> {
    live: &'a Live,
    /// The process that adopts orphans, if it is our own.
    reaper: Option<u32>,
    /// Raises the limit of open files of this process, if it may.
    more_files: &'a dyn Fn() -> bool,
    clock: Clock,
    /// Signals that are still to be sent.
    signals: Vec<(String, Signal)>,
    /// Whether the last survey failed.
    scan_failed: bool,
    /// Containers being finished, with the rounds they took.
    finishing: BTreeMap<Key, u32>,
}

impl<'a> Sweeper<'a> {
    pub(super) fn new(live: &'a Live, reaper: Option<u32>, more_files: &'a dyn Fn() -> bool) -> Self {
        let (signals, finishing) = (Vec::new(), BTreeMap::new());
        Self { live, reaper, more_files, clock: Clock::system(), signals, scan_failed: false, finishing }
    }

    /// Serves `jobs` until it is closed; `finished` is called with the containers of which nothing is left.
    pub(super) fn run(&mut self, jobs: &Queue<Job>, mut finished: impl FnMut(Vec<Key>)) {
        loop {
            let mut batch = jobs.take();
            if batch.is_empty() && self.finishing.is_empty() && self.signals.is_empty() {
                match jobs.pop_all() {
                    Some(jobs) => batch = jobs,
                    None => return,
                }
            }
            self.queue_jobs(batch);
            let before = self.clock.now();
            let outcome = self.sweep_once();
            let cost = self.clock.now().since(before.mono_ns);
            let rest = match outcome {
                Ok(keys) => {
                    self.scan_failed = false;
                    if !keys.is_empty() {
                        finished(keys);
                    }
                    (cost * REST).min(MAX_REST)
                }
                Err(error) => self.rest_after_failure(&error),
            };
            std::thread::sleep(rest);
        }
    }

    fn queue_jobs(&mut self, jobs: impl IntoIterator<Item = Job>) {
        for job in jobs {
            match job {
                Job::Finish(key) => drop(self.finishing.insert(key, 0)),
                Job::Signal { container_id, signal } => self.signals.push((container_id, signal)),
            }
        }
    }

    /// Makes one round; returns the containers of which nothing is left. If a signal cannot be sent, the next round
    /// repeats all signals.
    fn sweep_once(&mut self) -> io::Result<Vec<Key>> {
        if !self.signals.is_empty() {
            let (survey, known) = self.live.survey(self.reaper, Survey::take)?;
            let owned = survey.owned(&known);
            for (container_id, signal) in &self.signals {
                signal_outside_group(&owned, &known, container_id, *signal)?;
            }
            self.signals.clear();
        }
        if self.finishing.is_empty() {
            return Ok(Vec::new());
        }
        let ending: BTreeMap<String, Key> =
            self.finishing.keys().filter_map(|key| Some((self.live.container(*key)?, *key))).collect();
        let left = self.kill_round(&ending)?;
        Ok(self.count_rounds(&left))
    }

    /// Stops and kills what is left of the `ending` containers; returns those of which something was left.
    fn kill_round(&self, ending: &BTreeMap<String, Key>) -> io::Result<BTreeSet<Key>> {
        let (mut left, mut earlier) = (BTreeSet::new(), Survey::default());
        kill_tree::kill_round(&mut |is_first| {
            let quiet = self.starts_while_quiet();
            let is_orphan = |stat: &Stat| Some(stat.parent) == self.reaper;
            let look = || if is_first { Survey::take() } else { std::mem::take(&mut earlier).again(is_orphan) };
            let (survey, known) = self.live.survey(self.reaper, look)?;
            // Between its clone and its own environment a first process looks like a stray: none may have begun
            // meanwhile.
            let strays_are_left = quiet.is_some() && quiet == self.starts_while_quiet();
            let mut found = Vec::new();
            for (stat, owner) in survey.owned(&known) {
                match owner {
                    Owner::Container(container) => match ending.get(&container) {
                        Some(key) => drop(left.insert(*key)),
                        None => continue,
                    },
                    Owner::Stray if strays_are_left => left.extend(ending.values()),
                    // Its container is not known, so all that end wait until it is dead.
                    Owner::Forged => left.extend(ending.values()),
                    Owner::Stray | Owner::Foreign => continue,
                }
                if !known.firsts.contains_key(&stat.pid) {
                    found.push(stat);
                }
            }
            let is_unsure = survey.is_unsure();
            earlier = survey;
            Ok(Look { found, is_unsure })
        })?;
        Ok(left)
    }

    /// How many starts there were, if nothing runs or starts but what is being finished.
    fn starts_while_quiet(&self) -> Option<u64> {
        self.live.quiet_since(|key| self.finishing.contains_key(&key))
    }

    fn count_rounds(&mut self, left: &BTreeSet<Key>) -> Vec<Key> {
        let live = self.live;
        let over = self.finishing.extract_if(.., |key, rounds| {
            *rounds += 1;
            let stuck = *rounds >= MAX_ROUNDS;
            if stuck {
                tracing::warn!(container = ?live.container(*key), "processes are left that do not die");
            }
            !left.contains(key) || stuck
        });
        over.map(|(key, _)| key).collect()
    }

    /// Logs the first of consecutive failures. No container is finished before a survey succeeds.
    fn rest_after_failure(&mut self, error: &io::Error) -> Duration {
        if !std::mem::replace(&mut self.scan_failed, true) {
            tracing::error!(%error, "cannot look for what containers leave: their exits are reported once that works");
        }
        if (self.more_files)() { Duration::ZERO } else { SHORTAGE_REST }
    }
}

/// Sends `signal` to all processes of a container but the group of its first process, which received it already.
fn signal_outside_group(owned: &[(Stat, Owner)], known: &Known, container_id: &str, signal: Signal) -> io::Result<()> {
    for (stat, owner) in owned {
        let is_its = matches!(owner, Owner::Container(id) if id == container_id);
        if is_its
            && !known.firsts.contains_key(&stat.group)
            && let Some(descriptor) = process::open(stat.pid, stat.start_time)?
        {
            let _ = process::signal(&descriptor, signal);
        }
    }
    Ok(())
}

/// Kills all of one container but its first process, until nothing of it is left; false when some do not die.
///
/// # Errors
/// No descriptors or memory are left: something of it may still run.
pub(super) fn kill_container(live: &Live, reaper: Option<u32>, container_id: &str) -> io::Result<bool> {
    let mut earlier = Survey::default();
    kill_tree::kill_all(|is_first| {
        let before = if is_first { Survey::default() } else { std::mem::take(&mut earlier) };
        let (survey, known) = live.survey(reaper, || before.again(|_| true))?;
        let is_its = |(stat, owner): (Stat, Owner)| {
            (owner == Owner::Container(container_id.to_owned()) && !known.firsts.contains_key(&stat.pid))
                .then_some(stat)
        };
        let look = Look {
            found: survey.owned(&known).into_iter().filter_map(is_its).collect(),
            is_unsure: survey.is_unsure(),
        };
        earlier = survey;
        Ok(look)
    })
}
