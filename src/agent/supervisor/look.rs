//! How a folder's supervisor is found: what answers on its socket and who holds its lock count, not what a file says.
//!
//! Silence is not death. A supervisor is dead when its folder's lock is free and the process that took the folder is gone.

use std::{io, os::fd::OwnedFd};

use super::{SupervisorError, directory::Directory, process, replay, session::Session};

/// How an agent finds a supervisor.
#[derive(Debug)]
pub(super) enum Finding {
    /// It ended in order, and took its folder along.
    Gone,
    Living(Session),
    /// It does not answer, but a process holds the lock of its folder, or the process that took the folder lives.
    Silent(Silence),
    Dead,
    /// The folder is a copy of another one, whose supervisor and containers are none of ours.
    Copy,
}

/// A supervisor that does not answer.
#[derive(Debug)]
pub(super) struct Silence {
    /// The process that took the folder, if it is known.
    pub(super) process: Option<OwnedFd>,
    pub(super) error: SupervisorError,
}

impl Silence {
    /// Whether it took the connection and did not greet, so that it is not just coming up or going.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(&self.error, SupervisorError::Connection { source, .. } if source.kind() == io::ErrorKind::TimedOut)
    }
}

/// Looks once.
///
/// # Errors
/// It speaks no version that this agent does, or no descriptors or memory are left to look.
pub(super) async fn look(directory: &Directory) -> Result<Finding, SupervisorError> {
    let failed = |source| SupervisorError::directory("look for who serves", directory.path())(source);
    if directory.is_copy().map_err(failed)? {
        return Ok(Finding::Copy);
    }
    let error = match Session::connect(directory).await {
        Ok(session) if session.serves(directory).map_err(failed)? => return Ok(Finding::Living(session)),
        Ok(_) => return Ok(Finding::Copy),
        Err(error @ SupervisorError::Version(_)) => return Err(error),
        Err(SupervisorError::Connection { source, .. }) if process::is_own_shortage(&source) => {
            return Err(failed(source));
        }
        Err(error) => error,
    };
    let process = replay::living(directory).map_err(failed)?;
    if process.is_none() && !directory.is_served()? {
        return Ok(if directory.exists() { Finding::Dead } else { Finding::Gone });
    }
    Ok(Finding::Silent(Silence { process, error }))
}
