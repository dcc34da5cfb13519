//! The table of the first processes of running containers, and the detection of their ends.
//!
//! Each is held by a descriptor (pidfd) that an epoll set reports once, when the process has ended. Until it is reaped
//! its number is not reused, so a signal to its group cannot reach another: signalling and reaping exclude each other.
//! Only processes entered here are ever waited for, which makes it safe inside a program with children of its own.

use std::{
    collections::BTreeMap,
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_send_signal, waitid},
};

use super::{
    super::process::{self, Stat},
    ContainerSpec,
    survey::{Known, Survey},
};
use crate::proto::internal::{Exited, Started, exited};

/// Reported by the epoll set when the service is to stop, and when a child of the process ended.
const STOP: u64 = u64::MAX;
const CHILD: u64 = u64::MAX - 1;
const EVENTS: usize = 64;

/// Names one entry; never used twice.
pub(super) type Key = u64;

/// What [`Live::wait`] returned for, besides processes that ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Woken {
    pub(super) is_to_stop: bool,
    /// The source of [`Live::also_wake_by`] is readable.
    pub(super) by_child: bool,
}

/// The table of running first processes.
#[derive(Debug)]
pub(super) struct Live {
    epoll: OwnedFd,
    stop: OwnedFd,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<Key, Entry>,
    keys: BTreeMap<String, Key>,
    /// Containers by their markers, those that are being started too.
    markers: BTreeMap<String, String>,
    /// Starts that were begun and are not entered yet, and all that ever began.
    starting: u64,
    begun: u64,
    next: Key,
}

#[derive(Debug)]
struct Entry {
    container_id: String,
    marker: String,
    pid: Pid,
    number: u32,
    descriptor: OwnedFd,
}

impl Live {
    /// # Errors
    /// No descriptors are left.
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        Ok(Self { epoll, stop, table: Mutex::default() })
    }

    /// Makes [`Self::wait`] also return when `source` is readable.
    ///
    /// # Errors
    /// No memory is left.
    pub(super) fn also_wake_by(&self, source: impl AsFd) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, epoll::EventData::new_u64(CHILD), epoll::EventFlags::IN)?)
    }

    /// Registers a process that is about to be started; [`Self::enter`] or [`Self::abandon`] follows.
    pub(super) fn begin(&self, spec: &ContainerSpec) {
        let mut table = self.lock();
        table.starting += 1;
        table.begun += 1;
        table.markers.insert(spec.marker.clone(), spec.start.container_id.clone());
    }

    /// Unregisters a start that failed.
    pub(super) fn abandon(&self, spec: &ContainerSpec) {
        let mut table = self.lock();
        table.starting -= 1;
        table.markers.remove(&spec.marker);
    }

    /// Enters a child of this process that was not waited for, of which there is a descriptor. [`Self::arm`] follows.
    ///
    /// # Errors
    /// No descriptors are left to look at it; it may be entered again.
    pub(super) fn enter(
        &self,
        spec: &ContainerSpec,
        number: u32,
        descriptor: &mut Option<OwnedFd>,
    ) -> io::Result<(Key, Started)> {
        let pid = process::to_pid(number).ok_or(Errno::SRCH)?;
        let start_time = Stat::read(number)?.map_or(0, |stat| stat.start_time);
        let descriptor = descriptor.take().ok_or(Errno::BADF)?;
        let container_id = spec.start.container_id.clone();
        let mut table = self.lock();
        let key = table.next;
        table.next += 1;
        table.starting -= 1;
        table.keys.insert(container_id.clone(), key);
        let entry = Entry { container_id: container_id.clone(), marker: spec.marker.clone(), pid, number, descriptor };
        table.entries.insert(key, entry);
        Ok((key, Started { container_id, pid: number, start_time }))
    }

    /// Makes [`Self::wait`] report the entry once its process has ended.
    ///
    /// # Errors
    /// No memory is left.
    pub(super) fn arm(&self, key: Key) -> io::Result<()> {
        let table = self.lock();
        let entry = table.entries.get(&key).ok_or(Errno::NOENT)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ONESHOT;
        Ok(epoll::add(&self.epoll, &entry.descriptor, epoll::EventData::new_u64(key), flags)?)
    }

    /// Waits until something happens and adds the entries whose processes ended.
    pub(super) fn wait(&self, ended: &mut Vec<Key>) -> Woken {
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let mut woken = Woken::default();
        let (events, _) = match epoll::wait(&self.epoll, &mut buffer, None) {
            Ok(events) => events,
            Err(Errno::INTR) => return woken,
            Err(error) => unreachable!("waiting on a descriptor and a buffer of our own: {error}"),
        };
        for event in events.iter() {
            match event.data.u64() {
                STOP => woken.is_to_stop = true,
                CHILD => woken.by_child = true,
                key => ended.push(key),
            }
        }
        woken
    }

    /// Makes [`Self::wait`] report the stop, now and from now on.
    pub(super) fn stop(&self) {
        // The only way this fails is a counter that is full, which wakes as well.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }

    /// Sends `signal` to a container's first process and its group. Nothing happens when it has ended.
    pub(super) fn signal(&self, container_id: &str, signal: Signal) {
        let table = self.lock();
        if let Some(entry) = table.keys.get(container_id).and_then(|key| table.entries.get(key)) {
            entry.signal(signal);
        }
    }

    /// Kills what is left of the group of a process that has ended and was not reaped yet.
    pub(super) fn kill_group(&self, key: Key) {
        if let Some(entry) = self.lock().entries.get(&key) {
            let _ = kill_process_group(entry.pid, Signal::KILL);
        }
    }

    /// The container of an entry.
    pub(super) fn container(&self, key: Key) -> Option<String> {
        self.lock().entries.get(&key).map(|entry| entry.container_id.clone())
    }

    /// The entry of a container.
    pub(super) fn key(&self, container_id: &str) -> Option<Key> {
        self.lock().keys.get(container_id).copied()
    }

    /// Surveys the host, and returns what identifies the owners of its processes: the containers before and after the
    /// survey. A process may belong to a container that started or was reaped meanwhile.
    ///
    /// # Errors
    /// Those of `look`.
    pub(super) fn survey(
        &self,
        reaper: Option<u32>,
        look: impl FnOnce() -> io::Result<Survey>,
    ) -> io::Result<(Survey, Known)> {
        let mut markers = self.lock().markers.clone();
        let survey = look()?;
        let table = self.lock();
        markers.extend(table.markers.iter().map(|(marker, container)| (marker.clone(), container.clone())));
        let firsts = table.entries.values().map(|entry| (entry.number, entry.container_id.clone())).collect();
        Ok((survey, Known { markers, firsts, reaper, ..Known::default() }))
    }

    /// The number of starts so far, if nothing is starting and nothing runs besides the `ending`. The same number twice
    /// means that no container started in between.
    pub(super) fn quiet_since(&self, ending: impl Fn(Key) -> bool) -> Option<u64> {
        let table = self.lock();
        (table.starting == 0 && table.entries.keys().all(|key| ending(*key))).then_some(table.begun)
    }

    /// Takes the exit status of a process that has ended and drops the entry. `wall_ns` is the time now.
    pub(super) fn reap(&self, key: Key, wall_ns: i64) -> Option<Exited> {
        let mut table = self.lock();
        let entry = table.entries.remove(&key)?;
        table.keys.remove(&entry.container_id);
        table.markers.remove(&entry.marker);
        let outcome = waitid(WaitId::PidFd(entry.descriptor.as_fd()), WaitIdOptions::EXITED);
        drop(table);
        let (status, core_dumped) = match outcome {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => (exited::Status::Code(code), false),
                (None, Some(signal)) => (exited::Status::Signal(signal), status.dumped()),
                (None, None) => (exited::Status::Lost("it ended neither by itself nor by a signal".to_owned()), false),
            },
            Ok(None) | Err(_) => (exited::Status::Lost("another part of the program waited for it".to_owned()), false),
        };
        Some(Exited { container_id: entry.container_id, status: Some(status), wall_ns, core_dumped })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// The first process leads its group, unless it has moved to another one by itself.
    fn signal(&self, signal: Signal) {
        if kill_process_group(self.pid, signal).is_err() {
            // It may have ended meanwhile: its exit is about to be reported.
            let _ = pidfd_send_signal(&self.descriptor, signal);
        }
    }
}
