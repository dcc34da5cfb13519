//! Mutants: small faults put into the cores one at a time, to see whether tests and simulator notice them.
//!
//! They are drawn by a seed, so that a draw can be repeated, by people who do not choose the ones that are caught.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use crate::{packages, root};

/// The pure parts that decide.
const CORES: [&str; 3] = ["src/master/core/**/*.rs", "src/agent/core/**/*.rs", "src/framework/core/**/*.rs"];

/// What has to notice a mutant, the quick first: a mutant that it lets live goes on to the next.
const JUDGES: [(&str, &str); 2] = [("unit tests", "test(::core::)"), ("simulator", "test(sim::tests::)")];

/// Draws so many mutants of the cores and says how many the tests kill, and which live.
///
/// # Errors
/// When the tool cannot be installed or run.
pub fn run(seed: u64, count: usize) -> anyhow::Result<()> {
    if !packages::runs("cargo", &["mutants", "--version"]) {
        let installed = Command::new("cargo").args(["install", "cargo-mutants", "--locked"]).status();
        ensure!(installed.context("cannot run cargo")?.success(), "cargo-mutants cannot be installed");
    }
    let all = list()?;
    let total = all.len();
    let mut live = drawn(all, seed, count);
    let drawn = live.len();
    eprintln!("seed {seed}: {drawn} of {total} mutants of the cores");
    let mut unviable = 0;
    for (judge, filter) in JUDGES {
        if live.is_empty() {
            break;
        }
        let before = live.len();
        let outcome = try_all(&live, filter)?;
        live = outcome.missed;
        unviable += outcome.unviable;
        eprintln!("{judge}: {before} tried, {} left, {} do not compile", live.len(), outcome.unviable);
    }
    let viable = drawn - unviable;
    eprintln!("{} of {viable} mutants that compile are killed; these live:", viable - live.len());
    live.iter().for_each(|mutant| eprintln!("  {mutant}"));
    Ok(())
}

/// Every mutant of the cores, by its name.
fn list() -> anyhow::Result<Vec<String>> {
    let output = mutants().args(["--list", "--colors", "never"]).output().context("cannot run cargo mutants")?;
    ensure!(output.status.success(), "cargo mutants: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn drawn(mut all: Vec<String>, seed: u64, count: usize) -> Vec<String> {
    all.shuffle(&mut StdRng::seed_from_u64(seed));
    all.truncate(count);
    all
}

/// What became of some mutants.
struct Outcome {
    missed: Vec<String>,
    unviable: usize,
}

/// Puts each of these in, alone, and runs the tests of this filter.
fn try_all(names: &[String], filter: &str) -> anyhow::Result<Outcome> {
    let out = root().join("target/mutants");
    fs::create_dir_all(&out)?;
    let mut command = mutants();
    // The tests as they are pass, which the main chore shows.
    command.args(["--baseline", "skip", "--timeout", "300", "--test-tool", "nextest", "--all-features", "--output"]);
    command.arg(&out);
    for name in names {
        command.args(["--re", &format!("^{}$", escaped(name))]);
    }
    let status = command.args(["--", "--lib", "-E", filter]).status().context("cannot run cargo mutants")?;
    // 2 and 3: some live, or ran into the time limit.
    let code = status.code().unwrap_or(-1);
    ensure!([0, 2, 3].contains(&code), "cargo mutants ended with {code}");
    let lines = |name: &str| -> anyhow::Result<Vec<String>> {
        let path: PathBuf = out.join("mutants.out").join(name);
        Ok(fs::read_to_string(path)?.lines().map(str::to_owned).collect())
    };
    Ok(Outcome { missed: lines("missed.txt")?, unviable: lines("unviable.txt")?.len() })
}

fn mutants() -> Command {
    let mut command = Command::new("cargo");
    command.args(["mutants", "--package", "divvy"]).current_dir(root());
    CORES.iter().for_each(|files| {
        command.args(["--file", files]);
    });
    command
}

/// The name as an expression that matches it and nothing else.
fn escaped(name: &str) -> String {
    let special = |letter: char| !(letter.is_alphanumeric() || matches!(letter, ' ' | '_' | '/'));
    name.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_repeated_by_its_seed_and_holds_no_mutant_twice() {
        let all: Vec<String> = (0..100).map(|at| format!("mutant {at}")).collect();
        let mut first = drawn(all.clone(), 7, 40);
        assert_eq!(first, drawn(all.clone(), 7, 40));
        assert_ne!(first, drawn(all, 8, 40));
        first.sort();
        first.dedup();
        assert_eq!(first.len(), 40);
    }

    #[test]
    fn a_name_is_escaped_for_an_expression() {
        assert_eq!(
            escaped("src/a.rs:1:2: replace f -> x<T> with ()"),
            "src/a\\.rs\\:1\\:2\\: replace f \\-\\> x\\<T\\> with \\(\\)"
        );
    }
}
