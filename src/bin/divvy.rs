//! `divvy`: the command line of a cluster.

use std::process::ExitCode;

use divvy::cli::{self, divvy::Divvy};

fn main() -> ExitCode {
    cli::run::<Divvy>()
}
