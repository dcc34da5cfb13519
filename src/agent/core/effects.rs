//! What goes into the agent's core and what comes out of it: plain data, so that a run can be recorded and replayed.

use super::{ContainerId, Leftover, SessionId, Step, SupervisorId};
use crate::proto::internal::{
    AgentMessage, AgentRecord, MasterMessage, SupervisorEvent, SupervisorRequest, agent_message,
};

/// What happened outside.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// The stream to the master that [`Effect::Attach`] asked for stands.
    Attached {
        /// The session that was asked for.
        session: SessionId,
    },
    /// The stream ended, or could not be made.
    Detached {
        /// The session that is over.
        session: SessionId,
        /// Where the master said to go instead, as `host:port`.
        leader: Option<String>,
    },
    /// The master sent a message.
    Received {
        /// The session it came on; what an earlier session still brings is dropped.
        session: SessionId,
        /// The message.
        message: MasterMessage,
    },
    /// A supervisor reported something.
    Supervised {
        /// Which one.
        supervisor: SupervisorId,
        /// What it reported.
        event: SupervisorEvent,
    },
    /// A supervisor's process is gone, and with it all it ran. What it had recorded is told by one more greeting, or
    /// [`Input::SupervisorEnded`] says that there was nothing.
    SupervisorLost {
        /// Which one.
        supervisor: SupervisorId,
        /// How it ended, in words.
        text: String,
    },
    /// A supervisor lives but does not answer. What it runs goes on; a greeting follows when it answers again.
    SupervisorSilent {
        /// Which one.
        supervisor: SupervisorId,
        /// What was tried and failed.
        text: String,
    },
    /// Nothing is left of a supervisor and nothing more is heard of it.
    SupervisorEnded {
        /// Which one.
        supervisor: SupervisorId,
    },
    /// A step of a container's provisioning is done.
    StepDone {
        /// Whose step.
        container: ContainerId,
        /// Which one.
        step: Step,
    },
    /// A step could not be done, or was cancelled; nothing is left of it.
    StepFailed {
        /// Whose step.
        container: ContainerId,
        /// Which one.
        step: Step,
        /// What failed, in words.
        text: String,
    },
    /// Nothing of these containers runs any more: the answer to [`Effect::EndLeftovers`], whole or in parts.
    LeftoversEnded {
        /// Which ones.
        containers: Vec<ContainerId>,
    },
    /// The disk of the work directory has no room but what is kept free for the log.
    DiskFull {
        /// What the system said.
        text: String,
    },
    /// The disk has room again.
    DiskHasRoom,
    /// The agent is to end its tasks and leave the cluster for good.
    ShutDown,
    /// There is no supervisor that takes starts, and one could not be started; told for every attempt.
    NoSupervisor {
        /// Why not, in words.
        text: String,
    },
    /// The agent's process is about to end; its tasks go on and another will find them.
    Stopping,
    /// The time of [`super::Agent::deadline`] has come. Early, late or doubled ticks do no harm.
    Tick,
}

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Append to the log; no later effect leaves before the records have reached `level`, but for one that
    /// [asserts nothing](Effect::bypasses_gate).
    Persist {
        /// In order.
        records: Vec<AgentRecord>,
        /// How safe they have to be.
        level: Level,
    },
    /// Open a stream to the master and answer with [`Input::Attached`] or [`Input::Detached`].
    Attach {
        /// The name of the session that begins.
        session: SessionId,
        /// How many sessions ended without a master's having taken the agent. Of several masters the one whose turn it
        /// is comes first: one that took the agent keeps its turn, one that refused it or was silent passes it on.
        turn: u64,
        /// The master to try in the place of all of them: another one named it as the leader.
        leader: Option<String>,
    },
    /// Drop the stream to the master.
    Detach {
        /// The session that is over.
        session: SessionId,
    },
    /// Send to the master.
    Send {
        /// On which session; void if that one is over.
        session: SessionId,
        /// The message.
        message: AgentMessage,
    },
    /// Send to a supervisor.
    Supervise {
        /// To which one.
        supervisor: SupervisorId,
        /// The request.
        request: SupervisorRequest,
    },
    /// Do a step of a container's provisioning, and answer with [`Input::StepDone`] or [`Input::StepFailed`].
    Provision {
        /// Whose step.
        container: ContainerId,
        /// Which one.
        step: Step,
    },
    /// Stop doing a step if it takes long. It is answered all the same.
    CancelStep {
        /// Whose step.
        container: ContainerId,
        /// Which one.
        step: Step,
    },
    /// End all processes of these containers, which no supervisor has, and answer with [`Input::LeftoversEnded`].
    EndLeftovers {
        /// Which ones.
        leftovers: Vec<Leftover>,
    },
    /// Remove a sandbox and all that is in it; one that is not there is removed already.
    RemoveSandbox {
        /// Whose sandbox.
        container: ContainerId,
    },
    /// End the agent.
    Stop {
        /// Why.
        reason: StopReason,
    },
}

impl Effect {
    /// Whether it stands for nothing that was decided or done: it shows that this agent is there. Such an effect need not
    /// wait for what is to be on the disk before it.
    #[must_use]
    pub fn bypasses_gate(&self) -> bool {
        matches!(self, Self::Send { message, .. } if matches!(message.kind, Some(agent_message::Kind::Pong(_))))
    }
}

/// How safe a record has to be before an effect that follows it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Written: it survives the end of the process.
    Process,
    /// Synced: it survives a power cut.
    Host,
}

/// What keeps an agent from doing all that it should, as operators read it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A supervisor lives and does not answer: its tasks keep their last known state, and kills wait.
    SilentSupervisor {
        /// Which one.
        supervisor: SupervisorId,
        /// Since when, on the monotonic clock.
        since_ns: u64,
        /// What was tried and failed.
        text: String,
    },
    /// The disk of the work directory is full: no tasks are taken.
    DiskFull {
        /// Since when, on the monotonic clock.
        since_ns: u64,
        /// What the system said.
        text: String,
    },
}

/// Why an agent ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// An operator marked the agent gone; what it ran has ended.
    Gone,
    /// The master does not take this agent, now or later, for the reason given.
    Refused(String),
    /// [`Input::ShutDown`] is complete.
    ShutDown,
}
