//! The frameworks whose tasks the agent runs: their description and the capabilities it acts on.

use prost::Message as _;
use prost::bytes::Bytes;

use crate::agent::core::{Agent, Effect, Level, persist};
use crate::proto::internal::agent_record::Kind;
use crate::proto::v1::framework_info::capability;
use crate::proto::v1::{FrameworkId, FrameworkInfo, TaskState};

/// One framework.
#[derive(Debug, PartialEq)]
pub(in crate::agent::core) struct Framework {
    /// The encoded `FrameworkInfo`.
    pub(in crate::agent::core) info: Bytes,
    pub(in crate::agent::core) user: String,
    pub(in crate::agent::core) partition_aware: bool,
    pub(in crate::agent::core) killing_state: bool,
}

impl Framework {
    pub(in crate::agent::core) fn new(info: &FrameworkInfo) -> Self {
        let can = |wanted| info.capabilities.iter().any(|capability| capability.r#type == Some(wanted as i32));
        Self {
            info: Bytes::from(info.encode_to_vec()),
            user: info.user.clone(),
            partition_aware: can(capability::Type::PartitionAware),
            killing_state: can(capability::Type::TaskKillingState),
        }
    }

    /// The description as it was received.
    pub(in crate::agent::core) fn decoded(&self) -> FrameworkInfo {
        FrameworkInfo::decode(self.info.clone()).expect("encoded by us from a message")
    }
}

impl Agent {
    pub(in crate::agent::core) fn update_framework(&mut self, info: Option<FrameworkInfo>, out: &mut Vec<Effect>) {
        let Some((id, info)) = info.and_then(|info| Some((info.id.clone()?, info))) else { return };
        let framework = Framework::new(&info);
        if self.frameworks.get(&id) != Some(&framework) {
            self.frameworks.insert(id, framework);
            out.push(persist([Kind::Framework(Box::new(info))], Level::Process));
        }
    }

    /// Removes the frameworks without tasks: on a new session the master sends each one again before its first task.
    pub(in crate::agent::core) fn drop_idle_frameworks(&mut self, out: &mut Vec<Effect>) {
        let names = &self.names;
        let busy = |id: &FrameworkId| {
            let from = (id.clone(), crate::proto::v1::TaskId::default(), crate::agent::core::ContainerId::first());
            names.range(from..).next().is_some_and(|(framework, ..)| framework == id)
        };
        let idle: Vec<FrameworkId> = self.frameworks.keys().filter(|id| !busy(id)).cloned().collect();
        if idle.is_empty() {
            return;
        }
        self.frameworks.retain(|id, _| !idle.contains(id));
        out.push(persist(idle.into_iter().map(|id| Kind::FrameworkForgotten(id.value)), Level::Process));
    }

    /// The same for the task in a container.
    pub(in crate::agent::core) fn lost_state_of(&self, id: &super::super::ContainerId, aware: TaskState) -> TaskState {
        self.tasks.get(id).map_or(aware, |task| self.lost_state(&task.framework, aware))
    }

    /// The state of a task that was lost: `aware`, or `TASK_LOST` for a framework without partition awareness.
    pub(in crate::agent::core) fn lost_state(&self, framework: &FrameworkId, aware: TaskState) -> TaskState {
        let partition_aware = self.frameworks.get(framework).is_some_and(|framework| framework.partition_aware);
        aware.for_framework(partition_aware)
    }
}
