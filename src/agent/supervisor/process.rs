//! One process, named for ever: its id together with the time it started.
//!
//! Process ids are used again, on some hosts within seconds. A signal therefore goes through a descriptor of the
//! process (pidfd) that was opened first and compared with the start time after: what it then names cannot change.

use std::{io, os::fd::OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What `/proc/PID/stat` says of a process, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) group: u32,
    /// In clock ticks since boot.
    pub(super) start_time: u64,
    /// Whether it has not ended yet; what ended and waits for its parent does not count as alive.
    pub(super) alive: bool,
}

impl Stat {
    /// Reads it; nothing when there is no such process.
    pub(super) fn read(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name stands in brackets and may itself contain any of them: what follows the last one counts.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let pid = line.split_once(' ')?.0.parse().ok()?;
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let alive = !matches!(fields.next()?, "Z" | "X" | "x");
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let start_time = fields.nth(16)?.parse().ok()?;
        Some(Self { pid, parent, group, start_time, alive })
    }
}

/// A descriptor of the process `pid` if it is the one that started at `start_time` and has not ended.
pub(super) fn open(pid: u32, start_time: u64) -> Option<OwnedFd> {
    let descriptor = pidfd_open(to_pid(pid)?, PidfdFlags::empty()).ok()?;
    let stat = Stat::read(pid)?;
    (stat.alive && stat.start_time == start_time).then_some(descriptor)
}

/// Sends `signal` through a descriptor. A process that has ended already is no error.
///
/// # Errors
/// The signal may not be sent.
pub(super) fn signal(descriptor: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(descriptor, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until every one of `descriptors` has ended; gives up on the first that takes longer than `limit_ms`.
pub(super) fn wait_all(descriptors: &[OwnedFd], limit_ms: i64) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec { tv_sec: limit_ms / 1000, tv_nsec: (limit_ms % 1000) * 1_000_000 };
    descriptors.iter().all(|descriptor| {
        loop {
            match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&limit)) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    })
}

/// A process id as the system calls take it.
pub(super) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Names this boot of the host; empty where the host does not tell.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        let line = "42 (a) S 7 (b)) R 7 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 0 0";
        let stat = Stat { pid: 42, parent: 7, group: 42, start_time: 123_456, alive: true };
        assert_eq!(Stat::parse(line), Some(stat));
        assert_eq!(Stat::parse(&line.replace(") R", ") Z")), Some(Stat { alive: false, ..stat }));
        assert_eq!(Stat::parse("42 (cut"), None);
    }

    #[test]
    fn a_process_id_with_another_start_time_is_another_process() {
        let me = Stat::read(std::process::id()).unwrap();
        assert!(me.alive);
        assert!(open(me.pid, me.start_time).is_some());
        assert!(open(me.pid, me.start_time + 1).is_none());
    }
}
