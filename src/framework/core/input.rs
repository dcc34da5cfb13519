//! The inputs and effects of the driver's core: plain data, so that a run can be recorded and replayed.

use std::time::Duration;

use bytes::Bytes;

use crate::framework::event::SchedulerEvent;
use crate::proto::{ext, v1, v1::scheduler::Call};

/// An input of the core.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// The driver was started.
    Started,
    /// The framework made a call, numbered by its handle.
    Called { seq: u64, request: Request },
    /// The connection of this session is open.
    Connected { session: u64 },
    /// It failed or was lost. `leader` is the address that the master named instead.
    Disconnected { session: u64, reason: String, leader: Option<String> },
    /// A frame of the master arrived.
    Received { session: u64, events: Box<ext::Events> },
    /// A callback returned.
    Returned { callback: u64, outcome: Outcome },
    /// The deadline passed. Harmless when early or repeated.
    Tick,
}

/// A call of the framework.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Request {
    Accept {
        offer_ids: Vec<v1::OfferId>,
        operations: Vec<v1::offer::Operation>,
        filters: Option<v1::Filters>,
    },
    Decline {
        offer_ids: Vec<v1::OfferId>,
        filters: Option<v1::Filters>,
    },
    Kill {
        task_id: v1::TaskId,
        policy: Option<v1::KillPolicy>,
    },
    /// Empty: all tasks that the master knows.
    Reconcile {
        tasks: Vec<(v1::TaskId, Option<v1::AgentId>)>,
    },
    Demand {
        requests: Vec<v1::Request>,
    },
    /// Empty: all roles.
    Revive {
        roles: Vec<String>,
    },
    /// Empty: all roles.
    Suppress {
        roles: Vec<String>,
    },
    Message {
        agent_id: v1::AgentId,
        executor_id: v1::ExecutorId,
        data: Bytes,
    },
    Acknowledge {
        task_id: v1::TaskId,
        agent_id: v1::AgentId,
        uuid: Bytes,
    },
    Stop(Stop),
}

/// The three ways to end a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The framework and its tasks end.
    Teardown,
    /// The tasks keep running; another driver with the same framework id may take over.
    Failover,
    /// At once; for the master it is a failover.
    Abort,
}

/// How a callback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Err,
    Panicked,
}

/// An effect that the shell carries out, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Wait, then connect, and report the result for this session. Replaces an earlier attempt.
    Connect { session: u64, master: String, after: Duration },
    /// Send what is queued for this session, then close it.
    Disconnect { session: u64 },
    /// Queue a call; `seq` is its number on this session's stream.
    Send { session: u64, seq: u64, call: Box<Call> },
    /// Run a callback after those delivered before, and report its outcome.
    Deliver { callback: u64, event: SchedulerEvent },
    /// The driver has ended; nothing follows.
    Finish(Finished),
}

/// How a driver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// The master confirmed the teardown.
    TornDown,
    /// No master confirmed the teardown in time.
    TeardownUnconfirmed,
    /// Another driver may take over.
    LeftForFailover,
    /// The user aborted the driver.
    Aborted,
    /// The master ended the framework's session permanently.
    Failed(String),
}
