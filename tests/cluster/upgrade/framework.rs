//! A framework that stays connected during the whole upgrade and checks each status when it arrives.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use divvy::{
    framework::{Result, Scheduler, SchedulerDriver},
    proto::v1::{CommandInfo, Filters, FrameworkInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus},
    types::Resources,
};

use super::task::Task;

/// What each task gets.
const EACH: &str = "cpus:0.1;mem:16";

/// All that is known of the tasks.
#[derive(Debug, Default)]
pub(super) struct Progress {
    waiting: Vec<Task>,
    launched: BTreeMap<String, Task>,
    killed: BTreeSet<String>,
    received: BTreeMap<String, Vec<TaskStatus>>,
    pub(super) wrong: Vec<String>,
    /// While set, the callback takes no status of the tasks named here, so none of them is acknowledged.
    pub(super) refused: BTreeSet<String>,
    pub(super) statuses: usize,
    pub(super) refusals: usize,
}

impl Progress {
    fn last(&self, id: &str) -> Option<TaskState> {
        self.received.get(id).and_then(|all| all.last()).map(TaskStatus::state)
    }

    /// The tasks whose last state is this one.
    pub(super) fn in_state(&self, wanted: impl Fn(TaskState) -> bool) -> Vec<Task> {
        let is_wanted = |id: &str| self.last(id).is_some_and(&wanted);
        self.launched.iter().filter(|(id, _)| is_wanted(id)).map(|(_, task)| *task).collect()
    }

    fn judge(&mut self, site: &std::path::Path, status: &TaskStatus) {
        let id = status.task_id.value.as_str();
        let Some(task) = self.launched.get(id) else {
            return self.wrong.push(format!("{id}: {} of a task that was not launched", status.state()));
        };
        let (state, kill_sent) = (status.state(), self.killed.contains(id));
        if self.last(id).is_some_and(TaskState::is_terminal) {
            self.wrong.push(format!("{id}: {state} after its end"));
        } else if state.is_terminal() {
            self.wrong.extend(task.judge_end(site, status, kill_sent));
        } else if state != TaskState::TaskRunning && !(state == TaskState::TaskKilling && kill_sent) {
            self.wrong.push(format!("{id}: {state} \"{}\"", status.message()));
        }
    }
}

/// The framework, as its driver calls it and as the test does.
#[derive(Clone, Debug)]
pub(super) struct Framework {
    site: PathBuf,
    progress: Arc<Mutex<Progress>>,
}

impl Framework {
    /// Starts one that launches these tasks.
    pub(super) fn start(site: PathBuf, master: &str, name: &str, tasks: Vec<Task>) -> (Self, SchedulerDriver) {
        let progress = Progress { waiting: tasks, ..Progress::default() };
        let framework = Self { site, progress: Arc::new(Mutex::new(progress)) };
        let info = FrameworkInfo::new(name);
        let driver = SchedulerDriver::builder(info).master(master).build(framework.clone()).expect("valid");
        driver.start().expect("starts");
        (framework, driver)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().expect("not poisoned")
    }

    /// Launches more tasks.
    pub(super) async fn launch(&self, driver: &SchedulerDriver, tasks: &[Task]) {
        self.progress().waiting.extend(tasks);
        driver.revive_offers(&[]).await.expect("takes calls");
    }

    pub(super) async fn kill(&self, driver: &SchedulerDriver, task: Task) {
        self.progress().killed.insert(task.id());
        driver.kill_task(&TaskId { value: task.id() }).await.expect("takes calls");
    }
}

#[async_trait::async_trait]
impl Scheduler for Framework {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        let each: Resources = EACH.parse()?;
        for offer in offers {
            let tasks: Vec<TaskInfo> = {
                let mut progress = self.progress();
                let mut left = offer.resources()?;
                let mut taken = Vec::new();
                progress.waiting.retain(|task| {
                    let fits = is_of(&offer, task.agent) && left.contains(&each);
                    if fits {
                        left -= &each;
                        taken.push(*task);
                    }
                    !fits
                });
                progress.launched.extend(taken.iter().map(|task| (task.id(), *task)));
                taken.into_iter().map(|task| self.info(task, &offer, &each)).collect()
            };
            let soon = Some(Filters { refuse_seconds: Some(1.0) });
            if tasks.is_empty() {
                driver.decline_offer(&offer.id, soon).await?;
            } else {
                driver.launch_tasks(&[offer.id], tasks, soon).await?;
            }
        }
        Ok(())
    }

    async fn status_update(&mut self, _driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        let mut progress = self.progress();
        if progress.refused.contains(&status.task_id.value) {
            progress.refusals += 1;
            return Err("not taken before the upgrade is over".into());
        }
        progress.statuses += 1;
        progress.judge(&self.site, &status);
        progress.received.entry(status.task_id.value.clone()).or_default().push(status);
        Ok(())
    }
}

impl Framework {
    fn info(&self, task: Task, offer: &Offer, each: &Resources) -> TaskInfo {
        let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
        let command = CommandInfo { value: Some(task.command(&self.site)), ..CommandInfo::default() };
        TaskInfo {
            name: task.id(),
            task_id: task.id().into(),
            agent_id: offer.agent_id.clone(),
            resources: each.to_proto_as(role.as_deref(), true),
            command: Some(Box::new(command)),
            ..TaskInfo::default()
        }
    }
}

/// Whether the offer is of the agent with this name, which is an attribute of it.
fn is_of(offer: &Offer, agent: &str) -> bool {
    let named = offer.attributes.iter().find(|attribute| attribute.name == "name");
    named.and_then(|attribute| attribute.text.as_ref()).is_some_and(|text| text.value == agent)
}
