//! A thread that prints the tasks' output, so that a slow reader delays only the streams of output.

use std::{
    io::{self, IsTerminal},
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{
    follow::OutputSink,
    screen::{Marked, Plain},
};
use crate::cli::output::{self, WriteError};

/// How many pieces may be queued.
const QUEUED: usize = 64;

/// The output that a piece is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Out,
    Err,
}

/// A handle of the printing thread, which ends when all handles are dropped.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    pieces: mpsc::Sender<(Target, Vec<u8>)>,
}

/// Resolves when everything is written, or when writing fails.
pub(super) type Finished = oneshot::Receiver<Ended>;

/// How printing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    AllWritten,
    /// The reader closed an output, as `head` does.
    ReaderGone,
    /// An output failed, with the reason in one line.
    Failed(String),
}

impl Printer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start() -> io::Result<(Self, Finished)> {
        let (pieces, queue) = mpsc::channel(QUEUED);
        let (done, finished) = oneshot::channel();
        thread::Builder::new().name("divvy-printer".to_owned()).spawn(move || {
            // The run may have ended already.
            let _ = done.send(print(queue));
        })?;
        Ok((Self { pieces }, finished))
    }

    /// Queues a piece; false when nothing more can be printed.
    async fn queue(&self, target: Target, bytes: Vec<u8>) -> bool {
        bytes.is_empty() || self.pieces.send((target, bytes)).await.is_ok()
    }
}

fn print(mut queue: mpsc::Receiver<(Target, Vec<u8>)>) -> Ended {
    while let Some((target, bytes)) = queue.blocking_recv() {
        let (written, name) = match target {
            Target::Out => (output::write_out(&bytes), "standard output"),
            Target::Err => (output::write_err(&bytes), "standard error"),
        };
        match written {
            Ok(()) => {}
            Err(WriteError::ReaderGone) => return Ended::ReaderGone,
            Err(refused) => return Ended::Failed(refused.describe(name)),
        }
    }
    Ended::AllWritten
}

/// Filters the output of one file of a task and queues it for printing.
#[derive(Debug)]
pub(super) struct Channel {
    printer: Printer,
    target: Target,
    plain: Option<Plain>,
    marked: Option<Marked>,
}

impl Channel {
    /// Prefixes lines with `name`, if there is one; removes terminal sequences if the target is a terminal.
    pub(super) fn new(printer: Printer, target: Target, name: Option<&str>) -> Self {
        let terminal = match target {
            Target::Out => io::stdout().is_terminal(),
            Target::Err => io::stderr().is_terminal(),
        };
        Self { printer, target, plain: terminal.then(Plain::default), marked: name.map(Marked::new) }
    }

    /// Prints the last, incomplete line.
    pub(super) async fn finish(mut self) {
        if let Some(marked) = &mut self.marked {
            let rest = marked.rest();
            self.printer.queue(self.target, rest).await;
        }
    }
}

impl OutputSink for Channel {
    async fn write(&mut self, bytes: Bytes) -> bool {
        let stripped = self.plain.as_mut().map(|plain| plain.strip(&bytes));
        let bytes = stripped.as_deref().unwrap_or(&bytes);
        let lines = match &mut self.marked {
            Some(marked) => marked.lines(bytes),
            None => bytes.to_vec(),
        };
        self.printer.queue(self.target, lines).await
    }
}
