//! Kills process trees: stops processes until a scan finds no new one, kills them, and repeats until a scan finds none.
//!
//! A stopped process cannot start another, so this also catches one that does nothing but restart itself. A failed scan
//! is an error and never an empty result: the caller retries. Processes stuck in the kernel do not die; after a bounded
//! number of rounds that is reported.

use std::{collections::BTreeMap, io, os::fd::OwnedFd};

use rustix::process::Signal;

use super::super::process::{self, Stat};

/// How many rounds are made before remaining processes count as stuck.
pub(super) const MAX_ROUNDS: u32 = 200;
/// How long a round waits for those it killed, in milliseconds.
pub(super) const ROUND_MS: i64 = 50;
/// How often a round looks for processes that are not stopped yet.
const MAX_LOOKS: u32 = 400;
/// How many it waits for, so that a container of thousands does not take all descriptors.
const WAITED_FOR: usize = 64;

/// The result of one look at the host.
#[derive(Debug, Default)]
pub(in crate::agent::supervisor) struct Look {
    /// The processes to kill.
    pub(in crate::agent::supervisor) found: Vec<Stat>,
    /// Whether there may be others: some ended while they were looked at, and may have started another before.
    pub(in crate::agent::supervisor) is_unsure: bool,
}

/// Kills what `look` finds until it finds nothing; false when some processes do not die. The argument of `look` is true
/// for the first look of a round, which has to scan all processes.
///
/// # Errors
/// No descriptors or memory are left to look or to kill: there may be others.
pub(in crate::agent::supervisor) fn kill_all(mut look: impl FnMut(bool) -> io::Result<Look>) -> io::Result<bool> {
    for _ in 0..MAX_ROUNDS {
        if kill_round(&mut look)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Stops what `look` finds until it finds nothing new, then kills all of it and waits a while; true if it found
/// nothing.
///
/// # Errors
/// As [`kill_all`].
pub(super) fn kill_round(look: &mut impl FnMut(bool) -> io::Result<Look>) -> io::Result<bool> {
    let mut stopped = BTreeMap::new();
    for round in 0..MAX_LOOKS {
        let Look { found, is_unsure } = look(round == 0)?;
        let before = stopped.len();
        for stat in found {
            if let std::collections::btree_map::Entry::Vacant(e) = stopped.entry((stat.pid, stat.start_time)) {
                send(&stat, Signal::STOP)?;
                e.insert(stat);
            }
        }
        if stopped.len() == before && !is_unsure {
            break;
        }
    }
    process::wait_all(&kill(stopped.values())?, ROUND_MS);
    Ok(stopped.is_empty())
}

/// Kills the processes; returns descriptors of some to wait for.
fn kill<'a>(left: impl IntoIterator<Item = &'a Stat>) -> io::Result<Vec<OwnedFd>> {
    let mut killed = Vec::new();
    for stat in left {
        let descriptor = send(stat, Signal::KILL)?;
        if killed.len() < WAITED_FOR {
            killed.extend(descriptor);
        }
    }
    Ok(killed)
}

fn send(stat: &Stat, signal: Signal) -> io::Result<Option<OwnedFd>> {
    let descriptor = process::open(stat.pid, stat.start_time)?;
    Ok(descriptor.filter(|descriptor| process::signal(descriptor, signal).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_look_does_not_count_as_an_empty_one() {
        assert!(kill_all(|_| Err(rustix::io::Errno::MFILE.into())).is_err());
        assert!(kill_all(|_| Ok(Look::default())).unwrap());
    }

    #[test]
    fn a_look_that_is_unsure_is_repeated_before_anything_counts_as_gone() {
        let mut looks = 0;
        let look = |_| {
            looks += 1;
            Ok(Look { is_unsure: looks < 5, ..Look::default() })
        };
        assert!(kill_all(look).unwrap());
        assert_eq!(looks, 5);
    }

    #[test]
    fn killing_goes_on_until_nothing_is_seen() {
        let mut children: Vec<_> =
            (0..3).map(|_| std::process::Command::new("sleep").arg("1000").spawn().unwrap()).collect();
        let pids: Vec<u32> = children.iter().map(std::process::Child::id).collect();
        let living = |_| {
            let stats: io::Result<Vec<Stat>> = pids.iter().filter_map(|pid| Stat::read(*pid).transpose()).collect();
            Ok(Look { found: stats?.into_iter().filter(|stat| stat.alive).collect(), is_unsure: false })
        };
        assert!(kill_all(living).unwrap());
        assert!(living(true).unwrap().found.is_empty());
        for child in &mut children {
            child.wait().unwrap();
        }
    }
}
