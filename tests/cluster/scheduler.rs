//! A scheduler on the library's driver that launches a list of commands and records every status it receives.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use divvy::{
    framework::{Result, Scheduler, SchedulerDriver},
    proto::v1::{CommandInfo, FrameworkInfo, Offer, TaskInfo, TaskState, TaskStatus},
    types::Resources,
};

/// Every status by task, in the order in which the callback received them.
pub(crate) type StatusLog = Arc<Mutex<BTreeMap<String, Vec<TaskStatus>>>>;

/// Launches each command once, as many at a time as the offers hold.
pub(crate) struct Launcher {
    pub(crate) waiting: Vec<(String, String)>,
    pub(crate) each: Resources,
    pub(crate) received: StatusLog,
}

#[async_trait::async_trait]
impl Scheduler for Launcher {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        for offer in offers {
            let mut left = offer.resources()?;
            let mut tasks = Vec::new();
            while !self.waiting.is_empty() && left.contains(&self.each) {
                let (id, command) = self.waiting.remove(0);
                left -= &self.each;
                let role = offer.allocation_info.as_ref().and_then(|info| info.role.clone());
                tasks.push(TaskInfo {
                    name: id.clone(),
                    task_id: id.into(),
                    agent_id: offer.agent_id.clone(),
                    resources: self.each.to_proto_as(role.as_deref(), true),
                    command: Some(Box::new(CommandInfo { value: Some(command), ..CommandInfo::default() })),
                    ..TaskInfo::default()
                });
            }
            if tasks.is_empty() {
                driver.decline_offer(&offer.id, None).await?;
            } else {
                driver.launch_tasks(&[offer.id], tasks, None).await?;
            }
        }
        Ok(())
    }

    async fn status_update(&mut self, _driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        let mut received = self.received.lock().expect("not poisoned");
        received.entry(status.task_id.value.clone()).or_default().push(status);
        Ok(())
    }
}

/// Starts a driver with such a scheduler.
pub(crate) fn start(master: &str, each: &str, commands: Vec<(String, String)>) -> (SchedulerDriver, StatusLog) {
    start_in("*", master, each, commands)
}

/// The same in a role.
pub(crate) fn start_in(
    role: &str,
    master: &str,
    each: &str,
    commands: Vec<(String, String)>,
) -> (SchedulerDriver, StatusLog) {
    let received = StatusLog::default();
    let launcher = Launcher { waiting: commands, each: each.parse().expect("resources"), received: received.clone() };
    let info = FrameworkInfo::new("test").with_role(role);
    let driver = SchedulerDriver::builder(info).master(master).build(launcher).expect("valid");
    driver.start().expect("starts");
    (driver, received)
}

/// The states a task went through.
pub(crate) fn states(received: &StatusLog, task: &str) -> Vec<TaskState> {
    let received = received.lock().expect("not poisoned");
    received.get(task).map(|all| all.iter().map(TaskStatus::state).collect()).unwrap_or_default()
}

/// How many tasks have reached a terminal state, and how many are known at all.
pub(crate) fn ended(received: &StatusLog) -> (usize, usize) {
    let received = received.lock().expect("not poisoned");
    let ended = received.values().filter(|all| all.iter().any(|one| one.state().is_terminal())).count();
    (ended, received.len())
}

/// How many tasks are in this state by their last status.
pub(crate) fn in_state(received: &StatusLog, state: TaskState) -> usize {
    let received = received.lock().expect("not poisoned");
    received.values().filter(|all| all.last().is_some_and(|one| one.state() == state)).count()
}
