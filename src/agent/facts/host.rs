//! Detects the resources and the identity of the host.

use std::{io, path::Path};

use super::{FactsError, cgroup};

const MIB: u64 = 1 << 20;

/// The host as detected, with nothing reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// CPUs that this process may use, limited by its affinity and its cgroup's quota; at least one.
    pub cpus: u64,
    /// The memory this process may use, in MiB: all of the host's, or the least that one of its cgroups allows.
    pub mem_mib: u64,
    /// The size of the file system of the work directory, in MiB.
    pub disk_mib: u64,
    /// The host name as the kernel reports it.
    pub hostname: String,
    /// The id of this boot.
    pub boot_id: String,
    /// The user this process runs as; the user id where there is no name.
    pub user: String,
}

impl Host {
    /// Detects this host. `work_dir` exists.
    ///
    /// # Errors
    /// A fact that cannot be read from the host.
    pub fn detect(work_dir: &Path) -> Result<Self, FactsError> {
        let unknown = |what, path: &Path, source| FactsError::Host { what, path: path.to_owned(), source };
        let disk = disk_mib(work_dir).map_err(|error| unknown("the size of the disk", work_dir, error))?;
        let boot_path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot_id = std::fs::read_to_string(boot_path).map_err(|error| unknown("the boot id", boot_path, error))?;
        Ok(Self {
            cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u64),
            mem_mib: mem_mib(),
            disk_mib: disk,
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            boot_id: boot_id.trim().to_owned(),
            user: user(),
        })
    }
}

fn mem_mib() -> u64 {
    let info = rustix::system::sysinfo();
    let all = info.totalram.saturating_mul(u64::from(info.mem_unit));
    let limit = cgroup::memory_limit_bytes(Path::new("/proc/self"), Path::new("/"));
    limit.map_or(all, |limit| limit.min(all)) / MIB
}

fn disk_mib(work_dir: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(work_dir)?;
    Ok(system.f_blocks.saturating_mul(system.f_frsize) / MIB)
}

fn user() -> String {
    let number = rustix::process::geteuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_of(&users, number).map_or_else(|| number.to_string(), str::to_owned)
}

fn name_of(users: &str, number: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_as_the_host_does() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\njane:x:1000:100::/home/jane:/bin/sh\n";
        assert_eq!(name_of(users, 1000), Some("jane"));
        assert_eq!(name_of(users, 0), Some("root"));
        assert_eq!(name_of(users, 100), None);
    }

    #[test]
    fn the_identity_and_the_resources_of_this_host_are_detected() {
        let host = Host::detect(Path::new("/")).unwrap();
        assert_eq!(host.boot_id.len(), 36, "{host:?}");
        assert!(host.cpus > 0 && host.mem_mib > 0 && host.disk_mib > 0, "{host:?}");
        assert!(!host.hostname.is_empty() && !host.user.is_empty(), "{host:?}");
    }
}
