//! Streams a backup of a running master's registry: the facts that are synced, as the bytes of a backup file.
//!
//! The bytes are encoded as the client reads them, from a copy of the facts. One copy exists at a time, and for at most
//! [`LONGEST`]. A client that has not read everything by then gets an error, and the next request is served.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::{sync::oneshot, time::timeout};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    master::{
        core::{Answer, Question},
        registry::{Backup, Pieces},
    },
    proto::ext::{BackupChunk, BackupRequest, registry_server::Registry},
    transport::clock::Clock,
};

const CHUNK_BYTES: usize = 64 << 10;
const LONGEST: Duration = Duration::from_mins(5);

type Part = Result<BackupChunk, Status>;

#[tonic::async_trait]
impl Registry for Api {
    type BackupStream = BoxStream<'static, Part>;

    async fn backup(&self, _request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let stopped = |_| Status::unavailable("the master has stopped");
        let permit = self.backups.clone().acquire_owned().await.map_err(stopped)?;
        let answer = self.core.ask(Question::Registry).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let Answer::Registry(state, epoch) = answer else {
            return Err(Status::internal("the core returned no registry"));
        };
        let wall_ns = Clock::system().now().wall_ns;
        let made = tokio::task::spawn_blocking(move || {
            let pieces = Arc::new(std::sync::Mutex::new(Pieces::new(Backup::new(*state, epoch, wall_ns))));
            (Arc::downgrade(&pieces), pieces)
        });
        let (read, held) = made.await.map_err(|error| Status::internal(format!("encoding failed: {error}")))?;
        let (reading, done) = oneshot::channel::<()>();
        tokio::spawn(async move {
            if timeout(LONGEST, done).await.is_err() {
                tracing::warn!("a backup is read too slowly: closing its stream");
            }
            drop((held, permit));
        });
        let chunks = stream::unfold(Some((read, reading)), |at| async move {
            let (read, reading) = at?;
            let (part, last) = next_chunk(&read)?;
            Some((part, (!last).then_some((read, reading))))
        });
        Ok(Response::new(chunks.boxed()))
    }
}

/// The next bytes, and whether they are the last.
fn next_chunk(read: &Weak<std::sync::Mutex<Pieces<Backup>>>) -> Option<(Part, bool)> {
    let Some(pieces) = read.upgrade() else {
        return Some((Err(Status::deadline_exceeded("the backup was read too slowly: request it again")), true));
    };
    let mut pieces = pieces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut data = Vec::with_capacity(CHUNK_BYTES);
    while data.len() < CHUNK_BYTES
        && let Some(piece) = pieces.next()
    {
        data.extend(piece);
    }
    (!data.is_empty()).then(|| (Ok(BackupChunk { data: data.into() }), false))
}
