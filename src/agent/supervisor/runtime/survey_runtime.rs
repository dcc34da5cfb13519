//! Runs containers without cgroups: finds their processes by parents, markers and, in a process of our own, as orphans.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    thread,
    time::Duration,
};

use rustix::{io::Errno, process::Signal};

use super::{
    super::{process::Used, queue::Queue},
    ContainerRuntime, ContainerSpec, Empty, OrphanReaper, Usage,
    live::{Key, Live},
    spawn::Spawner,
    survey::{Owner, Survey},
    sweep::{self, Job, Sweeper},
};
use crate::{
    agent::{
        isolation::{self, vfork::Inheritance},
        pace::Pace,
    },
    proto::internal::{Exited, StartFailed, Started},
    transport::clock::Clock,
};

/// The pause before a retry when descriptors or memory are short.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
const STACK_BYTES: usize = 256 << 10;

/// A runtime that finds containers' processes by scanning all processes.
#[derive(Debug)]
pub(in crate::agent::supervisor) struct SurveyRuntime {
    live: Live,
    spawner: Spawner,
    sweeps: Queue<Job>,
    clock: Clock,
    /// Whether this process adopts orphans, and may change its own limits.
    owns_process: bool,
}

impl SurveyRuntime {
    /// A runtime in a process that is all the supervisor's, or in a part of another program.
    ///
    /// # Errors
    /// No descriptors are left.
    pub(in crate::agent::supervisor) fn new(owns_process: bool) -> io::Result<Self> {
        let inheritance = if owns_process { Inheritance::of_this_process() } else { Inheritance::any() };
        Ok(Self {
            live: Live::new()?,
            spawner: Spawner::new(inheritance)?,
            sweeps: Queue::new(),
            clock: Clock::system(),
            owns_process,
        })
    }

    /// Raises the limit of open files in a process of the supervisor's own; an embedding program keeps its limit.
    pub(in crate::agent::supervisor) fn more_files(&self) -> bool {
        self.owns_process && isolation::raise_file_limit()
    }

    fn reaper(&self) -> Option<u32> {
        self.owns_process.then(std::process::id)
    }

    fn start_one(&self, spec: &ContainerSpec) -> Result<(Key, Started), StartFailed> {
        self.live.begin(spec);
        let spawned = match self.spawner.spawn(spec) {
            Err(failed) if failed.errno == Errno::MFILE.raw_os_error() && self.more_files() => self.spawner.spawn(spec),
            spawned => spawned,
        };
        let (pid, descriptor) = spawned.inspect_err(|_| self.live.abandon(spec))?;
        Ok(self.enter(spec, pid, Some(descriptor)))
    }

    fn enter(&self, spec: &ContainerSpec, pid: u32, mut descriptor: Option<OwnedFd>) -> (Key, Started) {
        loop {
            match self.live.enter(spec, pid, &mut descriptor) {
                Ok(entered) => return entered,
                // It exists until it is reaped, so it can be inspected as soon as a descriptor is free.
                Err(error) => {
                    if !self.more_files() {
                        tracing::error!(%error, "cannot inspect a process that was started: trying again");
                        thread::sleep(SHORTAGE_PAUSE);
                    }
                }
            }
        }
    }

    fn reap(&self, keys: impl IntoIterator<Item = Key>) -> Vec<Exited> {
        let wall_ns = self.clock.now().wall_ns;
        keys.into_iter().filter_map(|key| self.live.reap(key, wall_ns)).collect()
    }

    /// Reports exits. Without orphans an ended process cannot have left others.
    fn watch(&self, reaper: Option<&OrphanReaper>, ended: &(dyn Fn(Vec<Exited>) + Sync)) {
        let (mut keys, mut pace) = (Vec::new(), Pace::of_ends());
        loop {
            let woken = self.live.wait(&mut keys);
            let (began, count) = (self.clock.now(), keys.len());
            let orphans_exist = reaper.is_none_or(|reaper| reaper.collect(woken.by_child));
            if orphans_exist {
                for key in &keys {
                    self.live.kill_group(*key);
                }
                self.sweeps.extend(keys.drain(..).map(Job::Finish));
            } else if !keys.is_empty() {
                ended(self.reap(keys.drain(..)));
            }
            if woken.is_to_stop {
                return;
            }
            if let Some(rest) = pace.rest_after(began.mono_ns, self.clock.now().mono_ns, count) {
                thread::sleep(rest);
            }
        }
    }
}

impl ContainerRuntime for SurveyRuntime {
    fn start(&self, specs: &[ContainerSpec], started: &mut dyn FnMut(Vec<Result<Started, StartFailed>>)) {
        let (mut keys, mut outcomes) = (Vec::new(), Vec::new());
        for spec in specs {
            outcomes.push(self.start_one(spec).map(|(key, started)| {
                keys.push(key);
                started
            }));
        }
        started(outcomes);
        for key in keys {
            while let Err(error) = self.live.arm(key) {
                tracing::error!(%error, "cannot watch a process: trying again");
                thread::sleep(SHORTAGE_PAUSE);
            }
        }
    }

    fn signal(&self, container_id: &str, signal: Signal, tree: bool) {
        self.live.signal(container_id, signal);
        if tree {
            self.sweeps.extend([Job::Signal { container_id: container_id.to_owned(), signal }]);
        }
    }

    fn kill_all(&self, container_id: &str) -> io::Result<Empty> {
        if let Some(key) = self.live.key(container_id) {
            self.live.kill_group(key);
        }
        if sweep::kill_container(&self.live, self.reaper(), container_id)? {
            Ok(Empty)
        } else {
            Err(io::Error::other("processes are left that do not die"))
        }
    }

    fn usage(&self, container_id: &str) -> io::Result<Usage> {
        let (survey, known) = self.live.survey(self.reaper(), Survey::take)?;
        let owned = survey.owned(&known);
        let its = owned.iter().filter(|(_, owner)| *owner == Owner::Container(container_id.to_owned()));
        let mut usage = Usage::default();
        for (stat, _) in its {
            let Some(used) = Used::read(stat)? else { continue };
            usage.processes += 1;
            usage.cpu += used.cpu;
            usage.memory_bytes += used.memory_bytes;
        }
        Ok(usage)
    }

    fn exits(&self, reaper: Option<OrphanReaper>, ended: &(dyn Fn(Vec<Exited>) + Sync)) -> io::Result<()> {
        if let Some(reaper) = &reaper {
            self.live.also_wake_by(reaper.as_fd())?;
        }
        thread::scope(|scope| {
            let sweep = || {
                let more_files = || self.more_files();
                let mut sweeper = Sweeper::new(&self.live, self.reaper(), &more_files);
                sweeper.run(&self.sweeps, |keys| ended(self.reap(keys)));
            };
            let thread = thread::Builder::new().name("supervisor-sweep".to_owned()).stack_size(STACK_BYTES);
            let sweeping = thread.spawn_scoped(scope, sweep).map(drop);
            if sweeping.is_ok() {
                self.watch(reaper.as_ref(), ended);
            }
            self.sweeps.close();
            sweeping
        })
    }

    fn stop(&self) {
        self.sweeps.close();
        self.live.stop();
    }
}
