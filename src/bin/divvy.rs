//! `divvy`: the command line of a cluster.

use std::process::ExitCode;

use divvy::cli::{self, divvy::Divvy};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run::<Divvy>()
}
