//! The agent's core: a state machine without sockets, processes, files, clocks or randomness of its own.
//!
//! The shell passes it [`Input`]s with their time, carries out its [`Effect`]s, and sends a tick at its deadline. The
//! order rule: *an effect is carried out when every earlier [`Effect::Persist`] has reached its level*. The core itself
//! never waits. After a restart [`Agent::recover`] rebuilds the state from any prefix of the log. The supervisors'
//! greetings then report the containers' current state; the agent does not attach to a master before that.

mod config;
mod containers;
mod effects;
mod ids;
mod recovery;
mod session;
mod space;
mod tasks;
#[cfg(test)]
mod tests;
mod time;

use std::collections::{BTreeMap, BTreeSet};

use prost::bytes::Bytes;
use rand::rngs::StdRng;

pub use config::{Config, Found, FoundSupervisor, Retention};
pub use containers::Process;
pub use containers::environment::MARKER;
pub use containers::leftovers::Leftover;
pub use containers::provisioning::Step;
pub use effects::{Effect, Input, Level, Problem, StopReason};
pub use ids::{ContainerId, SessionId, SupervisorId};

use crate::harness::Core;
use crate::proto::internal::{AgentRecord, WorkDirIdentity, agent_record};
use crate::proto::v1::{FrameworkId, TaskId};
use crate::types::Now;
use containers::Containers;
use containers::sandboxes::Sandboxes;
use containers::supervision::Supervisors;
use session::MasterLink;
use session::partition::CutOff;
use space::Space;
use tasks::Task;
use tasks::frameworks::Framework;
use time::timers::{Timer, Timers};

/// The state of one agent.
#[derive(Debug)]
pub struct Agent {
    config: Config,
    boot_id: String,
    /// How far the host's monotonic clock is ahead of the shell's, where that is known.
    booted_before_ns: Option<u64>,
    /// The boot that the log was written in, until a master has received the state after the restart.
    logged_boot: String,
    rng: StdRng,
    /// The id that the master assigned, empty before the first registration.
    id: String,
    /// Identifies the work directory if the agent did not receive its id from the master; empty with older agents.
    installation: Bytes,
    /// The directory of the log.
    work_dir: Option<WorkDirIdentity>,
    /// Identifies this run of the agent.
    instance: Bytes,
    /// The highest epoch of a master so far.
    epoch: u64,
    /// Why records of the previous run may be missing, until a master has received the resulting state.
    loss: Option<String>,
    link: MasterLink,
    cut_off: Option<CutOff>,
    supervisors: Supervisors,
    frameworks: BTreeMap<FrameworkId, Framework>,
    containers: Containers,
    /// By the id of the launch, which is also the id of the container made for it.
    tasks: BTreeMap<ContainerId, Task>,
    /// The tasks by name; a name may stand for an ended task and its successor at once.
    names: BTreeSet<(FrameworkId, TaskId, ContainerId)>,
    timers: Timers,
    sandboxes: Sandboxes,
    space: Space,
    /// Why the agent ends as soon as it runs no task, if it does.
    leaving: Option<StopReason>,
    inputs: u64,
}

impl Core for Agent {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Attached { session } => self.attached(now, session, out),
            Input::Detached { session, leader } => self.detached(now, session, leader, out),
            Input::Received { session, message } => self.received(now, session, message, out),
            Input::Supervised { supervisor, event } => self.supervised(now, supervisor, event, out),
            Input::SupervisorLost { supervisor, text } => self.supervisor_lost(supervisor, text),
            Input::SupervisorSilent { supervisor, text } => self.supervisor_silent(now, supervisor, text, out),
            Input::SupervisorEnded { supervisor } => self.supervisor_ended(now, supervisor, out),
            Input::NoSupervisor { text } => self.no_supervisor(now, &text, out),
            Input::StepDone { container, step } => self.step_done(now, &container, step, out),
            Input::StepFailed { container, step, text } => self.step_failed(now, &container, step, &text, out),
            Input::LeftoversEnded { containers } => self.leftovers_ended(now, &containers, out),
            Input::DiskFull { text } => self.disk_full(now, Some(text)),
            Input::DiskHasRoom => self.disk_full(now, None),
            Input::ShutDown => self.leave(now, StopReason::ShutDown, out),
            Input::Stopping => self.retire_if_idle(out),
            Input::Tick => self.ticked(now, out),
        }
        self.leave_when_empty(out);
        self.inputs += 1;
        if cfg!(debug_assertions) && (self.tasks.len() < 32 || self.inputs.is_multiple_of(1_000)) {
            self.check();
        }
    }

    fn deadline(&self) -> Option<u64> {
        let mine = [self.link.deadline(), self.timers.deadline(), self.sandboxes.deadline()];
        mine.into_iter().chain([self.supervisors.deadline()]).flatten().min()
    }

    fn tick() -> Input {
        Input::Tick
    }
}

impl Agent {
    /// The id that the master assigned to this agent, once it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        (!self.id.is_empty()).then_some(self.id.as_str())
    }

    /// Whether a master has registered the agent on the current session.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.session().is_some()
    }

    /// How many tasks the agent has: queued, running, or with a status that is not acknowledged.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the container is known and has not ended.
    #[must_use]
    pub fn is_live(&self, container: &ContainerId) -> bool {
        self.containers.get(container).is_some_and(|container| !container.has_ended())
    }

    /// The agent's current problems, for operators.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        self.supervisors.problems().chain(self.space.problem()).collect()
    }

    fn ticked(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.link_due(now, out);
        self.sweep_due(now, out);
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Retry(container) => self.retry_due(now, &container, out),
                Timer::Kill(container) => self.kill_due(now, &container, out),
                Timer::Overdue(container) => self.overdue(now, &container, out),
                Timer::CutOff(container) => self.stop_due(now, &container, out),
            }
        }
        self.sandboxes.expire(now, out);
    }

    /// Asserts the invariants that hold between any two inputs.
    ///
    /// # Panics
    ///
    /// When one does not hold.
    pub fn check(&self) {
        assert_eq!(self.names.len(), self.tasks.len(), "each task has one name");
        for (framework, task, container) in &self.names {
            let found = self.tasks.get(container);
            assert!(found.is_some_and(|it| it.framework == *framework && it.name == *task), "{container} is named");
        }
        assert_eq!(self.containers.len(), self.tasks.len(), "each container has one task");
        for (id, task) in &self.tasks {
            let container = self.containers.get(&task.container);
            task.check(container.unwrap_or_else(|| panic!("{id} has a container")));
        }
        self.containers.check();
        self.check_unresolved();
        self.check_recipients();
        self.timers.check(|container| self.containers.contains(container));
        #[cfg(debug_assertions)]
        for container in self.sandboxes.iter() {
            assert!(!self.containers.contains(container), "{container} has not ended, but its sandbox is retired");
        }
    }
}

impl Agent {
    /// Asserts that the log names every supervisor that was sent a start.
    fn check_recipients(&self) {
        let asked = |_: &ContainerId, container: &containers::Container| {
            matches!(&container.phase, containers::Phase::Starting(supervisor)
                if !self.supervisors.recipients.is_recorded(*supervisor))
        };
        assert_eq!(self.containers.ids(asked), [], "their starts were sent to a supervisor that the log does not name");
    }

    /// Asserts that a container is unresolved only while a supervisor may still report it, or its processes are looked
    /// for.
    fn check_unresolved(&self) {
        let open = |_: &ContainerId, container: &containers::Container| {
            matches!(container.phase, containers::Phase::Unresolved(_))
        };
        let may_be_open = !self.supervisors.all_answered() || self.supervisors.may_have_more();
        for id in self.containers.ids(open) {
            assert!(
                may_be_open || self.supervisors.searched.contains(&id),
                "{id} is unresolved, and no report will follow"
            );
        }
    }
}

fn persist(kinds: impl IntoIterator<Item = agent_record::Kind>, level: Level) -> Effect {
    Effect::Persist { records: kinds.into_iter().map(record).collect(), level }
}

/// The same for whole records, at [`Level::Process`].
fn persist_records(records: Vec<AgentRecord>) -> Effect {
    Effect::Persist { records, level: Level::Process }
}

fn record(kind: agent_record::Kind) -> AgentRecord {
    AgentRecord { kind: Some(kind), ..AgentRecord::default() }
}
