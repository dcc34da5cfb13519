//! Identifies the program file that a process was started from: an upgrade replaces it with another file.

use std::{os::unix::fs::MetadataExt as _, path::Path};

/// This process's own file, whatever has become of its name.
const OWN: &str = "/proc/self/exe";

/// Names the program file that this process runs; empty where the host does not report it.
pub(super) fn own() -> String {
    of(Path::new(OWN)).unwrap_or_default()
}

/// Names the file at `path`: its device and inode, which no other file has while it is there or runs.
pub(super) fn of(path: &Path) -> Option<String> {
    std::fs::metadata(path).ok().map(|file| format!("{}:{}", file.dev(), file.ino()))
}
