//! Generates the messages of frameworks and agents in a script, mostly about existing offers, tasks and containers.

use prost::Message as _;

use super::{Play, generate};
use crate::{
    fuzz::script::Script,
    proto::{
        ext,
        internal::{self, agent_message::Kind},
        v1::{
            self,
            scheduler::{Call, call},
        },
    },
};

impl Play {
    pub(super) fn message(&self, script: &mut Script<'_>) -> internal::AgentMessage {
        let kind = match script.below(6) {
            0 => return internal::AgentMessage::decode(script.raw()).unwrap_or_default(),
            1 | 2 => Kind::Register(Box::new(self.register(script))),
            3 => Kind::Pong(internal::Pong {}),
            4 if script.one_in(4) => Kind::Unregister(internal::Unregister {}),
            4 if script.one_in(2) => {
                let container_id = script.pick(&self.launched).map(|(_, id, _)| id.clone()).unwrap_or_default();
                Kind::OrphanGone(internal::OrphanGone { container_id })
            }
            _ => Kind::Update(Box::new(self.update(script))),
        };
        internal::AgentMessage { kind: Some(kind) }
    }

    pub(super) fn register(&self, script: &mut Script<'_>) -> internal::Register {
        let id = script.one_in(2).then(|| v1::AgentId { value: script.name("m-S", 3) });
        let text = ["cpus:4;mem:1024;ports:[1-9]", "cpus:1;mem:64", "cpus:2;mem:512;cpus(a):1", "gpus:1;cpus:1;mem:64"];
        let resources: crate::types::Resources =
            text[script.below(text.len())].parse().expect("resources in text form");
        let info =
            v1::AgentInfo { id, hostname: script.name("h", 3), resources: resources.to_proto(), ..Default::default() };
        let tasks: Vec<internal::AgentTask> = (0..script.below(4)).filter_map(|_| self.reported(script)).collect();
        let named = |task: &internal::AgentTask| v1::FrameworkInfo {
            id: Some(v1::FrameworkId { value: task.framework_id.clone() }),
            user: "root".to_owned(),
            ..v1::FrameworkInfo::new("f")
        };
        internal::Register {
            versions: Some(ext::VersionRange { min: 1, max: if script.one_in(8) { 1 } else { 2 } }),
            orphans: (0..script.below(2)).filter_map(|_| self.reported(script)).collect(),
            divvy_version: "0.1.0".to_owned(),
            info: Some(info),
            epoch: script.below(9) as u64,
            boot_id: "boot".to_owned(),
            frameworks: tasks.iter().map(named).collect(),
            tasks,
            installation: script.name("w", 3).into(),
            instance: script.name("i", 3).into(),
        }
    }

    fn reported(&self, script: &mut Script<'_>) -> Option<internal::AgentTask> {
        let (framework_id, container_id, task) = script.pick(&self.launched)?.clone();
        let unacknowledged = script.one_in(2).then(|| generate::state(script).into());
        let state = generate::state(script).into();
        Some(internal::AgentTask {
            framework_id,
            container_id,
            task_info: task.encode_to_vec().into(),
            state,
            unacknowledged,
        })
    }

    fn update(&self, script: &mut Script<'_>) -> internal::Update {
        let (framework_id, container_id, task) = script.pick(&self.launched).cloned().unwrap_or_default();
        let status = v1::TaskStatus {
            task_id: task.task_id,
            agent_id: Some(task.agent_id),
            state: generate::state(script).into(),
            uuid: Some(generate::uuid(script)),
            ..Default::default()
        };
        internal::Update {
            framework_id,
            container_id,
            status: Some(status),
            latest_state: generate::state(script).into(),
        }
    }

    pub(super) fn call(&self, script: &mut Script<'_>, id: Option<String>) -> Call {
        let kind = script.below(14);
        if kind == 0 {
            return Call::decode(script.raw()).unwrap_or_default();
        }
        let value = id.unwrap_or_else(|| script.name("m-000", 3));
        let mut made = Call { framework_id: Some(v1::FrameworkId { value }), ..Call::default() };
        let kind = match kind {
            1 | 2 => {
                made.subscribe = Some(Box::new(generate::subscribe(script, made.framework_id.take())));
                call::Type::Subscribe
            }
            3 if script.one_in(3) => call::Type::Teardown,
            4..=6 => {
                made.accept = Some(Box::new(self.accept(script)));
                call::Type::Accept
            }
            7 => {
                made.decline =
                    Some(call::Decline { offer_ids: self.offer_ids(script), filters: generate::filters(script) });
                call::Type::Decline
            }
            8 => {
                made.revive = Some(call::Revive { roles: generate::roles(script) });
                call::Type::Revive
            }
            9 => {
                made.suppress = Some(call::Suppress { roles: generate::roles(script) });
                call::Type::Suppress
            }
            10 => {
                let (task_id, agent_id) = self.task(script);
                made.kill = Some(call::Kill { task_id, agent_id: Some(agent_id), kill_policy: None });
                call::Type::Kill
            }
            11 => {
                let (task_id, agent_id) = self.task(script);
                made.acknowledge = Some(call::Acknowledge { agent_id, task_id, uuid: generate::uuid(script) });
                call::Type::Acknowledge
            }
            _ => {
                let tasks = (0..script.below(3)).map(|_| {
                    let (task_id, agent_id) = self.task(script);
                    call::reconcile::Task { task_id, agent_id: Some(agent_id), ..Default::default() }
                });
                made.reconcile = Some(call::Reconcile { tasks: tasks.collect() });
                call::Type::Reconcile
            }
        };
        made.r#type = Some(kind.into());
        made
    }

    fn offer_ids(&self, script: &mut Script<'_>) -> Vec<v1::OfferId> {
        let recent = self.offers.len().saturating_sub(8);
        let picked = (0..=script.below(3)).filter_map(|_| script.pick(&self.offers[recent..]));
        picked.map(|(id, _)| v1::OfferId { value: id.clone() }).collect()
    }

    fn accept(&self, script: &mut Script<'_>) -> call::Accept {
        let offer_ids = self.offer_ids(script);
        let agent = offer_ids.first().and_then(|id| self.offers.iter().find(|(offer, _)| *offer == id.value));
        let agent_id = v1::AgentId { value: agent.map(|(_, agent)| agent.clone()).unwrap_or_default() };
        let task_infos = (0..script.below(4)).map(|_| generate::task_info(script, &agent_id)).collect();
        call::Accept { offer_ids, filters: generate::filters(script), ..generate::accept(task_infos) }
    }

    fn task(&self, script: &mut Script<'_>) -> (v1::TaskId, v1::AgentId) {
        match script.pick(&self.launched) {
            Some((_, _, task)) => (task.task_id.clone(), task.agent_id.clone()),
            None => (v1::TaskId { value: script.name("t", 6) }, v1::AgentId { value: script.name("m-S", 3) }),
        }
    }
}
