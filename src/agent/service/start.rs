//! Brings an agent up, one thing after the other; what was brought up before something fails goes down again.

use std::path::Path;
use std::sync::Arc;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core_thread::CoreThread;
use super::gate::Gate;
use super::hands::{Hands, Supervisors};
use super::mail::Mailbox;
use super::reading::Reading;
use super::sandboxes::Sandboxes;
use super::supervision::Supervision;
use super::sync::SyncThread;
use super::{Options, Shared, StartError, SupervisorMode, endpoints, host};
use crate::agent::core::{Agent, Config, Found};
use crate::agent::log::{Log, Opened, WorkDir};
use crate::proto::v1::AgentInfo;
use crate::transport::clock::Clock;
use crate::transport::connect::Addresses;
use crate::transport::serve::{self, Limits, Listener};
use crate::types::{Attributes, Resources};

pub(super) async fn start(options: Options) -> Result<Shared, StartError> {
    let masters: Addresses = options.master.parse()?;
    let work_dir = WorkDir::take(&options.work_dir)?;
    let info = info(&options, work_dir.path())?;
    let opened = Log::open(work_dir.path())?;
    report_damage(&opened);
    let listener = Listener::bind(options.listen, options.insecure).await?;
    let (mailbox, mail) = Mailbox::new();
    let ways = Supervisors::default();
    let directory = Sandboxes::directory(work_dir.path());
    let sandboxes =
        Sandboxes::survey(&directory).map_err(|source| StartError::Sandboxes { path: directory.clone(), source })?;
    let in_process = options.supervisor == SupervisorMode::InProcess;
    let supervision =
        Supervision::bring_up(options.supervisor, work_dir.path().to_owned(), mailbox.clone(), ways.clone()).await?;

    let address = listener.address();
    let config = Config {
        info: AgentInfo { port: Some(address.port().into()), ..info },
        divvy_version: env!("CARGO_PKG_VERSION").to_owned(),
        user: host::user(),
        sandboxes: directory.to_string_lossy().into_owned(),
        retention: options.retention,
    };
    let boot_id = host::boot_id().map_err(|error| StartError::Facts {
        what: "the boot id",
        reason: error.to_string(),
        flag: "--x",
    })?;
    let found = Found { boot_id, supervisors: supervision.found(), sandboxes };
    let (clock, mut recovered) = (Clock::system(), vec![]);
    let agent = Agent::recover(&opened.records, config, found, StdRng::from_os_rng(), clock.now(), &mut recovered);

    let (id, known_id) = watch::channel(None);
    let (end, ended) = watch::channel(None);
    let (supervising, others) = (TaskTracker::new(), TaskTracker::new());
    let thread = CoreThread {
        agent,
        log: opened.log,
        sync: SyncThread::start(mailbox.clone()).map_err(StartError::Thread)?,
        gate: Gate::default(),
        hands: Hands {
            masters,
            mailbox: mailbox.clone(),
            runtime: Handle::current(),
            sessions: others.clone(),
            supervisors: ways,
            sandboxes: Sandboxes::start(directory.clone(), mailbox.clone()).map_err(StartError::Thread)?,
            session: None,
        },
        mail,
        clock,
        id,
        work_dir,
    };
    thread.start(recovered, end).map_err(StartError::Thread)?;
    let (stop_supervision, stop_serving) = (CancellationToken::new(), CancellationToken::new());
    supervising.spawn(supervision.run(stop_supervision.clone()));
    supervising.close();
    let app = endpoints::router(Reading { sandboxes: directory, mailbox: mailbox.clone() });
    others.spawn(serve::serve(listener, app, Limits::default(), stop_serving.clone()));
    Ok(Shared {
        address,
        in_process,
        mailbox,
        id: known_id,
        ended,
        stop_supervision,
        stop_serving,
        supervision: supervising,
        others,
    })
}

fn info(options: &Options, work_dir: &Path) -> Result<AgentInfo, StartError> {
    let text = options.resources.clone().unwrap_or_default();
    let resources: Resources = text.parse().map_err(|source| StartError::Resources { text, source })?;
    let _ = work_dir;
    let text = options.attributes.clone().unwrap_or_default();
    let attributes: Attributes = text.parse().map_err(|source| StartError::Attributes { text, source })?;
    Ok(AgentInfo {
        hostname: options.hostname.clone().unwrap_or_else(host::hostname),
        resources: resources.to_proto(),
        attributes: attributes.to_proto(),
        ..AgentInfo::default()
    })
}

fn report_damage(opened: &Opened) {
    if let Some(damage) = &opened.damage {
        let (bytes, kept) = (damage.bytes, damage.kept.display());
        tracing::warn!(bytes, %kept, "the end of the agent's log could not be read and was cut off");
    }
}
