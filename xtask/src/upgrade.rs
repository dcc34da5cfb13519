//! An upgrade of a running cluster from an earlier commit: builds the binaries of that commit in a git worktree, which
//! is removed again, and lets the tests in `tests/cluster/upgrade.rs` start from them.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

use crate::{packages, root};

/// The environment variable that gives the tests the folder of the old binaries.
const FROM: &str = "DIVVY_UPGRADE_FROM";

/// Upgrades clusters from this commit in every order that the tests know.
///
/// # Errors
/// A commit that does not exist or does not build, or a test that fails.
pub fn run(from: &str) -> anyhow::Result<()> {
    let commit = resolve(from)?;
    let folder = target().join("upgrade").join(&commit[..12]);
    build(&commit, &folder)?;
    if !packages::runs("cargo", &["nextest", "--version"]) {
        cargo(&root(), &["install", "cargo-nextest", "--locked"], None)?;
    }
    let filter = "test(/^upgrade::/)";
    let tests =
        ["nextest", "run", "--all-features", "--test", "cluster", "--run-ignored", "only", "--no-capture", "-E"];
    cargo(&root(), &[&tests[..], &[filter]].concat(), Some(&folder.join("debug")))
}

/// The whole name of a commit.
fn resolve(from: &str) -> anyhow::Result<String> {
    let name = format!("{from}^{{commit}}");
    let output = Command::new("git").args(["rev-parse", "--verify", "--quiet", &name]).current_dir(root()).output();
    let output = output.context("cannot run git")?;
    ensure!(output.status.success(), "--from {from:?}: no commit of this repository; `git log --oneline` lists them");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Where cargo puts what it builds.
fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Builds the binaries of a commit into `folder`, which keeps them for the next time.
fn build(commit: &str, folder: &Path) -> anyhow::Result<()> {
    let source = folder.join("source");
    let source_text = source.to_str().with_context(|| format!("{}: not a name in UTF-8", source.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // An interrupted run may have left one.
    remove(&source);
    git(&["worktree", "add", "--force", "--detach", source_text, commit])?;
    let built = cargo(&source, &["build", "--bins", "--target-dir", &folder.display().to_string()], None);
    remove(&source);
    built
}

/// Removes the worktree; there need not be one.
fn remove(source: &Path) {
    drop(fs::remove_dir_all(source));
    drop(git(&["worktree", "prune"]));
}

fn git(arguments: &[&str]) -> anyhow::Result<()> {
    eprintln!("== git {}", arguments.join(" "));
    let output = Command::new("git").args(arguments).current_dir(root()).output().context("cannot run git")?;
    ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn cargo(folder: &Path, arguments: &[&str], from: Option<&Path>) -> anyhow::Result<()> {
    eprintln!("== cargo {}", arguments.join(" "));
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(folder).envs(from.map(|from| (FROM, from)));
    ensure!(command.status().context("cannot run cargo")?.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_found_by_any_of_its_names_and_a_missing_one_is_named() {
        let head = resolve("HEAD").expect("a repository");
        assert_eq!(resolve(&head[..10]).expect("a prefix"), head);
        let error = resolve("no-such-commit").expect_err("it does not exist").to_string();
        assert!(error.contains("\"no-such-commit\": no commit"), "{error}");
    }
}
