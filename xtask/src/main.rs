//! `cargo xtask`: chores of this repository.

use anyhow::{Context as _, bail};
use xtask::fuzz::Effort;

const CHORES: &str = "\
cargo xtask test       all tests; installs what they need
cargo xtask verify     all checks for a change: format, lints, docs, all tests, simulation, fuzzing, instructions
cargo xtask instructions [--write]   counts what the pure parts cost and compares, or writes the counts down
cargo xtask fuzz [TARGET|all] [SECONDS]   looks for inputs that break a target, 60 s a target
cargo xtask mutants [SEED] [COUNT]   puts faults into the cores, one at a time, and prints which no test detects
cargo xtask upgrade --from COMMIT   upgrades clusters of that commit's binaries while tasks run, in every order
cargo xtask fix        formats, applies what the lints suggest, generates src/proto
cargo xtask generate   writes src/proto from proto/";

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => xtask::chores::test(),
        ["verify"] => xtask::chores::verify(),
        ["instructions"] => xtask::instructions::check(),
        ["instructions", "--write"] => xtask::instructions::write(),
        ["fuzz"] => fuzz("all", "60"),
        ["fuzz", target] => fuzz(target, "60"),
        ["fuzz", target, seconds] => fuzz(target, seconds),
        ["mutants"] => mutants("1", "40"),
        ["mutants", seed] => mutants(seed, "40"),
        ["mutants", seed, count] => mutants(seed, count),
        ["upgrade", "--from", commit] => xtask::upgrade::run(commit),
        ["fix"] => xtask::chores::fix(),
        ["generate"] => xtask::generate(&xtask::root().join("src/proto")),
        [] => bail!("which chore?\n{CHORES}"),
        [..] => bail!("no such chore: {}\n{CHORES}", words.join(" ")),
    }
}

fn mutants(seed: &str, count: &str) -> anyhow::Result<()> {
    let number =
        |name: &str, text: &str| text.parse().with_context(|| format!("{name} {text:?}: write a whole number"));
    let (seed, count): (u64, u64) = (number("SEED", seed)?, number("COUNT", count)?);
    xtask::mutants::run(seed, usize::try_from(count)?)
}

fn fuzz(target: &str, seconds: &str) -> anyhow::Result<()> {
    let seconds = seconds.parse().with_context(|| format!("SECONDS {seconds:?}: write a whole number"))?;
    xtask::fuzz::run((target != "all").then_some(target), Effort::Seconds(seconds))
}
