//! One thread that writes what the tasks wrote, so that a slow reader of ours slows the tasks' streams and nothing else.

use std::{
    io::{self, IsTerminal},
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::{
    follow::Taker,
    screen::{Marked, Plain},
};
use crate::cli::output::{self, Unwritten};

/// Pieces on their way to the screen.
const QUEUED: usize = 64;

/// Which of our outputs a piece goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Out,
    Err,
}

/// The way to the printing thread; it ends when all are dropped.
#[derive(Clone, Debug)]
pub(super) struct Printer {
    pieces: mpsc::Sender<(Target, Vec<u8>)>,
}

/// Resolves when everything is written, or nothing more can be.
pub(super) type Finished = oneshot::Receiver<Ended>;

/// How printing ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    AllWritten,
    /// The reader of an output has gone, as `head` does.
    ReaderGone,
    /// An output takes nothing more; one line that says why.
    Failed(String),
}

impl Printer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start() -> io::Result<(Self, Finished)> {
        let (pieces, queue) = mpsc::channel(QUEUED);
        let (done, finished) = oneshot::channel();
        thread::Builder::new().name("divvy-printer".to_owned()).spawn(move || {
            // The run may have ended without waiting for it.
            let _ = done.send(print(queue));
        })?;
        Ok((Self { pieces }, finished))
    }

    /// Queues a piece; false when nothing more can be printed.
    async fn write(&self, target: Target, bytes: Vec<u8>) -> bool {
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
            Err(Unwritten::ReaderGone) => return Ended::ReaderGone,
            Err(refused) => return Ended::Failed(refused.describe(name)),
        }
    }
    Ended::AllWritten
}

/// The output of one file of one task on its way to the printer.
#[derive(Debug)]
pub(super) struct Channel {
    printer: Printer,
    target: Target,
    plain: Option<Plain>,
    marked: Option<Marked>,
}

impl Channel {
    /// Lines are marked with `name`, where there is one; terminal sequences are taken out where we write to a terminal.
    pub(super) fn new(printer: Printer, target: Target, name: Option<&str>) -> Self {
        let terminal = match target {
            Target::Out => io::stdout().is_terminal(),
            Target::Err => io::stderr().is_terminal(),
        };
        Self { printer, target, plain: terminal.then(Plain::default), marked: name.map(Marked::new) }
    }

    /// Passes on what was held back for a line end that never came.
    pub(super) async fn finish(mut self) {
        if let Some(marked) = &mut self.marked {
            let rest = marked.rest();
            self.printer.write(self.target, rest).await;
        }
    }
}

impl Taker for Channel {
    async fn take(&mut self, bytes: Bytes) -> bool {
        let stripped = self.plain.as_mut().map(|plain| plain.strip(&bytes));
        let bytes = stripped.as_deref().unwrap_or(&bytes);
        let lines = match &mut self.marked {
            Some(marked) => marked.lines(bytes),
            None => bytes.to_vec(),
        };
        self.printer.write(self.target, lines).await
    }
}
