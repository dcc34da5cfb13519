//! The chores that run cargo: tests, verification, fixing. Each part's time is printed when it ends.

use std::{process::Command, time::Instant};

use anyhow::{Context as _, ensure};

use crate::{
    fuzz::{self, Effort},
    generate, instructions, packages, root,
};

/// One part of a chore: what it is called, the arguments of cargo, more environment.
type Part = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const WARNINGS_ARE_ERRORS: &[(&str, &str)] = &[("RUSTDOCFLAGS", "-D warnings")];

/// Fixed, so that every change is tested with the same cases.
const SAME_CASES: &[(&str, &str)] = &[("PROPTEST_RNG_SEED", "1")];

const TESTS: &[Part] = &[
    ("binaries", &["build", "--bins", "--example", "cron-framework"], &[]),
    ("tests", &["nextest", "run", "--workspace", "--all-features"], SAME_CASES),
    ("doc tests", &["test", "--quiet", "--doc", "--workspace", "--all-features"], &[]),
];

/// As many simulated histories as fit in three minutes, from a fixed seed on.
const SIMULATION: Part = (
    "simulation",
    &[
        "nextest",
        "run",
        "--all-features",
        "--lib",
        "--no-capture",
        "sim::tests::histories::as_many_other_seeds_as_there_is_time_for_break_nothing",
    ],
    &[("DIVVY_SIM_SECONDS", "180")],
);

/// A minute of histories that simulate hours each.
const SIMULATED_HOURS: Part = (
    "simulated hours",
    &[
        "nextest",
        "run",
        "--all-features",
        "--lib",
        "--no-capture",
        "sim::tests::histories::histories_that_go_on_for_hours_break_nothing",
    ],
    &[("DIVVY_SIM_SECONDS", "60")],
);

const CHECKS: &[Part] = &[
    ("format", &["fmt", "--all", "--check"], &[]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"], &[]),
    ("docs", &["doc", "--workspace", "--all-features", "--no-deps", "--quiet"], WARNINGS_ARE_ERRORS),
];

const FIXES: &[Part] = &[
    (
        "lints",
        &["clippy", "--fix", "--allow-dirty", "--allow-staged", "--workspace", "--all-targets", "--all-features"],
        &[],
    ),
    ("format", &["fmt", "--all"], &[]),
];

/// Runs every test, after installing what they need where it is missing: the runner, and `ip` and `tc` for the tests
/// that cut links.
///
/// # Errors
/// The part that failed.
pub fn test() -> anyhow::Result<()> {
    if !packages::runs("cargo", &["nextest", "--version"]) {
        run(&("the test runner", &["install", "cargo-nextest", "--locked"], &[]))?;
    }
    if !(packages::runs("ip", &["-V"]) && packages::runs("tc", &["-V"])) {
        packages::install("iproute2")?;
    }
    TESTS.iter().try_for_each(run)
}

/// Checks format, lints and docs, runs every test, runs four minutes of simulated histories, fuzzes every target for
/// some seconds, and counts instructions. Changes nothing in the repository. Installs missing programs, as [`test()`]
/// does, and callgrind.
///
/// # Errors
/// The part that failed.
pub fn verify() -> anyhow::Result<()> {
    CHECKS.iter().try_for_each(run)?;
    test()?;
    run(&SIMULATION)?;
    run(&SIMULATED_HOURS)?;
    timed("fuzzing", || fuzz::run(None, Effort::Short))?;
    instructions::check()
}

/// Rewrites what can be rewritten: generated code, lint suggestions, format.
///
/// # Errors
/// The part that failed.
pub fn fix() -> anyhow::Result<()> {
    generate(&root().join("src/proto"))?;
    FIXES.iter().try_for_each(run)
}

fn run((name, arguments, environment): &Part) -> anyhow::Result<()> {
    eprintln!("== {name}: cargo {}", arguments.join(" "));
    timed(name, || {
        let status = Command::new("cargo")
            .args(*arguments)
            .envs(environment.iter().copied())
            .current_dir(root())
            .status()
            .with_context(|| format!("{name}: cannot run cargo"))?;
        ensure!(status.success(), "{name} failed");
        Ok(())
    })
}

#[expect(clippy::disallowed_methods, reason = "the time is only printed")]
fn timed(name: &str, part: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let started = Instant::now();
    let outcome = part();
    eprintln!("== {name}: {:.1} s", started.elapsed().as_secs_f64());
    outcome
}
