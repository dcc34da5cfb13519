//! The task behind a link: carries requests and events, and sees to it that a supervisor's end is told in order.
//!
//! When the connection breaks there are three cases. The folder is gone: the supervisor was retired and has ended. The
//! process lives: connect again. The process is dead: say so, take its records over, and go on serving them to the agent
//! under the same name, so that it sees one uniform stream and settles every container the same way.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use super::{
    FromSupervisor, SupervisorError, SupervisorId, VERSIONS,
    directory::Directory,
    frame, heir,
    link::{Link, State},
    process,
};
use crate::proto::internal::{
    SupervisorEvent, SupervisorHello, SupervisorRequest, SupervisorWelcome, supervisor_event, supervisor_request,
};

/// How long a supervisor may take to greet, which it does from memory.
const GREETING: Duration = Duration::from_secs(10);
/// How long to wait before trying again what failed, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the records of a dead supervisor are tried to be taken over before they are given up.
const MAX_TAKE_OVERS: u32 = 6;
/// Sessions that may break one after the other before the supervisor counts as broken itself.
const MAX_BROKEN: u32 = 3;
const READ_BYTES: usize = 64 << 10;
/// Batches written at once.
const BATCHES: usize = 64;

/// A connection on which greetings were exchanged.
#[derive(Debug)]
pub(super) struct Session {
    stream: UnixStream,
    buffer: BytesMut,
    welcome: SupervisorWelcome,
}

impl Session {
    /// Connects to the supervisor that serves `directory`.
    ///
    /// # Errors
    /// It is not there, does not greet in time, or speaks another version.
    pub(super) async fn connect(directory: &Directory) -> Result<Self, SupervisorError> {
        let failed = |source| SupervisorError::Connection { id: directory.id(), source };
        // A socket's path may have 107 bytes only; through a descriptor of the folder it is always short enough.
        let folder = std::fs::File::open(directory.path()).map_err(failed)?;
        let path = format!("/proc/self/fd/{}/socket", folder.as_raw_fd());
        let stream = UnixStream::connect(path).await.map_err(failed)?;
        Self::open(stream, &directory.id()).await
    }

    /// Exchanges greetings with the supervisor `id` at the other end of `stream`.
    ///
    /// # Errors
    /// It does not greet in time, or speaks another version.
    pub(super) async fn open(stream: UnixStream, id: &SupervisorId) -> Result<Self, SupervisorError> {
        let mut session = Self { stream, buffer: BytesMut::new(), welcome: SupervisorWelcome::default() };
        let greeted = tokio::time::timeout(GREETING, session.greet()).await;
        let greeted = greeted.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()));
        session.welcome = greeted.map_err(|source| SupervisorError::Connection { id: id.clone(), source })?;
        if session.welcome.version == 0 {
            return Err(SupervisorError::Version(id.clone()));
        }
        Ok(session)
    }

    /// Whether the supervisor speaks all that this agent does and runs one of the program files `builds`.
    pub(super) fn is_current(&self, builds: &[String]) -> bool {
        self.welcome.version == VERSIONS.max && builds.contains(&self.welcome.build)
    }

    /// The process at the other end.
    pub(super) fn process(&self) -> Option<OwnedFd> {
        let pid = self.stream.peer_cred().ok()?.pid()?;
        // It is there, having greeted, and this connection to it stands.
        rustix::process::pidfd_open(rustix::process::Pid::from_raw(pid)?, rustix::process::PidfdFlags::empty()).ok()
    }

    async fn greet(&mut self) -> io::Result<SupervisorWelcome> {
        let hello = supervisor_request::Kind::Hello(SupervisorHello { versions: Some(VERSIONS) });
        let mut hail = BytesMut::new();
        frame::put(&SupervisorRequest { kind: Some(hello) }, &mut hail).map_err(io::Error::other)?;
        self.stream.write_all(&hail).await?;
        loop {
            match frame::take::<SupervisorEvent>(&mut self.buffer).map_err(io::Error::other)? {
                Some(SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(welcome)) }) => return Ok(welcome),
                Some(_) => return Err(io::Error::other("it does not begin with a greeting")),
                None if self.stream.read_buf(&mut self.buffer).await? == 0 => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                None => {}
            }
        }
    }
}

/// How a session ended.
enum End {
    /// This side let go, and the other has said all it had to say.
    LetGo,
    /// It broke, for this reason.
    Broke(String),
}

/// The task behind a link.
#[derive(Debug)]
struct Attendant {
    directory: Directory,
    events: mpsc::Sender<FromSupervisor>,
    requests: mpsc::Receiver<Vec<SupervisorRequest>>,
    state: Arc<State>,
}

/// A link over `session`, attended to by a task of its own.
pub(super) fn attend(directory: Directory, session: Session, events: mpsc::Sender<FromSupervisor>) -> Link {
    let (link, requests, state) = Link::new(directory.id());
    if session.welcome.retired {
        state.take_no_more_starts();
    }
    tokio::spawn(Attendant { directory, events, requests, state }.run(session));
    link
}

/// The same over the records of a supervisor that died.
pub(super) fn attend_heir(directory: Directory, session: Session, events: mpsc::Sender<FromSupervisor>) -> Link {
    let (link, requests, state) = Link::new(directory.id());
    state.died();
    tokio::spawn(Attendant { directory, events, requests, state }.run(session));
    link
}

impl Attendant {
    async fn run(mut self, session: Session) {
        // Also when this task panics: nothing more comes then either.
        let _done = self.state.done.clone().drop_guard();
        let (mut next, mut broken) = (Some(session), 0);
        while let Some(session) = next.take() {
            match self.converse(session, &mut broken).await {
                End::LetGo => break,
                End::Broke(reason) => next = self.follow_up(&reason, broken).await,
            }
        }
    }

    async fn converse(&mut self, session: Session, broken: &mut u32) -> End {
        let Session { stream, buffer, welcome } = session;
        *broken += 1;
        let welcome = SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(welcome)) };
        if !deliver(&self.events, &self.directory.id(), welcome).await {
            return End::LetGo;
        }
        let (from, to) = stream.into_split();
        let hearing = hear(from, buffer, &self.events, self.directory.id(), broken);
        let saying = say(to, &mut self.requests, &self.state);
        tokio::pin!(hearing, saying);
        tokio::select! {
            end = &mut hearing => end,
            // Having let go, hear the other out.
            said = &mut saying => match (said, hearing.await) {
                (Ok(()), _) | (_, End::LetGo) => End::LetGo,
                (Err(error), End::Broke(_)) => End::Broke(error.to_string()),
            },
        }
    }

    async fn follow_up(&mut self, reason: &str, broken: u32) -> Option<Session> {
        if !self.directory.exists() {
            return None;
        }
        if let Some(session) = self.find_again(broken).await {
            return Some(session);
        }
        if self.state.stop.is_cancelled() {
            return None;
        }
        tracing::error!(supervisor = %self.directory.id(), reason, "a supervisor died: its containers are killed");
        self.state.died();
        let lost = FromSupervisor::Lost(self.directory.id(), format!("its supervisor died: {reason}"));
        self.events.send(lost).await.ok()?;
        let Self { directory, requests, state, .. } = self;
        tokio::select! {
            session = take_over(directory) => session,
            () = hear_nobody(requests, state) => None,
        }
    }

    /// Connects again to a supervisor that lives, and kills one to which that is of no use. While that cannot be told,
    /// for want of descriptors or threads here, nothing is taken for granted.
    async fn find_again(&self, broken: u32) -> Option<Session> {
        let mut pause = PAUSE;
        loop {
            let error = match heir::living(&self.directory) {
                Ok(None) => return None,
                Ok(Some(supervisor)) => match Session::connect(&self.directory).await {
                    Ok(session) if broken < MAX_BROKEN => return Some(session),
                    Err(SupervisorError::Connection { source, .. }) if process::is_shortage(&source) => source,
                    Ok(_) | Err(_) => {
                        heir::end(supervisor).await;
                        return None;
                    }
                },
                Err(error) => error,
            };
            tracing::warn!(supervisor = %self.directory.id(), %error, "cannot look for a supervisor: trying again");
            tokio::select! {
                () = rest(&mut pause) => {}
                () = self.state.stop.cancelled() => return None,
            }
        }
    }
}

/// Kills what a dead supervisor left, for as long as that takes: nothing of it may be said to have ended before. Then
/// takes over its records, if they can be had.
async fn take_over(directory: &Directory) -> Option<Session> {
    let mut pause = PAUSE;
    while let Err(error) = heir::clear(directory).await {
        tracing::error!(supervisor = %directory.id(), %error, "what it left cannot be killed: trying again");
        rest(&mut pause).await;
    }
    for _ in 0..MAX_TAKE_OVERS {
        match heir::inherit(directory, None).await {
            Ok(legacy) => return legacy.session,
            Err(error) => tracing::error!(supervisor = %directory.id(), %error, "its records cannot be taken over"),
        }
        rest(&mut pause).await;
    }
    None
}

/// Waits, longer each time.
async fn rest(pause: &mut Duration) {
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// Drops requests, which a dead supervisor cannot hear and the next greeting makes good, until there are no more or
/// this side lets go.
async fn hear_nobody(requests: &mut mpsc::Receiver<Vec<SupervisorRequest>>, state: &State) {
    tokio::select! {
        () = async { while requests.recv().await.is_some() {} } => {}
        () = state.stop.cancelled() => {}
    }
}

/// Delivers events until the other side ends, or nobody takes them any more.
async fn hear(
    mut from: OwnedReadHalf,
    mut buffer: BytesMut,
    events: &mpsc::Sender<FromSupervisor>,
    id: SupervisorId,
    broken: &mut u32,
) -> End {
    loop {
        loop {
            match frame::take::<SupervisorEvent>(&mut buffer) {
                Ok(Some(event)) => {
                    *broken = 0;
                    if !deliver(events, &id, event).await {
                        return End::LetGo;
                    }
                }
                Ok(None) => break,
                Err(error) => return End::Broke(format!("it sent {error}")),
            }
        }
        buffer.reserve(READ_BYTES);
        match from.read_buf(&mut buffer).await {
            Ok(0) => return End::Broke("it closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) => return End::Broke(error.to_string()),
        }
    }
}

/// Writes requests until there are no more, or this side is to let go; then says that it has said its last.
async fn say(
    mut to: OwnedWriteHalf,
    requests: &mut mpsc::Receiver<Vec<SupervisorRequest>>,
    state: &State,
) -> io::Result<()> {
    let (mut batches, mut buffer) = (Vec::new(), BytesMut::new());
    loop {
        let count = tokio::select! {
            biased;
            count = requests.recv_many(&mut batches, BATCHES) => count,
            () = state.stop.cancelled() => 0,
        };
        if count == 0 {
            return to.shutdown().await;
        }
        for request in batches.drain(..).flatten() {
            if let Err(error) = frame::put(&request, &mut buffer) {
                tracing::error!(%error, "a request that is too large is left out");
            }
        }
        to.write_all(&buffer).await?;
        buffer.clear();
    }
}

/// False when nobody listens any more.
async fn deliver(events: &mpsc::Sender<FromSupervisor>, id: &SupervisorId, event: SupervisorEvent) -> bool {
    events.send(FromSupervisor::Event(id.clone(), event)).await.is_ok()
}
