//! Follows a task's output: reads it from the agent while the task runs.
//!
//! The end of a stream is the end of the file only if the container has ended. Until then every error is temporary: the
//! agent may restart, also on another port, and a new stream continues at the byte reached.

use std::time::Duration;

use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Status};

use crate::{
    cli::{operator::Operator, output},
    proto::{
        ext::{ReadRequest, sandbox_client::SandboxClient},
        v1::{AgentId, Offer},
    },
    transport::{
        backoff::Backoff,
        connect::{self, Address, Addresses},
    },
};

/// How many connections in a row may fail without a byte read before a notice is printed.
const QUIET_ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// The address of the agent of an offer.
pub(super) fn address(offer: &Offer) -> Option<Address> {
    let url = &offer.url.as_ref()?.address;
    let port = u16::try_from(url.port).ok()?;
    let host = url.ip.clone().or_else(|| url.hostname.clone()).unwrap_or_else(|| offer.hostname.clone());
    Some(Address::new(host, port))
}

/// A file of a container's sandbox.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// The name shown to users: `w.0: stdout`.
    pub(super) name: String,
    /// The last known address of the agent.
    pub(super) agent: Address,
    pub(super) container_id: String,
    /// Relative to the sandbox.
    pub(super) path: &'static str,
}

/// Receives the pieces of a file.
pub(super) trait OutputSink {
    /// Writes the next piece; false to stop reading.
    fn write(&mut self, bytes: Bytes) -> impl Future<Output = bool> + Send;
}

/// Finds the current address of an agent.
pub(super) trait Locator {
    /// The agent's current address, if the agent is connected.
    fn locate(&self) -> impl Future<Output = Option<Address>> + Send;
}

/// Finds an agent's address through the master.
#[derive(Clone, Debug)]
pub(super) struct MasterLocator {
    pub(super) masters: Addresses,
    pub(super) agent_id: AgentId,
}

impl Locator for MasterLocator {
    async fn locate(&self) -> Option<Address> {
        let answer = Operator::connect(&self.masters).await.ok()?.agents().await.ok()?;
        let agent = answer.agents.into_iter().find(|agent| agent.agent_info.id.as_ref() == Some(&self.agent_id))?;
        // "slave(1)@10.0.0.7:5051"
        agent.pid.as_deref()?.rsplit_once('@')?.1.parse().ok().filter(|_| agent.active)
    }
}

/// Whether the task is known to have ended.
#[derive(Clone, Debug)]
pub(super) struct TaskEnd {
    ended: watch::Receiver<bool>,
    /// How long a stream may deliver nothing after the end.
    limit: Duration,
}

impl TaskEnd {
    pub(super) fn new(ended: watch::Receiver<bool>, limit: Duration) -> Self {
        Self { ended, limit }
    }

    /// Whether the task has ended, or its end can no longer be reported.
    fn has_ended(&self) -> bool {
        *self.ended.borrow() || self.ended.has_changed().is_err()
    }

    /// Waits for this time, or until the task ends.
    async fn wait_at_most(&mut self, wait: Duration) {
        if self.has_ended() {
            return tokio::time::sleep(wait).await;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // An error means that the end can no longer be reported: the task counts as ended.
            _ = self.ended.wait_for(|ended| *ended) => {}
        }
    }

    /// Waits until the task has ended, and then for the limit.
    async fn wait_past_limit(&mut self) {
        // An error means that the end can no longer be reported: the task counts as ended.
        let _ = self.ended.wait_for(|ended| *ended).await;
        tokio::time::sleep(self.limit).await;
    }
}

/// Why a file could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("{name}: the output from byte {offset} on is missing, {agent} does not send it: {reason}")]
pub(super) struct CutOff {
    name: String,
    agent: Address,
    offset: u64,
    reason: String,
}

/// Writes the file to `sink` until the task has ended and all is read, or until `sink` stops reading.
///
/// A lost connection is opened again and reading continues where it stopped, until the task has ended and for a while
/// after that.
pub(super) async fn follow(
    mut file: File,
    locator: &impl Locator,
    mut end: TaskEnd,
    sink: &mut impl OutputSink,
) -> Result<(), CutOff> {
    let (mut offset, mut attempts, mut deadline) = (0, 0, None);
    let (mut backoff, mut rng) = (Backoff::new(FIRST_WAIT, LONGEST_WAIT), StdRng::from_os_rng());
    loop {
        let before = offset;
        // Checked before the file is read, so that everything written before the end is read.
        let has_ended = end.has_ended();
        let outcome = read(&file, &mut offset, &mut end, sink).await;
        if offset > before {
            (attempts, deadline) = (0, None);
            backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        }
        if end.has_ended() {
            deadline.get_or_insert_with(|| Instant::now() + end.limit);
        }
        match outcome {
            Ok(Reached::Enough) => return Ok(()),
            Ok(Reached::End) if has_ended => return Ok(()),
            // The end is about to be reported, or an agent of an earlier version stops.
            Ok(Reached::End) => end.wait_at_most(backoff.next_wait(&mut rng)).await,
            Err(status) if is_final(&status) || deadline.is_some_and(|at| Instant::now() >= at) => {
                let File { name, agent, .. } = file;
                return Err(CutOff { name, agent, offset, reason: status.message().to_owned() });
            }
            Err(status) => {
                attempts += 1;
                if attempts == QUIET_ATTEMPTS {
                    print_notice(&file.name, offset, status.message());
                }
                end.wait_at_most(backoff.next_wait(&mut rng)).await;
                file.agent = locator.locate().await.unwrap_or(file.agent);
            }
        }
    }
}

fn print_notice(name: &str, offset: u64, reason: &str) {
    output::note(format_args!("divvy: {name}: waiting for the output from byte {offset} on: {reason}"));
}

/// How a stream ended.
enum Reached {
    End,
    /// The sink stopped reading.
    Enough,
}

async fn read(file: &File, offset: &mut u64, end: &mut TaskEnd, sink: &mut impl OutputSink) -> Result<Reached, Status> {
    let channel = connect::agent(&file.agent).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = ReadRequest {
        container_id: file.container_id.clone(),
        path: file.path.to_owned(),
        offset: *offset,
        follow: true,
    };
    let mut chunks = SandboxClient::new(channel).read(request).await?.into_inner();
    loop {
        let chunk = tokio::select! {
            chunk = chunks.message() => chunk?,
            () = end.wait_past_limit() => return Err(Status::deadline_exceeded("nothing was received after the end")),
        };
        let Some(chunk) = chunk else { return Ok(Reached::End) };
        *offset = chunk.offset + chunk.data.len() as u64;
        if !sink.write(chunk.data).await {
            return Ok(Reached::Enough);
        }
    }
}

/// Whether a retry cannot succeed.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::DeadlineExceeded
    )
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
