//! The running agent: the core on its own thread, a session with the master, supervisors, sandboxes, a port.
//!
//! [`Agent::start`] returns when the agent has its work directory, its port and a supervisor. It then retries to attach
//! to a master until it succeeds. Tasks outlive [`Agent::stop`] where supervisors are processes of their own.

mod core_thread;
mod endpoints;
mod error;
mod executor;
mod health;
mod host_workers;
mod mail;
mod outgoing;
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
use crate::transport::outbox;
use crate::types::{Attributes, DeclaredResources};
use mail::{Mail, Mailbox};

/// How long the last messages to the master may take.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The options of an agent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The masters, `HOST:PORT[,HOST:PORT]`.
    pub master: String,
    /// The address to serve on; port 0 selects a free one.
    pub listen: SocketAddr,
    /// The work directory; one agent at a time.
    pub work_dir: PathBuf,
    /// The hostname, in place of the host's own.
    pub hostname: Option<String>,
    /// The resources, in place of those found on the host, for example
    /// `"cpus:8;mem:8192;ports:[31000-32000]".parse()?`. The default declares none, so that all are detected.
    pub resources: DeclaredResources,
    /// The attributes of the host, for example `"rack:r1;zone:a".parse()?`.
    pub attributes: Attributes,
    /// Where the tasks' supervisor runs.
    pub supervisor: SupervisorMode,
    /// How long a supervisor without tasks runs on when no agent connects to it.
    pub supervisor_idle: Duration,
    /// How the tasks and records of an earlier agent are recovered.
    pub recover: Recover,
    /// How long sandboxes of ended containers are kept.
    pub retention: Retention,
    /// A session is closed when its peer reads nothing for this long while messages are queued.
    pub peer_stall_timeout: Duration,
    /// Whether the port may be reachable from other hosts although there is no authentication.
    pub insecure: bool,
}

impl Options {
    /// Options of an agent of `master` in `work_dir`. It offers the resources found on this host, and serves on a free
    /// port that is not reachable from other hosts.
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
            peer_stall_timeout: outbox::Limits::default().stall,
            insecure: false,
        }
    }
}

/// Where an agent's supervisor runs.
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
    /// Ends in-process supervisors with all their containers.
    end_containers: CancellationToken,
    end_supervision: CancellationToken,
    /// Makes the core stop waiting for disk space.
    stop_core: CancellationToken,
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

    /// The id that the master assigned, once the agent is registered.
    #[must_use]
    pub fn id(&self) -> watch::Receiver<Option<String>> {
        self.shared.id.clone()
    }

    /// Stops the agent. Tasks run on where supervisors are processes of their own, and end with the agent otherwise.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn stop(&self) -> Result<Ended, Arc<AgentError>> {
        if self.shared.in_process {
            // The core records the ends of the tasks for the next agent in this directory.
            self.shared.end_containers.cancel();
            self.shared.supervision.wait().await;
        }
        self.shared.stop_core.cancel();
        self.shared.mailbox.send(Mail::Stop).await;
        self.join().await
    }

    /// Ends the tasks, unregisters the agent from the master, and stops it.
    ///
    /// # Errors
    ///
    /// See [`AgentError`].
    pub async fn shutdown(&self) -> Result<Ended, Arc<AgentError>> {
        self.shared.mailbox.input(Input::ShutDown).await;
        self.join().await
    }

    /// Waits until the agent has ended for any reason.
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
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, shared.others.wait()).await.is_err() {
            tracing::debug!("the last session did not end in time");
            shared.cut_sessions.cancel();
            shared.others.wait().await;
        }
        shared.supervision.wait().await;
        // A thread that ends without a result has panicked.
        end.unwrap_or_else(|| Err(Arc::new(AgentError::Panicked)))
    }
}
