//! `cargo xtask`: chores of this repository.

use anyhow::bail;

const CHORES: &str = "\
cargo xtask test       all tests; installs what they need
cargo xtask verify     what a change has to pass: format, lints, docs, all tests, instructions
cargo xtask instructions [--write]   counts what the pure parts cost and compares, or writes the counts down
cargo xtask fix        formats, applies what the lints suggest, generates src/proto
cargo xtask generate   writes src/proto from proto/";

fn main() -> anyhow::Result<()> {
    let write = std::env::args().nth(2).as_deref() == Some("--write");
    match std::env::args().nth(1).as_deref() {
        Some("instructions") if write => xtask::instructions::write(),
        Some("instructions") => xtask::instructions::check(),
        Some("test") => xtask::chores::test(),
        Some("verify") => xtask::chores::verify(),
        Some("fix") => xtask::chores::fix(),
        Some("generate") => xtask::generate(&xtask::root().join("src/proto")),
        Some(other) => bail!("no such chore: {other}\n{CHORES}"),
        None => bail!("which chore?\n{CHORES}"),
    }
}
