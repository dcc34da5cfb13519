//! The task behind a link: carries requests and events, and sees to it that a supervisor's end is reported in order.
//!
//! When the connection breaks there are four cases. The folder is gone: the supervisor was retired and has ended. It
//! answers: go on. It is silent: report that and try again for as long as it takes, since silence is not death. The process
//! is dead: report that, replay its records, and go on serving them to the agent under the same name, so that it sees one
//! uniform stream and takes every container's end in the same way.
//!
//! A connection that stands says nothing of a supervisor that is stopped. So one that has not answered a start, or a SIGKILL,
//! for a while is asked to greet anew, which it does from memory.

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
    look::{self, Finding},
    replay,
    session::Session,
};
use crate::proto::internal::{SupervisorEvent, SupervisorRequest, supervisor_event, supervisor_request};

/// How long to wait before trying again what failed, at first and at most.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the records of a dead supervisor are tried to be replayed before they are given up.
const MAX_REPLAYS: u32 = 6;
/// Attempts after which a supervisor that could not be reached counts as silent, and not as just coming up or going.
const ATTEMPTS_TO_SILENCE: u32 = 5;
/// A request that is not answered for this long has the supervisor greet anew.
const UNANSWERED: Duration = Duration::from_secs(10);
const SIGKILL: i32 = 9;
const READ_BYTES: usize = 64 << 10;
/// Batches written at once.
const BATCHES: usize = 64;

/// How a session ended.
enum End {
    /// This side let go, and the other has sent all it had to send.
    LetGo,
    /// It broke, for this reason.
    Broke(String),
}

/// The task behind a link.
#[derive(Debug)]
struct LinkTask {
    directory: Directory,
    events: mpsc::Sender<FromSupervisor>,
    requests: mpsc::Receiver<Vec<SupervisorRequest>>,
    state: Arc<State>,
    /// The program files whose supervisors are given more to start.
    builds: Vec<String>,
    /// Sessions that broke one after the other without an event.
    broken: u32,
}

/// How a link begins.
#[derive(Debug)]
pub(super) enum Beginning {
    /// With a supervisor that has greeted.
    Greeted(Session),
    /// With one that does not answer, as the text says.
    Silent(String),
    /// With the records of one that died.
    Replayed(Session),
}

/// A link attended to by a task of its own; supervisors of other program files than `builds` are given no more to start.
pub(super) fn attend(
    directory: Directory,
    beginning: Beginning,
    builds: Vec<String>,
    events: mpsc::Sender<FromSupervisor>,
) -> Link {
    let (link, requests, state) = Link::new(directory.id());
    match &beginning {
        Beginning::Greeted(_) => {}
        Beginning::Silent(_) => state.take_no_more_starts(),
        Beginning::Replayed(_) => state.died(),
    }
    let mut task = LinkTask { directory, events, requests, state, builds, broken: 0 };
    match beginning {
        Beginning::Greeted(session) => {
            task.judge(&session);
            tokio::spawn(task.run(Some(session)));
        }
        Beginning::Replayed(session) => {
            task.broken = 1;
            tokio::spawn(task.run(Some(session)));
        }
        Beginning::Silent(text) => {
            tokio::spawn(async move {
                if task.report_silence(text).await {
                    task.run(None).await;
                }
            });
        }
    }
    link
}

/// The requests of a session that are to be answered, by container, and since when.
#[derive(Debug, Default)]
struct Open {
    since: Mutex<BTreeMap<String, Instant>>,
    first: Notify,
}

impl Open {
    fn asked(&self, request: &SupervisorRequest) {
        let container = match &request.kind {
            Some(supervisor_request::Kind::Start(start)) => &start.container_id,
            Some(supervisor_request::Kind::Signal(signal)) if signal.signal == SIGKILL => &signal.container_id,
            _ => return,
        };
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.entry(container.clone()).or_insert_with(Instant::now);
        self.first.notify_one();
    }

    fn answered(&self, event: &SupervisorEvent) {
        let container = match &event.kind {
            Some(supervisor_event::Kind::Started(started)) => &started.container_id,
            Some(supervisor_event::Kind::StartFailed(failed)) => &failed.container_id,
            Some(supervisor_event::Kind::Exited(exited)) => &exited.container_id,
            Some(supervisor_event::Kind::Welcome(_)) | None => return,
        };
        self.since.lock().unwrap_or_else(PoisonError::into_inner).remove(container);
    }

    /// Returns when a request is overdue, with words for it.
    async fn overdue(&self) -> String {
        loop {
            let oldest = self.since.lock().unwrap_or_else(PoisonError::into_inner).values().min().copied();
            match oldest {
                None => self.first.notified().await,
                Some(since) if since.elapsed() >= UNANSWERED => {
                    return format!("it has not answered a request for {UNANSWERED:?}");
                }
                Some(since) => tokio::time::sleep_until(since + UNANSWERED).await,
            }
        }
    }
}

impl LinkTask {
    async fn run(mut self, first: Option<Session>) {
        // Also when this task panics: nothing more comes then either.
        let _done = self.state.done.clone().drop_guard();
        let mut next = match first {
            Some(session) => Some(session),
            None => self.find("it did not answer", true).await,
        };
        while let Some(session) = next.take() {
            match self.converse(session).await {
                End::LetGo => break,
                End::Broke(reason) => next = self.find(&reason, false).await,
            }
        }
    }

    /// A supervisor of another build goes on with what it has and is given nothing more.
    fn judge(&self, session: &Session) {
        if session.welcome.retired {
            self.state.take_no_more_starts();
        } else if !self.state.has_died() && !session.is_current(&self.builds) {
            tracing::info!(supervisor = %self.directory.id(), "a supervisor of another build goes on with what it has");
            self.state.take_no_more_starts();
        }
    }

    async fn converse(&mut self, session: Session) -> End {
        let Session { stream, buffer, welcome } = session;
        self.broken += 1;
        let welcome = SupervisorEvent { kind: Some(supervisor_event::Kind::Welcome(welcome)) };
        if !deliver(&self.events, &self.directory.id(), welcome).await {
            return End::LetGo;
        }
        let (from, to) = stream.into_split();
        let open = Open::default();
        let receiving = receive(from, buffer, &self.events, self.directory.id(), &open, &mut self.broken);
        let sending = send(to, &mut self.requests, &open, &self.state);
        tokio::pin!(receiving, sending);
        tokio::select! {
            end = &mut receiving => end,
            text = open.overdue() => End::Broke(text),
            // Having let go, receive what the other side still sends.
            sent = &mut sending => match (sent, receiving.await) {
                (Ok(()), _) | (_, End::LetGo) => End::LetGo,
                (Err(error), End::Broke(_)) => End::Broke(error.to_string()),
            },
        }
    }

    /// Looks for the supervisor until it answers, or is found dead or gone. It is never killed because it is silent.
    async fn find(&mut self, reason: &str, mut is_reported: bool) -> Option<Session> {
        let mut pause = PAUSE.saturating_mul(1 << self.broken.min(6));
        for attempt in 1.. {
            match look::look(&self.directory).await {
                Ok(Finding::Gone) => return None,
                Ok(Finding::Living(session)) => {
                    if is_reported {
                        tracing::info!(supervisor = %self.directory.id(), "a supervisor that was silent answers again");
                    }
                    self.judge(&session);
                    return Some(session);
                }
                Ok(Finding::Dead) => return self.died(reason).await,
                Ok(Finding::Copy) => {
                    tracing::error!(supervisor = %self.directory.id(), "another folder has taken a supervisor's place");
                    return None;
                }
                Ok(Finding::Silent(silence)) => {
                    if !is_reported && (silence.is_timeout() || attempt >= ATTEMPTS_TO_SILENCE) {
                        is_reported = true;
                        if !self.report_silence(silence.error.to_string()).await {
                            return None;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(supervisor = %self.directory.id(), %error, "cannot look for a supervisor: trying again");
                }
            }
            tokio::select! {
                () = rest(&mut pause) => {}
                // Requests cannot arrive, and the next greeting shows what has to be sent again.
                () = discard_requests(&mut self.requests, &self.state) => return None,
            }
        }
        None
    }

    /// False when the agent listens no more.
    async fn report_silence(&mut self, text: String) -> bool {
        let supervisor = self.directory.id();
        tracing::warn!(%supervisor, text, "a supervisor is silent: its tasks are left alone, and others start elsewhere");
        self.state.take_no_more_starts();
        self.events.send(FromSupervisor::Silent(supervisor, text)).await.is_ok()
    }

    async fn died(&mut self, reason: &str) -> Option<Session> {
        tracing::error!(supervisor = %self.directory.id(), reason, "a supervisor died: its containers are killed");
        self.state.died();
        let lost = FromSupervisor::Lost(self.directory.id(), format!("its supervisor died: {reason}"));
        self.events.send(lost).await.ok()?;
        let Self { directory, requests, state, .. } = self;
        tokio::select! {
            session = replay_records(directory) => session,
            () = discard_requests(requests, state) => None,
        }
    }
}

/// Kills what a dead supervisor left, for as long as that takes: nothing of it may be said to have ended before. Then
/// replays its records, if they can be had.
async fn replay_records(directory: &Directory) -> Option<Session> {
    let mut pause = PAUSE;
    while let Err(error) = replay::clear(directory).await {
        tracing::error!(supervisor = %directory.id(), %error, "what it left cannot be killed: trying again");
        rest(&mut pause).await;
    }
    for _ in 0..MAX_REPLAYS {
        match replay::inherit(directory, None, replay::Origin::Own).await {
            Ok(legacy) => return legacy.session,
            Err(error) => tracing::error!(supervisor = %directory.id(), %error, "its records cannot be replayed"),
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

/// Drops requests until there are no more or this side lets go.
async fn discard_requests(requests: &mut mpsc::Receiver<Vec<SupervisorRequest>>, state: &State) {
    tokio::select! {
        () = async { while requests.recv().await.is_some() {} } => {}
        () = state.stop.cancelled() => {}
    }
}

/// Delivers events until the other side ends, or the agent takes no more.
async fn receive(
    mut from: OwnedReadHalf,
    mut buffer: BytesMut,
    events: &mpsc::Sender<FromSupervisor>,
    id: SupervisorId,
    open: &Open,
    broken: &mut u32,
) -> End {
    loop {
        loop {
            match frame::take::<SupervisorEvent>(&mut buffer) {
                Ok(Some(event)) => {
                    *broken = 0;
                    open.answered(&event);
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

/// Writes requests until there are no more, or this side is to let go; then ends its half of the connection.
async fn send(
    mut to: OwnedWriteHalf,
    requests: &mut mpsc::Receiver<Vec<SupervisorRequest>>,
    open: &Open,
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
            open.asked(&request);
            if let Err(error) = frame::put(&request, &mut buffer) {
                tracing::error!(%error, "a request that is too large is left out");
            }
        }
        to.write_all(&buffer).await?;
        buffer.clear();
    }
}

/// False when the agent takes no more.
async fn deliver(events: &mpsc::Sender<FromSupervisor>, id: &SupervisorId, event: SupervisorEvent) -> bool {
    events.send(FromSupervisor::Event(id.clone(), event)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::internal::{Signal, Start, Started, SupervisorWelcome};
    use tokio::net::UnixStream;

    /// A session whose other end does what the test says.
    struct Conversation {
        link: Link,
        peer: UnixStream,
        events: mpsc::Receiver<FromSupervisor>,
        end: tokio::task::JoinHandle<End>,
    }

    impl Conversation {
        fn begin() -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let directory = Directory::create(folder.path()).expect("made");
            let (link, queue, state) = Link::new(directory.id());
            let (sender, events) = mpsc::channel(16);
            let (stream, peer) = UnixStream::pair().expect("a pair");
            let mut task =
                LinkTask { directory, events: sender, requests: queue, state, builds: Vec::new(), broken: 0 };
            let session = Session { stream, buffer: BytesMut::new(), welcome: SupervisorWelcome::default() };
            let end = tokio::spawn(async move { task.converse(session).await });
            Self { link, peer, events, end }
        }

        async fn ask(&self, kind: supervisor_request::Kind) {
            self.link.send(vec![SupervisorRequest { kind: Some(kind) }]).await.expect("it is open");
        }

        async fn answer(&mut self, kind: supervisor_event::Kind) {
            let mut bytes = BytesMut::new();
            frame::put(&SupervisorEvent { kind: Some(kind) }, &mut bytes).expect("small");
            self.peer.write_all(&bytes).await.expect("written");
        }

        async fn reason(&mut self) -> String {
            match (&mut self.end).await.expect("no panic") {
                End::Broke(reason) => reason,
                End::LetGo => "let go".to_owned(),
            }
        }
    }

    fn start(id: &str) -> supervisor_request::Kind {
        supervisor_request::Kind::Start(Start { container_id: id.to_owned(), ..Start::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_does_not_answer_a_start_or_a_sigkill_is_asked_to_greet_anew() {
        let kill = Signal { container_id: "c".to_owned(), signal: SIGKILL, tree: true };
        for asked in [start("c"), supervisor_request::Kind::Signal(kill)] {
            let mut conversation = Conversation::begin();
            conversation.ask(asked).await;
            assert_eq!(conversation.reason().await, "it has not answered a request for 10s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_answered_all_may_be_quiet_for_ever() {
        let mut conversation = Conversation::begin();
        conversation.ask(start("c")).await;
        let term = Signal { container_id: "c".to_owned(), signal: 15, tree: true };
        conversation.ask(supervisor_request::Kind::Signal(term)).await;
        let started = Started { container_id: "c".to_owned(), pid: 1, start_time: 1 };
        conversation.answer(supervisor_event::Kind::Started(started)).await;
        for _ in 0..2 {
            conversation.events.recv().await.expect("the greeting, and what was started");
        }
        tokio::time::sleep(Duration::from_hours(24)).await;
        assert!(!conversation.end.is_finished());
        conversation.peer.shutdown().await.expect("closed");
        assert_eq!(conversation.reason().await, "it closed the connection");
    }
}
