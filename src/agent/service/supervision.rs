//! Keeps a supervisor at hand: finds those that an earlier agent left, starts one where none is, another when it dies.
//!
//! Their names become numbers for the core, later ones higher. What they say goes to the core's mailbox in order; that
//! nothing more is to be expected of one is said after everything it said. Starting one goes on beside all that: however
//! long it takes, or fails, the others are heard.

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
use super::hands::Supervisors;
use super::mail::{Mail, Mailbox};
use crate::agent::core::{FoundSupervisor, Input, SupervisorId};
use crate::agent::damage::{Kept, Recover};
use crate::agent::log::WorkDir;
use crate::agent::supervisor::{self, FromSupervisor, Link, SupervisorError};
use crate::proto::internal::{SupervisorRequest, supervisor_request};
use crate::transport::outbox::{Budget, Durable, Limits, Outbox};

/// Events that may wait to be passed on.
const EVENTS: usize = 1024;
/// Between two attempts to start a supervisor, at first and at most.
const AGAIN: Duration = Duration::from_secs(1);
const LONGEST_AGAIN: Duration = Duration::from_secs(5);
/// How long letting go of supervisors may take. One within this process kills its containers first.
const LET_GO: Duration = Duration::from_secs(30);

/// A supervisor in the making.
type Attempt = Pin<Box<dyn Future<Output = Result<Link, SupervisorError>> + Send>>;

/// The supervisors of an agent.
pub(super) struct Supervision {
    mode: SupervisorMode,
    /// How long one that is left alone with nothing to look after stays.
    idle: Duration,
    work_dir: PathBuf,
    mailbox: Mailbox,
    ways: Supervisors,
    /// What waits for supervisors, which has no limit but that of the core: a few requests per container.
    budget: Budget,
    durable: Durable,
    links: BTreeMap<SupervisorId, Link>,
    numbers: BTreeMap<supervisor::SupervisorId, SupervisorId>,
    heard: mpsc::Receiver<FromSupervisor>,
    hear: mpsc::Sender<FromSupervisor>,
    ended: mpsc::Receiver<Over>,
    end: mpsc::Sender<Over>,
    forwarding: TaskTracker,
    attempt: Option<Attempt>,
    /// How long to wait after an attempt that fails.
    pause: Duration,
}

/// Nothing more comes from a supervisor.
#[derive(Clone, Copy, Debug)]
struct Over {
    supervisor: SupervisorId,
    /// Whether it was told to end.
    retired: bool,
}

impl Supervision {
    /// Finds the supervisors there are and starts one if none takes starts. Also tells of damaged records.
    pub(super) async fn bring_up(
        mode: SupervisorMode,
        idle: Duration,
        recover: Recover,
        work_dir: PathBuf,
        mailbox: Mailbox,
        ways: Supervisors,
        durable: Durable,
    ) -> Result<(Self, Vec<Kept>), SupervisorError> {
        let ((hear, heard), (end, ended)) = (mpsc::channel(EVENTS), mpsc::channel(16));
        let (links, numbers, forwarding) = (BTreeMap::new(), BTreeMap::new(), TaskTracker::new());
        let (attempt, pause) = (None, AGAIN);
        let mut this = Self {
            mode,
            idle,
            work_dir,
            mailbox,
            ways,
            budget: Budget::new(Limits::unlimited()),
            durable,
            links,
            numbers,
            heard,
            hear,
            ended,
            end,
            forwarding,
            attempt,
            pause,
        };
        let program = match &this.mode {
            SupervisorMode::Process { program } => Some(program.clone()),
            SupervisorMode::InProcess => None,
        };
        let earlier = supervisor::Earlier { recover, program };
        let found = supervisor::reconnect(&this.work_dir, &earlier, this.hear.clone()).await?;
        for link in found.links {
            this.take_in(link);
        }
        let in_process = matches!(this.mode, SupervisorMode::InProcess);
        if in_process || !this.is_served() {
            let link = this.start_one(Duration::ZERO).await?;
            this.take_in(link);
        }
        Ok((this, found.damage))
    }

    /// Those that will greet or be said to have ended.
    pub(super) fn found(&self) -> Vec<FoundSupervisor> {
        self.links.iter().map(|(id, link)| FoundSupervisor { id: *id, died: link.has_died() }).collect()
    }

    /// Passes on what supervisors say. When `end_containers` is cancelled, supervisors within this process end with all
    /// they run, which is passed on too; those that are processes of their own are let go. When `end` is cancelled, no
    /// more requests come: what is queued goes out, then all are let go. `work_dir` is held until then.
    pub(super) async fn run(
        mut self,
        end_containers: CancellationToken,
        end: CancellationToken,
        work_dir: Arc<WorkDir>,
    ) {
        let (mut letting_go, mut ending) = (false, false);
        let (mut patience, mut arrived) = (None, Vec::new());
        loop {
            tokio::select! {
                _ = self.heard.recv_many(&mut arrived, EVENTS) => self.pass_on(arrived.drain(..)).await,
                Some(over) = self.ended.recv() => self.forget(over).await,
                outcome = made(&mut self.attempt) => self.attempted(outcome).await,
                () = end_containers.cancelled(), if !letting_go => {
                    letting_go = true;
                    patience = Some(Box::pin(tokio::time::sleep(LET_GO)));
                    self.let_go();
                }
                () = end.cancelled(), if !ending => {
                    ending = true;
                    patience = Some(Box::pin(tokio::time::sleep(LET_GO)));
                    self.attempt = None;
                    self.forwarding.close();
                }
                () = self.forwarding.wait(), if letting_go || ending => break,
                () = over(&mut patience) => {
                    tracing::error!("a supervisor does not let this agent go: it is left as it is");
                    break;
                }
            }
        }
        self.pass_on_the_rest().await;
        drop(work_dir);
    }

    fn is_served(&self) -> bool {
        self.links.values().any(Link::takes_starts)
    }

    /// Starts a supervisor after a while. Dropped, it leaves nothing of it.
    fn start_one(&self, after: Duration) -> Attempt {
        let (mode, work_dir, hear) = (self.mode.clone(), self.work_dir.clone(), self.hear.clone());
        let idle = self.idle;
        Box::pin(async move {
            tokio::time::sleep(after).await;
            match mode {
                SupervisorMode::InProcess => supervisor::in_process(&work_dir, hear).await,
                SupervisorMode::Process { program } => {
                    let settings = supervisor::Settings::new(program, work_dir).ending_idle_after(idle);
                    supervisor::launch(&settings, hear).await
                }
            }
        })
    }

    /// An attempt came out. Tasks wait in the core until a supervisor greets, or until that has taken too long.
    async fn attempted(&mut self, outcome: Result<Link, SupervisorError>) {
        self.attempt = None;
        match outcome {
            Ok(link) => {
                self.pause = AGAIN;
                self.take_in(link);
            }
            Err(error) => {
                tracing::error!(%error, "no task can be started; trying again");
                self.mailbox.input(Input::NoSupervisor { text: error.to_string() }).await;
                self.replace(self.pause);
                self.pause = (self.pause * 2).min(LONGEST_AGAIN);
            }
        }
    }

    fn take_in(&mut self, link: Link) {
        let number = SupervisorId(self.numbers.values().map(|number| number.0).max().unwrap_or(0) + 1);
        let outbox = Outbox::new(&self.budget, &self.durable);
        self.numbers.insert(link.id().clone(), number);
        self.ways.insert(number, outbox.clone());
        self.forwarding.spawn(forward(number, link.clone(), outbox, self.end.clone()));
        self.links.insert(number, link);
    }

    /// Passes on all that has arrived as one piece of mail, in order.
    async fn pass_on(&mut self, arrived: impl Iterator<Item = FromSupervisor>) {
        let (mut inputs, mut is_missing) = (Vec::new(), false);
        for event in arrived {
            is_missing |= !matches!(event, FromSupervisor::Event(..));
            inputs.extend(self.input(event));
        }
        self.mailbox.send(Mail::Inputs(inputs)).await;
        if is_missing {
            self.replace(Duration::ZERO);
        }
    }

    async fn pass_on_the_rest(&mut self) {
        let arrived: Vec<FromSupervisor> = std::iter::from_fn(|| self.heard.try_recv().ok()).collect();
        if !arrived.is_empty() {
            self.pass_on(arrived.into_iter()).await;
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

    /// Nothing more is heard of it; but what it said before may still be on its way.
    async fn forget(&mut self, over: Over) {
        let Over { supervisor, retired } = over;
        self.pass_on_the_rest().await;
        self.links.remove(&supervisor);
        self.numbers.retain(|_, number| *number != supervisor);
        self.ways.remove(supervisor);
        self.mailbox.input(Input::SupervisorEnded { supervisor }).await;
        if !retired {
            self.replace(Duration::ZERO);
        }
    }

    /// Has another supervisor started, after a while, when none takes starts any more.
    fn replace(&mut self, after: Duration) {
        let is_over = self.forwarding.is_closed() || self.ways.are_closed();
        if !is_over && !self.is_served() && self.attempt.is_none() {
            self.attempt = Some(self.start_one(after));
        }
    }

    fn let_go(&mut self) {
        self.attempt = None;
        self.forwarding.close();
        for link in std::mem::take(&mut self.links).into_values() {
            self.forwarding.spawn(async move { link.shutdown().await });
        }
    }
}

/// How the attempt came out; nothing ever where there is none.
async fn made(attempt: &mut Option<Attempt>) -> Result<Link, SupervisorError> {
    match attempt {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}

/// Returns when the time is over, if it was begun.
async fn over(patience: &mut Option<Pin<Box<tokio::time::Sleep>>>) {
    match patience {
        Some(patience) => patience.await,
        None => std::future::pending().await,
    }
}

/// Carries requests to a supervisor until it has ended, or there are no more and it is let go.
async fn forward(number: SupervisorId, link: Link, outbox: Outbox<SupervisorRequest>, end: mpsc::Sender<Over>) {
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
                        // That it has closed shows here.
                        () = link.closed() => break,
                        _ = link.send(requests) => {}
                    }
                }
            },
        }
    }
    // Nobody is interested when the agent itself has ended.
    let _ = end.send(Over { supervisor: number, retired }).await;
}

fn is_retire(request: &SupervisorRequest) -> bool {
    matches!(request.kind, Some(supervisor_request::Kind::Retire(_)))
}
