//! One container: its phase, its limits, and its kill.

use std::time::Duration;

use crate::agent::core::containers::kills::{GRACE, Kill};
use crate::agent::core::containers::provisioning::{Provisioning, Step};
use crate::agent::core::time::moments::Moment;
use crate::agent::core::{ContainerId, SupervisorId};
use crate::proto::internal::{Start, Started};
use crate::proto::v1::TaskInfo;

/// One container that the agent has not removed yet.
#[derive(Debug)]
pub(in crate::agent::core) struct Container {
    /// The container it is nested in.
    pub(in crate::agent::core) parent: Option<ContainerId>,
    pub(in crate::agent::core) accepted_at: Moment,
    pub(in crate::agent::core) phase: Phase,
    pub(in crate::agent::core) limits: Limits,
    pub(in crate::agent::core) kill: Option<Kill>,
    /// When its completion time is over, on the monotonic clock.
    pub(in crate::agent::core) overdue_at: Option<u64>,
    /// When it is stopped for lack of a master, while no master has the agent.
    pub(in crate::agent::core) stop_at: Option<u64>,
    /// Whether a sandbox was or is being made for it.
    pub(in crate::agent::core) sandbox: bool,
}

/// The time limits of a container.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::agent::core) struct Limits {
    /// The grace period of the task's own kill policy, if it has one.
    pub(in crate::agent::core) grace: Option<Duration>,
    /// The longest it may run.
    pub(in crate::agent::core) completion: Option<Duration>,
    /// The longest it may run without a master.
    pub(in crate::agent::core) without_master: Option<Duration>,
}

impl Limits {
    pub(in crate::agent::core) fn of(info: &TaskInfo) -> Self {
        Self {
            grace: info.kill_policy.and_then(|policy| policy.grace_period).map(|grace| nanos(grace.nanoseconds)),
            completion: info.max_completion_time.map(|limit| nanos(limit.nanoseconds)),
            without_master: info.partition_policy.as_ref().and_then(|policy| policy.stop_after()),
        }
    }
}

/// The phase of a container.
#[derive(Debug)]
pub(in crate::agent::core) enum Phase {
    /// It waits for its parent to run.
    Accepted(Box<Start>),
    /// What it needs is being made.
    Provisioning(Box<Start>, Provisioning<Step>),
    /// It waits for a supervisor.
    Provisioned(Box<Start>),
    /// The supervisor was asked to start it.
    Starting(SupervisorId),
    Running(SupervisorId, Process),
    /// Replayed from the log; no supervisor has reported its state yet. The process, if its start was recorded.
    Unresolved(Option<Process>),
    /// All its processes have ended. The supervisor keeps the exit until the agent sends `Forget`.
    Ended(Option<SupervisorId>),
}

/// The first process of a container. Pid and start time together identify it for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// In clock ticks since boot.
    pub start_time: u64,
}

impl From<&Started> for Process {
    fn from(started: &Started) -> Self {
        Self { pid: started.pid, start_time: started.start_time }
    }
}

impl Container {
    pub(in crate::agent::core) fn new(
        parent: Option<ContainerId>,
        accepted_at: Moment,
        limits: Limits,
        phase: Phase,
    ) -> Self {
        let (kill, overdue_at, stop_at) = (None, None, None);
        Self { parent, accepted_at, phase, limits, kill, overdue_at, stop_at, sandbox: false }
    }

    pub(in crate::agent::core) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    pub(in crate::agent::core) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running(..))
    }

    /// Between SIGTERM and SIGKILL when a kill does not set it.
    pub(in crate::agent::core) fn grace_or_default(&self) -> Duration {
        self.limits.grace.unwrap_or(GRACE)
    }

    /// The supervisor that has the container, if any has.
    pub(in crate::agent::core) fn supervisor(&self) -> Option<SupervisorId> {
        match &self.phase {
            Phase::Starting(supervisor) | Phase::Running(supervisor, _) => Some(*supervisor),
            Phase::Ended(supervisor) => *supervisor,
            Phase::Accepted(_) | Phase::Provisioning(..) | Phase::Provisioned(_) | Phase::Unresolved(_) => None,
        }
    }
}

/// A duration of the wire; a negative one is none.
pub(in crate::agent::core) fn nanos(nanoseconds: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}
