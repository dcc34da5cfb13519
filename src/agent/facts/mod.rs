//! What this host has to give and who it is: found out, unless the operator says otherwise.
//!
//! Cpus, memory, disk and ports are each found out only if the operator does not mention them; a mention of zero
//! means none. Some memory and disk is left for the host itself. It is looked at once, when the agent starts: what an
//! agent has does not change while it lives.

mod cgroup;
mod host;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use self::host::Host;
use crate::types::{Attributes, DeclaredResources, Milli, Ranges, Resources};

/// The ports offered unless the operator names others: outside of what the kernel gives out by itself.
const PORTS: std::ops::RangeInclusive<u64> = 31_000..=32_000;
/// Memory left to the host if it has at least twice as much; otherwise half is left. MiB.
const MEM_LEFT_MIB: u64 = 1024;
/// The same for the disk.
const DISK_LEFT_MIB: u64 = 5 * 1024;

/// What an agent says of itself when it registers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Facts {
    /// All it has.
    pub resources: Resources,
    /// What distinguishes it.
    pub attributes: Attributes,
    /// The name that the host gives itself.
    pub hostname: String,
    /// Names this boot of the host: under another, nothing that ran before runs now.
    pub boot_id: String,
    /// The user the agent runs as, by name where there is one.
    pub user: String,
}

/// Why it cannot be said what this host has.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// The host does not tell.
    #[error("cannot find out {what} from {path}: {source}; say it with --resources", path = path.display())]
    Host {
        /// What was asked, for example `the size of the disk`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Detects what this host has, and who it is. `work_dir` exists: its file system is the disk that counts.
///
/// ```no_run
/// let facts = divvy::agent::facts::detect("/var/lib/divvy".as_ref(), &"cpus:4;disk:0".parse()?, "rack:r1".parse()?)?;
/// assert_eq!(facts.resources.cpus().to_string(), "4");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A host from which what `declared` leaves out cannot be found out.
pub fn detect(work_dir: &Path, declared: &DeclaredResources, attributes: Attributes) -> Result<Facts, FactsError> {
    let host = Host::look(work_dir)?;
    let resources = complete(declared, &host);
    let Host { hostname, boot_id, user, .. } = host;
    Ok(Facts { resources, attributes, hostname, boot_id, user })
}

/// What the operator declared, and of the rest what the host has.
fn complete(declared: &DeclaredResources, host: &Host) -> Resources {
    let mut resources = declared.resources().clone();
    let found = [
        ("cpus", host.cpus),
        ("mem", spare(host.mem_mib, MEM_LEFT_MIB)),
        ("disk", spare(host.disk_mib, DISK_LEFT_MIB)),
    ];
    for (name, units) in found.into_iter().filter(|(name, _)| !declared.mentions(name)) {
        let units = i64::try_from(units).unwrap_or(i64::MAX / 1000);
        resources = resources.with_scalar(name, Milli::from_units(units));
    }
    if declared.mentions("ports") { resources } else { resources.with_ports(Ranges::from(PORTS)) }
}

/// What is given away of `total` when `left` should be left, but never more than half.
fn spare(total: u64, left: u64) -> u64 {
    if total >= 2 * left { total - left } else { total / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            cpus: 8,
            mem_mib: 16 * 1024,
            disk_mib: 100 * 1024,
            hostname: "h".to_owned(),
            boot_id: "b".to_owned(),
            user: "u".to_owned(),
        }
    }

    fn completed(text: &str) -> String {
        complete(&text.parse().unwrap(), &host()).to_string()
    }

    #[test]
    fn what_is_not_mentioned_is_found_out_and_some_is_left_to_the_host() {
        assert_eq!(completed(""), "cpus:8; mem:15360; disk:97280; ports:[31000-32000]");
    }

    #[test]
    fn what_is_mentioned_counts_and_zero_means_none() {
        assert_eq!(completed("cpus:2.5;mem:0;ports:[]"), "cpus:2.5; disk:97280");
        assert_eq!(
            completed("cpus(r):2"),
            "cpus(reservations: [(STATIC,r)]):2; mem:15360; disk:97280; ports:[31000-32000]"
        );
        assert_eq!(completed("gpus:1;cpus:0;mem:0;disk:0;ports:[5-6]"), "gpus:1; ports:[5-6]");
        assert_eq!(completed("cpus:2;mem:0;disk:0;ports:[]"), "cpus:2");
        assert_eq!(completed("cpus:0"), "mem:15360; disk:97280; ports:[31000-32000]");
        assert_eq!(completed("cpus:0;mem:0;disk:0;ports:[]"), "{}");
    }

    #[test]
    fn a_small_host_gives_half() {
        assert_eq!(spare(2048, MEM_LEFT_MIB), 1024);
        assert_eq!(spare(2047, MEM_LEFT_MIB), 1023);
        assert_eq!(spare(10 * 1024, DISK_LEFT_MIB), 5 * 1024);
        assert_eq!(spare(1, DISK_LEFT_MIB), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let nowhere = Path::new("/no/such/folder");
        let error = detect(nowhere, &DeclaredResources::default(), Attributes::default()).unwrap_err().to_string();
        assert!(error.starts_with("cannot find out the size of the disk from /no/such/folder: "), "{error}");
    }

    #[test]
    fn this_host_has_something_to_give() {
        let work = tempfile::tempdir().unwrap();
        let facts = detect(work.path(), &DeclaredResources::default(), "rack:r1;zone:a".parse().unwrap()).unwrap();
        assert!(facts.resources.cpus() >= Milli::from_units(1), "{}", facts.resources);
        assert!(facts.resources.mem_mib() > Milli::ZERO && facts.resources.disk_mib() > Milli::ZERO);
        assert_eq!(facts.resources.ports().len(), 1001);
        assert_eq!(facts.attributes.text("zone"), Some("a"));
    }
}
