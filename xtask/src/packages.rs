//! Installs the programs that the chores need beside cargo, through apt where they are missing.

use std::process::Command;

use anyhow::ensure;

/// Whether a program is there and runs.
pub(crate) fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Installs a package.
///
/// # Errors
/// When apt is missing or cannot install the package.
pub(crate) fn install(package: &str) -> anyhow::Result<()> {
    let apt = |arguments: &[&str]| {
        eprintln!("== {package} is missing: apt-get {}", arguments.join(" "));
        Command::new("apt-get").args(arguments).status().is_ok_and(|status| status.success())
    };
    // A missing or outdated package list is the usual reason why a package is not found.
    let install = ["install", "--yes", "--no-install-recommends", package];
    ensure!(apt(&install) || apt(&["update"]) && apt(&install), "{package} is missing and apt-get cannot install it");
    Ok(())
}
