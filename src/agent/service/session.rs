//! One session with the master: connects, carries messages both ways in batches, and says when it is over.

use futures::Stream;
use prost::Message as _;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::mail::{Mail, Mailbox};
use super::outbox::Outbox;
use crate::agent::core::{Input, SessionId};
use crate::proto::internal::agent_session_client::AgentSessionClient;
use crate::proto::internal::{AgentFrame, AgentMessage, MasterFrame, MasterMessage, Refused, master_message};
use crate::transport::MAX_REGISTRATION_BYTES;
use crate::transport::connect::{self, Addresses};

/// A session as the core's thread sees it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) outbox: Outbox<AgentMessage>,
    /// Cuts it off.
    pub(super) cut: CancellationToken,
}

impl Session {
    /// Begins a session; the future is its whole life.
    pub(super) fn begin(
        id: SessionId,
        masters: Addresses,
        mailbox: Mailbox,
        cut: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let outbox = Outbox::new();
        let session = Self { id, outbox: outbox.clone(), cut: cut.clone() };
        let life = async move {
            let ended = cut.run_until_cancelled(converse(id, &masters, &mailbox, outbox.clone())).await;
            outbox.close();
            let leader = match ended {
                Some(Err(error)) => {
                    tracing::warn!(master = %masters, "{error}");
                    error.leader().map(str::to_owned)
                }
                Some(Ok(())) => {
                    tracing::info!(master = %masters, "the session with the master ended");
                    None
                }
                None => None,
            };
            mailbox.input(Input::Detached { session: id, leader }).await;
        };
        (session, life)
    }
}

/// Why a session ended that did not just end.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connect(#[from] connect::ConnectError),
    #[error("the session with the master broke: {}", .0.message())]
    Broke(#[from] Box<tonic::Status>),
}

impl SessionError {
    /// Where a master that does not lead says to go.
    fn leader(&self) -> Option<&str> {
        match self {
            Self::Broke(status) => connect::leader_named(status),
            Self::Connect(_) => None,
        }
    }
}

async fn converse(
    id: SessionId,
    masters: &Addresses,
    mailbox: &Mailbox,
    outbox: Outbox<AgentMessage>,
) -> Result<(), SessionError> {
    let channel = connect::master(masters).await?;
    let client = AgentSessionClient::new(channel).max_decoding_message_size(MAX_REGISTRATION_BYTES);
    let mut client = client.max_encoding_message_size(MAX_REGISTRATION_BYTES);
    // A master may answer the call only when it has heard who calls.
    mailbox.input(Input::Attached { session: id }).await;
    let frames = client.attach(frames(outbox)).await.map_err(Box::new)?.into_inner();
    deliver(id, mailbox, frames).await
}

async fn deliver(id: SessionId, mailbox: &Mailbox, mut frames: Streaming<MasterFrame>) -> Result<(), SessionError> {
    while let Some(frame) = frames.message().await.map_err(Box::new)? {
        for refused in frame.messages.iter().filter_map(refusal) {
            tracing::warn!("the master refuses this agent: {}", refused.text);
        }
        let received = |message| Input::Received { session: id, message };
        let inputs: Vec<Input> = frame.messages.into_iter().map(received).collect();
        if !inputs.is_empty() && !mailbox.send(Mail::Inputs(inputs)).await {
            break;
        }
    }
    Ok(())
}

fn refusal(message: &MasterMessage) -> Option<&Refused> {
    match &message.kind {
        Some(master_message::Kind::Refused(refused)) => Some(refused),
        _ => None,
    }
}

fn frames(outbox: Outbox<AgentMessage>) -> impl Stream<Item = AgentFrame> + Send + 'static {
    futures::stream::unfold(outbox, |outbox| async move {
        let messages = outbox.next_batch(AgentMessage::encoded_len).await?;
        Some((AgentFrame { messages }, outbox))
    })
}
