//! A connection to a supervisor after its handshake.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    time::Duration,
};

use bytes::BytesMut;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{SupervisorError, SupervisorId, VERSIONS, directory::Directory, frame, identity::FolderName, process};
use crate::proto::internal::{
    SupervisorEvent, SupervisorHello, SupervisorRequest, SupervisorWelcome, supervisor_event, supervisor_request,
};

/// How long one attempt to connect, handshake included, may take. A supervisor answers from memory; after a longer
/// time the agent reconnects.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// The first version whose `Welcome` names the folder.
const NAMES_FOLDER: u32 = 3;

/// A connection after its handshake.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) stream: UnixStream,
    pub(super) buffer: BytesMut,
    pub(super) welcome: SupervisorWelcome,
}

impl Session {
    /// Connects to the supervisor that serves `directory`.
    ///
    /// # Errors
    /// It does not exist, sends no `Welcome` in time, or supports no common version.
    pub(super) async fn connect(directory: &Directory) -> Result<Self, SupervisorError> {
        let failed = |source| SupervisorError::Connection { id: directory.id(), source };
        // A socket's path may have 107 bytes only; through a descriptor of the folder it is always short enough.
        let folder = fs::File::open(directory.path()).map_err(failed)?;
        let token = directory.token().map_err(failed)?;
        let path = format!("/proc/self/fd/{}/socket", folder.as_raw_fd());
        let stream = UnixStream::connect(path).await.map_err(failed)?;
        Self::with_handshake(stream, &directory.id(), token).await
    }

    /// Performs the handshake with the supervisor `id` at the other end of `stream`, which was made for this agent.
    ///
    /// # Errors
    /// It sends no `Welcome` in time, or supports no common version.
    pub(super) async fn open(stream: UnixStream, id: &SupervisorId) -> Result<Self, SupervisorError> {
        Self::with_handshake(stream, id, String::new()).await
    }

    async fn with_handshake(stream: UnixStream, id: &SupervisorId, token: String) -> Result<Self, SupervisorError> {
        let mut session = Self { stream, buffer: BytesMut::new(), welcome: SupervisorWelcome::default() };
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, session.handshake(token)).await;
        let handshake = handshake.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()));
        session.welcome = handshake.map_err(|source| SupervisorError::Connection { id: id.clone(), source })?;
        if session.welcome.version == 0 {
            return Err(SupervisorError::Version(id.clone()));
        }
        Ok(session)
    }

    /// Whether the supervisor supports the newest version and runs one of the program files `builds`.
    pub(super) fn is_current(&self, builds: &[String]) -> bool {
        self.welcome.version == VERSIONS.max && builds.contains(&self.welcome.build)
    }

    /// The program file of the supervisor; empty before version 2.
    pub(super) fn build(&self) -> &str {
        &self.welcome.build
    }

    /// Whether the supervisor serves `directory` itself: a copy of a folder may lead to the supervisor of the original.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn serves(&self, directory: &Directory) -> io::Result<bool> {
        if self.welcome.version >= NAMES_FOLDER {
            let folder = FolderName::parse(&self.welcome.folder);
            return folder.map_or(Ok(false), |folder| folder.is_at(directory.path()));
        }
        // Its working directory is the folder that it serves.
        let stands = self.pid().map(|pid| format!("/proc/{pid}/cwd"));
        let inode = |folder: fs::Metadata| (folder.dev(), folder.ino());
        let stands =
            stands.map(|at| process::none_unless_exhausted(fs::metadata(at))).transpose()?.flatten().map(inode);
        let folder = process::none_unless_exhausted(fs::metadata(directory.path()))?.map(inode);
        Ok(stands.is_none() || stands == folder)
    }

    /// The process at the other end.
    pub(super) fn process(&self) -> Option<OwnedFd> {
        // It has sent a `Welcome`, and the connection is open, so it has not ended.
        pidfd_open(Pid::from_raw(self.pid()?)?, PidfdFlags::empty()).ok()
    }

    fn pid(&self) -> Option<i32> {
        self.stream.peer_cred().ok()?.pid()
    }

    async fn handshake(&mut self, token: String) -> io::Result<SupervisorWelcome> {
        let hello = supervisor_request::Kind::Hello(SupervisorHello { versions: Some(VERSIONS), token });
        let mut request = BytesMut::new();
        frame::put(&SupervisorRequest { kind: Some(hello) }, &mut request).map_err(io::Error::other)?;
        self.stream.write_all(&request).await?;
        loop {
            match frame::take::<SupervisorEvent>(&mut self.buffer).map_err(io::Error::other)? {
                Some(SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(welcome)) }) => return Ok(welcome),
                Some(_) => return Err(io::Error::other("the first message is not a welcome")),
                None if self.stream.read_buf(&mut self.buffer).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                None => {}
            }
        }
    }
}
