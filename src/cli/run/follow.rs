//! Reading what a task writes, while it writes it, from the agent that runs it.

use std::time::Duration;

use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use tonic::{Code, Status};

use crate::{
    proto::{
        ext::{ReadRequest, sandbox_client::SandboxClient},
        v1::Offer,
    },
    transport::{
        backoff::Backoff,
        connect::{self, Address},
    },
};

/// Connections in a row that may fail without a byte read.
const MAX_ATTEMPTS: u32 = 6;
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

/// Why a file could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("the output of {path} on {agent} is cut off at byte {offset}: {reason}")]
pub(super) struct CutOff {
    path: &'static str,
    agent: Address,
    offset: u64,
    reason: String,
}

/// Hands every piece of the file to `taker` until the container has ended and all is read, or `taker` wants no more.
///
/// A connection that breaks is made again and goes on where it stopped.
pub(super) async fn follow(file: &File, taker: &mut impl Taker) -> Result<(), CutOff> {
    let (mut offset, mut attempts) = (0, 0);
    let (mut backoff, mut rng) = (Backoff::new(FIRST_WAIT, LONGEST_WAIT), StdRng::from_os_rng());
    loop {
        let before = offset;
        let reason = match read(file, &mut offset, taker).await {
            Ok(()) => return Ok(()),
            Err(status) if is_final(&status) => status.message().to_owned(),
            Err(status) => {
                attempts = if offset > before { 1 } else { attempts + 1 };
                if attempts < MAX_ATTEMPTS {
                    tokio::time::sleep(backoff.next_wait(&mut rng)).await;
                    continue;
                }
                status.message().to_owned()
            }
        };
        return Err(CutOff { path: file.path, agent: file.agent.clone(), offset, reason });
    }
}

async fn read(file: &File, offset: &mut u64, taker: &mut impl Taker) -> Result<(), Status> {
    let channel = connect::agent(&file.agent).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = ReadRequest {
        container_id: file.container_id.clone(),
        path: file.path.to_owned(),
        offset: *offset,
        follow: true,
    };
    let mut chunks = SandboxClient::new(channel).read(request).await?.into_inner();
    while let Some(chunk) = chunks.message().await? {
        *offset = chunk.offset + chunk.data.len() as u64;
        if !taker.take(chunk.data).await {
            break;
        }
    }
    Ok(())
}

/// Whether asking again cannot help.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
    )
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
