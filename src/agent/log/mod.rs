//! What an agent writes down: an append log of checksummed records in its work directory.
//!
//! Every prefix of a log is a log. Opening reads up to the first record that is torn or damaged, keeps the rest aside
//! under another name, and goes on from there. A batch of records is one write; [`Syncer`] brings what was written so
//! far to the disk itself, from another thread. A log that has grown far beyond what it says is written anew.

pub(crate) mod format;
mod lock;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use lock::{WorkDir, WorkDirError};

use crate::proto::internal::AgentRecord;

/// The log's name in the work directory.
const NAME: &str = "log";
/// Its successor's while that is being written.
const NEW: &str = "log.new";
/// A log smaller than this, in bytes, is never written anew.
const COMPACT_FROM: u64 = 4 << 20;
/// A log is written anew when it is this many times as large as when it was last.
const COMPACT_FACTOR: u64 = 4;

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refused.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done, for example `append to`.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not the log of an agent: move it away or give another --work-dir", .0.display())]
    Foreign(PathBuf),
    /// The file was written by a later divvy.
    #[error(
        "{path} has version {found}, and this agent reads up to {known}: run the divvy it was written by",
        path = path.display(), known = format::VERSION
    )]
    Version {
        /// The log.
        path: PathBuf,
        /// Its version.
        found: String,
    },
}

/// The end of a log that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// How many bytes were cut off.
    pub bytes: u64,
    /// Where they are kept.
    pub kept: PathBuf,
}

/// What opening a log gives.
#[derive(Debug)]
pub struct Opened {
    /// The log, ready to be appended to.
    pub log: Log,
    /// What it says.
    pub records: Vec<AgentRecord>,
    /// What could not be read.
    pub damage: Option<Damage>,
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    file: Arc<File>,
    /// In bytes.
    length: u64,
    /// Its length when it was last written anew.
    compact: u64,
    buffer: Vec<u8>,
}

impl Log {
    /// Opens the log in a work directory, or begins one.
    ///
    /// # Errors
    ///
    /// The directory or the file cannot be used, or the file is no log of this version. Damage is no error.
    pub fn open(directory: &Path) -> Result<Opened, LogError> {
        let path = directory.join(NAME);
        remove_if_there(&directory.join(NEW))?;
        let options = OpenOptions::new().read(true).append(true).create(true).clone();
        let mut file = options.open(&path).map_err(at("open", &path))?;
        let mut bytes = vec![];
        file.read_to_end(&mut bytes).map_err(at("read", &path))?;
        if format::is_unfinished_header(&bytes) {
            begin(&mut file, &path)?;
            sync_directory(directory)?;
            bytes = format::HEADER.to_vec();
        }
        let body = format::body(&bytes).map_err(|unknown| match unknown {
            format::Unknown::Foreign => LogError::Foreign(path.clone()),
            format::Unknown::Version(found) => LogError::Version { path: path.clone(), found },
        })?;
        let (records, good) = format::read(body);
        let unread = &body[good..];
        let length = (bytes.len() - unread.len()) as u64;
        let damage = if unread.is_empty() { None } else { Some(cut_off(directory, &file, length, unread)?) };
        let log = Self { directory: directory.to_owned(), file: Arc::new(file), length, compact: 0, buffer: vec![] };
        Ok(Opened { log, records, damage })
    }

    /// Appends records with one write. What was written survives the end of this process.
    ///
    /// # Errors
    ///
    /// The file system refused, for example because the disk is full. The log may then end in a torn record and takes
    /// no more: whoever appends has to stop.
    pub fn append(&mut self, records: &[AgentRecord]) -> Result<(), LogError> {
        self.buffer.clear();
        for record in records {
            format::write(record, &mut self.buffer);
        }
        (&*self.file).write_all(&self.buffer).map_err(at("append to", &self.directory.join(NAME)))?;
        self.length += self.buffer.len() as u64;
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    /// What brings everything appended so far to the disk.
    #[must_use]
    pub fn syncer(&self) -> Syncer {
        Syncer { file: Arc::clone(&self.file), path: self.directory.join(NAME) }
    }

    /// Whether the log is so much longer than it need be that it is worth writing it anew.
    #[must_use]
    pub fn wants_compaction(&self) -> bool {
        self.length > COMPACT_FROM.max(self.compact.saturating_mul(COMPACT_FACTOR))
    }

    /// Writes `records` as a log that may take this one's place. This one stays as it is.
    ///
    /// # Errors
    ///
    /// The file system refused. Nothing is lost by it, and it is not worth trying again soon.
    pub fn successor(&mut self, records: &[AgentRecord]) -> Result<Successor, LogError> {
        self.compact = self.length;
        let new = self.directory.join(NEW);
        let file = write_successor(&new, records)?;
        let length = file.metadata().map_err(at("inspect", &new))?.len();
        Ok(Successor { file, length })
    }

    /// Goes on with a successor that says all that this log says. Whenever this is cut off, one of the two is there
    /// whole; afterwards everything written so far is on the disk itself.
    ///
    /// # Errors
    ///
    /// The file system refused, and it is not known which of the two a power cut would leave: whoever appends has to
    /// stop.
    pub fn adopt(&mut self, successor: Successor) -> Result<(), LogError> {
        let new = self.directory.join(NEW);
        fs::rename(&new, self.directory.join(NAME)).map_err(at("rename", &new))?;
        self.length = successor.length;
        self.compact = successor.length;
        self.file = Arc::new(successor.file);
        sync_directory(&self.directory)
    }
}

/// A log that is complete on the disk and may take the place of another.
#[derive(Debug)]
pub struct Successor {
    file: File,
    /// In bytes.
    length: u64,
}

/// Brings a log to the disk, from whatever thread.
#[derive(Clone, Debug)]
pub struct Syncer {
    file: Arc<File>,
    path: PathBuf,
}

impl Syncer {
    /// Returns when everything that was appended before this was made survives a power cut.
    ///
    /// # Errors
    ///
    /// The disk refused: nothing can be said of what it holds.
    pub fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(at("sync", &self.path))
    }
}

fn write_successor(new: &Path, records: &[AgentRecord]) -> Result<File, LogError> {
    remove_if_there(new)?;
    let mut file = OpenOptions::new().append(true).create_new(true).open(new).map_err(at("create", new))?;
    let mut bytes = format::HEADER.to_vec();
    for record in records {
        format::write(record, &mut bytes);
    }
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(at("write", new))?;
    Ok(file)
}

fn begin(file: &mut File, path: &Path) -> Result<(), LogError> {
    file.set_len(0).map_err(at("empty", path))?;
    file.seek(SeekFrom::Start(0)).map_err(at("write", path))?;
    file.write_all(format::HEADER).and_then(|()| file.sync_all()).map_err(at("write", path))
}

/// Keeps what cannot be read under a name of its own, and ends the log before it.
fn cut_off(directory: &Path, file: &File, length: u64, damaged: &[u8]) -> Result<Damage, LogError> {
    let kept =
        (1..=u32::MAX).map(|number| directory.join(format!("{NAME}.damaged-{number}"))).find(|path| !path.exists());
    let kept = kept.expect("no directory holds as many files");
    let mut aside = File::create_new(&kept).map_err(at("create", &kept))?;
    aside.write_all(damaged).and_then(|()| aside.sync_all()).map_err(at("write", &kept))?;
    sync_directory(directory)?;
    let path = directory.join(NAME);
    file.set_len(length).and_then(|()| file.sync_all()).map_err(at("shorten", &path))?;
    Ok(Damage { bytes: damaged.len() as u64, kept })
}

fn remove_if_there(path: &Path) -> Result<(), LogError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_directory(directory: &Path) -> Result<(), LogError> {
    File::open(directory).and_then(|it| it.sync_all()).map_err(at("sync", directory))
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    let path = path.to_owned();
    move |source| LogError::Io { action, path, source }
}
