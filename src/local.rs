//! A whole cluster inside the caller's process: for tests, examples, and a first look.
//!
//! Master and agents communicate over loopback sockets, and tasks are real processes. They end with the cluster, and
//! its files are removed unless a folder was named.
//!
//! ```no_run
//! use divvy::local::LocalCluster;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = LocalCluster::builder().agents(2).resources("cpus:4;mem:1024").start().await?;
//! println!("a framework may connect to {}", cluster.master());
//! cluster.stop().await;
//! # Ok(())
//! # }
//! ```

mod folder;

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::{join_all, select_all};

use self::folder::Folder;
use crate::{
    agent::{self, Agent, AgentError, SupervisorMode},
    master::{self, Master},
    types::{DeclaredResources, ResourceError},
};

/// How long an agent may take to register before the start fails.
const REGISTRATION: Duration = Duration::from_secs(30);

/// A running cluster; [`stop`](Self::stop) ends it and waits, dropping it ends it in the background.
#[derive(Debug)]
pub struct LocalCluster {
    master: Option<Master>,
    address: SocketAddr,
    agents: Vec<LocalAgent>,
    resources: DeclaredResources,
    folder: Option<Folder>,
}

#[derive(Debug)]
struct LocalAgent {
    agent: Agent,
    work_dir: PathBuf,
}

/// Describes a cluster; made by [`LocalCluster::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder starts nothing until start() is called"]
pub struct Builder {
    agents: usize,
    listen: SocketAddr,
    resources: Result<DeclaredResources, ResourceError>,
    work_dir: Option<PathBuf>,
    insecure: bool,
}

/// Why a cluster did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The folder for its files cannot be created.
    #[error("cannot create the folder {folder} for the cluster: {source}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The resources of its agents are invalid.
    #[error("resources of the agents: {0}")]
    Resources(#[from] ResourceError),
    /// The master did not start.
    #[error(transparent)]
    Master(#[from] master::StartError),
    /// An agent did not start.
    #[error(transparent)]
    Agent(#[from] agent::StartError),
    /// An agent did not register in time.
    #[error("agent {0} did not register within 30 s; the log may say why")]
    Registration(usize),
}

impl LocalCluster {
    /// A cluster of one agent with all of this host's resources, on a free port, in a new folder.
    pub fn builder() -> Builder {
        Builder {
            agents: 1,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            resources: Ok(DeclaredResources::default()),
            work_dir: None,
            insecure: false,
        }
    }

    /// The master's address, as `host:port`.
    #[must_use]
    pub fn master(&self) -> String {
        self.address.to_string()
    }

    /// How many agents there are.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Adds an agent like the others and waits until it has registered.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn add_agent(&mut self) -> Result<(), LocalError> {
        let number = self.agents.len() + 1;
        let work_dir = self.path().join(format!("agent-{number}"));
        let options = agent::Options {
            hostname: Some(format!("agent-{number}")),
            resources: self.resources.clone(),
            ..agent::Options::new(self.master(), &work_dir, SupervisorMode::InProcess)
        };
        let agent = Agent::start(options).await?;
        let mut id = agent.id();
        self.agents.push(LocalAgent { agent, work_dir });
        match tokio::time::timeout(REGISTRATION, id.wait_for(Option::is_some)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(LocalError::Registration(number)),
        }
    }

    /// The sandbox of a container, if it still exists.
    #[must_use]
    pub fn sandbox(&self, container_id: &str) -> Option<PathBuf> {
        let sandboxes = self.agents.iter().map(|agent| agent.work_dir.join("runs").join(container_id));
        sandboxes.into_iter().find(|sandbox| sandbox.is_dir())
    }

    /// The folder of all files.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.as_ref().map_or_else(|| Path::new(""), Folder::path)
    }

    /// Waits until the master or an agent fails and returns the reason.
    pub async fn failed(&mut self) -> String {
        let Some(master) = &mut self.master else { return "the cluster has been stopped".to_owned() };
        let agents = self.agents.iter().map(|agent| Box::pin(agent.agent.join()));
        if self.agents.is_empty() {
            return master.failed().await;
        }
        tokio::select! {
            reason = master.failed() => reason,
            (end, index, _) = select_all(agents) => format!("agent {} has ended: {}", index + 1, describe_end(end)),
        }
    }

    /// Ends all tasks, the agents and the master, and removes the folder unless it was named.
    pub async fn stop(mut self) {
        let agents = std::mem::take(&mut self.agents);
        for end in join_all(agents.iter().map(|agent| agent.agent.stop())).await {
            if let Err(error) = end {
                tracing::error!("an agent of the local cluster failed to stop: {error}");
            }
        }
        if let Some(master) = self.master.take() {
            master.stop().await;
        }
        if let Some(folder) = self.folder.take() {
            folder.leave().await;
        }
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        let agents = std::mem::take(&mut self.agents);
        let folder = self.folder.take();
        if agents.is_empty() {
            return;
        }
        // Without a runtime the agents cannot be stopped in order; their tasks end with the process.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                join_all(agents.iter().map(|agent| agent.agent.stop())).await;
                drop(folder);
            });
        }
    }
}

impl Builder {
    /// How many agents; 1 unless set.
    pub fn agents(mut self, agents: usize) -> Self {
        self.agents = agents;
        self
    }

    /// Where the master listens; a free port of 127.0.0.1 unless set.
    pub fn listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// The resources of every agent, for example `cpus:4;mem:1024;ports:[31000-31009]`, as text or as a value.
    ///
    /// Resources that are not named are detected on this host, the same for each agent; zero means none. An invalid
    /// text is an error of [`start`](Self::start).
    pub fn resources<R>(mut self, resources: R) -> Self
    where
        R: TryInto<DeclaredResources, Error: Into<ResourceError>>,
    {
        self.resources = resources.try_into().map_err(Into::into);
        self
    }

    /// The folder for all files, which is kept; unless set, a new folder that is removed at the end.
    pub fn work_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.work_dir = Some(folder.into());
        self
    }

    /// Allows the master to [`listen`](Self::listen) where other hosts can reach it, although there is no
    /// authentication yet; refused unless set. The agents stay on 127.0.0.1.
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Starts the master and the agents and waits until all have registered.
    ///
    /// # Errors
    /// A port in use, an address that is not allowed, invalid resources, a folder that cannot be created or is in use,
    /// or an agent that does not register.
    pub async fn start(self) -> Result<LocalCluster, LocalError> {
        let resources = self.resources?;
        let folder = match self.work_dir {
            Some(folder) => Folder::named(folder),
            None => Folder::temporary(),
        };
        let folder = folder.map_err(|(folder, source)| LocalError::Folder { folder, source })?;
        let options = master::Options {
            listen: self.listen,
            insecure: self.insecure,
            work_dir: Some(folder.path().join("master")),
            ..Default::default()
        };
        let master = Master::start(options).await?;
        let mut cluster = LocalCluster {
            address: master.address(),
            master: Some(master),
            agents: Vec::new(),
            resources,
            folder: Some(folder),
        };
        for _ in 0..self.agents {
            if let Err(error) = cluster.add_agent().await {
                cluster.stop().await;
                return Err(error);
            }
        }
        Ok(cluster)
    }
}

fn describe_end(end: Result<agent::Ended, Arc<AgentError>>) -> String {
    match end {
        Ok(agent::Ended::Stopped | agent::Ended::ShutDown) => "it was stopped".to_owned(),
        Ok(agent::Ended::Gone) => "it was marked gone".to_owned(),
        Ok(agent::Ended::Refused(text)) => format!("the master refused it: {text}"),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
