//! Starts the parts of an agent in order. If one fails, those started before it are stopped.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core_thread::CoreThread;
use super::executor::{EffectBatch, EffectExecutor, SupervisorOutboxes};
use super::health::Health;
use super::host_workers::HostWorkers;
use super::mail::{Mail, Mailbox};
use super::reading::Reading;
use super::supervision::Supervision;
use super::sync::SyncThread;
use super::{End, Options, Shared, StartError, SupervisorMode, endpoints};
use crate::agent::core::{Agent, Config, Found};
use crate::agent::damage::Recover;
use crate::agent::facts::{self, Facts};
use crate::agent::log::{self, Log, Opened, WorkDir, WorkDirError};
use crate::agent::pace::Pace;
use crate::agent::sandbox::Sandboxes;
use crate::harness::Harness;
use crate::proto::internal::{WorkDirIdentity, agent_record};
use crate::proto::v1::AgentInfo;
use crate::transport::clock::{self, Clock};
use crate::transport::connect::Addresses;
use crate::transport::outbox::{self, Budget, Durable, RecordNumber, SessionQueue};
use crate::transport::serve::{self, Limits, Listener};

/// The time over which agents that start together spread their first attempts. Agents in one process need none.
const SPREAD_FIRST: Duration = Duration::from_secs(1);

pub(super) async fn start(options: Options) -> Result<Shared, StartError> {
    let in_process = options.supervisor == SupervisorMode::InProcess;
    let recover = options.recover;
    let mut prerequisites = Prerequisites::acquire(&options).await?;
    let (mailbox, mail) = Mailbox::new();
    let (outboxes, durable) = (SupervisorOutboxes::default(), Durable::default());
    let queues = outbox::Limits { stall: options.peer_stall_timeout, ..outbox::Limits::default() };
    let work_dir = prerequisites.work_dir.path().to_owned();
    let (supervision, damage) = Supervision::connect_or_start(
        options.supervisor,
        options.supervisor_idle,
        recover,
        work_dir,
        mailbox.clone(),
        outboxes.clone(),
        durable.clone(),
    )
    .await?;
    prerequisites.found.loss = loss(recover, prerequisites.opened.damage.is_some(), !damage.is_empty());
    let (end_containers, end_supervision) = (CancellationToken::new(), CancellationToken::new());
    let (others, cut_sessions) = (TaskTracker::new(), CancellationToken::new());
    let executor = EffectExecutor {
        masters: prerequisites.masters.clone(),
        mailbox: mailbox.clone(),
        runtime: Handle::current(),
        cut: cut_sessions.clone(),
        sessions: others.clone(),
        supervisors: outboxes,
        host_workers: HostWorkers::start(&prerequisites.sandboxes, mailbox.clone()).map_err(StartError::Thread)?,
        session: None,
        budget: Budget::new(queues),
        durable,
        end_supervision: end_supervision.clone(),
        batch: EffectBatch::default(),
    };
    let held = Arc::clone(&prerequisites.work_dir);
    let reading = Reading { sandboxes: prerequisites.sandboxes.clone(), mailbox: mailbox.clone() };
    let (stop_core, health) = (CancellationToken::new(), Health::default());
    let (address, listener, id, ended) =
        prerequisites.recover(&supervision, executor, mail, stop_core.clone(), health.clone())?;

    let supervising = TaskTracker::new();
    supervising.spawn(supervision.run(end_containers.clone(), end_supervision.clone(), held));
    supervising.close();
    let app = endpoints::router(reading, health);
    let stop_serving = CancellationToken::new();
    let limits = Limits::with_write_stall(options.peer_stall_timeout);
    others.spawn(serve::serve(listener, app, limits, stop_serving.clone()));
    Ok(Shared {
        address,
        in_process,
        mailbox,
        id,
        ended,
        end_containers,
        end_supervision,
        stop_core,
        stop_serving,
        cut_sessions,
        supervision: supervising,
        others,
    })
}

/// What an agent needs before its threads start: the work directory, the log, the port, the host's facts.
struct Prerequisites {
    masters: Addresses,
    work_dir: Arc<WorkDir>,
    opened: Opened,
    sandboxes: Sandboxes,
    listener: Listener,
    config: Config,
    found: Found,
}

type Recovered = (std::net::SocketAddr, Listener, watch::Receiver<Option<String>>, watch::Receiver<Option<End>>);

impl Prerequisites {
    async fn acquire(options: &Options) -> Result<Self, StartError> {
        let masters = options.master.parse()?;
        let work_dir = Arc::new(WorkDir::take(&options.work_dir)?);
        let facts = facts::detect(work_dir.path(), &options.resources, options.attributes.clone())?;
        let opened = Log::open(work_dir.path(), &facts.boot_id, options.recover)?;
        let here = work_dir.identity()?;
        refuse_copy(&opened, &here)?;
        if opened.torn_bytes > 0 {
            tracing::info!(bytes = opened.torn_bytes, "dropped a record that a crash had cut off");
        }
        let sandboxes = Sandboxes::new(work_dir.path())?;
        let listener = Listener::bind(options.listen, options.insecure).await?;
        let in_process = options.supervisor == SupervisorMode::InProcess;
        let (boot_id, sandboxes_found) = (facts.boot_id.clone(), HostWorkers::list_sandboxes(&sandboxes)?);
        let found = Found { boot_id, sandboxes: sandboxes_found, work_dir: Some(here), ..Found::default() };
        let config = Config {
            info: info(facts.clone(), options.hostname.clone(), listener.address().port()),
            divvy_version: env!("CARGO_PKG_VERSION").to_owned(),
            user: facts.user,
            sandboxes: sandboxes.root().to_string_lossy().into_owned(),
            retention: options.retention,
            spread_first: if in_process { Duration::ZERO } else { SPREAD_FIRST },
        };
        Ok(Self { masters, work_dir, opened, sandboxes, listener, config, found })
    }

    /// Recovers the core and starts its thread.
    fn recover(
        self,
        supervision: &Supervision,
        executor: EffectExecutor,
        mail: mpsc::Receiver<Mail>,
        stopping: CancellationToken,
        health: Health,
    ) -> Result<Recovered, StartError> {
        let (clock, mut out) = (Clock::system(), vec![]);
        let boot_ns = Some(clock::host_monotonic_ns());
        let found = Found { supervisors: supervision.found(), boot_ns, ..self.found };
        let (rng, now) = (StdRng::from_os_rng(), clock.now());
        let core = Agent::recover(&self.opened.records, self.config, found, rng, now, &mut out);
        let ((id, known_id), (end, ended)) = (watch::channel(None), watch::channel(None));
        let sync = SyncThread::start(executor.mailbox.clone(), self.opened.log.syncer(), Arc::clone(&self.work_dir))
            .map_err(StartError::Thread)?;
        let held = SessionQueue::new(now, outbox::Limits::unlimited());
        let thread = CoreThread {
            harness: Harness::begun(core, out),
            log: self.opened.log,
            sync,
            durable: executor.durable.clone(),
            recorded: RecordNumber::default(),
            held,
            executor,
            pace: Pace::of_inputs(),
            mail,
            clock,
            stopping,
            health,
            end_waiters: vec![],
            log_is_gone: false,
            work_dir: self.work_dir,
            id,
        };
        thread.start(end).map_err(StartError::Thread)?;
        Ok((self.listener.address(), self.listener, known_id, ended))
    }
}

/// Refuses a copy of a work directory: its log names the original's agent id and tasks, and an agent on it would end
/// them.
fn refuse_copy(opened: &Opened, here: &WorkDirIdentity) -> Result<(), StartError> {
    let begun_in = opened.records.iter().rev().find_map(|record| match &record.kind {
        Some(agent_record::Kind::Identity(identity)) => identity.work_dir.as_ref(),
        _ => None,
    });
    let Some(original) = begun_in.filter(|begun_in| log::is_copy(begun_in, here)) else { return Ok(()) };
    let path = |identity: &WorkDirIdentity| PathBuf::from(OsStr::from_bytes(&identity.path));
    Err(WorkDirError::Copy { path: path(here), original: path(original) }.into())
}

fn info(facts: Facts, hostname: Option<String>, port: u16) -> AgentInfo {
    AgentInfo {
        hostname: hostname.unwrap_or(facts.hostname),
        port: Some(port.into()),
        resources: facts.resources.to_proto(),
        attributes: facts.attributes.to_proto(),
        ..AgentInfo::default()
    }
}

/// Why ends of tasks may be missing in the records, for their statuses.
fn loss(recover: Recover, log: bool, journals: bool) -> Option<String> {
    let text = match (recover, log, journals) {
        (Recover::Cleanup, ..) => "the agent was started with --recover=cleanup",
        (Recover::Reconnect | Recover::Strict, true, _) => "the agent's log was damaged",
        (Recover::Reconnect | Recover::Strict, false, true) => "a supervisor's journal was damaged",
        (Recover::Reconnect | Recover::Strict, false, false) => return None,
    };
    Some(text.to_owned())
}
