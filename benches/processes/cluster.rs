//! One master, one agent, and frameworks that run so many tasks through them.

use std::{collections::HashMap, path::Path, time::Duration};

use divvy::{
    agent::{Agent, Options, SupervisorMode},
    framework::{SchedulerDriver, SchedulerEvent},
    master::{self, Master},
    proto::v1::{Filters, FrameworkInfo, Offer, TaskInfo, TaskState, TaskStatus},
    types::Resources,
};
use futures::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{
    Outcome,
    measure::{Samples, now_ns},
};

/// What a framework is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) tasks: usize,
    pub(crate) at_once: usize,
}

/// The times of a run.
#[derive(Default)]
pub(crate) struct Ran {
    /// From the first launch to the last end.
    pub(crate) took: Duration,
    /// From each launch to its RUNNING.
    pub(crate) started: Samples,
}

/// A running cluster of one agent.
pub(crate) struct Cluster {
    master: Master,
    agent: Agent,
    folder: TempDir,
}

fn each() -> Resources {
    Resources::cpus_mem(0.1, 1.0)
}

impl Cluster {
    pub(crate) async fn start(parent: &Path, slots: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(parent)?;
        let mut options = master::Options::default();
        options.listen = ([127, 0, 0, 1], 0).into();
        let master = Master::start(options).await?;
        let supervisor = SupervisorMode::Process { program: std::env::current_exe()? };
        let mut options = Options::new(master.address().to_string(), folder.path(), supervisor);
        // Exactly the slots: a declined rest would filter the agent for a second.
        let (whole, tenths) = (slots / 10, slots % 10);
        options.resources = format!("cpus:{whole}.{tenths};mem:{slots};disk:1024;ports:[]").parse()?;
        let agent = Agent::start(options).await?;
        agent.id().wait_for(Option::is_some).await?;
        Ok(Self { master, agent, folder })
    }

    /// Where it keeps its files.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn stop(self) {
        // The outcome does not affect the figures.
        drop(self.agent.shutdown().await);
        self.end_supervisors();
        self.master.stop().await;
    }

    /// A supervisor outlives its agent by design; here no other agent follows.
    fn end_supervisors(&self) {
        for pid in self.supervisors() {
            // One that has ended by itself needs no signal.
            Pid::from_raw(pid.cast_signed()).map(|pid| kill_process(pid, Signal::TERM).ok());
        }
    }

    /// The processes of its supervisors.
    pub(crate) fn supervisors(&self) -> Vec<u32> {
        let folders = std::fs::read_dir(self.folder.path().join("supervisors")).into_iter().flatten().flatten();
        let pid = |folder: std::fs::DirEntry| {
            let noted = std::fs::read_to_string(folder.path().join("pid")).ok()?;
            noted.split_whitespace().next()?.parse().ok()
        };
        folders.filter_map(pid).collect()
    }

    /// Runs so many tasks to their ends.
    pub(crate) async fn run(&self, work: Work) -> Outcome<Ran> {
        // On a worker, as a real framework runs, and not on the thread that waits here.
        tokio::spawn(run(self.master.address().to_string(), work)).await?
    }
}

async fn run(master: String, work: Work) -> Outcome<Ran> {
    let (driver, mut events) = SchedulerDriver::builder(FrameworkInfo::new("bench")).master(master).stream()?;
    driver.start()?;
    let mut progress =
        Progress { work, launched: 0, ended: 0, launched_ns: HashMap::new(), first_ns: 0, ran: Ran::default() };
    while progress.ended < work.tasks {
        match events.next().await.ok_or("the driver ended early")? {
            SchedulerEvent::ResourceOffers(offers) => {
                for offer in offers {
                    progress.offered(&driver, &offer).await?;
                }
            }
            SchedulerEvent::StatusUpdate(status) => progress.record_status(&status)?,
            SchedulerEvent::Error(text) => return Err(text.into()),
            _ => {}
        }
    }
    progress.ran.took = Duration::from_nanos(now_ns() - progress.first_ns);
    driver.stop_teardown().await?;
    // The driver waits until what is left in the stream is taken.
    while events.next().await.is_some() {}
    driver.join().await?;
    Ok(progress.ran)
}

struct Progress {
    work: Work,
    launched: usize,
    ended: usize,
    launched_ns: HashMap<String, u64>,
    first_ns: u64,
    ran: Ran,
}

impl Progress {
    async fn offered(&mut self, driver: &SchedulerDriver, offer: &Offer) -> Outcome<()> {
        let resources = Resources::from_proto(&offer.resources)?;
        let fit = usize::try_from(resources.cpus().raw() / each().cpus().raw())?;
        let open = self.work.at_once.saturating_sub(self.launched - self.ended);
        let count = fit.min(open).min(self.work.tasks - self.launched);
        if self.launched == 0 {
            self.first_ns = now_ns();
        }
        let tasks: Vec<TaskInfo> = (0..count).map(|_| self.task()).collect();
        driver
            .launch_tasks(std::slice::from_ref(&offer.id), tasks, Some(Filters { refuse_seconds: Some(0.0) }))
            .await?;
        Ok(())
    }

    fn task(&mut self) -> TaskInfo {
        let id = format!("true-{}", self.launched);
        self.launched += 1;
        self.launched_ns.insert(id.clone(), now_ns());
        TaskInfo::exec("true", "/bin/true", ["true"]).with_id(id).with_resources(&each())
    }

    fn record_status(&mut self, status: &TaskStatus) -> Outcome<()> {
        let id = status.task_id.as_str();
        match status.state() {
            TaskState::TaskStarting => {}
            TaskState::TaskRunning => {
                if let Some(at) = self.launched_ns.remove(id) {
                    self.ran.started.push(Duration::from_nanos(now_ns() - at));
                }
            }
            TaskState::TaskFinished => self.ended += 1,
            other => return Err(format!("{id}: {}: {}", other.as_str_name(), status.message()).into()),
        }
        Ok(())
    }
}
