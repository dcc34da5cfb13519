//! `divvy-master`: offers what the agents have.

use std::process::ExitCode;

use divvy::cli::{self, master::DivvyMaster};

fn main() -> ExitCode {
    cli::run::<DivvyMaster>()
}
