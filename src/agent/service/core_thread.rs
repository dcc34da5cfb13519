//! The thread of the core: receives mail, passes it to the core, writes the records, and carries the effects out.
//!
//! It waits only for its mailbox and the next deadline, and while it is busy shortly for more mail ([`Pace`]). All
//! records of a batch of inputs are one write, before any effect of the batch is carried out. All messages of the batch
//! are sent together. An effect that needs a synced record waits for the sync in the queue of its session, or here.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::executor::EffectExecutor;
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

/// The most mail received at once.
const BATCH: usize = 256;
/// Between two attempts to write to a full disk.
const RETRY_WRITE: Duration = Duration::from_millis(200);

/// The state of the core's thread.
#[derive(Debug)]
pub(super) struct CoreThread {
    pub(super) harness: Harness<Agent>,
    pub(super) log: Log,
    pub(super) sync: SyncThread,
    /// The last record that is synced.
    pub(super) durable: Durable,
    /// The last record that has to be synced.
    pub(super) recorded: RecordNumber,
    /// Effects of this thread that wait for a sync.
    pub(super) held: SessionQueue<Effect>,
    pub(super) executor: EffectExecutor,
    pub(super) pace: Pace,
    pub(super) mail: mpsc::Receiver<Mail>,
    pub(super) clock: Clock,
    /// Cancelled when the agent has to stop: it does not wait for disk space then.
    pub(super) stopping: CancellationToken,
    /// The agent's problems, for operators.
    pub(super) health: Health,
    /// Requests to be notified of the end of a container.
    pub(super) end_waiters: Vec<(ContainerId, oneshot::Sender<()>)>,
    /// Whether the log was removed, and is being rewritten.
    pub(super) log_is_gone: bool,
    /// Locked as long as this thread or another user of the directory holds it.
    pub(super) work_dir: Arc<WorkDir>,
    /// Publishes the agent's id.
    pub(super) id: watch::Sender<Option<String>>,
}

impl CoreThread {
    /// Starts the thread, which first carries out the effects of recovery. Its result is sent to `ended`.
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
            self.notify_end_waiters();
            if let Some(rest) = self.pace.rest_after(now.mono_ns, self.clock.now().mono_ns, inputs) {
                // This runtime has no other tasks.
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
                // Records the sync before its effects are carried out.
                match self.log.append(&[]) {
                    Ok(()) | Err(LogError::Full(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                self.durable.advance(number);
                return Ok(self.execute_held(now));
            }
            Mail::Drafted(drafted) => self.adopt(drafted)?,
            Mail::LogGone(error) => {
                tracing::error!(%error, "the agent rewrites its log");
                self.log_is_gone = true;
                self.compact();
            }
            Mail::DiskFailed(error) => return Err(error.into()),
            Mail::NotifyEnd(container, notify) => self.end_waiters.push((container, notify)),
            Mail::Stop => {
                self.harness.handle(now, Input::Stopping);
                self.carry_out().await?;
                return Ok(Some(Ended::Stopped));
            }
        }
        Ok(None)
    }

    /// Carries out the core's new effects.
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
            self.sync.sync_soon(self.log.syncer());
        }
        let now = self.clock.now();
        for effect in effects.drain(..) {
            match effect {
                Effect::Persist { level: Level::Process, .. } => {}
                Effect::Persist { level: Level::Host, .. } => self.recorded = self.sync.sync_now(self.log.syncer()),
                Effect::Send { session, message } => self.executor.send(self.recorded, session, message),
                Effect::Supervise { supervisor, request } => {
                    self.executor.supervise(self.recorded, supervisor, request);
                }
                effect => {
                    self.held.push(now, usize::MAX, self.recorded, effect);
                    if let Some(ended) = self.execute_held(now) {
                        return Ok(Some(ended));
                    }
                }
            }
        }
        self.harness.reuse(effects);
        self.executor.flush(now);
        if self.log.should_compact() {
            self.compact();
        }
        Ok(None)
    }

    /// Appends records to the log. On a full disk this blocks the core, so that no effect precedes its records. Returns
    /// false if the agent has to stop meanwhile.
    async fn write(&mut self, records: &[AgentRecord]) -> Result<bool, AgentError> {
        loop {
            match self.log.append(records) {
                Ok(()) => return Ok(true),
                Err(error @ LogError::Full(_)) => self.health.report_stuck(&error),
                Err(error) => return Err(error.into()),
            }
            let clock = self.clock;
            tokio::select! {
                () = clock.sleep_until(clock.now().mono_after(RETRY_WRITE)) => {}
                () = self.stopping.cancelled() => return Ok(false),
            }
        }
    }

    /// Starts a compaction of the log on the thread that syncs it; [`Mail::Drafted`] follows.
    fn compact(&mut self) {
        let draft = self.log.draft(self.harness.core.snapshot());
        self.sync.write_draft(draft);
    }

    /// Switches to the compacted log. A failed compaction is harmless, unless the old log was removed.
    fn adopt(&mut self, drafted: Result<Successor, LogError>) -> Result<(), AgentError> {
        let adopted = drafted.and_then(|successor| self.log.adopt(successor));
        match adopted {
            Ok(()) => {
                self.log_is_gone = false;
                self.sync.sync_soon(self.log.syncer());
            }
            Err(error) if self.log_is_gone => return Err(error.into()),
            Err(error) => {
                self.log.drop_draft();
                tracing::warn!(%error, "cannot compact the log: it stays as it is");
            }
        }
        Ok(())
    }

    /// Carries out the effects whose records are synced.
    fn execute_held(&mut self, now: Now) -> Option<Ended> {
        while let Taken::Frame(effects) = self.held.take(now, self.durable.number()) {
            for effect in effects {
                if let Some(ended) = self.execute(now, effect) {
                    return Some(ended);
                }
            }
        }
        None
    }

    /// Carries one effect out; `Stop` ends the agent.
    fn execute(&mut self, now: Now, effect: Effect) -> Option<Ended> {
        match effect {
            Effect::Stop { reason } => return Some(Ended::from(reason)),
            // A step takes little time: its answer follows without a cancellation.
            Effect::Persist { .. } | Effect::Send { .. } | Effect::Supervise { .. } | Effect::CancelStep { .. } => {}
            Effect::Attach { session, turn, leader } => self.executor.attach(now, session, turn, leader.as_deref()),
            Effect::Detach { session } => self.executor.detach(now, session),
            Effect::Provision { container, step } => self.executor.provision(container, step),
            Effect::EndLeftovers { leftovers } => self.executor.host_workers.end_leftovers(leftovers),
            Effect::RemoveSandbox { container } => self.executor.remove_sandbox(container),
        }
        None
    }

    fn notify_end_waiters(&mut self) {
        let agent = &self.harness.core;
        let is_over = |(container, notify): &mut (ContainerId, oneshot::Sender<()>)| {
            notify.is_closed() || !agent.is_live(container)
        };
        for (_, notify) in self.end_waiters.extract_if(.., is_over) {
            // The receiver may be dropped.
            let _ = notify.send(());
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

    /// Ends all threads and sessions; with `flush` the messages queued for the master are sent first.
    fn finish(self, flush: bool) {
        let Self { mail, sync, executor, work_dir, .. } = self;
        // Otherwise a thread could block on the full mailbox instead of ending.
        drop(mail);
        drop(sync);
        executor.finish(flush);
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
