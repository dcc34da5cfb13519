//! Fuzzing: builds the one program of all targets with coverage counters and runs it to find inputs that break one.
//!
//! The compiler's coverage passes are stable options, so neither another toolchain nor another program is needed; the
//! fuzzer itself is C++. New inputs go below `target/fuzz`; those that break a target go to `fuzz/broken`, to be moved
//! into the corpus with a fix.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, bail, ensure};

use crate::{packages, root};

/// Where the instrumented program is built.
const TARGET_DIR: &str = "target/fuzz";

/// How long the fuzzer runs, for each target.
#[derive(Clone, Copy, Debug)]
pub enum Effort {
    /// A few seconds' worth of inputs, the same ones in every run.
    Short,
    /// As many as there is time for, in seconds.
    Seconds(u32),
}

impl Effort {
    fn arguments(self, target: &str) -> [String; 2] {
        match self {
            Self::Short => [format!("-runs={}", input_count(target)), "-seed=1".to_owned()],
            Self::Seconds(seconds) => [format!("-max_total_time={seconds}"), "-seed=0".to_owned()],
        }
    }
}

/// How many inputs a target takes in about three seconds.
fn input_count(target: &str) -> u32 {
    match target.split('-').next() {
        Some("core") => 300,
        Some("store" | "path") => 2_000,
        Some("frame" | "call") => 5_000,
        Some(_) | None => 20_000,
    }
}

/// Fuzzes every target, or the one named, as many at once as there are processors.
///
/// # Errors
/// When the program cannot be built, or a target breaks.
pub fn run(only: Option<&str>, effort: Effort) -> anyhow::Result<()> {
    let mut targets = targets()?;
    targets.retain(|name| only.is_none_or(|only| only == name));
    ensure!(!targets.is_empty(), "there is no target {}: fuzz/corpus has a folder for each", only.unwrap_or_default());
    let program = build()?;
    let (waiting, failures) = (Mutex::new(targets.into_iter()), Mutex::new(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(target) = next() {
                    if let Err(error) = fuzz(&program, &target, effort) {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{error:#}"));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failures.is_empty() { Ok(()) } else { bail!("{}", failures.join("\n\n")) }
}

/// Builds the program; `fuzz/instrument`, which cargo calls in place of rustc, adds the counters to divvy itself.
fn build() -> anyhow::Result<PathBuf> {
    if !packages::runs("c++", &["--version"]) {
        packages::install("g++").context("the fuzzer is written in C++ and there is no compiler `c++`")?;
    }
    let arguments = ["build", "--profile", "fuzz", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", TARGET_DIR];
    let built = Command::new("cargo")
        .args(arguments)
        .env("RUSTC_WRAPPER", root().canonicalize()?.join("fuzz/instrument"))
        .current_dir(root())
        .status();
    ensure!(built.context("cannot run cargo")?.success(), "the fuzzer does not build");
    Ok(root().join(TARGET_DIR).join("fuzz/divvy"))
}

fn fuzz(program: &Path, target: &str, effort: Effort) -> anyhow::Result<()> {
    let (found, broken) = (findings_folder(target, effort)?, root().join("fuzz/broken"));
    fs::create_dir_all(&broken)?;
    let output = Command::new(program)
        .env("DIVVY_FUZZ_TARGET", target)
        .envs(tmpfs_env())
        .args(effort.arguments(target))
        .arg(format!("-artifact_prefix={}/{target}-", broken.display()))
        .args(dictionary(target))
        .args(["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .args([found, root().join("fuzz/corpus").join(target)])
        .output()
        .context("cannot run the fuzzer")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{target} is broken:\n{}", failure_excerpt(&log));
    let runs = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).unwrap_or("?");
    eprintln!("{target}: {} inputs, {}, nothing broken", runs.trim(), coverage(&log));
    Ok(())
}

/// A temporary directory in memory, where syncing costs nothing.
fn tmpfs_env() -> Option<(&'static str, &'static str)> {
    Path::new("/dev/shm").is_dir().then_some(("TMPDIR", "/dev/shm"))
}

/// The dictionary argument for targets that take text.
fn dictionary(target: &str) -> Option<String> {
    let takes_text = ["text-", "path-", "store-agent-log", "store-journal"].iter().any(|kind| target.starts_with(kind));
    takes_text.then(|| format!("-dict={}", root().join("fuzz/words").display()))
}

/// The folder for new inputs: an empty one for a short run, so that every short run is the same.
fn findings_folder(target: &str, effort: Effort) -> anyhow::Result<PathBuf> {
    let place = root().join(TARGET_DIR);
    let folder = match effort {
        Effort::Short => place.join("short").join(target),
        Effort::Seconds(_) => place.join("found").join(target),
    };
    if matches!(effort, Effort::Short) && folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The coverage in the fuzzer's last line that has one.
fn coverage(log: &str) -> String {
    let last = log.lines().rev().find_map(|line| Some((line, line.split_once("cov: ")?.1)));
    let edges = last.and_then(|(_, rest)| rest.split(' ').next()).unwrap_or("?");
    format!("{edges} edges")
}

/// The panic of a broken target, and the end of the log, which names the input.
fn failure_excerpt(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let panic = lines.iter().position(|line| line.contains("panicked at")).unwrap_or(lines.len());
    let panic_lines = lines.iter().skip(panic).take(20);
    let end = &lines[lines.len().saturating_sub(8).max(panic)..];
    panic_lines.chain(end).copied().collect::<Vec<_>>().join("\n")
}

/// The targets are the folders of the corpus; a test of the library holds that to be all of them.
fn targets() -> anyhow::Result<Vec<String>> {
    let entries = fs::read_dir(root().join("fuzz/corpus"))?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> = entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
