//! LAUNCH: each task is validated by itself; the first rule that fails gives its `TASK_ERROR`, and the others launch.

use std::sync::Arc;

use rand::Rng as _;

use crate::{
    allocator::feasible,
    master::core::{
        Client, Event, Launch, Master, Order, Turn,
        agents::Presence,
        keys::{AgentKey, FrameworkKey, container_id},
        tasks::{StatusRecord, Task, master_status},
    },
    proto::v1::{self, TaskState, task_status::Reason},
    types::Resources,
};

impl Master {
    /// Launches a task out of `remaining`, or answers with `TASK_ERROR`.
    pub(in crate::master::core) fn launch(
        &mut self,
        turn: &mut Turn<'_>,
        agent: AgentKey,
        client: &Client,
        remaining: &mut Resources,
        launch: Launch,
    ) {
        if let Err(text) = self.check_launch(agent, client.framework, remaining, &launch) {
            self.counts.tasks_invalid += 1;
            self.answer_launch(turn, client.framework, &launch, TaskState::TaskError, Reason::TaskInvalid, &text);
            return;
        }
        let Some(rest) = remaining.checked_sub(&launch.resources) else { return };
        *remaining = rest;
        self.reduce_demand(client.framework, &launch.resources);
        if let Some((agent, lost)) = self.frameworks[client.framework].tasks.get(launch.id.as_str()).copied() {
            // Its framework was sent `TASK_LOST`: the id belongs to this launch from now on.
            self.complete(agent, lost, turn.now);
        }
        if let Some(replaced) = launch.partition.as_ref().and_then(|partition| partition.replaces.clone()) {
            self.mark_replaced(client.framework, &replaced);
        }
        let key = self.counters.task();
        let container = container_id(self.epoch, key, self.rng.random());
        let id: Arc<str> = launch.id.into();
        let task = Task {
            framework: client.framework,
            id: id.clone(),
            container: container.clone(),
            role: client.role.clone(),
            info: (*launch.info).into(),
            resources: self.interned_resources.share(&launch.resources),
            state: TaskState::TaskStaging,
            forwarded: None,
            unacknowledged: None,
            kill: None,
            history: vec![StatusRecord::state_only(TaskState::TaskStaging, turn.now)],
            partition: launch.partition,
        };
        self.counts.tasks_launched += 1;
        self.counts.entered(TaskState::TaskStaging);
        self.insert_task(agent, key, task);
        self.allocate_task(agent, key);
        self.index_task(agent, key, true);
        let Some(framework) = self.frameworks.get_mut(client.framework) else { return };
        framework.awaited_kills.forget(&id);
        let framework_id = framework.record.id.clone();
        self.send_framework_info(turn, agent, client.framework);
        turn.send_order(
            self.agents[agent].session,
            Order::Run { framework: framework_id, container, info: launch.info },
        );
    }

    fn check_launch(
        &self,
        agent: AgentKey,
        framework: FrameworkKey,
        remaining: &Resources,
        launch: &Launch,
    ) -> Result<(), String> {
        if let Some(text) = &launch.invalid {
            return Err(text.clone());
        }
        if let Some((on, task)) = self.frameworks[framework].tasks.get(launch.id.as_str()) {
            let unreachable = matches!(self.agents[*on].record.presence, Presence::Unreachable { .. });
            let known = &self.agents[*on].record.tasks[*task];
            if !(unreachable && known.written_off()) {
                let of = if unreachable { " from an unreachable task" } else { "" };
                return Err(format!("Task has duplicate ID: {}{of} ({})", launch.id, known.state.as_str_name()));
            }
        }
        if let Some(replaced) = launch.partition.as_ref().and_then(|partition| partition.replaces.as_ref()) {
            self.check_replaceable(framework, replaced)?;
        }
        let id = &self.agents[agent].record.id;
        if *launch.agent != **id {
            return Err(format!("Task uses invalid agent {} while agent {id} is expected", launch.agent));
        }
        feasible::shortage(remaining, &launch.resources).map_or(Ok(()), |shortage| {
            Err(format!("Task uses more resources {} than available {remaining}: {shortage}", launch.resources))
        })
    }

    /// Reports a task whose offers were not valid as dropped.
    pub(in crate::master::core) fn drop_launch(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        launch: &Launch,
        text: &str,
    ) {
        let known = self.frameworks[framework].tasks.contains_key(launch.id.as_str());
        if known {
            // The framework would take DROPPED for the end of the task that runs under this id.
            return;
        }
        let aware = self.frameworks[framework].record.facts.partition_aware;
        let state = TaskState::TaskDropped.for_framework(aware);
        self.answer_launch(turn, framework, launch, state, Reason::InvalidOffers, text);
    }

    fn answer_launch(
        &mut self,
        turn: &mut Turn<'_>,
        framework: FrameworkKey,
        launch: &Launch,
        state: TaskState,
        reason: Reason,
        text: &str,
    ) {
        let agent: Option<Arc<str>> = (!launch.agent.is_empty()).then(|| launch.agent.as_str().into());
        let mut status: v1::TaskStatus = master_status(&launch.id, agent.as_ref(), state, turn.now);
        status.set_reason(reason);
        status.message = Some(text.to_owned());
        turn.send_event(self.frameworks[framework].session, Event::Updated { status: Arc::new(status) });
    }
}
