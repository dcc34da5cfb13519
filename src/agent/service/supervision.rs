//! Keeps a supervisor at hand: finds those that an earlier agent left, starts one where none is, another when it dies.
//!
//! Their names become numbers for the core, later ones higher. What they say goes to the core's mailbox in order; that
//! nothing more is to be expected of one is said after everything it said.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::SupervisorMode;
use super::hands::Supervisors;
use super::mail::Mailbox;
use super::outbox::Outbox;
use crate::agent::core::{FoundSupervisor, Input, SupervisorId};
use crate::agent::damage::{Kept, Recover};
use crate::agent::supervisor::{self, FromSupervisor, Link, SupervisorError};
use crate::proto::internal::{SupervisorRequest, supervisor_request};

/// Events that may wait to be passed on.
const EVENTS: usize = 1024;
/// Between two attempts to start a supervisor.
const AGAIN: Duration = Duration::from_secs(1);

/// The supervisors of an agent.
#[derive(Debug)]
pub(super) struct Supervision {
    mode: SupervisorMode,
    /// How long one that is left alone with nothing to look after stays.
    idle: Duration,
    work_dir: PathBuf,
    mailbox: Mailbox,
    ways: Supervisors,
    links: BTreeMap<SupervisorId, Link>,
    numbers: BTreeMap<supervisor::SupervisorId, SupervisorId>,
    heard: mpsc::Receiver<FromSupervisor>,
    hear: mpsc::Sender<FromSupervisor>,
    ended: mpsc::Receiver<Over>,
    end: mpsc::Sender<Over>,
    forwarding: TaskTracker,
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
    ) -> Result<(Self, Vec<Kept>), SupervisorError> {
        let ((hear, heard), (end, ended)) = (mpsc::channel(EVENTS), mpsc::channel(16));
        let (links, numbers, forwarding) = (BTreeMap::new(), BTreeMap::new(), TaskTracker::new());
        let mut this =
            Self { mode, idle, work_dir, mailbox, ways, links, numbers, heard, hear, ended, end, forwarding };
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
            this.start_one().await?;
        }
        Ok((this, found.damage))
    }

    /// Those that will greet or be said to have ended.
    pub(super) fn found(&self) -> Vec<FoundSupervisor> {
        self.links.iter().map(|(id, link)| FoundSupervisor { id: *id, died: link.has_died() }).collect()
    }

    /// Passes on what supervisors say. When `end_containers` is cancelled, supervisors within this process end with all
    /// they run, which is passed on too; those that are processes of their own are let go. When `end` is cancelled, no
    /// more requests come: what is queued goes out, then all are let go.
    pub(super) async fn run(mut self, end_containers: CancellationToken, end: CancellationToken) {
        let (mut letting_go, mut ending) = (false, false);
        loop {
            tokio::select! {
                Some(heard) = self.heard.recv() => self.pass_on(heard).await,
                Some(over) = self.ended.recv() => self.forget(over).await,
                () = end_containers.cancelled(), if !letting_go => {
                    letting_go = true;
                    self.let_go();
                }
                () = end.cancelled(), if !ending => {
                    ending = true;
                    self.forwarding.close();
                }
                () = self.forwarding.wait(), if letting_go || ending => break,
            }
        }
        while let Ok(heard) = self.heard.try_recv() {
            self.pass_on(heard).await;
        }
    }

    fn is_served(&self) -> bool {
        self.links.values().any(Link::takes_starts)
    }

    async fn start_one(&mut self) -> Result<(), SupervisorError> {
        let link = match &self.mode {
            SupervisorMode::InProcess => supervisor::in_process(&self.work_dir, self.hear.clone()).await?,
            SupervisorMode::Process { program } => {
                let settings = supervisor::Settings::new(program, &self.work_dir);
                let settings = settings.ending_idle_after(self.idle);
                supervisor::launch(&settings, self.hear.clone()).await?
            }
        };
        self.take_in(link);
        Ok(())
    }

    fn take_in(&mut self, link: Link) {
        let number = SupervisorId(self.numbers.values().map(|number| number.0).max().unwrap_or(0) + 1);
        let outbox = Outbox::new();
        self.numbers.insert(link.id().clone(), number);
        self.ways.insert(number, outbox.clone());
        self.forwarding.spawn(forward(number, link.clone(), outbox, self.end.clone()));
        self.links.insert(number, link);
    }

    async fn pass_on(&mut self, heard: FromSupervisor) {
        match heard {
            FromSupervisor::Event(name, event) => {
                if let Some(supervisor) = self.numbers.get(&name).copied() {
                    self.mailbox.input(Input::Supervised { supervisor, event }).await;
                }
            }
            FromSupervisor::Lost(name, text) => {
                if let Some(supervisor) = self.numbers.get(&name).copied() {
                    self.mailbox.input(Input::SupervisorLost { supervisor, text }).await;
                }
                self.replace().await;
            }
        }
    }

    /// Nothing more is heard of it; but what it said before may still be on its way.
    async fn forget(&mut self, over: Over) {
        let Over { supervisor, retired } = over;
        while let Ok(heard) = self.heard.try_recv() {
            Box::pin(self.pass_on(heard)).await;
        }
        self.links.remove(&supervisor);
        self.numbers.retain(|_, number| *number != supervisor);
        self.ways.remove(supervisor);
        self.mailbox.input(Input::SupervisorEnded { supervisor }).await;
        if !retired {
            self.replace().await;
        }
    }

    /// Starts another supervisor when none takes starts any more. Tasks wait in the core until it greets.
    async fn replace(&mut self) {
        if self.forwarding.is_closed() || self.ways.are_closed() || self.is_served() {
            return;
        }
        while let Err(error) = self.start_one().await {
            tracing::error!(%error, "no task can be started; trying again");
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn let_go(&mut self) {
        self.forwarding.close();
        for link in std::mem::take(&mut self.links).into_values() {
            self.forwarding.spawn(async move { link.shutdown().await });
        }
    }
}

/// Carries requests to a supervisor until it has ended, or there are no more and it is let go.
async fn forward(number: SupervisorId, link: Link, outbox: Outbox<SupervisorRequest>, end: mpsc::Sender<Over>) {
    let mut retired = false;
    loop {
        tokio::select! {
            () = link.closed() => break,
            batch = outbox.next_batch(SupervisorRequest::encoded_len) => match batch {
                None => return link.shutdown().await,
                Some(requests) => {
                    retired |= requests.iter().any(is_retire);
                    // That it has closed shows above.
                    let _ = link.send(requests).await;
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
