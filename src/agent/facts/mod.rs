//! What this host has to give and who it is: found out, unless the operator says otherwise.
//!
//! Cpus, memory, disk and ports are each found out only if the operator's text does not mention them; a mention of zero
//! means none. Some memory and disk is left for the host itself. It is looked at once, when the agent starts: what an
//! agent has does not change while it lives.

mod host;

use std::{
    io,
    path::{Path, PathBuf},
};

pub use self::host::Host;
use crate::types::{AttributeError, Attributes, Milli, Ranges, ResourceError, Resources};

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
    /// The operator's resources make no sense.
    #[error("--resources {text:?}: {source}")]
    Resources {
        /// The whole text.
        text: String,
        /// The part that makes no sense.
        source: ResourceError,
    },
    /// The operator's attributes make no sense.
    #[error("--attributes {text:?}: {source}")]
    Attributes {
        /// The whole text.
        text: String,
        /// The part that makes no sense.
        source: AttributeError,
    },
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

/// Finds out what this host has, and who it is. `work_dir` exists: its file system is the disk that counts.
///
/// ```no_run
/// let facts = divvy::agent::facts::detect("/var/lib/divvy".as_ref(), Some("cpus:4;disk:0"), Some("rack:r1"))?;
/// assert_eq!(facts.resources.cpus().to_string(), "4");
/// # Ok::<(), divvy::agent::facts::FactsError>(())
/// ```
///
/// # Errors
/// A text that makes no sense, or a host that does not tell what the text leaves out.
pub fn detect(work_dir: &Path, resources: Option<&str>, attributes: Option<&str>) -> Result<Facts, FactsError> {
    let text = attributes.unwrap_or_default();
    let attributes = text.parse().map_err(|source| FactsError::Attributes { text: text.to_owned(), source })?;
    let host = Host::look(work_dir)?;
    let resources = complete(resources.unwrap_or_default(), &host)?;
    let Host { hostname, boot_id, user, .. } = host;
    Ok(Facts { resources, attributes, hostname, boot_id, user })
}

/// What the operator said, and of the rest what the host has.
fn complete(text: &str, host: &Host) -> Result<Resources, FactsError> {
    let failed = |source| FactsError::Resources { text: text.to_owned(), source };
    let parsed = Resources::parse_named(text).map_err(failed)?;
    let is_open = |name: &str| !parsed.mentioned.contains(name);
    let mut resources = parsed.resources;
    let found = [
        ("cpus", host.cpus),
        ("mem", spare(host.mem_mib, MEM_LEFT_MIB)),
        ("disk", spare(host.disk_mib, DISK_LEFT_MIB)),
    ];
    for (name, units) in found.into_iter().filter(|(name, _)| is_open(name)) {
        let units = i64::try_from(units).unwrap_or(i64::MAX / 1000);
        resources = resources.with_scalar(name, Milli::from_units(units));
    }
    Ok(if is_open("ports") { resources.with_ports(Ranges::from(PORTS)) } else { resources })
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
        complete(text, &host()).unwrap().to_string()
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
    }

    #[test]
    fn a_small_host_gives_half() {
        assert_eq!(spare(2048, MEM_LEFT_MIB), 1024);
        assert_eq!(spare(2047, MEM_LEFT_MIB), 1023);
        assert_eq!(spare(10 * 1024, DISK_LEFT_MIB), 5 * 1024);
        assert_eq!(spare(1, DISK_LEFT_MIB), 0);
    }

    #[test]
    fn a_text_that_makes_no_sense_is_quoted_with_its_fault() {
        let work = tempfile::tempdir().unwrap();
        let error = detect(work.path(), Some("cpus:many"), None).unwrap_err().to_string();
        assert!(error.starts_with("--resources \"cpus:many\": `cpus:many`: "), "{error}");
        let error = detect(work.path(), None, Some("rack")).unwrap_err().to_string();
        assert!(error.starts_with("--attributes \"rack\": "), "{error}");
        let error = detect(Path::new("/no/such/folder"), None, None).unwrap_err().to_string();
        assert!(error.starts_with("cannot find out the size of the disk from /no/such/folder: "), "{error}");
    }

    #[test]
    fn this_host_has_something_to_give() {
        let work = tempfile::tempdir().unwrap();
        let facts = detect(work.path(), None, Some("rack:r1;zone:a")).unwrap();
        assert!(facts.resources.cpus() >= Milli::from_units(1), "{}", facts.resources);
        assert!(facts.resources.mem_mib() > Milli::ZERO && facts.resources.disk_mib() > Milli::ZERO);
        assert_eq!(facts.resources.ports().len(), 1001);
        assert_eq!(facts.attributes.text("zone"), Some("a"));
    }
}
