//! `divvy-agent`: runs tasks on this host.

use std::process::ExitCode;

use divvy::cli::{self, agent::DivvyAgent};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run::<DivvyAgent>()
}
