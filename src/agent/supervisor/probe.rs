//! Probes a folder's supervisor: its socket and its lock decide, not the content of a file.
//!
//! A silent supervisor is not dead. It is dead when its folder's lock is free and the process that claimed the folder
//! has ended.

use std::{io, os::fd::OwnedFd};

use super::{SupervisorError, directory::Directory, process, replay, session::Session};

/// The state of a supervisor, as probed.
#[derive(Debug)]
pub(super) enum Finding {
    /// It ended in order, and removed its folder.
    Gone,
    Alive(Session),
    /// It does not answer, but a process holds the lock of its folder, or the process that claimed the folder is alive.
    Silent(Silence),
    Dead,
    /// The folder is a copy of another one, which owns the supervisor and the containers.
    Copy,
}

/// A supervisor that does not answer.
#[derive(Debug)]
pub(super) struct Silence {
    /// The process that claimed the folder, if it is known.
    pub(super) process: Option<OwnedFd>,
    pub(super) error: SupervisorError,
}

impl Silence {
    /// Whether it accepted the connection and sent no `Welcome`: then it is neither just starting nor ending.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(&self.error, SupervisorError::Connection { source, .. } if source.kind() == io::ErrorKind::TimedOut)
    }
}

/// Probes once.
///
/// # Errors
/// It supports no version that this agent does, or no descriptors or memory are left to probe it.
pub(super) async fn probe(directory: &Directory) -> Result<Finding, SupervisorError> {
    let failed = |source| SupervisorError::directory("look for who serves", directory.path())(source);
    if directory.is_copy().map_err(failed)? {
        return Ok(Finding::Copy);
    }
    let error = match Session::connect(directory).await {
        Ok(session) if session.serves(directory).map_err(failed)? => return Ok(Finding::Alive(session)),
        Ok(_) => return Ok(Finding::Copy),
        Err(error @ SupervisorError::Version(_)) => return Err(error),
        Err(SupervisorError::Connection { source, .. }) if process::is_own_shortage(&source) => {
            return Err(failed(source));
        }
        Err(error) => error,
    };
    let process = replay::open_live_process(directory).map_err(failed)?;
    if process.is_none() && !directory.is_served()? {
        return Ok(if directory.exists() { Finding::Dead } else { Finding::Gone });
    }
    Ok(Finding::Silent(Silence { process, error }))
}
