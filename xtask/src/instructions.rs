//! The regression gate: instructions counted under callgrind, compared with what is written down beside the benches.
//!
//! A count does not depend on the load of the machine, so a limit can be tight: more than [`TOLERANCE_PERCENT`] above the
//! count written down fails, as much below asks to write the better one down. The compiler is part of the count.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::root;

/// How far a count may be from what is written down, in percent of it.
const TOLERANCE_PERCENT: u64 = 5;

/// Where the counts are written down.
const WRITTEN: &str = "benches/instructions/counts.txt";

/// The debian package of callgrind.
const PACKAGE: &str = "valgrind";

/// Instructions by case.
type Counts = BTreeMap<String, u64>;

/// Counts every case and compares.
///
/// # Errors
/// Cases that cost too much, or much less than is written down; a case without a count; callgrind missing.
pub fn check() -> anyhow::Result<()> {
    let (written, counted) = (read(&root().join(WRITTEN))?, count_all()?);
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
    fs::write(root().join(WRITTEN), lines.concat()).with_context(|| format!("cannot write {WRITTEN}"))
}

fn problem(case: &str, count: u64, written: &Counts) -> Option<String> {
    let way_out = "`cargo xtask instructions --write` writes it down";
    let Some(&expected) = written.get(case) else {
        return Some(format!("{case}: {count}, nothing in {WRITTEN}; {way_out}"));
    };
    let slack = expected / 100 * TOLERANCE_PERCENT;
    if count > expected + slack {
        return Some(format!(
            "{case}: {count}, over {expected} by more than {TOLERANCE_PERCENT} %; if it is worth it, {way_out}"
        ));
    }
    (count + slack < expected)
        .then(|| format!("{case}: {count}, better than {expected} by more than {TOLERANCE_PERCENT} %; {way_out}"))
}

fn read(path: &Path) -> anyhow::Result<Counts> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = |line: &str| {
        let (case, count) =
            line.split_once(' ').with_context(|| format!("{WRITTEN}: {line:?} is no \"case count\""))?;
        Ok((case.to_owned(), count.parse().with_context(|| format!("{WRITTEN}: {line:?}"))?))
    };
    text.lines().map(line).collect()
}

fn count_all() -> anyhow::Result<Counts> {
    install_callgrind()?;
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

fn install_callgrind() -> anyhow::Result<()> {
    if Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    eprintln!("== {PACKAGE} is missing: apt-get install {PACKAGE}");
    let install = Command::new("apt-get").args(["install", "--yes", "--no-install-recommends", PACKAGE]).status();
    ensure!(install.is_ok_and(|status| status.success()), "{PACKAGE} is missing and apt-get cannot install it");
    Ok(())
}

/// Builds the workloads with the pure rooms of the library only, and tells where they are.
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
