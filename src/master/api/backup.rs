//! A backup of the registry out of a running master: what is synced at the moment of the answer, as a file's bytes.

use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    master::{
        core::{Answer, Question},
        registry::Backup,
    },
    proto::ext::{BackupChunk, BackupRequest, registry_server::Registry},
    transport::clock::Clock,
};

const CHUNK_BYTES: usize = 64 << 10;

#[tonic::async_trait]
impl Registry for Api {
    type BackupStream = BoxStream<'static, Result<BackupChunk, Status>>;

    async fn backup(&self, _request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let answer = self.core.ask(Question::Registry).await.map_err(|error| Status::unavailable(error.to_string()))?;
        let Answer::Registry(state, epoch) = answer else { return Err(Status::internal("no registry came")) };
        let wall_ns = Clock::system().now().wall_ns;
        let encoded = tokio::task::spawn_blocking(move || Backup::new(*state, epoch, wall_ns).encode());
        let bytes = encoded.await.map_err(|error| Status::internal(format!("encoding failed: {error}")))?;
        let mut rest = bytes::Bytes::from(bytes);
        let chunks = std::iter::from_fn(move || {
            let data = rest.split_to(rest.len().min(CHUNK_BYTES));
            (!data.is_empty()).then_some(Ok(BackupChunk { data }))
        });
        Ok(Response::new(stream::iter(chunks).boxed()))
    }
}
