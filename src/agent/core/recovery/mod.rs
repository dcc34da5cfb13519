//! Rebuilds an agent from its log, of which any prefix may be left. Records of a container after its end, as in a
//! damaged log, are ignored.
//!
//! Only the log is replayed here. The supervisors report the current state of the processes afterwards.

#[cfg(test)]
mod recovery_tests;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use prost::Message as _;
use prost::bytes::Bytes;
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::agent::core::containers::kills::Kill;
use crate::agent::core::containers::sandboxes::Sandboxes;
use crate::agent::core::containers::supervision::Supervisors;
use crate::agent::core::containers::{Container, Containers, Limits, Phase, Process};
use crate::agent::core::session::MasterLink;
use crate::agent::core::space::Space;
use crate::agent::core::tasks::Task;
use crate::agent::core::tasks::frameworks::Framework;
use crate::agent::core::tasks::statuses::Pending;
use crate::agent::core::time::moments::Moment;
use crate::agent::core::time::timers::Timers;
use crate::agent::core::{Agent, Config, ContainerId, Effect, Found, Level, persist};
use crate::proto::internal::agent_record::Kind;
use crate::proto::internal::{AgentRecord, KillAsked, StatusAcknowledged, StatusMade, TaskAccepted};
use crate::proto::v1::task_status::Reason;
use crate::proto::v1::{FrameworkId, FrameworkInfo, TaskInfo, TaskState};
use crate::types::Now;

impl Agent {
    /// Rebuilds the agent that `records` describe; without records it is a new one.
    ///
    /// `records` may be any prefix of what [`Effect::Persist`] wrote. `rng` is the source of all randomness.
    #[must_use]
    pub fn recover(
        records: &[AgentRecord],
        config: Config,
        found: Found,
        mut rng: StdRng,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Self {
        let mut agent = Self {
            booted_before_ns: found.boot_ns.map(|boot_ns| boot_ns.saturating_sub(now.mono_ns)),
            boot_id: found.boot_id,
            logged_boot: String::new(),
            instance: random_id(&mut rng),
            rng,
            id: String::new(),
            installation: Bytes::new(),
            work_dir: None,
            epoch: 0,
            loss: found.loss,
            link: MasterLink::off(),
            cut_off: None,
            supervisors: Supervisors::awaiting(found.supervisors),
            frameworks: BTreeMap::new(),
            containers: Containers::default(),
            tasks: BTreeMap::new(),
            names: BTreeSet::new(),
            timers: Timers::default(),
            sandboxes: Sandboxes::new(config.retention),
            space: Space::default(),
            leaving: None,
            inputs: 0,
            config,
        };
        for record in records {
            if let Some(kind) = &record.kind {
                agent.replay(kind, record.boot_ns);
            }
        }
        agent.remove_acknowledged();
        if agent.tasks.is_empty() {
            agent.supervisors.recipients.begin(out);
        }
        if agent.logged_boot != agent.boot_id {
            agent.age_moments();
        }
        if agent.id.is_empty() && agent.installation.is_empty() {
            agent.installation = random_id(&mut agent.rng);
            agent.logged_boot.clone_from(&agent.boot_id);
            agent.work_dir = found.work_dir;
            out.push(persist([agent.identity()], Level::Host));
        } else if found.work_dir.is_some() && agent.work_dir != found.work_dir {
            agent.work_dir = found.work_dir;
            out.push(persist([agent.identity()], Level::Host));
        }
        agent.kill_orphans(now, out);
        agent.kill_parentless(now, out);
        agent.add_found_sandboxes(now, found.sandboxes, out);
        agent.attach_once_answered(now, out);
        agent
    }

    fn replay(&mut self, kind: &Kind, boot_ns: u64) {
        match kind {
            Kind::Identity(identity) => {
                self.id.clone_from(&identity.agent_id);
                if self.logged_boot != identity.boot_id {
                    self.age_moments();
                }
                self.logged_boot.clone_from(&identity.boot_id);
                self.installation.clone_from(&identity.installation);
                self.work_dir.clone_from(&identity.work_dir);
            }
            Kind::Epoch(epoch) => self.epoch = *epoch,
            Kind::Framework(info) => self.replay_framework(info),
            Kind::FrameworkForgotten(id) => self.replay_framework_forgotten(id),
            Kind::Accepted(accepted) => self.replay_accepted(accepted, boot_ns),
            Kind::Started(started) => {
                let process = Process::from(started);
                self.replay_task(&started.container_id, |task, container| {
                    if container.has_ended() {
                        return;
                    }
                    container.phase = Phase::Unresolved(Some(process));
                    // Its status may be acknowledged and absent from a compacted log.
                    if task.latest == TaskState::TaskStaging {
                        task.latest = TaskState::TaskRunning;
                    }
                });
            }
            Kind::Status(made) => self.replay_status(made),
            Kind::Acknowledged(acknowledged) => self.replay_acknowledged(acknowledged),
            Kind::Kill(asked) => self.replay_kill(asked, boot_ns),
            Kind::Forgotten(container) => self.replay_forgotten(container),
            Kind::CutOff(since_wall_ns) => self.replay_cut_off(*since_wall_ns, boot_ns),
            Kind::StartsGoTo(name) => self.supervisors.recipients.replay(name),
            Kind::SupervisorEnded(name) => self.supervisors.recipients.replay_ended(name),
            // A mark about the log itself.
            Kind::Synced(_) => {}
        }
    }

    fn replay_task(&mut self, container: &str, change: impl FnOnce(&mut Task, &mut Container)) {
        let Some(id) = ContainerId::parse(container) else { return };
        if let (Some(task), Some(container)) = (self.tasks.get_mut(&id), self.containers.get_mut(&id)) {
            change(task, container);
        }
    }

    fn replay_framework(&mut self, info: &FrameworkInfo) {
        if let Some(id) = &info.id {
            self.frameworks.insert(id.clone(), Framework::new(info));
        }
    }

    fn replay_framework_forgotten(&mut self, id: &str) {
        let framework = FrameworkId { value: id.to_owned() };
        self.frameworks.remove(&framework);
        for id in self.containers_of(&framework, None) {
            self.replay_task(id.as_str(), |task, _| {
                task.orphaned = true;
                task.pending.clear();
            });
        }
    }

    fn replay_accepted(&mut self, accepted: &TaskAccepted, boot_ns: u64) {
        let id = ContainerId::parse(&accepted.container_id);
        let info = TaskInfo::decode(accepted.task_info.clone());
        if let (Some(id), Ok(info)) = (id, info) {
            let at = Moment::read(accepted.wall_ns, boot_ns);
            let parent = accepted.parent_id.as_deref().and_then(ContainerId::parse);
            let container = Container::new(parent, at, Limits::of(&info), Phase::Unresolved(None));
            self.insert(&id, Task::new(&id, accepted, &info), container);
        }
    }

    fn replay_status(&mut self, made: &StatusMade) {
        let Some(status) = &made.status else { return };
        let Ok(state) = TaskState::try_from(status.state) else { return };
        self.replay_task(&made.container_id, |task, container| {
            if container.has_ended() || task.orphaned {
                return;
            }
            task.latest = state;
            task.pending.push_back(Pending::new(status, state));
            if state.is_terminal() {
                container.phase = Phase::Ended(None);
            }
        });
    }

    fn replay_kill(&mut self, asked: &KillAsked, boot_ns: u64) {
        let task = ContainerId::parse(&asked.container_id).and_then(|id| self.tasks.get(&id));
        let framework = task.map(|task| task.framework.clone());
        let framework = framework.and_then(|id| self.frameworks.get(&id));
        let reports_killing = framework.is_some_and(|framework| framework.killing_state);
        let reason = asked.reason.and_then(|reason| Reason::try_from(reason).ok());
        self.replay_task(&asked.container_id, |task, container| {
            if reports_killing && !container.has_ended() {
                task.latest = TaskState::TaskKilling;
            }
            let at = Moment::read(asked.wall_ns, boot_ns);
            container.kill = Some(Kill::new(Duration::from_millis(asked.grace_ms), at, reason));
        });
    }

    fn replay_acknowledged(&mut self, acknowledged: &StatusAcknowledged) {
        self.replay_task(&acknowledged.container_id, |task, _| {
            task.pending.pop_front_if(|first| first.uuid == acknowledged.uuid);
        });
    }

    fn replay_forgotten(&mut self, container: &str) {
        let Some(id) = ContainerId::parse(container) else { return };
        self.containers.remove(&id);
        if let Some(task) = self.tasks.remove(&id) {
            self.names.remove(&(task.framework, task.name, id));
        }
    }

    /// Removes ended tasks whose statuses are all acknowledged: the log was cut just before that record.
    fn remove_acknowledged(&mut self) {
        let has_ended = |id: &ContainerId| self.containers.get(id).is_some_and(Container::has_ended);
        let done = |id: &ContainerId, task: &Task| has_ended(id) && task.pending.is_empty();
        let done = self.tasks.iter().filter(|(id, task)| done(id, task)).map(|(id, _)| id.to_string());
        let done: Vec<String> = done.collect();
        for container in done {
            self.replay_forgotten(&container);
        }
    }

    fn add_found_sandboxes(&mut self, now: Now, found: Vec<(ContainerId, i64)>, out: &mut Vec<Effect>) {
        for (id, changed_wall_ns) in found {
            let idle = u64::try_from(now.wall_ns.saturating_sub(changed_wall_ns)).unwrap_or(0);
            match self.containers.get_mut(&id) {
                Some(container) => container.sandbox = true,
                None => self.sandboxes.retire(now, id, Duration::from_nanos(idle), out),
            }
        }
    }
}

/// A random id of 16 bytes.
fn random_id(rng: &mut StdRng) -> Bytes {
    Bytes::copy_from_slice(&rng.random::<[u8; 16]>())
}
