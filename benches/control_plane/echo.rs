//! The baseline: the same stream service without a master. It answers each frame with one of as many messages.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use divvy::{
    proto::internal::{
        self, AgentFrame, MasterFrame, MasterMessage,
        agent_session_client::AgentSessionClient,
        agent_session_server::{AgentSession, AgentSessionServer},
        master_message,
    },
    transport::connect::Address,
};
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::server::TcpIncoming};

use crate::{Outcome, agents};

#[derive(Debug)]
struct Echo;

#[tonic::async_trait]
impl AgentSession for Echo {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<MasterFrame, Status>> + Send>>;

    async fn attach(&self, request: Request<Streaming<AgentFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        let frames = request.into_inner().map(|frame| Ok(MasterFrame { messages: answers(frame?) }));
        Ok(Response::new(Box::pin(frames)))
    }
}

fn answers(frame: AgentFrame) -> Vec<MasterMessage> {
    let answer = |message: internal::AgentMessage| {
        let Some(internal::agent_message::Kind::Update(update)) = message.kind else { return MasterMessage::default() };
        let status = update.status.unwrap_or_default();
        let acknowledge = internal::Acknowledge {
            framework_id: update.framework_id,
            task_id: status.task_id.value,
            uuid: status.uuid.unwrap_or_default(),
        };
        MasterMessage { kind: Some(master_message::Kind::Acknowledge(acknowledge)) }
    };
    frame.messages.into_iter().map(answer).collect()
}

/// Serves on a free port.
pub(crate) fn serve() -> Outcome<(SocketAddr, impl Future<Output = Outcome<()>>)> {
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.with_nodelay(Some(true));
    let address = incoming.local_addr()?;
    let server = tonic::transport::Server::builder().add_service(AgentSessionServer::new(Echo));
    Ok((address, async { Ok(server.serve_with_incoming(incoming).await?) }))
}

/// Sends `frames` frames of `size` statuses on each of so many connections and takes the answers.
pub(crate) async fn exchange(address: &str, connections: usize, frames: usize, size: usize) -> Outcome<()> {
    let address: Address = address.parse()?;
    let left = Arc::new(AtomicUsize::new(connections));
    let mut exchanges = tokio::task::JoinSet::new();
    for number in 0..connections {
        exchanges.spawn(exchange_on_one(address.clone(), number, frames, size, left.clone()));
    }
    while let Some(exchange) = exchanges.join_next().await {
        exchange??;
    }
    assert_eq!(left.load(Ordering::Relaxed), 0, "every connection got its answers");
    Ok(())
}

async fn exchange_on_one(
    address: Address,
    number: usize,
    frames: usize,
    size: usize,
    left: Arc<AtomicUsize>,
) -> Outcome<()> {
    let channel = address.endpoint()?.connect().await?;
    let (sender, receiver) = mpsc::channel(1);
    let mut client = AgentSessionClient::new(channel).max_decoding_message_size(divvy::transport::MAX_MESSAGE_BYTES);
    let mut incoming = client.attach(ReceiverStream::new(receiver)).await?.into_inner();
    for at in 0..frames {
        let messages = (0..size).map(|one| agents::sample_update(number, at * size + one)).collect();
        sender.send(AgentFrame { messages }).await?;
        incoming.message().await?.ok_or("the echo ended early")?;
    }
    left.fetch_sub(1, Ordering::Relaxed);
    Ok(())
}
