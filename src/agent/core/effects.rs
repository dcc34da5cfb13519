//! What goes into the agent's core and what comes out of it: plain data, so that a run can be recorded and replayed.

use super::{ContainerId, SessionId, SupervisorId};
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
    /// A sandbox is ready to be used.
    SandboxMade {
        /// Whose sandbox.
        container: ContainerId,
    },
    /// A sandbox could not be made.
    SandboxFailed {
        /// Whose sandbox.
        container: ContainerId,
        /// What failed, in words.
        text: String,
    },
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
    /// [asserts nothing](Effect::asserts_nothing).
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
    /// Make the directory a container runs in, and answer with [`Input::SandboxMade`] or [`Input::SandboxFailed`].
    MakeSandbox {
        /// Whose sandbox.
        container: ContainerId,
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
    pub fn asserts_nothing(&self) -> bool {
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
