//! Checks the peer of a connection: processes of containers are never served.
//!
//! As subreaper a supervisor is the ancestor of all processes that its containers start, even if they left their
//! session or their parents ended.

use std::{fmt, io, os::unix::net::UnixStream};

use rustix::{
    net::sockopt::socket_peercred,
    process::{Uid, geteuid},
};

use super::process::Stat;

/// How often a chain of parents is followed that breaks because one of them ends.
const MAX_WALKS: u32 = 16;
/// How long a chain may be.
const MAX_GENERATIONS: u32 = 1 << 15;

/// Why a peer is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It runs as this user, who is neither our user nor root.
    User(u32),
    /// A container started it, or that cannot be ruled out.
    Descendant(i32),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "it runs as user {user}"),
            Self::Descendant(pid) => write!(f, "process {pid} belongs to a container"),
        }
    }
}

/// Why the process at the other end of `stream` is not served by the process `own`, if it is not.
///
/// # Errors
/// No descriptors or memory are left to look.
pub(super) fn refusal(stream: &UnixStream, own: u32) -> io::Result<Option<Refusal>> {
    let peer = socket_peercred(stream)?;
    if peer.uid != geteuid() && peer.uid != Uid::ROOT {
        return Ok(Some(Refusal::User(peer.uid.as_raw())));
    }
    let pid = peer.pid.as_raw_nonzero().get();
    let descends = match u32::try_from(pid) {
        Ok(pid) => pid != own && descends_from(pid, own)?,
        Err(_negative) => true,
    };
    Ok(descends.then_some(Refusal::Descendant(pid)))
}

/// Whether `pid` was started by `ancestor`; also when that cannot be found out, because it or a parent just ended.
fn descends_from(pid: u32, ancestor: u32) -> io::Result<bool> {
    for _ in 0..MAX_WALKS {
        if let Some(descends) = walk(pid, ancestor)? {
            return Ok(descends);
        }
    }
    Ok(true)
}

fn walk(pid: u32, ancestor: u32) -> io::Result<Option<bool>> {
    let mut at = pid;
    for _ in 0..MAX_GENERATIONS {
        if at == ancestor {
            return Ok(Some(true));
        }
        // A parent outside of our namespace has the number 0.
        if at <= 1 {
            return Ok(Some(false));
        }
        match Stat::read(at)? {
            Some(stat) if stat.alive || at != pid => at = stat.parent,
            Some(_) | None => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_started_here_is_refused_and_any_other_is_served() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let own = std::process::id();
        assert_eq!(refusal(&ours, own).unwrap(), None, "itself");
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        assert_eq!(refusal(&ours, child.id()).unwrap(), None, "a parent");
        assert!(descends_from(child.id(), own).unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(descends_from(child.id(), own).unwrap(), "it has ended, so it might have been");
    }
}
