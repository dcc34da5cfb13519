//! The mailbox of the core's thread.

use tokio::sync::{mpsc, oneshot};

use crate::agent::core::{ContainerId, Input};
use crate::agent::log::{LogError, Successor};
use crate::transport::outbox::RecordNumber;

/// How much mail may be queued; a sender waits beyond that.
const CAPACITY: usize = 1024;

/// One message to the core's thread.
#[derive(Debug)]
pub(super) enum Mail {
    /// For the core, in order.
    Inputs(Vec<Input>),
    /// The log is synced up to this record.
    Synced(RecordNumber),
    /// The result of writing a successor of the log.
    Drafted(Result<Successor, LogError>),
    /// The log was removed or replaced.
    LogGone(LogError),
    /// A sync failed.
    DiskFailed(LogError),
    /// A request to be notified of the end of a container. An unknown one has ended already.
    NotifyEnd(ContainerId, oneshot::Sender<()>),
    /// The thread has to end; the tasks run on.
    Stop,
}

impl Mail {
    /// How many inputs for the core it holds.
    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::Inputs(inputs) => inputs.len(),
            Self::Synced(_)
            | Self::Drafted(_)
            | Self::LogGone(_)
            | Self::DiskFailed(_)
            | Self::NotifyEnd(..)
            | Self::Stop => 0,
        }
    }
}

/// The sender of the core's mailbox; clones share it. Mail for a thread that has ended is dropped.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    sender: mpsc::Sender<Mail>,
}

impl Mailbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Mail>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender }, receiver)
    }

    /// Returns false if the core's thread has ended.
    pub(super) async fn send(&self, mail: Mail) -> bool {
        self.sender.send(mail).await.is_ok()
    }

    pub(super) async fn input(&self, input: Input) -> bool {
        self.send(Mail::Inputs(vec![input])).await
    }

    /// Sends from a thread without a runtime.
    pub(super) fn blocking_send(&self, mail: Mail) {
        // An error means that the core's thread has ended; this one is about to end too.
        let _ = self.sender.blocking_send(mail);
    }
}
