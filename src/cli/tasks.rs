//! `divvy tasks`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::table::{Amounts, Listed, age};
use crate::proto::v1::{
    Task, TaskState,
    master::response::{GetAgents, GetTasks},
};

/// A task in the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskRow {
    id: String,
    name: String,
    framework_id: String,
    agent_id: String,
    /// The agent's host name, where the agent is known.
    agent: String,
    state: String,
    resources: Amounts,
    message: String,
    /// When the state was reported, in seconds since 1970.
    since: Option<f64>,
    #[serde(skip)]
    age: Option<f64>,
}

/// The tasks that have not ended, or `all` that the master has; the latest change first.
#[must_use]
pub fn rows(answer: GetTasks, agents: &GetAgents, all: bool, now_secs: f64) -> Vec<TaskRow> {
    let hosts: BTreeMap<&str, &str> = agents
        .agents
        .iter()
        .filter_map(|agent| Some((agent.agent_info.id.as_ref()?.value.as_str(), agent.agent_info.hostname.as_str())))
        .collect();
    let GetTasks { tasks, unreachable_tasks, completed_tasks, .. } = answer;
    let completed = if all { completed_tasks } else { Vec::new() };
    let listed = tasks.into_iter().chain(unreachable_tasks).chain(completed);
    let mut rows: Vec<TaskRow> = listed.map(|task| TaskRow::of(task, &hosts, now_secs)).collect();
    rows.sort_by(|a, b| {
        let latest_first = b.since.unwrap_or(0.0).total_cmp(&a.since.unwrap_or(0.0));
        latest_first.then_with(|| a.id.cmp(&b.id))
    });
    rows
}

impl TaskRow {
    fn of(task: Task, hosts: &BTreeMap<&str, &str>, now_secs: f64) -> Self {
        let state = TaskState::try_from(task.state)
            .map_or_else(|unknown| format!("TASK_{}", unknown.0), |state| state.as_str_name().to_owned());
        let last = task.statuses.last();
        let since = last.and_then(|status| status.timestamp);
        Self {
            message: last.and_then(|status| status.message.clone()).unwrap_or_default(),
            agent: hosts.get(task.agent_id.value.as_str()).copied().unwrap_or_default().to_owned(),
            state,
            resources: Amounts::read(&task.resources),
            id: task.task_id.value,
            name: task.name,
            framework_id: task.framework_id.value,
            agent_id: task.agent_id.value,
            age: since.map(|since| now_secs - since),
            since,
        }
    }
}

impl Listed for TaskRow {
    const COLUMNS: &'static [&'static str] = &["ID", "NAME", "AGENT", "STATE", "SINCE", "CPUS", "MEM", "MESSAGE"];

    fn cells(&self) -> Vec<String> {
        let [cpus, mem] = self.resources.cpus_and_mem();
        let agent = if self.agent.is_empty() { &self.agent_id } else { &self.agent };
        let since = self.age.map(age).unwrap_or_default();
        let (id, name, state) = (self.id.clone(), self.name.clone(), self.state.trim_start_matches("TASK_").to_owned());
        vec![id, name, agent.clone(), state, since, cpus, mem, self.message.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::v1::{AgentId, AgentInfo, TaskId, TaskStatus, master::response::get_agents::Agent},
        types::Resources,
    };

    fn task(id: &str, state: TaskState, timestamp: f64) -> Task {
        Task {
            name: "hello".to_owned(),
            task_id: TaskId { value: id.to_owned() },
            agent_id: AgentId { value: "S1".to_owned() },
            state: state.into(),
            resources: Resources::cpus_mem(0.5, 64.0).to_proto(),
            statuses: vec![TaskStatus {
                timestamp: Some(timestamp),
                message: Some("fine".to_owned()),
                ..Default::default()
            }],
            ..Task::default()
        }
    }

    #[test]
    fn tasks_are_listed_with_their_host_the_latest_first() {
        let info = AgentInfo {
            hostname: "node-1".to_owned(),
            id: Some(AgentId { value: "S1".to_owned() }),
            ..Default::default()
        };
        let agents = GetAgents { agents: vec![Agent { agent_info: info, ..Agent::default() }], ..GetAgents::default() };
        let answer = || GetTasks {
            tasks: vec![task("a", TaskState::TaskRunning, 100.0), task("b", TaskState::TaskStaging, 130.0)],
            completed_tasks: vec![task("c", TaskState::TaskFinished, 120.0)],
            ..GetTasks::default()
        };
        let current = rows(answer(), &agents, false, 160.0);
        assert_eq!(current[1].cells(), ["a", "hello", "node-1", "RUNNING", "60s", "0.5", "64", "fine"]);
        let all: Vec<_> = rows(answer(), &GetAgents::default(), true, 160.0);
        assert_eq!(all.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
        assert_eq!(all[0].cells()[2], "S1", "an agent that is gone is shown by its id");
    }
}
