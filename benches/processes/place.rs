//! Where the bench keeps its files, and on which file system that is.

use std::path::{Path, PathBuf};

/// A folder for work directories.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// The file system, for example `ext4 at /`.
    pub(crate) system: String,
}

impl Place {
    /// In memory, where that is possible.
    pub(crate) fn memory() -> Option<Self> {
        let place = Self::at(Path::new("/dev/shm"));
        place.system.starts_with("tmpfs").then_some(place)
    }

    /// Where cargo builds.
    pub(crate) fn disk() -> Self {
        Self::at(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), system: system(path) }
    }
}

/// The mount with the longest path that leads to `path`; the last of two in one place lies on top.
fn system(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let parsed = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
        path.starts_with(point).then_some((point.len(), point, kind))
    });
    let found = parsed.max_by_key(|(length, ..)| *length);
    found.map_or_else(|| "an unknown file system".to_owned(), |(_, point, kind)| format!("{kind} at {point}"))
}
