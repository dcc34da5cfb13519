//! The master: offers the agents' resources to frameworks, and forwards launches and statuses between them.
//!
//! [`Master::start`] serves on an address until it is stopped. The core makes all decisions without I/O; the service
//! around it owns threads and sockets. The [`registry`] stores what must survive a restart.

pub(crate) mod api;
pub(crate) mod core;
mod dispatch;
mod lag;
pub mod registry;
mod registry_thread;
#[doc(hidden)]
pub mod scripted;
mod service;

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::core::RemovalRate;
use self::{
    api::{Api, MasterFacts},
    registry::{Embedded, Memory, Registry, RegistryError},
};
use crate::transport::{
    clock::Clock,
    outbox::{self, Budget},
    serve::{self, Limits, ListenError, Listener},
};

/// The options of a master.
#[derive(Debug)]
#[non_exhaustive]
pub struct Options {
    /// The address to listen on; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The directory of the registry; without one the registry is in memory and lost with the process.
    pub work_dir: Option<PathBuf>,
    /// A custom registry, instead of one in `work_dir`.
    pub registry: Option<Box<dyn Registry>>,
    /// The host name to report; the listening address if there is none.
    pub hostname: Option<String>,
    /// Allows an address that other hosts can reach, although there is no authentication yet.
    pub insecure: bool,
    /// How long an unanswered offer stays valid; `None`: without limit.
    pub offer_timeout: Option<Duration>,
    /// Time between two pings of an agent.
    pub agent_ping_interval: Duration,
    /// How many unanswered pings in a row make an agent unreachable.
    pub agent_pings_missed: u32,
    /// How long an agent may take to re-register after a change of master. After a lost connection the ping timeout
    /// applies instead.
    pub agent_reregister_timeout: Duration,
    /// How fast agents are marked unreachable; `None`: without limit.
    pub agent_removal_rate: Option<RemovalRate>,
    /// How often the registry is searched for agents to remove.
    pub registry_gc_interval: Duration,
    /// Agents unreachable or gone for longer than this are removed from the registry.
    pub registry_max_agent_age: Duration,
    /// How many unreachable agents, and how many gone ones, are recorded; the oldest are removed first.
    pub registry_max_agents: usize,
    /// A session whose peer reads none of its pending messages for this long is closed.
    pub peer_stall_timeout: Duration,
    /// How many bytes one peer may leave unread. Beyond it the peer gets no offers; its session is closed when answers
    /// alone exceed it.
    pub session_budget_bytes: usize,
    /// How many bytes all peers together may leave unread; beyond it each has an equal share.
    pub total_budget_bytes: usize,
    /// How many removed frameworks are kept for queries.
    pub max_completed_frameworks: usize,
    /// How many ended tasks of each framework are kept for queries.
    pub max_completed_tasks_per_framework: usize,
}

impl Default for Options {
    fn default() -> Self {
        let (config, queues) = (core::Config::default(), outbox::Limits::default());
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5050)),
            work_dir: None,
            registry: None,
            hostname: None,
            insecure: false,
            offer_timeout: config.offer_timeout,
            agent_ping_interval: config.ping_interval,
            agent_pings_missed: config.pings_missed,
            agent_reregister_timeout: config.reregister_timeout,
            agent_removal_rate: config.removal_rate,
            registry_gc_interval: config.registry_gc_interval,
            registry_max_agent_age: config.registry_max_age,
            registry_max_agents: config.registry_max_agents,
            peer_stall_timeout: queues.stall,
            session_budget_bytes: queues.session_bytes,
            total_budget_bytes: queues.total_bytes,
            max_completed_frameworks: config.completed_frameworks,
            max_completed_tasks_per_framework: config.completed_tasks,
        }
    }
}

impl Options {
    fn queues(&self) -> outbox::Limits {
        outbox::Limits {
            session_bytes: self.session_budget_bytes,
            total_bytes: self.total_budget_bytes,
            stall: self.peer_stall_timeout,
        }
    }

    fn config(&self) -> core::Config {
        core::Config {
            offer_timeout: self.offer_timeout,
            ping_interval: self.agent_ping_interval,
            pings_missed: self.agent_pings_missed,
            reregister_timeout: self.agent_reregister_timeout,
            removal_rate: self.agent_removal_rate,
            registry_gc_interval: self.registry_gc_interval,
            registry_max_age: self.registry_max_agent_age,
            registry_max_agents: self.registry_max_agents,
            completed_frameworks: self.max_completed_frameworks,
            completed_tasks: self.max_completed_tasks_per_framework,
            queues: self.queues(),
            ..core::Config::default()
        }
    }
}

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The registry cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry panicked while it was opened: a bug in it.
    #[error("opening the registry panicked: {0}")]
    RegistryPanicked(String),
    /// The work directory cannot be created.
    #[error("cannot create work directory {directory}: {source}; give another with --work-dir")]
    WorkDir {
        /// The directory.
        directory: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// A running master; dropping it stops it without waiting, [`stop`](Self::stop) waits.
#[derive(Debug)]
pub struct Master {
    address: SocketAddr,
    id: String,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    ending: service::Ending,
}

impl Master {
    /// Opens the registry, starts the core and serves.
    ///
    /// # Errors
    /// A port that is taken, an address that is not allowed, a registry that cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let listener = Listener::bind(options.listen, options.insecure).await?;
        let address = listener.address();
        let (config, queues) = (options.config(), options.queues());
        let (state, fence, registry) = open_registry(options.registry, options.work_dir).await?;
        let mut rng = StdRng::from_os_rng();
        let id = uuid::Builder::from_random_bytes(rng.random()).into_uuid().to_string();
        let now = Clock::system().now();
        let facts = MasterFacts {
            id: id.clone(),
            hostname: options.hostname.unwrap_or_else(|| address.ip().to_string()),
            address,
            started: now.wall_secs(),
        };
        let core = core::Master::new(&id, fence.epoch(), state, config, rng, now);
        let (handle, ending) =
            service::start(core, registry, fence, Budget::new(queues)).map_err(StartError::Thread)?;
        let stop = CancellationToken::new();
        let router = api::router(Api::new(handle, facts));
        let limits = Limits::with_write_stall(queues.stall);
        let serving = tokio::spawn(serve::serve(listener, router, limits, stop.clone()));
        tracing::info!(%address, %id, epoch = fence.epoch(), "master serves");
        Ok(Self { address, id, stop, serving, ending })
    }

    /// The address the master serves on, with the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of this instance of the master; the ids it assigns begin with it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Closes all connections and stops the core. Agents and frameworks continue and look for the next master.
    pub async fn stop(mut self) {
        self.stop.cancel();
        // A panic in a connection was logged where it happened.
        drop((&mut self.serving).await);
        drop(self.ending.wait_for(Option::is_some).await);
    }

    /// Waits until the master fails and returns the reason.
    pub async fn failed(&mut self) -> String {
        match self.ending.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(Err(text))) => text,
            Ok(Some(Ok(())) | None) | Err(_) => "the master has ended".to_owned(),
        }
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Opened = (registry::State, registry::Fence, Box<dyn Registry>);

async fn open_registry(given: Option<Box<dyn Registry>>, work_dir: Option<PathBuf>) -> Result<Opened, StartError> {
    let opening = tokio::task::spawn_blocking(move || {
        let mut registry: Box<dyn Registry> = match (given, work_dir) {
            (Some(registry), _) => registry,
            (None, None) => Box::new(Memory::default()),
            (None, Some(directory)) => {
                std::fs::create_dir_all(&directory)
                    .map_err(|source| StartError::WorkDir { directory: directory.clone(), source })?;
                Box::new(Embedded::open(&directory)?)
            }
        };
        let (state, fence) = registry.load()?;
        Ok((state, fence, registry))
    });
    opening.await.map_err(|error| StartError::RegistryPanicked(error.to_string()))?
}

#[cfg(test)]
mod slow_peer_tests;
#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Broken;

    impl Registry for Broken {
        fn load(&mut self) -> Result<(registry::State, registry::Fence), RegistryError> {
            panic!("the index is off by one")
        }

        fn append(
            &mut self,
            _: registry::Fence,
            _: &[crate::proto::internal::RegistryChange],
        ) -> Result<registry::Position, RegistryError> {
            unreachable!("nothing is written before the facts are there")
        }
    }

    #[tokio::test]
    async fn a_registry_that_panics_is_reported_as_such() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = Options { listen, registry: Some(Box::new(Broken)), ..Options::default() };
        let error = Master::start(options).await.expect_err("it cannot start");
        assert!(matches!(&error, StartError::RegistryPanicked(text) if text.contains("off by one")), "{error}");
    }
}
