//! The task behind a link: carries requests and events, and sees to it that a supervisor's end is reported in order.
//!
//! When the connection breaks there are four cases. The folder is gone: the supervisor was retired and has ended. It
//! answers: go on. It is silent: report that and try again for as long as it takes, since silence is not death. The process
//! is dead: report that, replay its records, and go on serving them to the agent under the same name, so that it sees one
//! uniform stream and takes every container's end in the same way.
//!
//! A connection that stands says nothing of a supervisor that is stopped. So one that has not answered a start for a while
//! counts as silent until it says something; the connection stays, since what was sent over it may not have been read yet.

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
/// A supervisor that has not answered a start for this long is silent.
const UNANSWERED: Duration = Duration::from_secs(10);
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
    /// Whether the supervisor is a process of its own: one within this process is never silent by itself.
    is_process: bool,
}

/// How a link begins.
#[derive(Debug)]
pub(super) enum Beginning {
    /// With a supervisor that has greeted.
    Greeted(Session),
    /// With one within this process.
    Within(Session),
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
        Beginning::Greeted(_) | Beginning::Within(_) => {}
        Beginning::Silent(_) => state.take_no_more_starts(),
        Beginning::Replayed(_) => state.died(),
    }
    let is_process = !matches!(beginning, Beginning::Within(_) | Beginning::Replayed(_));
    let mut task = LinkTask { directory, events, requests, state, builds, broken: 0, is_process };
    match beginning {
        Beginning::Greeted(session) | Beginning::Within(session) => {
            task.judge(&session);
            tokio::spawn(task.run(Some(session)));
        }
        Beginning::Replayed(session) => {
            task.broken = 1;
            tokio::spawn(task.run(Some(session)));
        }
        Beginning::Silent(text) => {
            tokio::spawn(async move {
                if report_silence(&task.directory, &task.state, &task.events, text).await {
                    task.run(None).await;
                }
            });
        }
    }
    link
}

/// The starts of a session that are to be answered, by container, and since when.
#[derive(Debug, Default)]
struct Unanswered {
    since: Mutex<BTreeMap<String, Instant>>,
    first: Notify,
}

impl Unanswered {
    fn asked(&self, request: &SupervisorRequest) {
        let Some(supervisor_request::Kind::Start(start)) = &request.kind else { return };
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.entry(start.container_id.clone()).or_insert_with(Instant::now);
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

    /// Returns when an answer is overdue, with words for it.
    async fn overdue(&self) -> String {
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
        let unanswered = Unanswered::default();
        let receiving = receive(from, buffer, &self.events, self.directory.id(), &unanswered, &mut self.broken);
        let sending = send(to, &mut self.requests, &unanswered, &self.state);
        tokio::pin!(receiving, sending);
        if self.is_process {
            tokio::select! {
                biased;
                end = &mut receiving => return end,
                sent = &mut sending => return after_letting_go(sent, receiving.await),
                text = unanswered.overdue() => {
                    if !report_silence(&self.directory, &self.state, &self.events, text).await {
                        return End::LetGo;
                    }
                }
            }
        }
        tokio::select! {
            end = &mut receiving => end,
            // Having let go, receive what the other side still sends.
            sent = &mut sending => after_letting_go(sent, receiving.await),
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
                        let text = silence.error.to_string();
                        if !report_silence(&self.directory, &self.state, &self.events, text).await {
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

/// How a session ends in which this side sends no more.
fn after_letting_go(sent: io::Result<()>, received: End) -> End {
    match (sent, received) {
        (Ok(()), _) | (_, End::LetGo) => End::LetGo,
        (Err(error), End::Broke(_)) => End::Broke(error.to_string()),
    }
}

/// False when the agent listens no more.
async fn report_silence(
    directory: &Directory,
    state: &State,
    events: &mpsc::Sender<FromSupervisor>,
    text: String,
) -> bool {
    let supervisor = directory.id();
    tracing::warn!(%supervisor, text, "a supervisor is silent: its tasks are left alone, and others start elsewhere");
    state.take_no_more_starts();
    events.send(FromSupervisor::Silent(supervisor, text)).await.is_ok()
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
    unanswered: &Unanswered,
    broken: &mut u32,
) -> End {
    loop {
        loop {
            match frame::take::<SupervisorEvent>(&mut buffer) {
                Ok(Some(event)) => {
                    *broken = 0;
                    unanswered.answered(&event);
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
            unanswered.asked(&request);
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
        async fn begin(is_process: bool) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let directory = Directory::create(folder.path()).expect("made");
            let (link, queue, state) = Link::new(directory.id());
            let (sender, mut events) = mpsc::channel(16);
            let (stream, peer) = UnixStream::pair().expect("a pair");
            let (builds, broken) = (Vec::new(), 0);
            let mut task = LinkTask { directory, events: sender, requests: queue, state, builds, broken, is_process };
            let session = Session { stream, buffer: BytesMut::new(), welcome: SupervisorWelcome::default() };
            let end = tokio::spawn(async move { task.converse(session).await });
            events.recv().await.expect("the greeting");
            Self { link, peer, events, end }
        }

        async fn ask(&self, kind: supervisor_request::Kind) {
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
    async fn a_supervisor_that_does_not_answer_a_start_is_silent_until_it_goes_on() {
        let mut conversation = Conversation::begin(true).await;
        conversation.ask(start("c")).await;
        let began = Instant::now();
        let event = conversation.within_a_day().await;
        assert!(matches!(&event, Some(FromSupervisor::Silent(_, text)) if text.contains("a start waits")), "{event:?}");
        assert_eq!(began.elapsed().as_secs(), UNANSWERED.as_secs());
        assert!(!conversation.link.takes_starts());
        assert!(conversation.within_a_day().await.is_none(), "it is said once");
        conversation.answer("c").await;
        assert!(!conversation.end.is_finished(), "the connection stands");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_has_answered_all_starts_may_be_quiet_for_ever_and_so_may_one_within_this_process() {
        let kill = Signal { container_id: "c".to_owned(), signal: 9, tree: true };
        let mut answered = Conversation::begin(true).await;
        answered.ask(start("c")).await;
        answered.answer("c").await;
        answered.ask(supervisor_request::Kind::Signal(kill)).await;
        let mut within = Conversation::begin(false).await;
        within.ask(start("c")).await;
        for conversation in [&mut answered, &mut within] {
            assert!(conversation.within_a_day().await.is_none());
            assert!(conversation.link.takes_starts());
        }
        answered.peer.shutdown().await.expect("closed");
        let end = answered.end.await.expect("no panic");
        assert!(matches!(end, End::Broke(reason) if reason == "it closed the connection"));
    }
}
