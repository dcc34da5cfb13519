//! One session with the master: connects, transfers messages in batches, and reports its end.

use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::mail::{Mail, Mailbox};
use crate::agent::core::{Input, SessionId};
use crate::proto::internal::agent_session_client::AgentSessionClient;
use crate::proto::internal::{AgentFrame, AgentMessage, MasterFrame, MasterMessage, Refused, master_message};
use crate::transport::MAX_REGISTRATION_BYTES;
use crate::transport::clock::Clock;
use crate::transport::connect::{self, Addresses};
use crate::transport::outbox::{EndReason, Outbox, RecordNumber};

/// The handle of a session with the master.
#[derive(Debug)]
pub(super) struct MasterSession {
    pub(super) id: SessionId,
    pub(super) outbox: Outbox<AgentMessage>,
    /// Aborts it.
    pub(super) cut: CancellationToken,
}

impl MasterSession {
    /// Opens a session; the future runs until its end.
    pub(super) fn open(
        id: SessionId,
        masters: Addresses,
        mailbox: Mailbox,
        cut: CancellationToken,
        outbox: Outbox<AgentMessage>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let session = Self { id, outbox: outbox.clone(), cut: cut.clone() };
        let task = async move {
            let exchange = async {
                tokio::select! {
                    ended = exchange_messages(id, &masters, &mailbox, &outbox) => ended,
                    reason = stalled(&outbox) => Err(SessionError::Stalled(reason)),
                }
            };
            let ended = cut.run_until_cancelled(exchange).await;
            outbox.close(Clock::system().now(), RecordNumber::default());
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
        (session, task)
    }
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    #[error(transparent)]
    Connect(#[from] connect::ConnectError),
    #[error("the session with the master broke: {}", .0.message())]
    Broke(#[from] Box<tonic::Status>),
    #[error("the session with the master ends: {0}")]
    Stalled(EndReason),
}

impl SessionError {
    /// The leader that the master named, if it is not the leader itself.
    fn leader(&self) -> Option<&str> {
        match self {
            Self::Broke(status) => connect::leader_named(status),
            Self::Connect(_) | Self::Stalled(_) => None,
        }
    }
}

async fn exchange_messages(
    id: SessionId,
    masters: &Addresses,
    mailbox: &Mailbox,
    outbox: &Outbox<AgentMessage>,
) -> Result<(), SessionError> {
    let channel = connect::master(masters).await?;
    let client = AgentSessionClient::new(channel).max_decoding_message_size(MAX_REGISTRATION_BYTES);
    let mut client = client.max_encoding_message_size(MAX_REGISTRATION_BYTES);
    // A master may answer the call only after the registration, which the core sends on this input.
    mailbox.input(Input::Attached { session: id }).await;
    let outgoing = outbox.batches().map(|messages| AgentFrame { messages });
    let frames = client.attach(outgoing).await.map_err(Box::new)?.into_inner();
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

/// Waits until the outbox closes because the master does not read.
async fn stalled(outbox: &Outbox<AgentMessage>) -> EndReason {
    let reason = outbox.ended().await;
    if reason.is_failure() { reason } else { std::future::pending().await }
}
