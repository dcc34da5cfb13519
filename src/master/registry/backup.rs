//! A backup: all facts of a registry at one moment, as bytes that can be checked.
//!
//! The file is 8 bytes `DIVVYREG`, the version of this layout (1), the length and the CRC-32 of what follows, all
//! little-endian, and then an encoded `divvy.internal.RegistryBackup`. It is written under another name, synced and
//! renamed, so that a file under its name is complete. An existing file is never overwritten.

use std::{
    borrow::Borrow,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use prost::Message as _;

use super::{FORMAT, State, subject::Subject};
use crate::proto::internal::RegistryBackup;

const MAGIC: &[u8; 8] = b"DIVVYREG";
const LAYOUT: u32 = 1;
/// Magic, layout, length, checksum.
const HEADER_BYTES: usize = 8 + 4 + 8 + 4;

/// All facts of a registry at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Backup {
    /// The epoch of the master that made it, or of the last one before.
    pub epoch: u64,
    /// When it was made, in nanoseconds since 1970.
    pub wall_ns: i64,
    /// The version of divvy that made it.
    pub divvy_version: String,
    /// The facts.
    pub state: State,
}

/// Why a backup cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The bytes are not a backup.
    #[error("this is not a backup of a registry: it does not begin with DIVVYREG")]
    Foreign,
    /// A later version of divvy wrote it.
    #[error("the backup has {what} {found}, and this divvy reads up to {known}: use the one it was written by")]
    Newer {
        /// What is newer: `layout` or `format`.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The highest known.
        known: u32,
    },
    /// The content was altered or cut off.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// A file of that name exists.
    #[error("{} exists: a backup does not overwrite, give another name", .0.display())]
    Exists(PathBuf),
    /// The file system returned an error.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Backup {
    /// A backup of these facts under this epoch, made at `wall_ns`.
    #[must_use]
    pub fn new(state: State, epoch: u64, wall_ns: i64) -> Self {
        Self { epoch, wall_ns, divvy_version: env!("CARGO_PKG_VERSION").to_owned(), state }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        Pieces::new(self).flatten().collect()
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// [`BackupError::Foreign`], [`BackupError::Newer`] or [`BackupError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, BackupError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BackupError::Foreign)?;
        let cut = || BackupError::Damaged(format!("it ends after {} bytes", bytes.len()));
        let (layout, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let layout = u32::from_le_bytes(*layout);
        if layout > LAYOUT {
            return Err(BackupError::Newer { what: "layout", found: layout, known: LAYOUT });
        }
        let (length, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (sum, content) = rest.split_first_chunk().ok_or_else(cut)?;
        let length = u64::from_le_bytes(*length);
        if u64::try_from(content.len()) != Ok(length) {
            let text =
                format!("it has {} bytes, and its header of {HEADER_BYTES} bytes announces {length} more", bytes.len());
            return Err(BackupError::Damaged(text));
        }
        if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
            return Err(BackupError::Damaged("its checksum does not match its content".to_owned()));
        }
        let message = RegistryBackup::decode(content).map_err(|error| BackupError::Damaged(error.to_string()))?;
        if message.format > FORMAT {
            return Err(BackupError::Newer { what: "format", found: message.format, known: FORMAT });
        }
        let state = message.changes.iter().collect();
        let RegistryBackup { epoch, wall_ns, divvy_version, .. } = message;
        Ok(Self { epoch, wall_ns, divvy_version, state })
    }

    /// Writes the file, synced.
    ///
    /// # Errors
    /// [`BackupError::Exists`] or [`BackupError::Io`].
    pub fn write_to(&self, path: &Path) -> Result<(), BackupError> {
        write_new(path, Pieces::new(self))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`BackupError::Io`], or as [`decode`](Self::decode).
    pub fn read_from(path: &Path) -> Result<Self, BackupError> {
        let bytes =
            fs::read(path).map_err(|source| BackupError::Io { action: "read", path: path.to_owned(), source })?;
        Self::decode(&bytes)
    }
}

/// The bytes of a backup's file: one piece for the header, one for the facts about each subject.
#[derive(Debug)]
pub(crate) struct Pieces<B> {
    backup: B,
    header: Option<Vec<u8>>,
    subjects: std::vec::IntoIter<Subject>,
}

impl<B: Borrow<Backup>> Pieces<B> {
    /// Encodes all facts once, for the length and the checksum in the header.
    pub(crate) fn new(backup: B) -> Self {
        let whole: &Backup = backup.borrow();
        let subjects: Vec<Subject> = whole.state.subjects().into_iter().collect();
        let first = whole.first();
        let (mut length, mut sum) = (first.len() as u64, crc32fast::Hasher::new());
        sum.update(&first);
        for subject in &subjects {
            let piece = whole.facts_about(subject);
            length = length.saturating_add(piece.len() as u64);
            sum.update(&piece);
        }
        let sum = sum.finalize();
        let header = [&MAGIC[..], &LAYOUT.to_le_bytes(), &length.to_le_bytes(), &sum.to_le_bytes(), &first].concat();
        Self { backup, header: Some(header), subjects: subjects.into_iter() }
    }
}

impl<B: Borrow<Backup>> Iterator for Pieces<B> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let header = self.header.take();
        header.or_else(|| self.subjects.next().map(|subject| self.backup.borrow().facts_about(&subject)))
    }
}

/// An encoded message is the concatenation of its fields, so the elements of a list are encoded one at a time.
impl Backup {
    fn first(&self) -> Vec<u8> {
        let (epoch, wall_ns, divvy_version) = (self.epoch, self.wall_ns, self.divvy_version.clone());
        RegistryBackup { format: FORMAT, epoch, wall_ns, divvy_version, changes: Vec::new() }.encode_to_vec()
    }

    fn facts_about(&self, subject: &Subject) -> Vec<u8> {
        RegistryBackup { changes: self.state.changes_about(subject), ..RegistryBackup::default() }.encode_to_vec()
    }
}

/// Writes a file that must not exist yet: complete and synced, or not at all.
fn write_new(path: &Path, mut pieces: impl Iterator<Item = Vec<u8>>) -> Result<(), BackupError> {
    if path.exists() {
        return Err(BackupError::Exists(path.to_owned()));
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let at = |action, path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Io { action, path, source }
    };
    let mut file = BufWriter::new(File::create(&part).map_err(at("make", &part))?);
    let written = pieces.try_for_each(|piece| file.write_all(&piece)).and_then(|()| file.flush());
    written
        .and_then(|()| file.get_ref().sync_all())
        .and_then(|()| fs::rename(&part, path))
        .map_err(at("write", path))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(at("sync", parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::registry::conformance::facts;

    fn backup() -> Backup {
        Backup::new(facts().iter().collect(), 7, 1_700_000_000_000_000_000)
    }

    #[test]
    fn a_backup_is_read_from_its_file_and_never_overwrites_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("backup");
        backup().write_to(&path).expect("written");
        assert_eq!(Backup::read_from(&path).expect("read"), backup());
        let text = backup().write_to(&path).expect_err("it exists").to_string();
        assert!(text.contains("exists: a backup does not overwrite"), "{text}");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "nothing is left beside it");
    }

    #[test]
    fn no_byte_of_a_backup_can_change_and_none_can_be_cut_off_unnoticed() {
        let whole = backup().encode();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(Backup::decode(&changed).is_err(), "byte {at} changed");
            assert!(Backup::decode(&whole[..at]).is_err(), "cut at {at}");
        }
        assert!(matches!(Backup::decode(b"something else"), Err(BackupError::Foreign)));
    }

    #[test]
    fn a_backup_of_a_later_divvy_is_refused_with_both_versions() {
        let mut later = backup().encode();
        later[8] = 9;
        let text = Backup::decode(&later).expect_err("newer").to_string();
        assert!(text.contains("has layout 9, and this divvy reads up to 1"), "{text}");
    }
}
