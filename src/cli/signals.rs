//! How a program is asked to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C or SIGTERM, from the moment this is made.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Takes both signals over from the system, which would end the process at once.
    ///
    /// # Errors
    /// When the system does not let us; a process without signals could not end cleanly.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next of them and tells the exit code that goes with it: 128 and the signal's number. Dropping the
    /// future loses none.
    pub async fn asked(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
