//! The implementation of the binaries: settings, logs, signals, one-line errors, and the commands of `divvy`.
//!
//! Not part of the library's stable API. A binary's `main` calls [`run`](fn@run) with its [`Program`]. Every error is
//! one line on standard error and an exit code: 2 for wrong usage, 1 for any other failure.

pub mod agent;
pub mod agents;
pub mod allocate;
pub mod divvy;
pub mod frameworks;
pub mod gone;
pub mod local;
pub mod logging;
pub mod master;
pub mod operator;
mod output;
pub mod registry;
pub mod run;
pub mod settings;
pub mod signals;
pub mod table;
pub mod tasks;
mod usage;

use std::{fmt, process::ExitCode};

use clap::Parser;
pub use settings::SettingsError;
use tokio::runtime::Runtime;

/// Why a program failed.
#[derive(Debug)]
pub enum Failure {
    /// Wrong usage; exit code 2.
    Usage(String),
    /// Any other failure; exit code 1.
    Failed(anyhow::Error),
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Usage(text) => text.clone(),
            Self::Failed(error) => with_causes(error),
        };
        f.write_str(&text.replace('\n', " "))
    }
}

/// An error with its causes; causes that its text already quotes are left out.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A binary: its arguments and its work.
pub trait Program: Parser {
    /// The program's name in messages.
    const NAME: &'static str;

    /// Runs the program and returns its exit code.
    ///
    /// # Errors
    /// Whatever makes the program fail.
    fn run(self) -> Result<ExitCode, Failure>;
}

/// The body of a binary's `main`.
#[must_use]
pub fn run<P: Program>() -> ExitCode {
    match usage::parse::<P>(std::env::args_os()).and_then(Program::run) {
        Ok(code) => code,
        Err(failure) => {
            output::note(format_args!("{}: {failure}", P::NAME));
            ExitCode::from(if matches!(failure, Failure::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::Failed(anyhow::Error::new(error).context("cannot start the runtime's threads")))
}

/// Prints the line on standard output with a server's address.
///
/// # Errors
/// When the line cannot be written.
fn announce(name: &str, address: &str) -> Result<(), Failure> {
    output::print(&format!("{name} listening on {address}"))
}

/// As [`announce`], but only logs a failure: an agent must start on a full disk.
fn announce_if_possible(name: &str, address: &str) {
    if let Err(failure) = announce(name, address) {
        tracing::warn!(%address, "{failure}; serving nevertheless");
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_lines_are_sound() {
        divvy::Divvy::command().debug_assert();
        master::DivvyMaster::command().debug_assert();
        agent::DivvyAgent::command().debug_assert();
    }

    #[test]
    fn a_failure_is_one_line_that_names_each_cause_once() {
        let error = anyhow::anyhow!("inner\nmost").context("outer");
        assert_eq!(Failure::from(error).to_string(), "outer: inner most");
        let error = anyhow::anyhow!("no room").context("cannot write: no room; free some").context("stopped");
        assert_eq!(Failure::from(error).to_string(), "stopped: cannot write: no room; free some");
    }
}
