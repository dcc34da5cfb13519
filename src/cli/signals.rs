//! Signals that stop a program.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives SIGINT (Ctrl-C) and SIGTERM from its creation on.
#[derive(Debug)]
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Installs handlers for both signals, which would otherwise end the process at once.
    ///
    /// # Errors
    /// When the handlers cannot be installed: the process could not end cleanly.
    pub fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next signal and returns its exit code: 128 plus the signal's number. Dropping the future loses no
    /// signal.
    pub async fn requested(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
