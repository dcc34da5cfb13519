//! A whole cluster inside the caller's process: for tests, examples, and a first look.
//!
//! Everything is the real thing but where it runs: the master and the agents speak over loopback sockets, tasks are real
//! processes. They end with the cluster, and nothing is left on disk unless a folder was named.
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

/// How long the agents may take to register before the cluster counts as broken.
const REGISTRATION: Duration = Duration::from_secs(30);

/// A running cluster. [`stop`](Self::stop) ends it and waits for that; dropping it ends it in the background.
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
    /// There is no place for its files.
    #[error("cannot make the folder {folder} for the cluster: {source}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The resources of its agents make no sense.
    #[error("resources of the agents: {0}")]
    Resources(#[from] ResourceError),
    /// The master did not start.
    #[error(transparent)]
    Master(#[from] master::StartError),
    /// An agent did not start.
    #[error(transparent)]
    Agent(#[from] agent::StartError),
    /// The master did not take an agent.
    #[error("agent {0} did not register within 30 s; the log may say why")]
    Registration(usize),
}

impl LocalCluster {
    /// A cluster of one agent with all that this host has, on a free port, in a new folder.
    pub fn builder() -> Builder {
        Builder {
            agents: 1,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            resources: Ok(DeclaredResources::default()),
            work_dir: None,
            insecure: false,
        }
    }

    /// Where the master is, as `host:port`.
    #[must_use]
    pub fn master(&self) -> String {
        self.address.to_string()
    }

    /// How many agents there are.
    #[must_use]
    pub fn agents(&self) -> usize {
        self.agents.len()
    }

    /// Adds an agent like the others and waits until the master has taken it.
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

    /// The sandbox of a container, where one of the agents has it still.
    #[must_use]
    pub fn sandbox(&self, container_id: &str) -> Option<PathBuf> {
        let sandboxes = self.agents.iter().map(|agent| agent.work_dir.join("runs").join(container_id));
        sandboxes.into_iter().find(|sandbox| sandbox.is_dir())
    }

    /// The folder of everything.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.as_ref().map_or_else(|| Path::new(""), Folder::path)
    }

    /// Waits until a part of the cluster can go on no more and says why.
    pub async fn failed(&mut self) -> String {
        let Some(master) = &mut self.master else { return "the cluster has been stopped".to_owned() };
        let agents = self.agents.iter().map(|agent| Box::pin(agent.agent.join()));
        if self.agents.is_empty() {
            return master.failed().await;
        }
        tokio::select! {
            reason = master.failed() => reason,
            (end, index, _) = select_all(agents) => format!("agent {} has ended: {}", index + 1, in_words(end)),
        }
    }

    /// Ends all tasks, the agents and the master, and removes the folder unless it was named.
    pub async fn stop(mut self) {
        let agents = std::mem::take(&mut self.agents);
        for end in join_all(agents.iter().map(|agent| agent.agent.stop())).await {
            if let Err(error) = end {
                tracing::error!("an agent of the local cluster ended badly: {error}");
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
        // Without a runtime there is nobody left who could end the agents in order; their tasks end with the process.
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

    /// What every agent offers, for example `cpus:4;mem:1024;ports:[31000-31009]`, as text or as a value. What is not
    /// named, and everything unless set, is what this host has, the same for each. Zero of a name means none. A text that
    /// makes no sense is an error of [`start`](Self::start).
    pub fn resources<R>(mut self, resources: R) -> Self
    where
        R: TryInto<DeclaredResources, Error: Into<ResourceError>>,
    {
        self.resources = resources.try_into().map_err(Into::into);
        self
    }

    /// Where everything is kept, and stays; a new folder that is removed at the end unless set.
    pub fn work_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.work_dir = Some(folder.into());
        self
    }

    /// Allows the master to [`listen`](Self::listen) where other hosts can reach it, although nobody is asked who they
    /// are; refused unless set. The agents stay on 127.0.0.1.
    pub fn insecure(mut self, insecure: bool) -> Self {
        self.insecure = insecure;
        self
    }

    /// Starts the master and the agents and waits until all have registered.
    ///
    /// # Errors
    /// A port that is taken, an address that is not allowed, resources that make no sense, a folder that cannot be made or is in use, an agent that does not register.
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

fn in_words(end: Result<agent::Ended, Arc<AgentError>>) -> String {
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
