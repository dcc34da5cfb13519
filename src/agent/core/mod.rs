//! What an agent decides, without a socket, a process, a file, a clock or chance of its own.
//!
//! The shell feeds it [`Input`]s with the time they happened at, carries out the [`Effect`]s, and gives it a tick at
//! its deadline. The order rule: *an effect leaves when every earlier [`Effect::Persist`] has reached its level*.
//! The core itself waits for nothing. After the end of the process [`Agent::recover`] rebuilds the state from whatever
//! prefix of the log is left, and the supervisors' greetings say what became of the containers in between; the agent
//! does not attach to a master before it knows.

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
use session::Link;
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
    /// How far the host's monotonic clock is ahead of ours, where that is known.
    booted_before_ns: Option<u64>,
    /// The boot that the log is of, until a master has heard what became of it.
    logged_boot: String,
    rng: StdRng,
    /// The id the master gave, empty before the first registration.
    id: String,
    /// Names the work directory to a master that gave it an id which was not heard here; empty in those of older agents.
    installation: Bytes,
    /// Which directory the log lies in.
    work_dir: Option<WorkDirIdentity>,
    /// Names this run of the agent.
    instance: Bytes,
    /// The highest epoch of a master seen.
    epoch: u64,
    /// Why records may not tell how the run before went on, until a master has heard what follows from it.
    loss: Option<String>,
    link: Link,
    cut_off: Option<CutOff>,
    supervisors: Supervisors,
    frameworks: BTreeMap<FrameworkId, Framework>,
    containers: Containers,
    /// By the id of the launch, which names the container that was made for it too.
    tasks: BTreeMap<ContainerId, Task>,
    /// The tasks by name; a name may stand for an ended task and its successor at once.
    names: BTreeSet<(FrameworkId, TaskId, ContainerId)>,
    timers: Timers,
    sandboxes: Sandboxes,
    space: Space,
    /// Why the agent ends as soon as it runs nothing, if it does.
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
    /// The id the master gave this agent, once it has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        (!self.id.is_empty()).then_some(self.id.as_str())
    }

    /// Whether a master has taken the agent on the present session.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        self.session().is_some()
    }

    /// How many tasks are not forgotten: queued, running, or with a status that is not acknowledged.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the container is known and has not ended.
    #[must_use]
    pub fn is_live(&self, container: &ContainerId) -> bool {
        self.containers.get(container).is_some_and(|container| !container.has_ended())
    }

    /// What an operator should know of: it goes on by itself, but not as well as it should.
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

    /// Asserts what holds between any two inputs.
    ///
    /// # Panics
    ///
    /// When it does not hold.
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
    /// The log has every supervisor that was asked to start something.
    fn check_recipients(&self) {
        let asked = |_: &ContainerId, container: &containers::Container| {
            matches!(&container.phase, containers::Phase::Starting(supervisor)
                if !self.supervisors.recipients.is_recorded(*supervisor))
        };
        assert_eq!(self.containers.ids(asked), [], "their starts were sent to a supervisor that the log does not name");
    }

    /// What became of a container is open only while a silent supervisor may have it, or its processes are looked for.
    fn check_unresolved(&self) {
        let open = |_: &ContainerId, container: &containers::Container| {
            matches!(container.phase, containers::Phase::Unresolved(_))
        };
        let may_be_open = !self.supervisors.is_settled() || self.supervisors.may_have_more();
        for id in self.containers.ids(open) {
            assert!(
                may_be_open || self.supervisors.searched.contains(&id),
                "{id} is unresolved, and nothing will tell"
            );
        }
    }
}

fn persist(kinds: impl IntoIterator<Item = agent_record::Kind>, level: Level) -> Effect {
    Effect::Persist { records: kinds.into_iter().map(record).collect(), level }
}

/// The same of whole records, at the level of the process.
fn persist_records(records: Vec<AgentRecord>) -> Effect {
    Effect::Persist { records, level: Level::Process }
}

fn record(kind: agent_record::Kind) -> AgentRecord {
    AgentRecord { kind: Some(kind), ..AgentRecord::default() }
}
