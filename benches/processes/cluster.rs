//! One master, one agent, and frameworks that run so many tasks through them.

use std::{collections::HashMap, time::Duration};

use divvy::{
    agent::{Agent, Options, SupervisorMode},
    framework::{SchedulerDriver, SchedulerEvent},
    master::{self, Master},
    proto::v1::{Filters, FrameworkInfo, Offer, TaskInfo, TaskState, TaskStatus},
    types::Resources,
};
use futures::StreamExt as _;
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

/// A running cluster of one agent.
pub(crate) struct Cluster {
    master: Master,
    agent: Agent,
    _folder: TempDir,
}

fn each() -> Resources {
    Resources::cpus_mem(0.1, 1.0)
}

impl Cluster {
    pub(crate) async fn start(slots: usize) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let mut options = master::Options::default();
        options.listen = ([127, 0, 0, 1], 0).into();
        let master = Master::start(options).await?;
        let supervisor = SupervisorMode::Process { program: std::env::current_exe()? };
        let mut options = Options::new(master.address().to_string(), folder.path(), supervisor);
        options.resources = Some(format!("cpus:{};mem:{};disk:1024;ports:[]", slots.div_ceil(10), slots.max(32)));
        let agent = Agent::start(options).await?;
        agent.id().wait_for(Option::is_some).await?;
        Ok(Self { master, agent, _folder: folder })
    }

    pub(crate) async fn stop(self) {
        // How it ended is of no interest to the figures.
        drop(self.agent.shutdown().await);
        self.master.stop().await;
    }

    /// Runs so many tasks to their ends; answers how long each took from the launch to RUNNING.
    pub(crate) async fn run(&self, work: Work) -> Outcome<Samples> {
        let master = self.master.address().to_string();
        let (driver, mut events) = SchedulerDriver::builder(FrameworkInfo::new("bench")).master(master).stream()?;
        driver.start()?;
        let mut progress =
            Progress { work, launched: 0, ended: 0, launched_ns: HashMap::new(), started: Samples::default() };
        while progress.ended < work.tasks {
            match events.next().await.ok_or("the driver ended early")? {
                SchedulerEvent::ResourceOffers(offers) => {
                    for offer in offers {
                        progress.offered(&driver, &offer).await?;
                    }
                }
                SchedulerEvent::StatusUpdate(status) => progress.told(&status)?,
                SchedulerEvent::Error(text) => return Err(text.into()),
                _ => {}
            }
        }
        driver.stop_teardown().await?;
        driver.join().await?;
        Ok(progress.started)
    }
}

struct Progress {
    work: Work,
    launched: usize,
    ended: usize,
    launched_ns: HashMap<String, u64>,
    started: Samples,
}

impl Progress {
    async fn offered(&mut self, driver: &SchedulerDriver, offer: &Offer) -> Outcome<()> {
        let resources = Resources::from_proto(&offer.resources)?;
        let fit = usize::try_from(resources.cpus().raw() / each().cpus().raw())?;
        let open = self.work.at_once.saturating_sub(self.launched - self.ended);
        let count = fit.min(open).min(self.work.tasks - self.launched);
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

    fn told(&mut self, status: &TaskStatus) -> Outcome<()> {
        let id = status.task_id.as_str();
        match status.state() {
            TaskState::TaskStarting => {}
            TaskState::TaskRunning => {
                if let Some(at) = self.launched_ns.remove(id) {
                    self.started.push(Duration::from_nanos(now_ns() - at));
                }
            }
            TaskState::TaskFinished => self.ended += 1,
            other => return Err(format!("{id}: {}: {}", other.as_str_name(), status.message()).into()),
        }
        Ok(())
    }
}
