//! The task behind a link: forwards requests and events, and reports a supervisor's end in order.
//!
//! When the connection is lost there are four cases. The folder is gone: the supervisor was retired and has ended. It
//! answers: continue. It is silent: report that and retry for ever, since a silent supervisor is not dead. The process
//! is dead: report that and replay its records to the agent under the same name. So the agent receives one uniform
//! stream and handles every exit in the same way.
//!
//! An open connection does not prove that the supervisor runs: it may be stopped. So one that has not answered a start
//! for a while counts as silent. The connection stays open, since the requests sent over it may not have been read yet.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{Notify, mpsc},
    time::Instant,
};

use super::{
    FromSupervisor, SupervisorId,
    directory::Directory,
    frame,
    link::{Link, State},
    probe::{self, Finding},
    replay,
    session::Session,
};
use crate::proto::internal::{SupervisorEvent, SupervisorRequest, supervisor_event, supervisor_request};

/// The first and the longest pause before a retry.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often replaying the records of a dead supervisor is tried before the link ends.
const MAX_REPLAYS: u32 = 6;
/// Attempts after which an unreachable supervisor counts as silent, and not as just starting or ending.
const ATTEMPTS_TO_SILENCE: u32 = 5;
/// A supervisor that has not answered a start for this long is silent.
const UNANSWERED: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 64 << 10;
/// Batches written at once.
const BATCHES: usize = 64;

/// How a session ended.
enum SessionEnd {
    /// This side detached, and the supervisor has sent its last event.
    Detached,
    /// The connection was lost, for this reason.
    Broken(String),
}

/// The task behind a link.
#[derive(Debug)]
struct LinkTask {
    directory: Directory,
    events: mpsc::Sender<FromSupervisor>,
    requests: mpsc::Receiver<Vec<SupervisorRequest>>,
    state: Arc<State>,
    /// The program files whose supervisors take starts.
    builds: Vec<String>,
    /// Consecutive sessions that were lost without an event.
    broken: u32,
    /// Whether the supervisor is a process of its own: one within this process is never silent by itself.
    is_own_process: bool,
}

/// The initial state of a link.
#[derive(Debug)]
pub(super) enum LinkStart {
    /// Connected to a supervisor process.
    Connected(Session),
    /// Connected to a supervisor within this process.
    InProcess(Session),
    /// The supervisor does not answer, for this reason.
    Silent(String),
    /// Connected to the replayed records of a dead supervisor.
    Replayed(Session),
}

/// Creates a link and spawns its task; supervisors of other program files than `builds` get no more starts.
pub(super) fn spawn_link(
    directory: Directory,
    start: LinkStart,
    builds: Vec<String>,
    events: mpsc::Sender<FromSupervisor>,
) -> Link {
    let (link, requests, state) = Link::new(directory.id());
    match &start {
        LinkStart::Connected(_) | LinkStart::InProcess(_) => {}
        LinkStart::Silent(_) => state.stop_starts(),
        LinkStart::Replayed(_) => state.mark_dead(),
    }
    let is_own_process = !matches!(start, LinkStart::InProcess(_) | LinkStart::Replayed(_));
    let mut task = LinkTask { directory, events, requests, state, builds, broken: 0, is_own_process };
    match start {
        LinkStart::Connected(session) | LinkStart::InProcess(session) => {
            task.check_build(&session);
            tokio::spawn(task.run(Some(session)));
        }
        LinkStart::Replayed(session) => {
            task.broken = 1;
            tokio::spawn(task.run(Some(session)));
        }
        LinkStart::Silent(text) => {
            tokio::spawn(async move {
                if report_silence(&task.directory, &task.state, &task.events, text).await {
                    task.run(None).await;
                }
            });
        }
    }
    link
}

/// When each unanswered start of a session was sent, by container.
#[derive(Debug, Default)]
struct Unanswered {
    since: Mutex<BTreeMap<String, Instant>>,
    first: Notify,
}

impl Unanswered {
    fn record_request(&self, request: &SupervisorRequest) {
        let Some(supervisor_request::Kind::Start(start)) = &request.kind else { return };
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.entry(start.container_id.clone()).or_insert_with(Instant::now);
        self.first.notify_one();
    }

    fn record_answer(&self, event: &SupervisorEvent) {
        let container = match &event.kind {
            Some(supervisor_event::Kind::Started(started)) => &started.container_id,
            Some(supervisor_event::Kind::StartFailed(failed)) => &failed.container_id,
            Some(supervisor_event::Kind::Exited(exited)) => &exited.container_id,
            Some(supervisor_event::Kind::Welcome(_)) | None => return,
        };
        self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(container);
    }

    /// Waits until an answer is overdue; returns a description.
    async fn wait_until_overdue(&self) -> String {
        loop {
            let oldest = self.since.lock().unwrap_or_else(PoisonError::into_inner).values().min().copied();
            match oldest {
                None => self.first.notified().await,
                Some(since) if since.elapsed() >= UNANSWERED => {
                    return format!("it does not answer: a start waits for {UNANSWERED:?}");
                }
                Some(since) => tokio::time::sleep_until(since + UNANSWERED).await,
            }
        }
    }
}

impl LinkTask {
    async fn run(mut self, first: Option<Session>) {
        // Also when this task panics: no more events follow then either.
        let _done = self.state.done.clone().drop_guard();
        let mut next = match first {
            Some(session) => Some(session),
            None => self.reconnect("it did not answer", true).await,
        };
        while let Some(session) = next.take() {
            match self.run_session(session).await {
                SessionEnd::Detached => break,
                SessionEnd::Broken(reason) => next = self.reconnect(&reason, false).await,
            }
        }
    }

    /// Stops starts on a supervisor that is retired or of another build; its containers keep running.
    fn check_build(&self, session: &Session) {
        if session.welcome.retired {
            self.state.stop_starts();
        } else if !self.state.has_died() && !session.is_current(&self.builds) {
            tracing::info!(supervisor = %self.directory.id(), "a supervisor of another build keeps its containers and gets no more");
            self.state.stop_starts();
        }
    }

    async fn run_session(&mut self, session: Session) -> SessionEnd {
        let Session { stream, buffer, welcome } = session;
        self.broken += 1;
        let welcome = SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(welcome)) };
        if !deliver(&self.events, &self.directory.id(), welcome).await {
            return SessionEnd::Detached;
        }
        let (from, to) = stream.into_split();
        let unanswered = Unanswered::default();
        let receiving = receive(from, buffer, &self.events, self.directory.id(), &unanswered, &mut self.broken);
        let sending = send(to, &mut self.requests, &unanswered, &self.state);
        tokio::pin!(receiving, sending);
        if self.is_own_process {
            tokio::select! {
                biased;
                end = &mut receiving => return end,
                sent = &mut sending => return end_after_shutdown(sent, receiving.await),
                text = unanswered.wait_until_overdue() => {
                    if !report_silence(&self.directory, &self.state, &self.events, text).await {
                        return SessionEnd::Detached;
                    }
                }
            }
        }
        tokio::select! {
            end = &mut receiving => end,
            // After detaching, receive what the supervisor still sends.
            sent = &mut sending => end_after_shutdown(sent, receiving.await),
        }
    }

    /// Probes the supervisor until it answers, or is dead or gone. It is never killed because it is silent.
    async fn reconnect(&mut self, reason: &str, mut is_reported: bool) -> Option<Session> {
        let mut pause = PAUSE.saturating_mul(1 << self.broken.min(6));
        for attempt in 1.. {
            match probe::probe(&self.directory).await {
                Ok(Finding::Gone) => return None,
                Ok(Finding::Alive(session)) => {
                    if is_reported {
                        tracing::info!(supervisor = %self.directory.id(), "a supervisor that was silent answers again");
                    }
                    self.check_build(&session);
                    return Some(session);
                }
                Ok(Finding::Dead) => return self.report_death(reason).await,
                Ok(Finding::Copy) => {
                    tracing::error!(supervisor = %self.directory.id(), "a copy of another folder has replaced a supervisor's");
                    return None;
                }
                Ok(Finding::Silent(silence)) => {
                    if !is_reported && (silence.is_timeout() || attempt >= ATTEMPTS_TO_SILENCE) {
                        is_reported = true;
                        let text = silence.error.to_string();
                        if !report_silence(&self.directory, &self.state, &self.events, text).await {
                            return None;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(supervisor = %self.directory.id(), %error, "cannot probe a supervisor: trying again");
                }
            }
            tokio::select! {
                () = back_off(&mut pause) => {}
                // Requests cannot arrive, and the next `Welcome` shows what has to be resent.
                () = discard_requests(&mut self.requests, &self.state) => return None,
            }
        }
        None
    }

    async fn report_death(&mut self, reason: &str) -> Option<Session> {
        tracing::error!(supervisor = %self.directory.id(), reason, "a supervisor died: its containers are killed");
        self.state.mark_dead();
        let lost = FromSupervisor::Lost(self.directory.id(), format!("its supervisor died: {reason}"));
        self.events.send(lost).await.ok()?;
        let Self { directory, requests, state, .. } = self;
        tokio::select! {
            session = replay_records(directory) => session,
            () = discard_requests(requests, state) => None,
        }
    }
}

/// How a session ended whose sending half was shut down.
fn end_after_shutdown(sent: io::Result<()>, received: SessionEnd) -> SessionEnd {
    match (sent, received) {
        (Ok(()), _) | (_, SessionEnd::Detached) => SessionEnd::Detached,
        (Err(error), SessionEnd::Broken(_)) => SessionEnd::Broken(error.to_string()),
    }
}

/// Reports a silent supervisor and stops starts on it; false when the agent receives no more events.
async fn report_silence(
    directory: &Directory,
    state: &State,
    events: &mpsc::Sender<FromSupervisor>,
    text: String,
) -> bool {
    let supervisor = directory.id();
    tracing::warn!(%supervisor, text, "a supervisor is silent: its tasks are left alone, and others start elsewhere");
    state.stop_starts();
    events.send(FromSupervisor::Silent(supervisor, text)).await.is_ok()
}

/// Kills what a dead supervisor left, however long that takes: no exit may be reported before. Then replays its
/// records, if they can be read.
async fn replay_records(directory: &Directory) -> Option<Session> {
    let mut pause = PAUSE;
    while let Err(error) = replay::kill_left_in_thread(directory).await {
        tracing::error!(supervisor = %directory.id(), %error, "what it left cannot be killed: trying again");
        back_off(&mut pause).await;
    }
    for _ in 0..MAX_REPLAYS {
        match replay::recover_journal(directory, None, replay::Origin::Own).await {
            Ok(recovered) => return recovered.session,
            Err(error) => tracing::error!(supervisor = %directory.id(), %error, "its records cannot be replayed"),
        }
        back_off(&mut pause).await;
    }
    None
}

/// Waits, twice as long each time.
async fn back_off(pause: &mut Duration) {
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(LONGEST_PAUSE);
}

/// Discards requests until there are no more or this side detaches.
async fn discard_requests(requests: &mut mpsc::Receiver<Vec<SupervisorRequest>>, state: &State) {
    tokio::select! {
        () = async { while requests.recv().await.is_some() {} } => {}
        () = state.stop.cancelled() => {}
    }
}

/// Delivers events until the connection is lost, or the agent receives no more.
async fn receive(
    mut from: OwnedReadHalf,
    mut buffer: BytesMut,
    events: &mpsc::Sender<FromSupervisor>,
    id: SupervisorId,
    unanswered: &Unanswered,
    broken: &mut u32,
) -> SessionEnd {
    loop {
        loop {
            match frame::take::<SupervisorEvent>(&mut buffer) {
                Ok(Some(event)) => {
                    *broken = 0;
                    unanswered.record_answer(&event);
                    if !deliver(events, &id, event).await {
                        return SessionEnd::Detached;
                    }
                }
                Ok(None) => break,
                Err(error) => return SessionEnd::Broken(format!("it sent {error}")),
            }
        }
        buffer.reserve(READ_BYTES);
        match from.read_buf(&mut buffer).await {
            Ok(0) => return SessionEnd::Broken("it closed the connection".to_owned()),
            Ok(_) => {}
            Err(error) => return SessionEnd::Broken(error.to_string()),
        }
    }
}

/// Sends requests until there are no more, or this side detaches; then shuts down its half of the connection.
async fn send(
    mut to: OwnedWriteHalf,
    requests: &mut mpsc::Receiver<Vec<SupervisorRequest>>,
    unanswered: &Unanswered,
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
            unanswered.record_request(&request);
            if let Err(error) = frame::put(&request, &mut buffer) {
                tracing::error!(%error, "a request that is too large is left out");
            }
        }
        to.write_all(&buffer).await?;
        buffer.clear();
    }
}

/// Delivers an event; false when the agent receives no more.
async fn deliver(events: &mpsc::Sender<FromSupervisor>, id: &SupervisorId, event: SupervisorEvent) -> bool {
    events.send(FromSupervisor::Event(id.clone(), event)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::internal::{Signal, Start, Started, SupervisorWelcome};
    use tokio::net::UnixStream;

    /// A session whose other end is the test.
    struct TestSession {
        link: Link,
        peer: UnixStream,
        events: mpsc::Receiver<FromSupervisor>,
        end: tokio::task::JoinHandle<SessionEnd>,
    }

    impl TestSession {
        async fn begin(is_own_process: bool) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let directory = Directory::create(folder.path()).expect("made");
            let (link, queue, state) = Link::new(directory.id());
            let (sender, mut events) = mpsc::channel(16);
            let (stream, peer) = UnixStream::pair().expect("a pair");
            let (builds, broken) = (Vec::new(), 0);
            let mut task =
                LinkTask { directory, events: sender, requests: queue, state, builds, broken, is_own_process };
            let session = Session { stream, buffer: BytesMut::new(), welcome: SupervisorWelcome::default() };
            let end = tokio::spawn(async move { task.run_session(session).await });
            events.recv().await.expect("the welcome");
            Self { link, peer, events, end }
        }

        async fn request(&self, kind: supervisor_request::Kind) {
            self.link.send(vec![SupervisorRequest { kind: Some(kind) }]).await.expect("it is open");
        }

        async fn answer(&mut self, container: &str) {
            let started = Started { container_id: container.to_owned(), pid: 1, start_time: 1 };
            let mut bytes = BytesMut::new();
            frame::put(&SupervisorEvent { kind: Some(supervisor_event::Kind::Started(started)) }, &mut bytes)
                .expect("small");
            self.peer.write_all(&bytes).await.expect("written");
            let event = self.events.recv().await;
            assert!(matches!(event, Some(FromSupervisor::Event(..))), "{event:?}");
        }

        /// What arrives within a day of silence.
        async fn within_a_day(&mut self) -> Option<FromSupervisor> {
            tokio::time::timeout(Duration::from_hours(24), self.events.recv()).await.ok().flatten()
        }
    }

    fn start(id: &str) -> supervisor_request::Kind {
        supervisor_request::Kind::Start(Start { container_id: id.to_owned(), ..Start::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_does_not_answer_a_start_is_silent_until_it_answers() {
        let mut session = TestSession::begin(true).await;
        session.request(start("c")).await;
        let began = Instant::now();
        let event = session.within_a_day().await;
        assert!(matches!(&event, Some(FromSupervisor::Silent(_, text)) if text.contains("a start waits")), "{event:?}");
        assert_eq!(began.elapsed().as_secs(), UNANSWERED.as_secs());
        assert!(!session.link.takes_starts());
        assert!(session.within_a_day().await.is_none(), "it is reported once");
        session.answer("c").await;
        assert!(!session.end.is_finished(), "the connection stays open");
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_without_unanswered_starts_or_within_this_process_is_never_silent() {
        let kill = Signal { container_id: "c".to_owned(), signal: 9, tree: true };
        let mut answered = TestSession::begin(true).await;
        answered.request(start("c")).await;
        answered.answer("c").await;
        answered.request(supervisor_request::Kind::Signal(kill)).await;
        let mut in_process = TestSession::begin(false).await;
        in_process.request(start("c")).await;
        for session in [&mut answered, &mut in_process] {
            assert!(session.within_a_day().await.is_none());
            assert!(session.link.takes_starts());
        }
        answered.peer.shutdown().await.expect("closed");
        let end = answered.end.await.expect("no panic");
        assert!(matches!(end, SessionEnd::Broken(reason) if reason == "it closed the connection"));
    }
}
