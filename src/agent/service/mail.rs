//! What reaches the core's thread, and the way there.

use tokio::sync::{mpsc, oneshot};

use crate::agent::core::{ContainerId, Input};
use crate::agent::log::{LogError, Successor};
use crate::transport::outbox::RecordNumber;

/// How many pieces of mail may wait: beyond that whoever brings more waits.
const CAPACITY: usize = 1024;

/// One piece of mail.
#[derive(Debug)]
pub(super) enum Mail {
    /// For the core, in order.
    Inputs(Vec<Input>),
    /// The disk has what was written up to there.
    Synced(RecordNumber),
    /// A successor of the log is written, or could not be.
    Drafted(Result<Successor, LogError>),
    /// The log is not in its place any more.
    LogGone(LogError),
    /// The disk has not.
    DiskFailed(LogError),
    /// Somebody wants to be told when a container has ended; of one that is not known that is so already.
    TellEnd(ContainerId, oneshot::Sender<()>),
    /// The thread is to end and to leave everything as it is.
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
            | Self::TellEnd(..)
            | Self::Stop => 0,
        }
    }
}

/// The way to the core's thread; clones lead to the same one. Mail for a thread that has ended is dropped.
#[derive(Clone, Debug)]
pub(super) struct Mailbox {
    sender: mpsc::Sender<Mail>,
}

impl Mailbox {
    pub(super) fn new() -> (Self, mpsc::Receiver<Mail>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self { sender }, receiver)
    }

    /// False when nobody reads any more.
    pub(super) async fn send(&self, mail: Mail) -> bool {
        self.sender.send(mail).await.is_ok()
    }

    pub(super) async fn input(&self, input: Input) -> bool {
        self.send(Mail::Inputs(vec![input])).await
    }

    /// From a thread without a runtime.
    pub(super) fn blocking_send(&self, mail: Mail) {
        // Nobody reads any more: the agent has ended, and its threads are about to.
        let _ = self.sender.blocking_send(mail);
    }
}
