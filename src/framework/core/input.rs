//! What goes into the driver's core and what comes out: plain data, so that a run can be recorded and replayed.

use std::time::Duration;

use bytes::Bytes;

use crate::framework::event::SchedulerEvent;
use crate::proto::{ext, v1, v1::scheduler::Call};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// The driver shall begin.
    Started,
    /// The framework made a call, numbered by the handle it made it with.
    Called { seq: u64, request: Request },
    /// The connection asked for under this number stands.
    Connected { session: u64 },
    /// It could not be made, or is gone. `leader` is where the master said to go instead.
    Disconnected { session: u64, reason: String, leader: Option<String> },
    /// A frame came from the master.
    Received { session: u64, events: Box<ext::Events> },
    /// A callback finished.
    Returned { callback: u64, outcome: Outcome },
    /// The deadline passed. Harmless when early or repeated.
    Tick,
}

/// What the framework wants.
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
    /// Empty: everything the master knows.
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
    /// The tasks go on; another driver with the same framework id takes over.
    Failover,
    /// At once; to the master it looks like a failover.
    Abort,
}

/// How a callback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Err,
    Panicked,
}

/// What the shell has to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Wait, then connect, and tell under this number how it went. Replaces an earlier attempt.
    Connect { session: u64, master: String, after: Duration },
    /// Send what is queued for this session, then close it.
    Disconnect { session: u64 },
    /// Queue a call; `seq` is its number on this session's stream.
    Send { session: u64, seq: u64, call: Box<Call> },
    /// Run a callback after those delivered before, and tell how it ended.
    Deliver { callback: u64, event: SchedulerEvent },
    /// The driver is done; nothing follows.
    Finish(Finished),
}

/// How a driver ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// The master confirmed that the framework is gone.
    TornDown,
    /// The master could not be told in time that the framework shall go.
    TeardownUnconfirmed,
    /// Another driver may take over.
    LeftForFailover,
    /// The user gave up.
    Aborted,
    /// The master ended the session for good.
    Failed(String),
}
