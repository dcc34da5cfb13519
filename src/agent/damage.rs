//! Damaged records of an agent: how they are reported, preserved and recovered from.
//!
//! An incomplete write is no damage: every log may end at any byte. Damage is what no crash causes, for example a
//! changed bit before the end. The damaged file is preserved under a name with the time. The operator chooses whether
//! the agent continues with the part before the damage, ends all that is left, or does not start.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::transport::clock::Clock;

/// How an agent recovers the tasks and records of an earlier one.
///
/// ```
/// use divvy::agent::Recover;
///
/// assert_eq!("cleanup".parse(), Ok(Recover::Cleanup));
/// assert_eq!(Recover::default().to_string(), "reconnect");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recover {
    /// Tasks run on. Of a damaged file the part before the damage is used: a container that is not in it is killed, and
    /// a task whose end is not in it is reported as lost.
    #[default]
    Reconnect,
    /// All tasks of an earlier run are ended and reported. The agent keeps its id if that can be read.
    Cleanup,
    /// As `Reconnect`, but the agent does not start if a file is damaged, and changes nothing.
    Strict,
}

/// The text is no recovery mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has to be reconnect, cleanup or strict")]
pub struct UnknownRecover;

impl FromStr for Recover {
    type Err = UnknownRecover;

    fn from_str(text: &str) -> Result<Self, UnknownRecover> {
        match text {
            "reconnect" => Ok(Self::Reconnect),
            "cleanup" => Ok(Self::Cleanup),
            "strict" => Ok(Self::Strict),
            _ => Err(UnknownRecover),
        }
    }
}

impl fmt::Display for Recover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reconnect => "reconnect",
            Self::Cleanup => "cleanup",
            Self::Strict => "strict",
        })
    }
}

/// A file that cannot be read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Which file.
    pub file: PathBuf,
    /// How many of its bytes, from its beginning, can be read.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged at byte {}: {}", self.file.display(), self.offset, self.what)
    }
}

/// Damage, and the copy of the damaged file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// What was found.
    pub damage: Damage,
    /// The path of the copy.
    pub aside: PathBuf,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the file is kept as {}", self.damage, self.aside.display())
    }
}

/// Copies the damaged file to `name` with the time in `folder`, and logs it. The file itself stays in its place.
///
/// # Errors
/// The file system refused.
pub(super) fn keep(damage: Damage, folder: &Path, name: &str) -> io::Result<Kept> {
    let stem = format!("{name}.damaged-{}", compact_time(Clock::system().now().wall_ns));
    let numbered = (2..).map(|number: u64| format!("{stem}-{number}"));
    for name in std::iter::once(stem.clone()).chain(numbered) {
        let aside = folder.join(name);
        match fs::hard_link(&damage.file, &aside) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            // A file system without links.
            Err(_) => drop(fs::copy(&damage.file, &aside)?),
        }
        fs::File::open(folder)?.sync_all()?;
        let kept = Kept { damage, aside };
        tracing::error!("{kept}");
        return Ok(kept);
    }
    unreachable!("there are more numbers than files")
}

/// A moment as `20261122T021534Z`, which sorts by time and is harmless in a file name.
fn compact_time(wall_ns: i64) -> String {
    let moment = prost_types::Timestamp { seconds: wall_ns.div_euclid(1_000_000_000), nanos: 0 };
    moment.to_string().replace(['-', ':'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_file_is_named_by_time_and_overwrites_nothing() {
        assert_eq!(compact_time(1_795_313_734_000_000_001), "20261122T021534Z");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        fs::write(&file, "first").unwrap();
        let damage = Damage { file: file.clone(), offset: 3, what: "it is odd".to_owned() };
        let first = keep(damage.clone(), folder.path(), "log").unwrap();
        fs::remove_file(&file).unwrap();
        fs::write(&file, "second").unwrap();
        let second = keep(damage, folder.path(), "log").unwrap();
        assert_ne!(first.aside, second.aside);
        assert_eq!(fs::read(&first.aside).unwrap(), b"first");
        assert_eq!(fs::read(&second.aside).unwrap(), b"second");
        let text = first.to_string();
        assert!(text.contains("/log is damaged at byte 3: it is odd; the file is kept as "), "{text}");
    }

    #[test]
    fn the_recovery_modes_parse_as_they_are_displayed() {
        for way in [Recover::Reconnect, Recover::Cleanup, Recover::Strict] {
            assert_eq!(way.to_string().parse(), Ok(way));
        }
        assert_eq!("Reconnect".parse::<Recover>(), Err(UnknownRecover));
    }
}
