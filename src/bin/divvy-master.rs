//! `divvy-master`: offers what the agents have.

use std::process::ExitCode;

use divvy::cli::{self, master::DivvyMaster};

/// Half the processor time of a busy master went into the C library's allocator: its threads share arenas.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run::<DivvyMaster>()
}
