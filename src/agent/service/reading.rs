//! The service that reads files of a sandbox, and follows growing ones until their container has ended.

use futures::future::Either;
use futures::{Stream, StreamExt as _};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::mail::{Mail, Mailbox};
use crate::agent::core::ContainerId;
use crate::agent::sandbox::{NoMore, Part, SandboxError, Sandboxes};
use crate::proto::ext::sandbox_server::Sandbox;
use crate::proto::ext::{Chunk, ReadRequest};

/// The service behind `divvy.ext.Sandbox`.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) sandboxes: Sandboxes,
    pub(super) mailbox: Mailbox,
}

#[tonic::async_trait]
impl Sandbox for Reading {
    type ReadStream = std::pin::Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let ReadRequest { container_id, path, offset, follow } = request.into_inner();
        let container = ContainerId::parse(&container_id);
        let container = container.ok_or_else(|| refused(&SandboxError::BadId(container_id.clone())))?;
        let ended = if follow {
            Either::Left(ended(container, self.mailbox.clone()))
        } else {
            Either::Right(std::future::ready(NoMore::ContainerEnded))
        };
        let parts = self.sandboxes.tail(&container_id, &path, offset, ended);
        Ok(Response::new(Box::pin(parts.map(|part| part.map(chunk).map_err(|error| refused(&error))))))
    }
}

/// Ready when the container has ended, or the agent stops.
async fn ended(container: ContainerId, mailbox: Mailbox) -> NoMore {
    let (report, reported) = oneshot::channel();
    if mailbox.send(Mail::NotifyEnd(container, report)).await && reported.await.is_ok() {
        NoMore::ContainerEnded
    } else {
        NoMore::AgentStops
    }
}

fn chunk(part: Part) -> Chunk {
    Chunk { offset: part.offset, data: part.data }
}

fn refused(error: &SandboxError) -> Status {
    let text = error.to_string();
    match error {
        SandboxError::NoSandbox(_) | SandboxError::NotFound(_) => Status::not_found(text),
        SandboxError::BadId(_) | SandboxError::BadPath(_) | SandboxError::Outside(_) | SandboxError::NotAFile(_) => {
            Status::invalid_argument(text)
        }
        SandboxError::Denied(_) => Status::permission_denied(text),
        SandboxError::Busy(_) => Status::resource_exhausted(text),
        SandboxError::AgentStops { .. } => Status::unavailable(text),
        SandboxError::Exists(_) => Status::already_exists(text),
        SandboxError::Failed { .. } => Status::internal(text),
    }
}
