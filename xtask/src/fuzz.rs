//! Fuzzing: builds the one program of all targets with coverage counters and lets it look for inputs that break one.
//!
//! The compiler's coverage passes are stable options, so neither another toolchain nor another program is needed. What the
//! fuzzer finds interesting goes below `target/fuzz`; what breaks a target is written to `fuzz/broken`, to be mended
//! and moved into the corpus.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};

use crate::root;

/// Where the instrumented program is built.
const TARGET_DIR: &str = "target/fuzz";

/// Counters at every edge and the values of comparisons, as libFuzzer wants them.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1";

/// How far the fuzzer looks, for each target.
#[derive(Clone, Copy, Debug)]
pub enum Effort {
    /// So many inputs, always the same ones: a change is judged, not luck.
    Inputs(u32),
    /// As many as there is time for, in seconds.
    Seconds(u32),
}

impl Effort {
    fn arguments(self) -> [String; 2] {
        match self {
            Self::Inputs(inputs) => [format!("-runs={inputs}"), "-seed=1".to_owned()],
            Self::Seconds(seconds) => [format!("-max_total_time={seconds}"), "-seed=0".to_owned()],
        }
    }
}

/// Fuzzes every target, or the one named.
///
/// # Errors
/// When the program cannot be built, or a target breaks.
pub fn run(only: Option<&str>, effort: Effort) -> anyhow::Result<()> {
    let host = host()?;
    let arguments =
        ["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", &host, "--target-dir", TARGET_DIR];
    let built = Command::new("cargo").args(arguments).env("RUSTFLAGS", COVERAGE).current_dir(root()).status();
    ensure!(built.context("cannot run cargo")?.success(), "the fuzzer does not build; it needs a C++ compiler");
    let program = root().join(TARGET_DIR).join(&host).join("release/divvy");
    for target in targets()?.iter().filter(|name| only.is_none_or(|only| only == *name)) {
        fuzz(&program, target, effort)?;
    }
    Ok(())
}

fn fuzz(program: &Path, target: &str, effort: Effort) -> anyhow::Result<()> {
    let (found, broken) = (root().join(TARGET_DIR).join("found").join(target), root().join("fuzz/broken"));
    std::fs::create_dir_all(&found)?;
    std::fs::create_dir_all(&broken)?;
    let output = Command::new(program)
        .env("DIVVY_FUZZ_TARGET", target)
        .args(effort.arguments())
        .arg(format!("-artifact_prefix={}/{target}-", broken.display()))
        .args(["-max_len=4096", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .args([found, root().join("fuzz/corpus").join(target)])
        .output()
        .context("cannot run the fuzzer")?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{target} is broken:\n{}", last_lines(&told, 40));
    let runs = told.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).unwrap_or("?");
    eprintln!("{target}: {} inputs, nothing broken", runs.trim());
    Ok(())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The targets are the folders of the corpus; a test of the library holds that to be all of them.
fn targets() -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(root().join("fuzz/corpus"))?.collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> = entries.iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn host() -> anyhow::Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot run rustc")?;
    let text = String::from_utf8(output.stdout)?;
    text.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc does not tell its host")
}
