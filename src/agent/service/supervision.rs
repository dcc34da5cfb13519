//! Provides the core with a supervisor: reconnects to running ones, starts one if none runs, and replaces one that
//! dies.
//!
//! The core knows supervisors by number; a later one has a higher number. Their events are sent to the core's mailbox
//! in order, and the end of a supervisor after its last event. A start runs concurrently: while it takes long or fails,
//! the events of other supervisors are still delivered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SupervisorMode;
use super::executor::SupervisorOutboxes;
use super::mail::{Mail, Mailbox};
use crate::agent::core::{FoundSupervisor, Input, SupervisorId};
use crate::agent::damage::{Kept, Recover};
use crate::agent::log::WorkDir;
use crate::agent::supervisor::{self, FromSupervisor, Link, SupervisorError};
use crate::proto::internal::{SupervisorRequest, supervisor_request};
use crate::transport::outbox::{Budget, Durable, Limits, Outbox};

/// Events that may be queued for the core.
const EVENTS: usize = 1024;
/// Between two attempts to start a supervisor, at first and at most.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST_AGAIN: Duration = Duration::from_secs(5);
/// How long the release of supervisors may take. An in-process one kills its containers first.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(30);

/// A start of a supervisor that is under way.
type Attempt = Pin<Box<dyn Future<Output = Result<Link, SupervisorError>> + Send>>;

/// The supervisors of an agent.
pub(super) struct Supervision {
    mode: SupervisorMode,
    /// How long a supervisor without tasks runs on when no agent connects to it.
    idle: Duration,
    work_dir: PathBuf,
    mailbox: Mailbox,
    outboxes: SupervisorOutboxes,
    /// Requests to supervisors have no limit but the core's: a few per container.
    budget: Budget,
    durable: Durable,
    links: BTreeMap<SupervisorId, Link>,
    numbers: BTreeMap<supervisor::SupervisorId, SupervisorId>,
    events: mpsc::Receiver<FromSupervisor>,
    event_sender: mpsc::Sender<FromSupervisor>,
    ends: mpsc::Receiver<SupervisorEnd>,
    end_sender: mpsc::Sender<SupervisorEnd>,
    forwarding: TaskTracker,
    attempt: Option<Attempt>,
    /// How long to wait after a failed attempt.
    retry_delay: Duration,
}

/// The end of a supervisor: no more events follow.
#[derive(Clone, Copy, Debug)]
struct SupervisorEnd {
    supervisor: SupervisorId,
    /// Whether it was sent `Retire`.
    retired: bool,
}

impl Supervision {
    /// Connects to the running supervisors, and starts one if none accepts starts. Also returns damaged records.
    pub(super) async fn connect_or_start(
        mode: SupervisorMode,
        idle: Duration,
        recover: Recover,
        work_dir: PathBuf,
        mailbox: Mailbox,
        outboxes: SupervisorOutboxes,
        durable: Durable,
    ) -> Result<(Self, Vec<Kept>), SupervisorError> {
        let ((event_sender, events), (end_sender, ends)) = (mpsc::channel(EVENTS), mpsc::channel(16));
        let (links, numbers, forwarding) = (BTreeMap::new(), BTreeMap::new(), TaskTracker::new());
        let (attempt, retry_delay) = (None, AGAIN);
        let mut this = Self {
            mode,
            idle,
            work_dir,
            mailbox,
            outboxes,
            budget: Budget::new(Limits::unlimited()),
            durable,
            links,
            numbers,
            events,
            event_sender,
            ends,
            end_sender,
            forwarding,
            attempt,
            retry_delay,
        };
        let program = match &this.mode {
            SupervisorMode::Process { program } => Some(program.clone()),
            SupervisorMode::InProcess => None,
        };
        let earlier = supervisor::Earlier { recover, program };
        let found = supervisor::reconnect(&this.work_dir, &earlier, this.event_sender.clone()).await?;
        for link in found.links {
            this.add_link(link);
        }
        let in_process = matches!(this.mode, SupervisorMode::InProcess);
        if in_process || !this.has_running_supervisor() {
            let link = this.start_after(Duration::ZERO).await?;
            this.add_link(link);
        }
        Ok((this, found.damage))
    }

    /// The supervisors that will greet or be reported as ended.
    pub(super) fn found(&self) -> Vec<FoundSupervisor> {
        self.links.iter().map(|(id, link)| FoundSupervisor { id: *id, died: link.has_died() }).collect()
    }

    /// Forwards the supervisors' events to the core. When `end_containers` is cancelled, in-process supervisors end
    /// with all their containers, whose ends are forwarded too; other supervisors are released. When `end` is
    /// cancelled, no more requests follow: the queued ones are sent, then all are released. `work_dir` is held until
    /// then.
    pub(super) async fn run(
        mut self,
        end_containers: CancellationToken,
        end: CancellationToken,
        work_dir: Arc<WorkDir>,
    ) {
        let (mut releasing, mut ending) = (false, false);
        let (mut timeout, mut arrived) = (None, Vec::new());
        loop {
            tokio::select! {
                _ = self.events.recv_many(&mut arrived, EVENTS) => self.forward_events(arrived.drain(..)).await,
                Some(ended) = self.ends.recv() => self.remove(ended).await,
                outcome = finished(&mut self.attempt) => self.finish_attempt(outcome).await,
                () = end_containers.cancelled(), if !releasing => {
                    releasing = true;
                    timeout = Some(Box::pin(tokio::time::sleep(RELEASE_TIMEOUT)));
                    self.release();
                }
                () = end.cancelled(), if !ending => {
                    ending = true;
                    timeout = Some(Box::pin(tokio::time::sleep(RELEASE_TIMEOUT)));
                    self.attempt = None;
                    self.forwarding.close();
                }
                () = self.forwarding.wait(), if releasing || ending => break,
                () = elapsed(&mut timeout) => {
                    tracing::error!("a supervisor does not close its connection in time: the agent ends without it");
                    break;
                }
            }
        }
        self.forward_remaining_events().await;
        drop(work_dir);
    }

    fn has_running_supervisor(&self) -> bool {
        self.links.values().any(Link::takes_starts)
    }

    /// Starts a supervisor after a delay. An attempt that is dropped leaves nothing behind.
    fn start_after(&self, after: Duration) -> Attempt {
        let (mode, work_dir, events) = (self.mode.clone(), self.work_dir.clone(), self.event_sender.clone());
        let idle = self.idle;
        Box::pin(async move {
            tokio::time::sleep(after).await;
            match mode {
                SupervisorMode::InProcess => supervisor::in_process(&work_dir, events).await,
                SupervisorMode::Process { program } => {
                    let settings = supervisor::Settings::new(program, work_dir).ending_idle_after(idle);
                    supervisor::launch(&settings, events).await
                }
            }
        })
    }

    /// Handles the outcome of an attempt. Launches wait in the core for a supervisor for a limited time.
    async fn finish_attempt(&mut self, outcome: Result<Link, SupervisorError>) {
        self.attempt = None;
        match outcome {
            Ok(link) => {
                self.retry_delay = AGAIN;
                self.add_link(link);
            }
            Err(error) => {
                tracing::error!(%error, "cannot start a supervisor, so no task can be started: trying again");
                self.mailbox.input(Input::NoSupervisor { text: error.to_string() }).await;
                self.schedule_replacement(self.retry_delay);
                self.retry_delay = (self.retry_delay * 2).min(LONGEST_AGAIN);
            }
        }
    }

    fn add_link(&mut self, link: Link) {
        let number = SupervisorId(self.numbers.values().map(|number| number.0).max().unwrap_or(0) + 1);
        let outbox = Outbox::new(&self.budget, &self.durable);
        self.numbers.insert(link.id().clone(), number);
        self.outboxes.insert(number, outbox.clone());
        self.forwarding.spawn(forward(number, link.clone(), outbox, self.end_sender.clone()));
        self.links.insert(number, link);
    }

    /// Forwards all queued events in one message, in order.
    async fn forward_events(&mut self, arrived: impl Iterator<Item = FromSupervisor>) {
        let (mut inputs, mut is_missing) = (Vec::new(), false);
        for event in arrived {
            is_missing |= !matches!(event, FromSupervisor::Event(..));
            inputs.extend(self.input(event));
        }
        self.mailbox.send(Mail::Inputs(inputs)).await;
        if is_missing {
            self.schedule_replacement(Duration::ZERO);
        }
    }

    async fn forward_remaining_events(&mut self) {
        let arrived: Vec<FromSupervisor> = std::iter::from_fn(|| self.events.try_recv().ok()).collect();
        if !arrived.is_empty() {
            self.forward_events(arrived.into_iter()).await;
        }
    }

    fn input(&self, event: FromSupervisor) -> Option<Input> {
        let number = |name| self.numbers.get(&name).copied();
        Some(match event {
            FromSupervisor::Event(name, event) => Input::Supervised { supervisor: number(name)?, event },
            FromSupervisor::Lost(name, text) => Input::SupervisorLost { supervisor: number(name)?, text },
            FromSupervisor::Silent(name, text) => Input::SupervisorSilent { supervisor: number(name)?, text },
        })
    }

    /// Removes a supervisor that has ended, after its remaining events are forwarded.
    async fn remove(&mut self, end: SupervisorEnd) {
        let SupervisorEnd { supervisor, retired } = end;
        self.forward_remaining_events().await;
        self.links.remove(&supervisor);
        self.numbers.retain(|_, number| *number != supervisor);
        self.outboxes.remove(supervisor);
        self.mailbox.input(Input::SupervisorEnded { supervisor }).await;
        if !retired {
            self.schedule_replacement(Duration::ZERO);
        }
    }

    /// Schedules the start of another supervisor if none accepts starts any more.
    fn schedule_replacement(&mut self, after: Duration) {
        let is_over = self.forwarding.is_closed() || self.outboxes.are_closed();
        if !is_over && !self.has_running_supervisor() && self.attempt.is_none() {
            self.attempt = Some(self.start_after(after));
        }
    }

    fn release(&mut self) {
        self.attempt = None;
        self.forwarding.close();
        for link in std::mem::take(&mut self.links).into_values() {
            self.forwarding.spawn(async move { link.shutdown().await });
        }
    }
}

/// Waits for the outcome of the attempt; for ever if there is none.
async fn finished(attempt: &mut Option<Attempt>) -> Result<Link, SupervisorError> {
    match attempt {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}

/// Waits for the timeout; for ever if there is none.
async fn elapsed(timeout: &mut Option<Pin<Box<tokio::time::Sleep>>>) {
    match timeout {
        Some(timeout) => timeout.await,
        None => std::future::pending().await,
    }
}

/// Sends requests to a supervisor until it has ended, or until the outbox is closed and empty.
async fn forward(
    number: SupervisorId,
    link: Link,
    outbox: Outbox<SupervisorRequest>,
    end: mpsc::Sender<SupervisorEnd>,
) {
    let mut retired = false;
    let mut batches = outbox.batches();
    loop {
        tokio::select! {
            () = link.closed() => break,
            batch = batches.next() => match batch {
                None => return link.shutdown().await,
                Some(requests) => {
                    retired |= requests.iter().any(is_retire);
                    tokio::select! {
                        // The end of the link is detected here.
                        () = link.closed() => break,
                        _ = link.send(requests) => {}
                    }
                }
            },
        }
    }
    // The receiver is gone if the agent itself has ended.
    let _ = end.send(SupervisorEnd { supervisor: number, retired }).await;
}

fn is_retire(request: &SupervisorRequest) -> bool {
    matches!(request.kind, Some(supervisor_request::Kind::Retire(_)))
}
