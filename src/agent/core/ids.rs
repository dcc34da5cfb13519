//! Ids of containers, supervisors, and sessions with the master.
//!
//! A container id becomes the name of a directory, so it is checked where it is received: a [`ContainerId`] is always a
//! single, harmless path component.

use std::fmt;
use std::sync::Arc;

/// Longest container id accepted, in bytes: it has to fit into a file name.
const LONGEST: usize = 255;

/// The id of a container, assigned by the master; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Parses a container id. It has to be a harmless file name: 1 to 255 letters, digits, `-`, `_` and `.`, and
    /// neither
    /// `.` nor `..`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_legal(text).then(|| Self(Arc::from(text)))
    }

    /// Whether [`parse`](Self::parse) accepts this text.
    #[must_use]
    pub fn is_legal(text: &str) -> bool {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=LONGEST).contains(&text.len()) && !matches!(text, "." | "..") && text.bytes().all(legal)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id before all others, where a search in an ordered index begins.
    pub(super) fn first() -> Self {
        Self(Arc::from(""))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a supervisor. A later one has a higher number, and new tasks go to the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SupervisorId(pub u32);

/// The id of one session with a master, counted by the core from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_id_is_always_one_harmless_path_component() {
        for good in ["c1", "0b6f-77.a_b", "...", &"x".repeat(255)] {
            assert_eq!(ContainerId::parse(good).map(|id| id.to_string()), Some(good.to_owned()));
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "a\0", "ä", &"x".repeat(256)] {
            assert_eq!(ContainerId::parse(bad), None, "{bad:?}");
        }
    }
}
