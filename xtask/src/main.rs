//! `cargo xtask`: chores of this repository.

use anyhow::{Context as _, bail};
use xtask::fuzz::Effort;

const CHORES: &str = "\
cargo xtask test       all tests; installs what they need
cargo xtask verify     what a change has to pass: format, lints, docs, all tests, simulation, fuzzing, instructions
cargo xtask instructions [--write]   counts what the pure parts cost and compares, or writes the counts down
cargo xtask fuzz [TARGET] [SECONDS]   lets the fuzzer look for inputs that break something, 60 s a target
cargo xtask fix        formats, applies what the lints suggest, generates src/proto
cargo xtask generate   writes src/proto from proto/";

fn main() -> anyhow::Result<()> {
    let write = std::env::args().nth(2).as_deref() == Some("--write");
    match std::env::args().nth(1).as_deref() {
        Some("instructions") if write => xtask::instructions::write(),
        Some("instructions") => xtask::instructions::check(),
        Some("test") => xtask::chores::test(),
        Some("verify") => xtask::chores::verify(),
        Some("fuzz") => {
            let (target, seconds) = (std::env::args().nth(2), std::env::args().nth(3));
            let seconds = seconds.map_or(Ok(60), |text| text.parse().context("SECONDS is a whole number"))?;
            xtask::fuzz::run(target.filter(|name| name != "all").as_deref(), Effort::Seconds(seconds))
        }
        Some("fix") => xtask::chores::fix(),
        Some("generate") => xtask::generate(&xtask::root().join("src/proto")),
        Some(other) => bail!("no such chore: {other}\n{CHORES}"),
        None => bail!("which chore?\n{CHORES}"),
    }
}
