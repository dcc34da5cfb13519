//! The agent at work: the core on a thread of its own, a session with the master, supervisors, sandboxes, a port.
//!
//! [`Agent::start`] returns when the agent has its work directory, its port and a supervisor; it attaches to the master
//! from then on, for as long as it takes. Tasks outlive [`Agent::stop`] where supervisors are processes of their own.

mod core_thread;
mod endpoints;
mod error;
mod gate;
mod hands;
mod housekeeping;
mod mail;
mod outbox;
mod reading;
mod session;
mod start;
mod supervision;
mod sync;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use error::{AgentError, Ended, StartError};

use crate::agent::core::{Input, Retention};
use crate::agent::damage::Recover;
use crate::agent::supervisor;
use crate::types::{Attributes, DeclaredResources};
use mail::{Mail, Mailbox};

/// How long the last words to the master may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// How an agent is to be.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The masters, `HOST:PORT[,HOST:PORT]`.
    pub master: String,
    /// Where to serve; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Where everything is kept; one agent at a time.
    pub work_dir: PathBuf,
    /// In place of the host's own name.
    pub hostname: Option<String>,
    /// In place of what is found on the host, for example `"cpus:8;mem:8192;ports:[31000-32000]".parse()?`. The default
    /// declares nothing, so that everything is looked for.
    pub resources: DeclaredResources,
    /// What distinguishes the host, for example `"rack:r1;zone:a".parse()?`.
    pub attributes: Attributes,
    /// Who runs the tasks.
    pub supervisor: SupervisorMode,
    /// How long a supervisor that no agent comes to stays when nothing runs.
    pub supervisor_idle: Duration,
    /// How what an earlier agent left here is taken up.
    pub recover: Recover,
    /// How long sandboxes of ended containers are kept.
    pub retention: Retention,
    /// Whether the port may be reachable from other hosts though nobody has to say who he is.
    pub insecure: bool,
}

impl Options {
    /// An agent of `master` that keeps everything in `work_dir`, gives what it finds on this host, and serves on a free
    /// port that other hosts do not reach.
    #[must_use]
    pub fn new(master: impl Into<String>, work_dir: impl Into<PathBuf>, supervisor: SupervisorMode) -> Self {
        Self {
            master: master.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            work_dir: work_dir.into(),
            hostname: None,
            resources: DeclaredResources::default(),
            attributes: Attributes::default(),
            supervisor,
            supervisor_idle: supervisor::IDLE,
            recover: Recover::default(),
            retention: Retention::default(),
            insecure: false,
        }
    }
}

/// Who runs an agent's tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SupervisorMode {
    /// A process of its own, started as `program supervise --directory ...`: tasks outlive the agent.
    Process {
        /// The program, usually `divvy-agent` itself.
        program: PathBuf,
    },
    /// Threads of this process: tasks end with the agent.
    InProcess,
}

/// How an agent ended.
type End = Result<Ended, Arc<AgentError>>;

/// A running agent. Clones are the same one; dropping them all does not end it.
#[derive(Clone, Debug)]
pub struct Agent {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    in_process: bool,
    mailbox: Mailbox,
    id: watch::Receiver<Option<String>>,
    ended: watch::Receiver<Option<End>>,
    /// Ends supervisors within this process with all they run.
    end_containers: CancellationToken,
    end_supervision: CancellationToken,
    stop_serving: CancellationToken,
    cut_sessions: CancellationToken,
    supervision: TaskTracker,
    /// The sessions and the server.
    others: TaskTracker,
}

impl Agent {
    /// Starts an agent.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; nothing is left running then.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        start::start(options).await.map(|shared| Self { shared: Arc::new(shared) })
    }

    /// The address it serves on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The id the master gave it, once a master has taken it.
    #[must_use]
    pub fn id(&self) -> watch::Receiver<Option<String>> {
        self.shared.id.clone()
    }

    /// Ends the agent. Tasks go on where supervisors are processes of their own, and end with it where they are not.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn stop(&self) -> Result<Ended, Arc<AgentError>> {
        if self.shared.in_process {
            // Their ends are heard and written down, so that the next agent in this directory knows.
            self.shared.end_containers.cancel();
            self.shared.supervision.wait().await;
        }
        self.shared.mailbox.send(Mail::Stop).await;
        self.join().await
    }

    /// Ends the tasks, tells the master that the agent leaves for good, and ends it.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn shutdown(&self) -> Result<Ended, Arc<AgentError>> {
        self.shared.mailbox.input(Input::ShutDown).await;
        self.join().await
    }

    /// Waits until the agent has ended, by whatever way.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn join(&self) -> Result<Ended, Arc<AgentError>> {
        let mut ended = self.shared.ended.clone();
        let end = ended.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        let shared = &self.shared;
        shared.stop_serving.cancel();
        shared.end_supervision.cancel();
        if end.is_none() {
            shared.end_containers.cancel();
        }
        shared.others.close();
        if tokio::time::timeout(FAREWELL, shared.others.wait()).await.is_err() {
            tracing::debug!("the last session did not end in time");
            shared.cut_sessions.cancel();
            shared.others.wait().await;
        }
        shared.supervision.wait().await;
        // A thread that ends without a word has panicked.
        end.unwrap_or_else(|| Err(Arc::new(AgentError::Panicked)))
    }
}
