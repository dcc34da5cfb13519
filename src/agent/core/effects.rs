//! The inputs and effects of the agent's core: plain data, so that a run can be recorded and replayed.

use super::{ContainerId, Leftover, SessionId, Step, SupervisorId};
use crate::proto::internal::{
    AgentMessage, AgentRecord, MasterMessage, SupervisorEvent, SupervisorRequest, agent_message,
};

/// An event that the core has to handle.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// The stream to the master that [`Effect::Attach`] requested is open.
    Attached {
        /// The session that was requested.
        session: SessionId,
    },
    /// The stream was closed or lost, or could not be opened.
    Detached {
        /// The session that is over.
        session: SessionId,
        /// The leader that the master named, as `host:port`.
        leader: Option<String>,
    },
    /// The master sent a message.
    Received {
        /// The session it was received on; messages of an earlier session are dropped.
        session: SessionId,
        /// The message.
        message: MasterMessage,
    },
    /// A supervisor sent an event.
    Supervised {
        /// Which one.
        supervisor: SupervisorId,
        /// The event.
        event: SupervisorEvent,
    },
    /// A supervisor's process has ended, and with it all it ran. One more greeting reports what it had recorded;
    /// [`Input::SupervisorEnded`] follows instead if it had recorded nothing.
    SupervisorLost {
        /// Which one.
        supervisor: SupervisorId,
        /// How it ended, in words.
        text: String,
    },
    /// A supervisor is alive but does not answer. Its tasks run on; a greeting follows when it answers again.
    SupervisorSilent {
        /// Which one.
        supervisor: SupervisorId,
        /// What was tried and failed.
        text: String,
    },
    /// A supervisor has ended, and no more events of it follow.
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
    /// A step failed or was cancelled, and has left nothing behind.
    StepFailed {
        /// Whose step.
        container: ContainerId,
        /// Which one.
        step: Step,
        /// What failed, in words.
        text: String,
    },
    /// No process of these containers is left: the answer to [`Effect::EndLeftovers`], whole or in parts.
    LeftoversEnded {
        /// Which ones.
        containers: Vec<ContainerId>,
    },
    /// The disk of the work directory is full, except for the space reserved for the log.
    DiskFull {
        /// The system's error.
        text: String,
    },
    /// The disk has free space again.
    DiskHasRoom,
    /// The agent is to end its tasks and leave the cluster for good.
    ShutDown,
    /// No supervisor accepts starts, and one could not be started. Reported for every attempt.
    NoSupervisor {
        /// Why not, in words.
        text: String,
    },
    /// The agent's process is about to end. Its tasks run on, and the next agent finds them.
    Stopping,
    /// The deadline of the core has passed. Early, late or repeated ticks are harmless.
    Tick,
}

/// An action that the core requests from the shell.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Effect {
    /// Append to the log. No later effect is carried out before the records have reached `level`, except those that
    /// [bypass the gate](Effect::bypasses_gate).
    Persist {
        /// In order.
        records: Vec<AgentRecord>,
        /// How durable they have to be.
        level: Level,
    },
    /// Open a stream to the master and answer with [`Input::Attached`] or [`Input::Detached`].
    Attach {
        /// The id of the session that begins.
        session: SessionId,
        /// How many sessions ended before a master had registered the agent. It selects the master that is tried first:
        /// a master that registered the agent keeps its turn, one that refused it or was silent loses it.
        turn: u64,
        /// The only master to try: another master named it as the leader.
        leader: Option<String>,
    },
    /// Drop the stream to the master.
    Detach {
        /// The session that is over.
        session: SessionId,
    },
    /// Send to the master.
    Send {
        /// On which session; dropped if that session is over.
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
    /// Stop doing a step if it takes long. The answer follows in any case.
    CancelStep {
        /// Whose step.
        container: ContainerId,
        /// Which one.
        step: Step,
    },
    /// Kill all processes of these containers, which no supervisor has, and answer with [`Input::LeftoversEnded`].
    EndLeftovers {
        /// Which ones.
        leftovers: Vec<Leftover>,
    },
    /// Remove a sandbox with its content. A missing one counts as removed.
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
    /// Whether this effect is carried out before earlier records are durable. Only answers to pings are: they report no
    /// state.
    #[must_use]
    pub fn bypasses_gate(&self) -> bool {
        matches!(self, Self::Send { message, .. } if matches!(message.kind, Some(agent_message::Kind::Pong(_))))
    }
}

/// How durable a record has to be before later effects are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Written: it survives the end of the process.
    Process,
    /// Synced: it survives a power cut.
    Host,
}

/// A problem of an agent, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A supervisor is alive and does not answer: its tasks keep their last known state, and kills wait.
    SilentSupervisor {
        /// Which one.
        supervisor: SupervisorId,
        /// Since when, on the monotonic clock.
        since_ns: u64,
        /// What was tried and failed.
        text: String,
    },
    /// The disk of the work directory is full: the agent accepts no tasks.
    DiskFull {
        /// Since when, on the monotonic clock.
        since_ns: u64,
        /// The system's error.
        text: String,
    },
}

/// Why an agent ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// An operator marked the agent gone; its tasks have ended.
    Gone,
    /// The master refused this agent permanently, for this reason.
    Refused(String),
    /// [`Input::ShutDown`] is complete.
    ShutDown,
}
