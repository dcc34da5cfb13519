//! `divvy-master`: offers the agents' resources.

use std::process::ExitCode;

use divvy::cli::{self, master::DivvyMaster};

/// With the C library's allocator, a busy master spends half its CPU time there, because its threads share arenas.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run::<DivvyMaster>()
}
