//! The regression gate: instructions counted under callgrind, compared with the recorded counts beside the benches.
//!
//! A count does not depend on the load of the machine, so a limit can be tight: a count more than [`TOLERANCE_PERCENT`]
//! above the recorded one fails, and one as far below has to be recorded. The compiler affects counts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::{packages, root};

/// How far a count may be from the recorded one, in percent.
const TOLERANCE_PERCENT: u64 = 5;

/// The file of the recorded counts.
const RECORDED: &str = "benches/instructions/counts.txt";

/// The debian package of callgrind.
const PACKAGE: &str = "valgrind";

/// Instructions by case.
type Counts = BTreeMap<String, u64>;

/// Counts every case and compares.
///
/// # Errors
/// Cases that cost too much, or much less than is recorded; a case without a count; callgrind missing.
pub fn check() -> anyhow::Result<()> {
    let (written, counted) = (read(&root().join(RECORDED))?, count_all()?);
    let problems: Vec<String> = counted.iter().filter_map(|(case, count)| problem(case, *count, &written)).collect();
    let gone =
        written.keys().filter(|case| !counted.contains_key(*case)).map(|case| format!("{case}: is no case any more"));
    let problems: Vec<String> = problems.into_iter().chain(gone).collect();
    ensure!(problems.is_empty(), "instructions:\n  {}", problems.join("\n  "));
    Ok(())
}

/// Counts every case and writes the counts down.
///
/// # Errors
/// When a case cannot be counted or the file cannot be written.
pub fn write() -> anyhow::Result<()> {
    let lines: Vec<String> = count_all()?.iter().map(|(case, count)| format!("{case} {count}\n")).collect();
    fs::write(root().join(RECORDED), lines.concat()).with_context(|| format!("cannot write {RECORDED}"))
}

fn problem(case: &str, count: u64, written: &Counts) -> Option<String> {
    let hint = "`cargo xtask instructions --write` writes it down";
    let Some(&expected) = written.get(case) else {
        return Some(format!("{case}: {count}, nothing in {RECORDED}; {hint}"));
    };
    let slack = expected / 100 * TOLERANCE_PERCENT;
    if count > expected + slack {
        return Some(format!(
            "{case}: {count}, over {expected} by more than {TOLERANCE_PERCENT} %; if it is worth it, {hint}"
        ));
    }
    (count + slack < expected)
        .then(|| format!("{case}: {count}, better than {expected} by more than {TOLERANCE_PERCENT} %; {hint}"))
}

fn read(path: &Path) -> anyhow::Result<Counts> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = |line: &str| {
        let (case, count) =
            line.split_once(' ').with_context(|| format!("{RECORDED}: {line:?} is no \"case count\""))?;
        Ok((case.to_owned(), count.parse().with_context(|| format!("{RECORDED}: {line:?}"))?))
    };
    text.lines().map(line).collect()
}

fn count_all() -> anyhow::Result<Counts> {
    if !packages::runs("valgrind", &["--version"]) {
        packages::install(PACKAGE)?;
    }
    let bench = build()?;
    let listed = Command::new(&bench).output().with_context(|| format!("cannot run {}", bench.display()))?;
    ensure!(listed.status.success(), "{} does not list its cases", bench.display());
    let cases = String::from_utf8(listed.stdout)?;
    let one = |case: &str| {
        let count = count(&bench, case)?;
        eprintln!("{case}: {count} instructions");
        Ok((case.to_owned(), count))
    };
    cases.lines().map(one).collect()
}

/// Builds the workloads with the pure modules of the library only, and returns their path.
fn build() -> anyhow::Result<PathBuf> {
    let arguments = ["build", "--release", "--package", "instructions", "--message-format=json"];
    let output =
        Command::new("cargo").args(arguments).current_dir(root()).stderr(std::process::Stdio::inherit()).output();
    let output = output.context("cannot run cargo")?;
    ensure!(output.status.success(), "the workloads do not build");
    let text = String::from_utf8(output.stdout)?;
    let executable = |line: &str| {
        let (_, rest) = line.split_once("\"executable\":\"")?;
        Some(PathBuf::from(rest.split('"').next()?))
    };
    text.lines().filter_map(executable).next_back().context("cargo does not say where the workloads are")
}

fn count(bench: &Path, case: &str) -> anyhow::Result<u64> {
    let folder = root().join("target/instructions");
    fs::create_dir_all(&folder)?;
    let file = folder.join(case);
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet", "--collect-atstart=no", "--toggle-collect=*instructions*measured*"]);
    command.arg(format!("--callgrind-out-file={}", file.display())).arg(bench).arg(case);
    let output = command.env_clear().output().context("cannot run valgrind")?;
    ensure!(output.status.success(), "{case}: {}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(&file)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    match total.and_then(|total| total.trim().parse().ok()) {
        Some(0) | None => bail!("{case}: callgrind has counted nothing"),
        Some(count) => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_wrong_when_it_is_more_than_the_tolerance_away() {
        let written = Counts::from([("a".to_owned(), 1_000)]);
        for count in [950, 1_000, 1_050] {
            assert_eq!(problem("a", count, &written), None);
        }
        assert!(problem("a", 1_051, &written).is_some_and(|text| text.starts_with("a: 1051, over 1000")));
        assert!(problem("a", 949, &written).is_some_and(|text| text.starts_with("a: 949, better than 1000")));
        assert!(problem("b", 1, &written).is_some_and(|text| text.contains("nothing in")));
    }
}
