//! Reading what a task writes, while it writes it, from the agent that runs it.
//!
//! A stream that ends is the end of the file only if the container has ended. Until that is known, whatever breaks a
//! stream is passing: the agent is restarted, on another port perhaps, and the stream goes on at the byte it reached.

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

/// Connections in a row that may fail without a byte read before that is reported.
const QUIET_ATTEMPTS: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(3);

/// Where an agent that made an offer serves.
pub(super) fn address(offer: &Offer) -> Option<Address> {
    let url = &offer.url.as_ref()?.address;
    let port = u16::try_from(url.port).ok()?;
    let host = url.ip.clone().or_else(|| url.hostname.clone()).unwrap_or_else(|| offer.hostname.clone());
    Some(Address::new(host, port))
}

/// A file of a container's sandbox.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// What the file is called towards people: `w.0: stdout`.
    pub(super) name: String,
    /// Where the agent was last.
    pub(super) agent: Address,
    pub(super) container_id: String,
    /// Relative to the sandbox.
    pub(super) path: &'static str,
}

/// Where the pieces of a file go.
pub(super) trait Taker {
    /// Takes the next piece; false when no more is wanted.
    fn take(&mut self, bytes: Bytes) -> impl Future<Output = bool> + Send;
}

/// Knows where the agent is by now.
pub(super) trait Locator {
    /// Its present address, if it is known and can be reached.
    fn locate(&self) -> impl Future<Output = Option<Address>> + Send;
}

/// Asks the masters for an agent.
#[derive(Clone, Debug)]
pub(super) struct AskMaster {
    pub(super) masters: Addresses,
    pub(super) agent_id: AgentId,
}

impl Locator for AskMaster {
    async fn locate(&self) -> Option<Address> {
        let answer = Operator::connect(&self.masters).await.ok()?.agents().await.ok()?;
        let agent = answer.agents.into_iter().find(|agent| agent.agent_info.id.as_ref() == Some(&self.agent_id))?;
        // "slave(1)@10.0.0.7:5051"
        agent.pid.as_deref()?.rsplit_once('@')?.1.parse().ok().filter(|_| agent.active)
    }
}

/// Whether the container is known to have ended.
#[derive(Clone, Debug)]
pub(super) struct TaskEnd {
    ended: watch::Receiver<bool>,
    /// How long a stream may bring nothing after the end.
    limit: Duration,
}

impl TaskEnd {
    pub(super) fn new(ended: watch::Receiver<bool>, limit: Duration) -> Self {
        Self { ended, limit }
    }

    /// Whether the task has ended, or its end can no longer be reported.
    fn has_come(&self) -> bool {
        *self.ended.borrow() || self.ended.has_changed().is_err()
    }

    /// Waits, but not beyond the end if that comes meanwhile.
    async fn or_wait(&mut self, wait: Duration) {
        if self.has_come() {
            return tokio::time::sleep(wait).await;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            // An error means that the end can no longer be reported, which counts as one.
            _ = self.ended.wait_for(|ended| *ended) => {}
        }
    }

    /// Ready once the task has ended and the limit has passed since then, or since this was asked if that is later.
    async fn and_limit(&mut self) {
        // An error means that the end can no longer be reported, which counts as one.
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

/// Hands every piece of the file to `taker` until the container has ended and all is read, or `taker` wants no more.
///
/// A connection that breaks is made again and goes on where it stopped, for as long as the task has not ended, and for a
/// while after that.
pub(super) async fn follow(
    mut file: File,
    locator: &impl Locator,
    mut end: TaskEnd,
    taker: &mut impl Taker,
) -> Result<(), CutOff> {
    let (mut offset, mut attempts, mut give_up) = (0, 0, None);
    let (mut backoff, mut rng) = (Backoff::new(FIRST_WAIT, LONGEST_WAIT), StdRng::from_os_rng());
    loop {
        let before = offset;
        // Looked at before the file is read: what was written before the end is then still read.
        let has_ended = end.has_come();
        let outcome = read(&file, &mut offset, &mut end, taker).await;
        if offset > before {
            (attempts, give_up) = (0, None);
            backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        }
        if end.has_come() {
            give_up.get_or_insert_with(|| Instant::now() + end.limit);
        }
        match outcome {
            Ok(Reached::Enough) => return Ok(()),
            Ok(Reached::End) if has_ended => return Ok(()),
            // The end is about to be reported, or this is an agent of an earlier version that stops.
            Ok(Reached::End) => end.or_wait(backoff.next_wait(&mut rng)).await,
            Err(status) if is_final(&status) || give_up.is_some_and(|at| Instant::now() >= at) => {
                let File { name, agent, .. } = file;
                return Err(CutOff { name, agent, offset, reason: status.message().to_owned() });
            }
            Err(status) => {
                attempts += 1;
                if attempts == QUIET_ATTEMPTS {
                    report(&file.name, offset, status.message());
                }
                end.or_wait(backoff.next_wait(&mut rng)).await;
                file.agent = locator.locate().await.unwrap_or(file.agent);
            }
        }
    }
}

fn report(name: &str, offset: u64, reason: &str) {
    output::note(format_args!("divvy: {name}: waiting for the output from byte {offset} on: {reason}"));
}

/// How a stream came to its end.
enum Reached {
    End,
    /// The taker wants no more.
    Enough,
}

async fn read(file: &File, offset: &mut u64, end: &mut TaskEnd, taker: &mut impl Taker) -> Result<Reached, Status> {
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
            () = end.and_limit() => return Err(Status::deadline_exceeded("nothing came for a while after the end")),
        };
        let Some(chunk) = chunk else { return Ok(Reached::End) };
        *offset = chunk.offset + chunk.data.len() as u64;
        if !taker.take(chunk.data).await {
            return Ok(Reached::Enough);
        }
    }
}

/// Whether asking again cannot help.
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
