//! Mutants: small faults put into the cores one at a time, to see whether a test fails.
//!
//! `cargo-mutants` makes them; they are drawn by a seed, so that a draw can be repeated and does not depend on the
//! outcome. Each is put into a git worktree, where the unit tests of the cores run, and if these pass, the simulator.

use std::{
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde::Deserialize;

use crate::{packages, root};

/// The pure parts that decide.
const CORES: [&str; 3] = ["src/master/core/**/*.rs", "src/agent/core/**/*.rs", "src/framework/core/**/*.rs"];

/// The tests that should fail for a mutant, the quick ones first.
const SUITES: [(&str, &str); 2] = [("unit tests", "test(::core::)"), ("simulator", "test(sim::tests::histories)")];

/// A fault, as `cargo mutants --list --json --diff` describes it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Mutant {
    name: String,
    diff: String,
}

/// The result of testing a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TestResult {
    DoesNotCompile,
    KilledBy(&'static str),
    Survived,
}

impl fmt::Display for TestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoesNotCompile => f.write_str("does not compile"),
            Self::KilledBy(suite) => write!(f, "killed by the {suite}"),
            Self::Survived => f.write_str("SURVIVED"),
        }
    }
}

/// Draws so many mutants of the cores and prints how many the tests kill, and which survive.
///
/// # Errors
/// When the tool cannot be installed or run, or the tests fail without any mutant.
pub fn run(seed: u64, count: usize) -> anyhow::Result<()> {
    if !packages::runs("cargo", &["mutants", "--version"]) {
        let installed = Command::new("cargo").args(["install", "cargo-mutants", "--locked"]).status();
        ensure!(installed.context("cannot run cargo")?.success(), "cargo-mutants cannot be installed");
    }
    let worktree = Worktree::new(&root().join("target/mutants"))?;
    let all = worktree.list()?;
    eprintln!("seed {seed}: {count} of {} mutants of the cores", all.len());
    ensure!(SUITES.iter().all(|(_, filter)| worktree.passes(filter)), "the tests fail without any mutant");
    let mut results = Vec::new();
    for mutant in drawn(all, seed, count) {
        let result = worktree.test(&mutant)?;
        eprintln!("{:>3} {result}: {}", results.len() + 1, mutant.name);
        results.push(result);
    }
    let compiled = results.iter().filter(|result| **result != TestResult::DoesNotCompile).count();
    let killed = results.iter().filter(|result| matches!(result, TestResult::KilledBy(_))).count();
    eprintln!("{killed} of {compiled} mutants that compile are killed");
    Ok(())
}

fn drawn(mut all: Vec<Mutant>, seed: u64, count: usize) -> Vec<Mutant> {
    all.shuffle(&mut StdRng::seed_from_u64(seed));
    all.truncate(count);
    all
}

/// A git worktree of the last commit, removed at the end, and its build folder.
struct Worktree {
    source: PathBuf,
    built: PathBuf,
}

impl Worktree {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let worktree = Self { source: folder.join("source"), built: folder.join("target") };
        // An interrupted run may have left one.
        worktree.remove();
        let added = Command::new("git")
            .args(["worktree", "add", "--force", "--detach"])
            .arg(&worktree.source)
            .arg("HEAD")
            .current_dir(root())
            .status();
        ensure!(added.context("cannot run git")?.success(), "git cannot make a worktree");
        Ok(worktree)
    }

    fn remove(&self) {
        drop(fs::remove_dir_all(&self.source));
        drop(Command::new("git").args(["worktree", "prune"]).current_dir(root()).status());
    }

    /// Every mutant of the cores.
    fn list(&self) -> anyhow::Result<Vec<Mutant>> {
        let mut command = Command::new("cargo");
        command.args(["mutants", "--package", "divvy", "--list", "--json", "--diff"]).current_dir(&self.source);
        for files in CORES {
            command.args(["--file", files]);
        }
        let output = command.output().context("cannot run cargo mutants")?;
        ensure!(output.status.success(), "cargo mutants: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).context("what cargo mutants lists cannot be read")
    }

    fn test(&self, mutant: &Mutant) -> anyhow::Result<TestResult> {
        self.patch(mutant, false)?;
        let result = if self.compiles() {
            let killed = SUITES.iter().find(|(_, filter)| !self.passes(filter));
            killed.map_or(TestResult::Survived, |(suite, _)| TestResult::KilledBy(suite))
        } else {
            TestResult::DoesNotCompile
        };
        self.patch(mutant, true)?;
        Ok(result)
    }

    /// Applies the mutant's diff, or reverts it.
    fn patch(&self, mutant: &Mutant, reverse: bool) -> anyhow::Result<()> {
        let mut command = Command::new("git");
        command.args(["apply", "-p0", "--unidiff-zero"]).args(reverse.then_some("--reverse"));
        let mut git = command.arg("-").current_dir(&self.source).stdin(Stdio::piped()).spawn()?;
        let mut input = git.stdin.take().context("git takes no input")?;
        input.write_all(with_paths(&mutant.diff).as_bytes())?;
        drop(input);
        ensure!(git.wait()?.success(), "{}: git cannot apply it", mutant.name);
        Ok(())
    }

    fn compiles(&self) -> bool {
        self.nextest().arg("--no-run").output().is_ok_and(|output| output.status.success())
    }

    /// Whether all tests of this filter pass; the first that does not ends the run.
    fn passes(&self, filter: &str) -> bool {
        let output = self.nextest().args(["--fail-fast", "-E", filter]).output();
        output.is_ok_and(|output| output.status.success())
    }

    fn nextest(&self) -> Command {
        let mut command = Command::new("cargo");
        command.args(["nextest", "run", "--all-features", "--lib"]);
        command.env("CARGO_TARGET_DIR", &self.built).current_dir(&self.source);
        // Without debug information, and with short simulations, a mutant takes a minute or two.
        command.env("CARGO_PROFILE_TEST_DEBUG", "0").env("CARGO_PROFILE_DEV_DEBUG", "0").env("DIVVY_SIM_SECONDS", "10");
        command
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The tool writes a description where the name of the changed file belongs.
fn with_paths(diff: &str) -> String {
    let file = diff.lines().find_map(|line| line.strip_prefix("--- ")).unwrap_or_default();
    let lines = diff.lines().map(|line| if line.starts_with("+++ ") { format!("+++ {file}") } else { line.to_owned() });
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_repeated_by_its_seed_and_holds_no_mutant_twice() {
        let all: Vec<Mutant> = (0..100).map(|at| Mutant { name: at.to_string(), diff: String::new() }).collect();
        let first = drawn(all.clone(), 7, 40);
        assert_eq!(first, drawn(all.clone(), 7, 40));
        assert_ne!(first, drawn(all, 8, 40));
        let mut names: Vec<&str> = first.iter().map(|mutant| mutant.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 40);
    }

    #[test]
    fn a_diff_names_the_file_on_both_sides() {
        let diff = "--- src/a.rs\n+++ replace f with ()\n@@ -1,1 +1,1 @@\n-f()\n+()\n";
        assert_eq!(with_paths(diff), "--- src/a.rs\n+++ src/a.rs\n@@ -1,1 +1,1 @@\n-f()\n+()\n");
    }
}
