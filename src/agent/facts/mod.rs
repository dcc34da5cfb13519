//! The resources and the identity of this host: detected, unless the operator declares them.
//!
//! CPUs, memory, disk and ports are each detected only if the operator does not declare them; a declared zero means
//! none. Some memory and disk is reserved for the host itself. Detection happens once, when the agent starts: the
//! resources of an agent do not change while it runs.

mod cgroup;
mod host;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use self::host::Host;
use crate::types::{Attributes, DeclaredResources, Milli, Ranges, Resources};

/// The ports offered by default, outside of the kernel's ephemeral range.
const PORTS: std::ops::RangeInclusive<u64> = 31_000..=32_000;
/// Memory reserved for the host, in MiB, if it has at least twice as much; otherwise half is reserved.
const HOST_MEM_MIB: u64 = 1024;
/// The same for the disk.
const HOST_DISK_MIB: u64 = 5 * 1024;

/// What an agent reports about itself when it registers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Facts {
    /// All resources of the agent.
    pub resources: Resources,
    /// The attributes that constraints can refer to.
    pub attributes: Attributes,
    /// The host name as the kernel reports it.
    pub hostname: String,
    /// The id of this boot of the host: under another id, no earlier process is running.
    pub boot_id: String,
    /// The user the agent runs as, by name where there is one.
    pub user: String,
}

/// Why the facts of this host cannot be detected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// A fact cannot be read from the host.
    #[error("cannot find out {what} from {path}: {source}; declare it with --resources", path = path.display())]
    Host {
        /// Which fact, for example `the size of the disk`.
        what: &'static str,
        /// The file or folder that was read.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Detects the resources and the identity of this host. `work_dir` exists: its file system counts as the disk.
///
/// ```no_run
/// let facts = divvy::agent::facts::detect("/var/lib/divvy".as_ref(), &"cpus:4;disk:0".parse()?, "rack:r1".parse()?)?;
/// assert_eq!(facts.resources.cpus().to_string(), "4");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// A fact that `declared` leaves out cannot be detected.
pub fn detect(work_dir: &Path, declared: &DeclaredResources, attributes: Attributes) -> Result<Facts, FactsError> {
    let host = Host::detect(work_dir)?;
    let resources = complete(declared, &host);
    let Host { hostname, boot_id, user, .. } = host;
    Ok(Facts { resources, attributes, hostname, boot_id, user })
}

/// The declared resources, completed with those that the host has.
fn complete(declared: &DeclaredResources, host: &Host) -> Resources {
    let mut resources = declared.resources().clone();
    let found = [
        ("cpus", host.cpus),
        ("mem", spare(host.mem_mib, HOST_MEM_MIB)),
        ("disk", spare(host.disk_mib, HOST_DISK_MIB)),
    ];
    for (name, units) in found.into_iter().filter(|(name, _)| !declared.mentions(name)) {
        let units = i64::try_from(units).unwrap_or(i64::MAX / 1000);
        resources = resources.with_scalar(name, Milli::from_units(units));
    }
    if declared.mentions("ports") { resources } else { resources.with_ports(Ranges::from(PORTS)) }
}

/// What of `total` can be offered when `left` is reserved for the host; at least half.
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
    fn undeclared_resources_are_detected_and_some_are_reserved_for_the_host() {
        assert_eq!(completed(""), "cpus:8; mem:15360; disk:97280; ports:[31000-32000]");
    }

    #[test]
    fn declared_resources_are_taken_as_they_are_and_zero_means_none() {
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
    fn a_small_host_offers_half() {
        assert_eq!(spare(2048, HOST_MEM_MIB), 1024);
        assert_eq!(spare(2047, HOST_MEM_MIB), 1023);
        assert_eq!(spare(10 * 1024, HOST_DISK_MIB), 5 * 1024);
        assert_eq!(spare(1, HOST_DISK_MIB), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let nowhere = Path::new("/no/such/folder");
        let error = detect(nowhere, &DeclaredResources::default(), Attributes::default()).unwrap_err().to_string();
        assert!(error.starts_with("cannot find out the size of the disk from /no/such/folder: "), "{error}");
    }

    #[test]
    fn this_host_has_resources_to_offer() {
        let work = tempfile::tempdir().unwrap();
        let facts = detect(work.path(), &DeclaredResources::default(), "rack:r1;zone:a".parse().unwrap()).unwrap();
        assert!(facts.resources.cpus() >= Milli::from_units(1), "{}", facts.resources);
        assert!(facts.resources.mem_mib() > Milli::ZERO && facts.resources.disk_mib() > Milli::ZERO);
        assert_eq!(facts.resources.ports().len(), 1001);
        assert_eq!(facts.attributes.text("zone"), Some("a"));
    }
}
