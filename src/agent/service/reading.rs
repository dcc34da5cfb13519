//! Reads files of a sandbox for others, and goes on with a file that grows until its container has ended.
//!
//! The path is confined to the sandbox by the kernel; see [`crate::agent::sandbox`].

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures::Stream;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::mail::{Mail, Mailbox};
use crate::agent::core::ContainerId;
use crate::agent::sandbox;
use crate::proto::ext::sandbox_server::Sandbox;
use crate::proto::ext::{Chunk, ReadRequest};

/// The most of a file in one chunk, in bytes.
const CHUNK: usize = 64 << 10;
/// How often a file that does not grow is looked at again.
const LOOK: Duration = Duration::from_millis(100);

/// The service behind `divvy.ext.Sandbox`.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) sandboxes: PathBuf,
    pub(super) mailbox: Mailbox,
}

#[tonic::async_trait]
impl Sandbox for Reading {
    type ReadStream = std::pin::Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let ReadRequest { container_id, path, offset, follow } = request.into_inner();
        let container = ContainerId::parse(&container_id)
            .ok_or_else(|| Status::invalid_argument(format!("container_id: {container_id:?} is no container's id")))?;
        let file = self.open(&container, &path, offset).await?;
        let reader = Reader { file, offset, container, mailbox: self.mailbox.clone(), follow };
        Ok(Response::new(Box::pin(futures::stream::unfold(reader, Reader::next))))
    }
}

impl Reading {
    async fn open(&self, container: &ContainerId, path: &str, offset: u64) -> Result<File, Status> {
        let (sandbox, wanted) = (self.sandboxes.join(container.as_str()), path.to_owned());
        let opened = tokio::task::spawn_blocking(move || sandbox::open(&sandbox, &wanted)).await;
        let opened = opened.map_err(|panic| Status::internal(panic.to_string()))?;
        let file = opened.map_err(|error| refused(container, path, &error))?;
        let mut file = File::from_std(file);
        file.seek(io::SeekFrom::Start(offset)).await.map_err(|error| refused(container, path, &error))?;
        Ok(file)
    }
}

fn refused(container: &ContainerId, path: &str, error: &io::Error) -> Status {
    let text = format!("cannot read {path:?} of container {container}: {error}");
    match error.kind() {
        io::ErrorKind::NotFound => Status::not_found(text),
        io::ErrorKind::PermissionDenied => Status::permission_denied(text),
        _ => Status::invalid_argument(text),
    }
}

/// One file being read.
#[derive(Debug)]
struct Reader {
    file: File,
    offset: u64,
    container: ContainerId,
    mailbox: Mailbox,
    follow: bool,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Chunk, Status>, Self)> {
        loop {
            // Asked before reading: what is written until the container ends is then read for certain.
            let live = self.follow && self.is_live().await;
            let mut data = Vec::with_capacity(CHUNK);
            match (&mut self.file).take(CHUNK as u64).read_to_end(&mut data).await {
                Err(error) => {
                    self.follow = false;
                    return Some((Err(refused(&self.container, "the file", &error)), self));
                }
                Ok(0) if live => tokio::time::sleep(LOOK).await,
                Ok(0) => return None,
                Ok(length) => {
                    let chunk = Chunk { offset: self.offset, data: data.into() };
                    self.offset += length as u64;
                    return Some((Ok(chunk), self));
                }
            }
        }
    }

    async fn is_live(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        let asked = self.mailbox.send(Mail::IsLive(self.container.clone(), answer)).await;
        asked && answered.await.unwrap_or(false)
    }
}
