//! A scheduler that launches given tasks on given hosts and records every callback in order.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use divvy::{
    framework::{Result, Scheduler, SchedulerDriver, UnknownTasks},
    proto::v1::{AgentId, Filters, FrameworkId, FrameworkInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus},
    types::Resources,
};
use tokio::runtime::Runtime;

use super::hosts::Network;

/// A callback of the scheduler.
#[derive(Clone, Debug)]
pub(super) enum Callback {
    /// Host and what was offered of it.
    Offer(String, Resources),
    Status(Box<TaskStatus>),
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
    /// The size of its `data`, in bytes.
    pub(super) data_bytes: usize,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Vec<Wanted>,
    callbacks: Vec<Callback>,
    /// The error with which the master ended it.
    ended: Option<String>,
}

/// A scheduler and its driver on a host of the network.
pub(super) struct Framework {
    driver: SchedulerDriver,
    shared: Arc<Mutex<Shared>>,
    runtime: Runtime,
}

impl Framework {
    /// With an id it takes over from the instance that has this id.
    pub(super) fn start(network: &Network, host: &str, master: &str, id: Option<FrameworkId>) -> Self {
        // The runtime's threads start on that host, so their connections do too.
        let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = network.within(host, build).expect("a runtime");
        let shared = Arc::<Mutex<Shared>>::default();
        let directed = DirectedScheduler { shared: shared.clone() };
        let info = FrameworkInfo { id, ..FrameworkInfo::new("directed") };
        let builder = SchedulerDriver::builder(info).master(master).unknown_tasks(UnknownTasks::Adopt);
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
        // An instance that was ended returns an error here, which does not matter.
        drop(self.runtime.block_on(self.driver.revive_offers(&[])));
    }

    /// All callbacks so far.
    pub(super) fn callbacks(&self) -> Vec<Callback> {
        self.lock().callbacks.clone()
    }

    /// The error with which the master ended it, if it did.
    pub(super) fn ended(&self) -> Option<String> {
        self.lock().ended.clone()
    }

    pub(super) fn id(&self) -> Option<FrameworkId> {
        self.driver.framework_id()
    }

    pub(super) fn statuses(&self, task: &str) -> Vec<TaskStatus> {
        let callbacks = self.callbacks().into_iter();
        let of_task = callbacks.filter_map(|callback| match callback {
            Callback::Status(status) if status.task_id.value == task => Some(*status),
            _ => None,
        });
        of_task.collect()
    }

    pub(super) fn states(&self, task: &str) -> Vec<TaskState> {
        self.statuses(task).iter().map(TaskStatus::state).collect()
    }

    /// What was offered of a host after the first `mark` callbacks.
    pub(super) fn offers_since(&self, mark: usize, host: &str) -> Vec<Resources> {
        let callbacks = self.callbacks().into_iter().skip(mark);
        let of_host = callbacks.filter_map(|callback| match callback {
            Callback::Offer(of, resources) if of == host => Some(resources),
            _ => None,
        });
        of_host.collect()
    }

    /// The number of callbacks so far.
    pub(super) fn mark(&self) -> usize {
        self.lock().callbacks.len()
    }
}

impl Drop for Framework {
    fn drop(&mut self) {
        // A driver that has ended returns an error, which does not matter.
        drop(self.runtime.block_on(self.driver.abort()));
    }
}

struct DirectedScheduler {
    shared: Arc<Mutex<Shared>>,
}

impl DirectedScheduler {
    fn record(&self, callback: Callback) {
        self.shared.lock().expect("not poisoned").callbacks.push(callback);
    }

    /// Removes and returns the tasks for that host that fit.
    fn take_tasks(&self, offer: &Offer) -> Result<Vec<TaskInfo>> {
        let mut left = offer.resources()?;
        let mut shared = self.shared.lock().expect("not poisoned");
        shared.callbacks.push(Callback::Offer(offer.hostname.clone(), left.clone()));
        let fits = |wanted: &mut Wanted| wanted.host == offer.hostname && left.take(&wanted.resources);
        let chosen = shared.wanted.extract_if(.., fits);
        let task = |wanted: Wanted| TaskInfo {
            task_id: TaskId { value: wanted.task.clone() },
            agent_id: offer.agent_id.clone(),
            resources: wanted.resources.to_proto_as(Some(offer.role()), true),
            data: Some(vec![7; wanted.data_bytes].into()),
            ..TaskInfo::shell(wanted.task, wanted.command)
        };
        Ok(chosen.map(task).collect())
    }
}

#[async_trait::async_trait]
impl Scheduler for DirectedScheduler {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        let at_once = Some(Filters::refuse_for(Duration::ZERO));
        for offer in offers {
            let tasks = self.take_tasks(&offer)?;
            driver.launch_tasks(&[offer.id], tasks, at_once).await?;
        }
        Ok(())
    }

    async fn reregistered(&mut self, _: &SchedulerDriver, _: divvy::proto::v1::MasterInfo) -> Result<()> {
        self.record(Callback::Reregistered);
        Ok(())
    }

    async fn disconnected(&mut self, _: &SchedulerDriver) -> Result<()> {
        self.record(Callback::Disconnected);
        Ok(())
    }

    async fn status_update(&mut self, _: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.record(Callback::Status(Box::new(status)));
        Ok(())
    }

    async fn agent_lost(&mut self, _: &SchedulerDriver, agent: AgentId) -> Result<()> {
        self.record(Callback::AgentLost(agent));
        Ok(())
    }

    async fn error(&mut self, _: &SchedulerDriver, message: String) -> Result<()> {
        self.shared.lock().expect("not poisoned").ended = Some(message);
        Ok(())
    }
}
