//! Reads files of a sandbox for others, and goes on with a file that grows until its container has ended.
//!
//! The kernel confines the path to the sandbox, whatever links the task has put there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::Stream;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::mail::{Mail, Mailbox};
use crate::agent::core::ContainerId;
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
        let opened = tokio::task::spawn_blocking(move || open_beneath(&sandbox, &wanted)).await;
        let opened = opened.map_err(|panic| Status::internal(panic.to_string()))?;
        let file = opened.map_err(|error| refused(container, path, &error))?;
        let mut file = File::from_std(file);
        file.seek(io::SeekFrom::Start(offset)).await.map_err(|error| refused(container, path, &error))?;
        Ok(file)
    }
}

/// Opens a regular file below `sandbox`. What leads out of it is not followed, and a pipe or device is not waited for.
fn open_beneath(sandbox: &Path, path: &str) -> io::Result<std::fs::File> {
    let folder = std::fs::File::open(sandbox)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = std::fs::File::from(openat2(folder, path, flags, Mode::empty(), resolve)?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_sandbox_is_read_and_nothing_but_files() {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = directory.path().join("c1");
        std::fs::create_dir_all(sandbox.join("sub")).unwrap();
        std::fs::write(directory.path().join("secret"), "s").unwrap();
        std::fs::write(sandbox.join("sub/mine"), "m").unwrap();
        std::os::unix::fs::symlink("../secret", sandbox.join("out")).unwrap();
        std::os::unix::fs::symlink("sub/mine", sandbox.join("in")).unwrap();
        for path in ["sub/mine", "in", "./sub/../sub/mine"] {
            assert!(open_beneath(&sandbox, path).is_ok(), "{path}");
        }
        let absolute = sandbox.join("sub/mine");
        for path in ["../secret", "out", "/etc/passwd", absolute.to_str().unwrap(), "sub", "", "a\0b"] {
            assert!(open_beneath(&sandbox, path).is_err(), "{path}");
        }
    }
}
