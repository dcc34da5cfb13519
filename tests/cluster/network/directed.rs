//! A scheduler that launches what it is told where it is told, and writes down all it hears, in order.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use divvy::{
    framework::{Result, Scheduler, SchedulerDriver},
    proto::v1::{AgentId, Filters, FrameworkInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus},
    types::Resources,
};
use tokio::runtime::Runtime;

use super::hosts::Network;

/// What the callbacks heard.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    /// Host and what was offered of it.
    Offer(String, Resources),
    Status(TaskStatus),
    AgentLost(AgentId),
    Disconnected,
    Reregistered,
}

/// A task for a host.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) task: String,
    pub(super) host: &'static str,
    pub(super) resources: Resources,
    pub(super) command: String,
    /// Ballast that travels with it, in bytes.
    pub(super) ballast: usize,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Vec<Wanted>,
    heard: Vec<Heard>,
    /// Why the master ended it.
    ended: Option<String>,
}

/// The scheduler at work on a host of the network.
pub(super) struct Framework {
    driver: SchedulerDriver,
    shared: Arc<Mutex<Shared>>,
    runtime: Runtime,
}

impl Framework {
    pub(super) fn start(network: &Network, host: &str, master: &str) -> Self {
        // Its threads are made on that host, and so are their connections.
        let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = network.within(host, build).expect("a runtime");
        let shared = Arc::<Mutex<Shared>>::default();
        let directed = Directed { shared: shared.clone() };
        let builder = SchedulerDriver::builder(FrameworkInfo::new("directed")).master(master);
        let driver = builder.build(directed).expect("a valid framework");
        let _inside = runtime.enter();
        driver.start().expect("starts");
        Self { driver, shared, runtime }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("not poisoned")
    }

    /// Launches these as soon as their hosts are offered.
    pub(super) fn launch(&self, wanted: impl IntoIterator<Item = Wanted>) {
        self.lock().wanted.extend(wanted);
        self.runtime.block_on(self.driver.revive_offers(&[])).expect("a driver that runs");
    }

    /// All that was heard so far.
    pub(super) fn heard(&self) -> Vec<Heard> {
        let shared = self.lock();
        assert_eq!(shared.ended, None, "the master ended the framework");
        shared.heard.clone()
    }

    pub(super) fn statuses(&self, task: &str) -> Vec<TaskStatus> {
        let heard = self.heard().into_iter();
        let of_task = heard.filter_map(|heard| match heard {
            Heard::Status(status) if status.task_id.value == task => Some(status),
            _ => None,
        });
        of_task.collect()
    }

    pub(super) fn states(&self, task: &str) -> Vec<TaskState> {
        self.statuses(task).iter().map(TaskStatus::state).collect()
    }

    /// What was offered of a host since that many things were heard.
    pub(super) fn offers_since(&self, mark: usize, host: &str) -> Vec<Resources> {
        let heard = self.heard().into_iter().skip(mark);
        let of_host = heard.filter_map(|heard| match heard {
            Heard::Offer(of, resources) if of == host => Some(resources),
            _ => None,
        });
        of_host.collect()
    }

    /// How many things were heard so far.
    pub(super) fn mark(&self) -> usize {
        self.lock().heard.len()
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        // A driver that has ended needs no telling.
        drop(self.runtime.block_on(self.driver.abort()));
    }
}

struct Directed {
    shared: Arc<Mutex<Shared>>,
}

impl Directed {
    fn note(&self, heard: Heard) {
        self.shared.lock().expect("not poisoned").heard.push(heard);
    }

    /// Takes what is wanted of that host and fits.
    fn take(&self, offer: &Offer) -> Result<Vec<TaskInfo>> {
        let mut left = offer.resources()?;
        let mut shared = self.shared.lock().expect("not poisoned");
        shared.heard.push(Heard::Offer(offer.hostname.clone(), left.clone()));
        let fits = |wanted: &mut Wanted| wanted.host == offer.hostname && left.take(&wanted.resources);
        let chosen = shared.wanted.extract_if(.., fits);
        let task = |wanted: Wanted| TaskInfo {
            task_id: TaskId { value: wanted.task.clone() },
            agent_id: offer.agent_id.clone(),
            resources: wanted.resources.to_proto_as(Some(offer.role()), true),
            data: Some(vec![7; wanted.ballast].into()),
            ..TaskInfo::shell(wanted.task, wanted.command)
        };
        Ok(chosen.map(task).collect())
    }
}

#[async_trait::async_trait]
impl Scheduler for Directed {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        let at_once = Some(Filters::refuse_for(Duration::ZERO));
        for offer in offers {
            let tasks = self.take(&offer)?;
            driver.launch_tasks(&[offer.id], tasks, at_once).await?;
        }
        Ok(())
    }

    async fn reregistered(&mut self, _: &SchedulerDriver, _: divvy::proto::v1::MasterInfo) -> Result<()> {
        self.note(Heard::Reregistered);
        Ok(())
    }

    async fn disconnected(&mut self, _: &SchedulerDriver) -> Result<()> {
        self.note(Heard::Disconnected);
        Ok(())
    }

    async fn status_update(&mut self, _: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.note(Heard::Status(status));
        Ok(())
    }

    async fn agent_lost(&mut self, _: &SchedulerDriver, agent: AgentId) -> Result<()> {
        self.note(Heard::AgentLost(agent));
        Ok(())
    }

    async fn error(&mut self, _: &SchedulerDriver, message: String) -> Result<()> {
        self.shared.lock().expect("not poisoned").ended = Some(message);
        Ok(())
    }
}
