//! A cron for a cluster: jobs of a file run as tasks on their schedules.
//!
//! `cargo run --example cron-framework` starts a cluster inside the process; with `--master HOST:PORT` it joins one
//! that runs already. [`jobs`] reads the file, [`schedule`] computes due times, [`scheduler`] decides what is launched
//! on which offer, and this file connects them with the clock, the cluster and the log. It uses divvy's public API
//! only.

mod fields;
mod jobs;
mod schedule;
mod scheduler;
#[cfg(all(test, feature = "sim"))]
mod simulated_tests;
mod steps;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use divvy::{
    framework::{DriverError, EventStream, SchedulerDriver, SchedulerEvent},
    local::LocalCluster,
    proto::v1::{Filters, FrameworkInfo, Offer, TaskState, TaskStatus},
    transport::connect,
};
use futures::StreamExt;
use jiff::{Timestamp, Zoned};
use jobs::Job;
use scheduler::{Answer, Cron, Progress, Tick};
use steps::{Step, StepWatch};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::{
    EnvFilter,
    fmt::{format::Writer, time::FormatTime},
};

/// The longest sleep between two readings of the wall clock, which may be set at any time.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// How long offers are refused while no job waits for one; a tick revives them.
const REFUSE: Duration = Duration::from_hours(1);

/// The most of a job's output that the log quotes, in characters.
const LONGEST_QUOTE: usize = 120;

/// Run the jobs of a file on their schedules.
#[derive(Debug, Parser)]
#[command(name = "cron-framework")]
struct Arguments {
    /// The job file, TOML or JSON [default: the sample that comes with the example]
    #[arg(long, value_name = "FILE")]
    jobs: Option<PathBuf>,
    /// The cluster to run them on [default: one in this process]
    #[arg(long, env = "DIVVY_MASTER", value_name = "HOST:PORT")]
    master: Option<String>,
    /// Where a cluster in this process keeps its files, which stay [default: a new folder, removed at the end]
    #[arg(long, value_name = "DIR", conflicts_with = "master")]
    work_dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    start_log();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cron-framework: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs this example at info and divvy at warn, unless `RUST_LOG` is set.
fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("warn,cron_framework=info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_timer(TimeOfDay);
    log.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init();
}

/// Begins log lines with the local time of day.
struct TimeOfDay;

impl FormatTime for TimeOfDay {
    fn format_time(&self, line: &mut Writer<'_>) -> std::fmt::Result {
        write!(line, "{}", Zoned::now().strftime("%H:%M:%S%.3f"))
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cron-framework/jobs.toml");
    let path = arguments.jobs.unwrap_or(sample);
    let jobs = jobs::load(&path, Timestamp::now())?;
    for job in &jobs {
        info!("job {}: {} ({} cpus, {} MiB)", job.name, job.schedule, job.cpus, job.mem_mib);
    }
    let mut stop = Stop::listen()?;
    let cluster = match &arguments.master {
        // The driver would retry for ever; a user at a shell needs the error.
        Some(master) => connect::master(&master.parse()?).await.map(|_there| None)?,
        None => Some(start_cluster(arguments.work_dir).await?),
    };
    let master = arguments.master.or_else(|| cluster.as_ref().map(LocalCluster::master)).unwrap_or_default();
    let (driver, mut events) = SchedulerDriver::builder(FrameworkInfo::new("cron")).master(&master).stream()?;
    driver.start()?;
    info!("using the cluster of the master at {master}; Ctrl-C ends this");
    let mut shell = Shell::new(jobs, driver, cluster);
    let outcome = shell.serve(&mut events, stop.received()).await;
    shell.end().await;
    outcome
}

async fn start_cluster(work_dir: Option<PathBuf>) -> anyhow::Result<LocalCluster> {
    let builder = LocalCluster::builder().agents(1);
    let builder = match work_dir {
        Some(directory) => builder.work_dir(directory),
        None => builder,
    };
    builder.start().await.context("cannot start a cluster in this process")
}

/// The cron with its driver and cluster.
struct Shell {
    cron: Cron,
    steps: StepWatch,
    driver: SchedulerDriver,
    /// The cluster in this process; `None` when the cron joined another.
    cluster: Option<LocalCluster>,
}

impl Shell {
    fn new(jobs: Vec<Job>, driver: SchedulerDriver, cluster: Option<LocalCluster>) -> Self {
        Self { cron: Cron::new(jobs, now(&driver)), steps: StepWatch::new(driver.now()), driver, cluster }
    }

    /// Merges the clock, the cluster and Ctrl-C into one order of events.
    async fn serve(&mut self, events: &mut EventStream, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let mut stop = std::pin::pin!(stop);
        loop {
            self.check_for_steps();
            let wait = until(self.cron.next_tick(), now(&self.driver));
            // In this order, so that a simulated run can be repeated.
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                event = events.next() => match event {
                    Some(event) => self.handle_event(event).await?,
                    None => return Ok(self.driver.join().await?),
                },
                () = self.driver.sleep(wait) => self.tick().await?,
            }
        }
    }

    /// Computes the next runs again when the wall clock was set since the last check.
    fn check_for_steps(&mut self) {
        let direction = match self.steps.read_step(self.driver.now()) {
            None => return,
            Some(Step::Ahead(by)) => format!("{} s ahead", by.as_secs()),
            Some(Step::Back(by)) => format!("{} s back", by.as_secs()),
        };
        self.cron.reset_clock(now(&self.driver));
        let next = self.cron.next_tick().map_or_else(|| "never".to_owned(), |next| next.to_string());
        warn!("the wall clock was set {direction}; the next runs are computed again, the first is due: {next}");
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        for tick in self.cron.tick(now(&self.driver)) {
            match tick {
                Tick::Wanted { job } => info!("{job}: due"),
                Tick::StillInFlight { job, task_id } => warn!("{job}: due, but skipped: {task_id} has not ended yet"),
                Tick::StillWaiting { job } => warn!("{job}: due again, but skipped: it still waits for an offer"),
            }
        }
        if self.cron.wants_offers() {
            self.driver.revive_offers(&[]).await?;
        }
        Ok(())
    }

    async fn handle_event(&mut self, event: SchedulerEvent) -> anyhow::Result<()> {
        match event {
            SchedulerEvent::Registered { framework_id, .. } => info!("registered as {framework_id}"),
            SchedulerEvent::Reregistered { .. } => info!("connected to the master again"),
            SchedulerEvent::Disconnected => warn!("lost the master; looking for it again"),
            SchedulerEvent::ResourceOffers(offers) => self.use_offers(&offers).await?,
            SchedulerEvent::StatusUpdate(status) => self.log_status(&status).await?,
            SchedulerEvent::Refused(refusal) => warn!("the master refused {}: {}", refusal.field, refusal.text),
            SchedulerEvent::Error(text) => anyhow::bail!("the master ended the framework: {text}"),
            _ => {}
        }
        Ok(())
    }

    async fn use_offers(&mut self, offers: &[Offer]) -> anyhow::Result<()> {
        let Answer { launches, decline, waiting } = self.cron.offered(offers);
        for launch in launches {
            for task in &launch.tasks {
                info!("{}: launched on {} as {}", task.name, launch.hostname, task.task_id);
            }
            let launched = self.driver.launch_tasks(&launch.offer_ids, launch.tasks, None).await;
            // Without a master the driver reports the tasks as dropped.
            DriverError::unless_disconnected(launched)?;
        }
        for line in waiting {
            warn!("{line}; waiting");
        }
        // While a job waits, a later offer of the same agent may hold more. Otherwise no offer is needed until a tick.
        let wants = self.cron.wants_offers();
        let filters = (!wants).then(|| Filters::refuse_for(REFUSE));
        for offer_id in &decline {
            DriverError::unless_disconnected(self.driver.decline_offer(offer_id, filters).await)?;
        }
        if !wants {
            self.driver.suppress_offers(&[]).await?;
        }
        Ok(())
    }

    async fn log_status(&mut self, status: &TaskStatus) -> anyhow::Result<()> {
        let progress = self.cron.status(status);
        let ended = matches!(progress, Some(Progress::Ended { .. }));
        match progress {
            Some(Progress::Running { job }) => info!("{job}: running, output in {}", self.place_of(status)),
            Some(Progress::Ended { job, state: TaskState::TaskFinished, .. }) => {
                let output = self.last_line_of(status).map(|line| format!(", output {line:?}"));
                info!("{job}: finished{}", output.unwrap_or_default());
            }
            Some(Progress::Ended { job, state, text }) => {
                error!("{job}: {}: {text}, output in {}", state.as_str_name(), self.place_of(status));
            }
            None => {}
        }
        if ended && self.cron.wants_offers() {
            // The resources that it freed may fit a job that waits.
            self.driver.revive_offers(&[]).await?;
        }
        Ok(())
    }

    /// Where a task's output is.
    fn place_of(&self, status: &TaskStatus) -> String {
        match (self.sandbox_of(status), container_of(status)) {
            (Some(sandbox), _) => sandbox.display().to_string(),
            (None, Some(container)) => format!("container {container}"),
            (None, None) => "no sandbox: it never started".to_owned(),
        }
    }

    /// The last line that a task wrote, if its sandbox is on this host.
    fn last_line_of(&self, status: &TaskStatus) -> Option<String> {
        let text = std::fs::read(self.sandbox_of(status)?.join("stdout")).ok()?;
        let text = String::from_utf8_lossy(&text);
        let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(last.chars().take(LONGEST_QUOTE).collect())
    }

    fn sandbox_of(&self, status: &TaskStatus) -> Option<PathBuf> {
        self.cluster.as_ref()?.sandbox(container_of(status)?)
    }

    /// Tears down the framework with its tasks, and stops a cluster in this process.
    async fn end(self) {
        let in_flight: Vec<&str> = self.cron.in_flight().into_keys().collect();
        info!("ending; in flight: {}", if in_flight.is_empty() { "nothing".to_owned() } else { in_flight.join(", ") });
        // This fails if the driver has already ended; `join` returns the reason.
        let _ = self.driver.stop_teardown().await;
        if let Err(error) = self.driver.join().await {
            warn!("{error}");
        }
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

/// Receives Ctrl-C or SIGTERM.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn container_of(status: &TaskStatus) -> Option<&str> {
    Some(&status.container_status.as_ref()?.container_id.as_ref()?.value)
}

/// The wall clock, as the driver reads it.
fn now(driver: &SchedulerDriver) -> Timestamp {
    Timestamp::from_nanosecond(driver.now().wall_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// How long to sleep for the next tick.
fn until(next: Option<Timestamp>, now: Timestamp) -> Duration {
    let wait = next.map_or(LONGEST_SLEEP, |next| Duration::try_from(next.duration_since(now)).unwrap_or_default());
    wait.min(LONGEST_SLEEP)
}
