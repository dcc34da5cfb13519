//! Kills processes until a look at the host shows none of them any more.
//!
//! A look that could not be had is an error and never an empty one: who cannot look has to try again later. Processes
//! that are stuck in the kernel do not die; after a bound they are given up, and that is said.

use std::{io, os::fd::OwnedFd};

use rustix::process::Signal;

use super::process::{self, Stat};

/// How often the host is looked over for processes that are left.
pub(super) const MAX_ROUNDS: u32 = 200;
/// How long a round waits for those it killed, in milliseconds.
pub(super) const ROUND_MS: i64 = 50;
/// How many it waits for, so that a container of thousands does not take all descriptors.
const WAITED_FOR: usize = 64;

/// Kills what `look` shows until it shows nothing; false when some do not die.
///
/// # Errors
/// No descriptors or memory are left to look or to kill: there may be others.
pub(super) fn kill_all(mut look: impl FnMut() -> io::Result<Vec<Stat>>) -> io::Result<bool> {
    for _ in 0..MAX_ROUNDS {
        let left = look()?;
        if left.is_empty() {
            return Ok(true);
        }
        process::wait_all(&kill(&left)?, ROUND_MS);
    }
    Ok(false)
}

/// Kills each of them; some to wait for.
///
/// # Errors
/// No descriptors are left: not all were killed.
pub(super) fn kill<'a>(left: impl IntoIterator<Item = &'a Stat>) -> io::Result<Vec<OwnedFd>> {
    let mut killed = Vec::new();
    for stat in left {
        if let Some(descriptor) = process::open(stat.pid, stat.start_time)?
            && process::signal(&descriptor, Signal::KILL).is_ok()
            && killed.len() < WAITED_FOR
        {
            killed.push(descriptor);
        }
    }
    Ok(killed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_fails_is_not_a_look_that_shows_nothing() {
        let short = || Err(rustix::io::Errno::MFILE.into());
        assert!(kill_all(short).is_err());
        assert!(kill_all(|| Ok(vec![])).unwrap());
    }

    #[test]
    fn killing_goes_on_until_nothing_is_seen() {
        let mut children: Vec<_> =
            (0..3).map(|_| std::process::Command::new("sleep").arg("1000").spawn().unwrap()).collect();
        let pids: Vec<u32> = children.iter().map(std::process::Child::id).collect();
        let living = || {
            let stats = pids.iter().filter_map(|pid| Stat::read(*pid).transpose());
            stats.filter(|stat| stat.as_ref().map_or(true, |stat| stat.alive)).collect()
        };
        assert!(kill_all(living).unwrap());
        assert!(living().unwrap().is_empty());
        for child in &mut children {
            child.wait().unwrap();
        }
    }
}
