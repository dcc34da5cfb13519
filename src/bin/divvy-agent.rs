//! `divvy-agent`: runs tasks on this host.

use std::process::ExitCode;

use divvy::cli::{self, agent::DivvyAgent};

fn main() -> ExitCode {
    cli::run::<DivvyAgent>()
}
