//! How much memory the cgroups of this process leave to it.
//!
//! A limit of any cgroup on the path to the root holds for all below it, so the least one counts. Both hierarchies are
//! read, as a host may have both: version 2 (`memory.max`) and version 1 (`memory.limit_in_bytes`). Swap is not
//! counted: what an agent offers is memory. What cannot be read sets no limit.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The least limit of all cgroups on the way to the root, in bytes, or `None` without a limit.
///
/// `process` is `/proc/self`; mount points are looked up below `root`, which is `/` but in tests.
pub(super) fn memory_limit_bytes(process: &Path, root: &Path) -> Option<u64> {
    let memberships = fs::read_to_string(process.join("cgroup")).ok()?;
    let mounts = fs::read_to_string(process.join("mountinfo")).ok()?;
    let hierarchies = [Hierarchy::V2, Hierarchy::V1];
    let limits = hierarchies.into_iter().filter_map(|hierarchy| {
        let path = hierarchy.path_of_process(&memberships)?;
        let mount = mounts.lines().filter_map(Mount::read).find(|mount| hierarchy.is_mounted_by(mount))?;
        least_limit(&mount, path, hierarchy.limit_file(), root)
    });
    limits.min()
}

/// Which of the two interfaces of the kernel.
#[derive(Clone, Copy)]
enum Hierarchy {
    V1,
    V2,
}

impl Hierarchy {
    /// The path of the process's cgroup, from the lines `number:controllers:path` of `/proc/self/cgroup`.
    fn path_of_process(self, memberships: &str) -> Option<&str> {
        memberships.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_it = match self {
                Self::V1 => controllers.split(',').any(|name| name == "memory"),
                Self::V2 => number == "0" && controllers.is_empty(),
            };
            is_it.then_some(path)
        })
    }

    fn is_mounted_by(self, mount: &Mount<'_>) -> bool {
        match self {
            Self::V1 => mount.kind == "cgroup" && mount.options.split(',').any(|option| option == "memory"),
            Self::V2 => mount.kind == "cgroup2",
        }
    }

    fn limit_file(self) -> &'static str {
        match self {
            Self::V1 => "memory.limit_in_bytes",
            Self::V2 => "memory.max",
        }
    }
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'a> {
    /// Which folder of its file system is mounted.
    root: String,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// Reads `id parent dev root point options... - kind source super-options`.
    fn read(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let (mut front, mut back) = (front.split(' '), back.split(' '));
        let (root, point) = (front.nth(3)?, front.next()?);
        let (kind, options) = (back.next()?, back.nth(1)?);
        Some(Self { root: unescape(root), point: PathBuf::from(unescape(point)), kind, options })
    }
}

/// The kernel writes blanks, line ends and backslashes of paths as `\` and three octal digits.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

/// The least of the limits from the process's cgroup up to the root of the mount.
fn least_limit(mount: &Mount<'_>, path: &str, file: &str, root: &Path) -> Option<u64> {
    let point = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
    let within = below_mount(&mount.root, path);
    let folders = within.ancestors().map(|folder| point.join(folder));
    folders.filter_map(|folder| read_limit(&folder.join(file))).min()
}

/// The cgroup's path relative to what is mounted. A container may see the mount but not its own path in it (no cgroup
/// namespace, or one of another container): the mount's root is then its cgroup.
fn below_mount<'a>(mount_root: &str, path: &'a str) -> &'a Path {
    let inside = if mount_root == "/" { path.strip_prefix('/') } else { path.strip_prefix(mount_root) };
    let relative = inside.map(|inside| inside.trim_start_matches('/'));
    let is_parted = mount_root == "/" || inside.is_some_and(|inside| inside.is_empty() || inside.starts_with('/'));
    match relative {
        Some(relative) if is_parted && !relative.split('/').any(|part| part == "..") => Path::new(relative),
        Some(_) | None => Path::new(""),
    }
}

/// A number of bytes; `max` and what is no number set no limit.
fn read_limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const V2_MOUNT: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    const V1_MOUNT: &str = "31 24 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory";

    /// A host whose process has these memberships and mounts, with files of cgroups.
    fn limit(memberships: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let host = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = host.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/self/cgroup", memberships);
        write("proc/self/mountinfo", mounts);
        for (path, text) in files {
            write(path, text);
        }
        memory_limit_bytes(&host.path().join("proc/self"), host.path())
    }

    #[test]
    fn a_container_of_version_2_has_what_its_cgroup_allows() {
        let files = [("sys/fs/cgroup/memory.max", "536870912\n"), ("sys/fs/cgroup/memory.swap.max", "1048576\n")];
        assert_eq!(limit("0::/\n", V2_MOUNT, &files), Some(512 * MIB));
    }

    #[test]
    fn the_least_limit_on_the_way_to_the_root_counts() {
        for (leaf, middle, top, least) in [
            ("max", "536870912", "1073741824", Some(512 * MIB)),
            ("1073741824", "536870912", "max", Some(512 * MIB)),
            ("536870912", "max", "max", Some(512 * MIB)),
            ("max", "max", "1073741824", Some(1024 * MIB)),
            ("max", "max", "max", None),
            ("", "none", "-1", None),
        ] {
            let files = [
                ("sys/fs/cgroup/a/b/memory.max", leaf),
                ("sys/fs/cgroup/a/memory.max", middle),
                ("sys/fs/cgroup/memory.max", top),
            ];
            assert_eq!(limit("0::/a/b\n", V2_MOUNT, &files), least, "{leaf} {middle} {top}");
        }
    }

    #[test]
    fn a_sibling_sets_no_limit() {
        let files = [("sys/fs/cgroup/a/other/memory.max", "1"), ("sys/fs/cgroup/ab/memory.max", "2")];
        assert_eq!(limit("0::/a/b\n", V2_MOUNT, &files), None);
    }

    #[test]
    fn version_1_is_read_where_its_memory_controller_is_mounted() {
        let memberships = "12:pids:/x\n5:memory,hugetlb:/docker/c\n0::/system.slice\n";
        let mounts = format!("32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n{V1_MOUNT}\n");
        let files = [
            ("sys/fs/cgroup/memory/docker/c/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/docker/c/memory.memsw.limit_in_bytes", "1\n"),
        ];
        assert_eq!(limit(memberships, &mounts, &files), Some(512 * MIB));
    }

    #[test]
    fn a_host_with_both_versions_has_the_least_of_both() {
        let mounts = format!("{V1_MOUNT}\n33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let files = [
            ("sys/fs/cgroup/memory/m/memory.limit_in_bytes", "2000000\n"),
            ("sys/fs/cgroup/unified/u/memory.max", "1000000\n"),
        ];
        assert_eq!(limit("5:memory:/m\n0::/u\n", &mounts, &files), Some(1_000_000));
        assert_eq!(limit("5:memory:/m\n0::/u\n", &mounts, &files[..1]), Some(2_000_000));
    }

    #[test]
    fn a_container_without_a_namespace_finds_its_cgroup_at_the_mount() {
        let mount = "31 24 0:27 /docker/c /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory";
        let top = [("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n")];
        for path in ["/docker/c", "/", "/../../elsewhere", "/docker/cc"] {
            assert_eq!(limit(&format!("5:memory:{path}\n"), mount, &top), Some(512 * MIB), "{path}");
        }
        let below = [top[0], ("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "1048576\n")];
        assert_eq!(limit("5:memory:/docker/c/inner\n", mount, &below), Some(MIB));
        assert_eq!(limit("0::/../../x\n", V2_MOUNT, &[("sys/fs/cgroup/memory.max", "5\n")]), Some(5));
    }

    #[test]
    fn a_mount_point_with_blanks_is_found() {
        let mount = "30 24 0:26 / /sys/my\\040cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(limit("0::/\n", mount, &[("sys/my cgroup/memory.max", "7")]), Some(7));
    }

    #[test]
    fn without_cgroups_there_is_no_limit() {
        assert_eq!(limit("", "", &[]), None);
        assert_eq!(limit("0::/\n", "broken\n1 2 3\n - - -\n", &[]), None);
        assert_eq!(limit("nonsense\n5:memory\n", V1_MOUNT, &[]), None);
        assert_eq!(memory_limit_bytes(Path::new("/no/such/process"), Path::new("/")), None);
    }
}
