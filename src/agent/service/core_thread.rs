//! The thread of the core: takes mail, lets the core decide, writes down, and has the effects carried out.
//!
//! It waits for nothing but its mailbox and the next deadline, and while it is busy a moment for more mail ([`Pace`]).
//! Everything that a batch of inputs wants to write is one write, before any effect of that batch leaves, and what the
//! batch sends leaves together; what follows a record that has to be on the disk waits for that in the queue of its
//! session, or here.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::hands::Hands;
use super::health::Health;
use super::mail::Mail;
use super::sync::SyncThread;
use super::{AgentError, End, Ended};
use crate::agent::core::{Agent, ContainerId, Effect, Input, Level, StopReason};
use crate::agent::log::{Log, LogError, Successor, WorkDir};
use crate::agent::pace::Pace;
use crate::harness::Harness;
use crate::proto::internal::AgentRecord;
use crate::transport::clock::Clock;
use crate::transport::outbox::{Durable, RecordNumber, SessionQueue, Taken};
use crate::types::Now;

/// The most pieces of mail taken at once.
const BATCH: usize = 256;
/// Between two attempts to write what a full disk has no room for.
const ROOM_AGAIN: Duration = Duration::from_millis(200);

/// What the thread works with.
#[derive(Debug)]
pub(super) struct CoreThread {
    pub(super) harness: Harness<Agent>,
    pub(super) log: Log,
    pub(super) sync: SyncThread,
    /// How far the disk has got.
    pub(super) durable: Durable,
    /// The last number that the disk has to reach.
    pub(super) recorded: RecordNumber,
    /// What this thread does itself and waits for the disk.
    pub(super) held: SessionQueue<Effect>,
    pub(super) hands: Hands,
    pub(super) pace: Pace,
    pub(super) mail: mpsc::Receiver<Mail>,
    pub(super) clock: Clock,
    /// Cancelled when the agent is to stop: it does not wait for room on the disk then.
    pub(super) stopping: CancellationToken,
    /// What operators read of the agent's problems.
    pub(super) health: Health,
    /// Those who are to be told when a container has ended.
    pub(super) followers: Vec<(ContainerId, oneshot::Sender<()>)>,
    /// Whether the log is not in its place, and is being written anew.
    pub(super) log_is_gone: bool,
    /// Held as long as the log is written, and by others who use the directory longer.
    pub(super) work_dir: Arc<WorkDir>,
    /// Where the agent's id is announced.
    pub(super) id: watch::Sender<Option<String>>,
}

impl CoreThread {
    /// Starts the thread, which first carries out what recovery asked for. How it ended is told to `ended`.
    pub(super) fn start(mut self, ended: watch::Sender<Option<End>>) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("agent-core".to_owned()).spawn(move || {
            let end = runtime.block_on(self.run());
            if let Err(error) = &end {
                tracing::error!(%error, "the agent ends");
            }
            self.finish(end.as_ref().is_ok_and(|ended| *ended != Ended::Stopped));
            ended.send_replace(Some(end.map_err(Arc::new)));
        })
    }

    async fn run(&mut self) -> Result<Ended, AgentError> {
        let mut mail = vec![];
        let (mut now, mut inputs) = (self.clock.now(), 0);
        loop {
            if let Some(ended) = self.carry_out().await? {
                return Ok(ended);
            }
            self.announce();
            self.tell_ends();
            if let Some(rest) = self.pace.rest_after(now.mono_ns, self.clock.now().mono_ns, inputs) {
                // Nothing else is on this thread, and no one is waited for.
                thread::sleep(rest);
            }
            let deadline = self.harness.deadline();
            let clock = self.clock;
            let due = async {
                match deadline {
                    Some(at) => clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = due => {}
                _ = self.mail.recv_many(&mut mail, BATCH) => {}
            }
            now = self.clock.now();
            inputs = mail.iter().map(Mail::inputs).sum();
            for piece in mail.drain(..) {
                if let Some(ended) = self.take(now, piece).await? {
                    return Ok(ended);
                }
            }
            self.harness.finish(now);
        }
    }

    async fn take(&mut self, now: Now, piece: Mail) -> Result<Option<Ended>, AgentError> {
        match piece {
            Mail::Inputs(inputs) => {
                for input in inputs {
                    self.harness.handle(now, input);
                }
            }
            Mail::Synced(number) => {
                // What is acted on now is never to be taken for what a power cut left.
                match self.log.append(&[]) {
                    Ok(()) | Err(LogError::Full(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                self.durable.advance(number);
                return Ok(self.act_on_held(now));
            }
            Mail::Drafted(drafted) => self.adopt(drafted)?,
            Mail::LogGone(error) => {
                tracing::error!(%error, "the log is written anew");
                self.log_is_gone = true;
                self.compact();
            }
            Mail::DiskFailed(error) => return Err(error.into()),
            Mail::TellEnd(container, tell) => self.followers.push((container, tell)),
            Mail::Stop => {
                self.harness.handle(now, Input::Stopping);
                self.carry_out().await?;
                return Ok(Some(Ended::Stopped));
            }
        }
        Ok(None)
    }

    /// Carries out what the core decided since the last time.
    async fn carry_out(&mut self) -> Result<Option<Ended>, AgentError> {
        let (mut effects, mut records) = (self.harness.take(), vec![]);
        for effect in &mut effects {
            if let Effect::Persist { records: more, .. } = effect {
                records.append(more);
            }
        }
        if !records.is_empty() {
            if !self.write(&records).await? {
                return Ok(Some(Ended::Stopped));
            }
            self.sync.soon(self.log.syncer());
        }
        let now = self.clock.now();
        for effect in effects.drain(..) {
            match effect {
                Effect::Persist { level: Level::Process, .. } => {}
                Effect::Persist { level: Level::Host, .. } => self.recorded = self.sync.now(self.log.syncer()),
                Effect::Send { session, message } => self.hands.send(self.recorded, session, message),
                Effect::Supervise { supervisor, request } => self.hands.supervise(self.recorded, supervisor, request),
                effect => {
                    self.held.push(now, usize::MAX, self.recorded, effect);
                    if let Some(ended) = self.act_on_held(now) {
                        return Ok(Some(ended));
                    }
                }
            }
        }
        self.harness.reuse(effects);
        self.hands.flush(now);
        if self.log.wants_compaction() {
            self.compact();
        }
        Ok(None)
    }

    /// Writes records down. While the disk has no room for them nothing else is decided, so that nothing leaves that is not
    /// written; false when the agent is to stop meanwhile.
    async fn write(&mut self, records: &[AgentRecord]) -> Result<bool, AgentError> {
        loop {
            match self.log.append(records) {
                Ok(()) => return Ok(true),
                Err(error @ LogError::Full(_)) => self.health.report_stuck(&error),
                Err(error) => return Err(error.into()),
            }
            let clock = self.clock;
            tokio::select! {
                () = clock.sleep_until(clock.now().mono_after(ROOM_AGAIN)) => {}
                () = self.stopping.cancelled() => return Ok(false),
            }
        }
    }

    /// Has the log written anew by the thread that syncs it; [`Mail::Drafted`] follows.
    fn compact(&mut self) {
        let draft = self.log.draft(self.harness.core.snapshot());
        self.sync.write(draft);
    }

    /// Goes on with a log that was written anew. One that could not be is no loss, unless there is no other.
    fn adopt(&mut self, drafted: Result<Successor, LogError>) -> Result<(), AgentError> {
        let adopted = drafted.and_then(|successor| self.log.adopt(successor));
        match adopted {
            Ok(()) => {
                self.log_is_gone = false;
                self.sync.soon(self.log.syncer());
            }
            Err(error) if self.log_is_gone => return Err(error.into()),
            Err(error) => {
                self.log.drop_draft();
                tracing::warn!(%error, "the log stays longer than it need be");
            }
        }
        Ok(())
    }

    /// Carries out what need not wait for the disk any more.
    fn act_on_held(&mut self, now: Now) -> Option<Ended> {
        while let Taken::Frame(effects) = self.held.take(now, self.durable.number()) {
            for effect in effects {
                if let Some(ended) = self.act(now, effect) {
                    return Some(ended);
                }
            }
        }
        None
    }

    /// Carries one effect out; the last one ends the agent.
    fn act(&mut self, now: Now, effect: Effect) -> Option<Ended> {
        match effect {
            Effect::Stop { reason } => return Some(Ended::from(reason)),
            // A step that is cancelled takes no time: its answer follows at once.
            Effect::Persist { .. } | Effect::Send { .. } | Effect::Supervise { .. } | Effect::CancelStep { .. } => {}
            Effect::Attach { session, turn, leader } => self.hands.attach(now, session, turn, leader.as_deref()),
            Effect::Detach { session } => self.hands.detach(now, session),
            Effect::Provision { container, step } => self.hands.provision(container, step),
            Effect::EndLeftovers { leftovers } => self.hands.housekeeping.end_leftovers(leftovers),
            Effect::RemoveSandbox { container } => self.hands.remove_sandbox(container),
        }
        None
    }

    fn tell_ends(&mut self) {
        let agent = &self.harness.core;
        let is_over =
            |(container, tell): &mut (ContainerId, oneshot::Sender<()>)| tell.is_closed() || !agent.is_live(container);
        for (_, tell) in self.followers.extract_if(.., is_over) {
            // Whoever asked may have gone away.
            let _ = tell.send(());
        }
    }

    fn announce(&self) {
        let agent = &self.harness.core;
        self.health.report(&self.clock, agent);
        let registered = agent.is_registered().then(|| agent.id()).flatten();
        self.id.send_if_modified(|known| {
            let changed = registered.is_some() && known.as_deref() != registered;
            if changed {
                *known = registered.map(str::to_owned);
            }
            changed
        });
    }

    /// `politely`: what is queued for the master goes out first.
    fn finish(self, politely: bool) {
        let Self { mail, sync, hands, work_dir, .. } = self;
        // Or a thread that is to end could wait for room in it.
        drop(mail);
        drop(sync);
        hands.finish(politely);
        drop(work_dir);
    }
}

impl From<StopReason> for Ended {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::Gone => Self::Gone,
            StopReason::Refused(text) => Self::Refused(text),
            StopReason::ShutDown => Self::ShutDown,
        }
    }
}
