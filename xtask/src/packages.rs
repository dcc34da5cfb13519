//! What the chores need beside cargo: installed through apt where it is missing, so that nobody reads a list first.

use std::process::Command;

use anyhow::ensure;

/// Whether a program is there and runs.
pub(crate) fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Installs a package.
///
/// # Errors
/// When apt cannot, or is not there.
pub(crate) fn install(package: &str) -> anyhow::Result<()> {
    let apt = |arguments: &[&str]| {
        eprintln!("== {package} is missing: apt-get {}", arguments.join(" "));
        Command::new("apt-get").args(arguments).status().is_ok_and(|status| status.success())
    };
    // A list of packages that is out of date, or none, is the usual reason why one is not found.
    let install = ["install", "--yes", "--no-install-recommends", package];
    ensure!(apt(&install) || apt(&["update"]) && apt(&install), "{package} is missing and apt-get cannot install it");
    Ok(())
}
