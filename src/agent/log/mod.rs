//! The agent's log: an append-only file of checksummed records in its work directory.
//!
//! Every prefix of a log is a log. Opening reads up to the first torn or damaged record and continues from there; a
//! copy of a damaged log is preserved (see [`crate::agent::Recover`]). A batch of records is one write; [`Syncer`]
//! syncs what was written so far, from another thread. The next batch records how far the log is synced: the effect of
//! a power cut on the rest is no damage. A log that has grown far beyond its content is compacted, from another thread
//! too. Space is reserved ahead of the log ([`space`]) for writes on a full disk. A log whose file was removed is
//! noticed and rewritten.

mod format;
mod lock;
mod space;
#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use lock::{WorkDir, WorkDirError, is_copy};
pub use space::Room;

use super::damage::{self, Damage, Kept, Recover};
use super::ending::{self, Ending};
use crate::proto::internal::AgentRecord;
use crate::proto::internal::agent_record::Kind;
use format::Records;

/// The log's name in the work directory.
const NAME: &str = "log";
/// The successor's name while it is being written.
const NEW: &str = "log.new";
/// A log smaller than this, in bytes, is never compacted.
const COMPACT_FROM: u64 = 4 << 20;
/// A log is compacted when it is this many times as large as after the last compaction.
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
        /// The system's error.
        source: io::Error,
    },
    /// The disk is full. The records are not in the log; the append can be retried.
    #[error("no room on the disk to append to {}", .0.display())]
    Full(PathBuf),
    /// The file was removed or replaced while it was in use.
    #[error("{} was removed or replaced while it was in use", .0.display())]
    Gone(PathBuf),
    /// Another agent holds the work directory, or it cannot be used.
    #[error(transparent)]
    WorkDir(WorkDirError),
    /// The file is no agent's log.
    #[error(
        "{} is not the log of an agent: move it away, give another --work-dir, or start once with --recover=cleanup",
        .0.display()
    )]
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
    /// The file is damaged, and recovery is strict.
    #[error("{0}; nothing was touched: start with --recover=reconnect or --recover=cleanup to go on without the rest")]
    Damaged(Damage),
}

/// An opened log and its content.
#[derive(Debug)]
pub struct Opened {
    /// The log, ready to be appended to.
    pub log: Log,
    /// Its records.
    pub records: Vec<AgentRecord>,
    /// How many bytes of an incomplete record were dropped.
    pub torn_bytes: u64,
    /// The damage, if the log was damaged.
    pub damage: Option<Kept>,
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    file: Arc<File>,
    /// In bytes.
    length: u64,
    /// Its length after the last compaction.
    compact: u64,
    buffer: Vec<u8>,
    /// How much of it is synced, and how much is recorded as synced.
    synced: Arc<AtomicU64>,
    marked: u64,
    /// How far space is reserved for it.
    reserved: Arc<AtomicU64>,
    /// Whether the name of the file is synced too.
    is_named: Arc<AtomicBool>,
    /// Whether a successor has taken the place of the file.
    is_replaced: Arc<AtomicBool>,
    /// What was appended since a successor was begun.
    tail: Option<Vec<u8>>,
}

impl Log {
    /// Opens the log in a work directory, or creates one. All records are synced when this returns: an earlier agent
    /// may have been killed between a write and its sync. `boot_id` is the host's current boot.
    ///
    /// # Errors
    ///
    /// The directory or the file cannot be used, the file is no log of this version, or it is damaged and `recover` is
    /// strict. The file stays unchanged then.
    pub fn open(directory: &Path, boot_id: &str, recover: Recover) -> Result<Opened, LogError> {
        let path = directory.join(NAME);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
            read => read.map_err(at("read", &path))?,
        };
        if format::is_unfinished_header(&bytes) {
            remove_if_there(&directory.join(NEW))?;
            return create(directory, &path);
        }
        let (records, good, ending) = read(&path, &bytes, boot_id, recover)?;
        remove_if_there(&directory.join(NEW))?;
        match ending {
            Ending::Torn => {
                let file = append_to(&path)?;
                let torn_bytes = (bytes.len() - good) as u64;
                if torn_bytes > 0 {
                    file.set_len(good as u64).map_err(at("shorten", &path))?;
                }
                file.sync_all().map_err(at("sync", &path))?;
                sync_directory(directory)?;
                let marked = ending::synced::<Records>(&records);
                let mut log = Self::new(directory, file, good as u64);
                log.marked = log.marked.max(marked.unwrap_or(0));
                Ok(Opened { log, records: without_marks(records), torn_bytes, damage: None })
            }
            Ending::Damaged { what, later } => {
                let damage = Damage { file: path, offset: good as u64, what: what.to_owned() };
                // The agent's id and the master's epoch are valid without the records that are missing.
                let stands_alone =
                    |record: &AgentRecord| matches!(record.kind, Some(Kind::Identity(_) | Kind::Epoch(_)));
                let facts: Vec<AgentRecord> = later.into_iter().filter(stands_alone).collect();
                if recover == Recover::Strict {
                    return Err(LogError::Damaged(damage));
                }
                replace_damaged(directory, damage, [without_marks(records), facts].concat())
            }
        }
    }

    /// A log of which `length` bytes are synced.
    fn new(directory: &Path, file: File, length: u64) -> Self {
        Self {
            directory: directory.to_owned(),
            file: Arc::new(file),
            length,
            compact: 0,
            buffer: vec![],
            synced: Arc::new(AtomicU64::new(length)),
            marked: format::HEADER.len() as u64,
            reserved: Arc::new(AtomicU64::new(0)),
            is_named: Arc::new(AtomicBool::new(true)),
            is_replaced: Arc::default(),
            tail: None,
        }
    }

    /// Appends records with one write. They survive the end of this process.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`] when the disk is full: the log is unchanged. After any other error it may end in a torn
    /// record, and the caller must not append again.
    pub fn append(&mut self, records: &[AgentRecord]) -> Result<(), LogError> {
        self.buffer.clear();
        let synced = self.synced.load(Ordering::Acquire);
        if synced > self.marked {
            let mark = AgentRecord { kind: Some(Kind::Synced(synced)), ..AgentRecord::default() };
            format::write(&mark, &mut self.buffer);
        }
        // The successor gets the records only: the mark is about this file.
        let from = self.buffer.len();
        for record in records {
            format::write(record, &mut self.buffer);
        }
        if let Err(error) = (&*self.file).write_all(&self.buffer) {
            return Err(self.not_appended(error));
        }
        self.marked = self.marked.max(synced);
        self.length += self.buffer.len() as u64;
        if let Some(tail) = &mut self.tail {
            tail.extend_from_slice(&self.buffer[from..]);
        }
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    /// Removes what a failed write left, if the disk was full.
    fn not_appended(&self, error: io::Error) -> LogError {
        let path = self.directory.join(NAME);
        if space::is_shortage(&error) && self.file.set_len(self.length).is_ok() {
            // Shortening a file releases the space reserved for it.
            self.reserved.store(0, Ordering::Release);
            return LogError::Full(path);
        }
        at("append to", &path)(error)
    }

    /// Returns a [`Syncer`] for everything appended so far.
    #[must_use]
    pub fn syncer(&self) -> Syncer {
        Syncer {
            file: Arc::clone(&self.file),
            path: self.directory.join(NAME),
            length: self.length,
            synced: Arc::clone(&self.synced),
            reserved: Arc::clone(&self.reserved),
            is_named: Arc::clone(&self.is_named),
            is_replaced: Arc::clone(&self.is_replaced),
        }
    }

    /// Whether the log has grown enough to be compacted.
    #[must_use]
    pub fn should_compact(&self) -> bool {
        self.tail.is_none() && self.length > COMPACT_FROM.max(self.compact.saturating_mul(COMPACT_FACTOR))
    }

    /// Begins a successor with `records`. [`Draft::write`] writes it, on any thread, while this log is appended to.
    pub fn draft(&mut self, records: Vec<AgentRecord>) -> Draft {
        self.compact = self.length;
        self.tail = Some(vec![]);
        Draft { path: self.directory.join(NEW), records }
    }

    /// Drops the successor that was begun; this log stays in use.
    pub fn drop_draft(&mut self) {
        self.tail = None;
    }

    /// Writes `records` as a successor. This log stays unchanged.
    ///
    /// # Errors
    ///
    /// An I/O error. Nothing is lost, and an immediate retry is not useful.
    pub fn successor(&mut self, records: &[AgentRecord]) -> Result<Successor, LogError> {
        self.draft(records.to_vec()).write()
    }

    /// Replaces this log by its successor, after appending to it what was written meanwhile. A crash at any point
    /// leaves one of the two complete; the next [`Syncer::sync`] syncs its name.
    ///
    /// # Errors
    ///
    /// An I/O error: this log stays in use.
    pub fn adopt(&mut self, mut successor: Successor) -> Result<(), LogError> {
        let new = self.directory.join(NEW);
        let tail = self.tail.take().unwrap_or_default();
        successor.file.write_all(&tail).map_err(at("append to", &new))?;
        // Before the rename: a sync of the previous file may be under way.
        self.is_replaced.store(true, Ordering::Release);
        if let Err(error) = fs::rename(&new, self.directory.join(NAME)) {
            self.is_replaced.store(false, Ordering::Release);
            return Err(at("rename", &new)(error));
        }
        self.is_replaced = Arc::default();
        self.length = successor.length + tail.len() as u64;
        self.compact = self.length;
        self.file = Arc::new(successor.file);
        // A new counter: a sync of the previous file may still be under way.
        self.synced = Arc::new(AtomicU64::new(successor.length));
        self.marked = format::HEADER.len() as u64;
        self.reserved = Arc::new(AtomicU64::new(0));
        self.is_named = Arc::new(AtomicBool::new(false));
        Ok(())
    }
}

/// A successor of a log before it is written.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    records: Vec<AgentRecord>,
}

impl Draft {
    /// Writes and syncs it.
    ///
    /// # Errors
    ///
    /// An I/O error. Nothing is lost, and an immediate retry is not useful.
    pub fn write(self) -> Result<Successor, LogError> {
        let file = write_successor(&self.path, &self.records)?;
        let length = file.metadata().map_err(at("inspect", &self.path))?.len();
        Ok(Successor { file, length })
    }
}

/// A successor of a log, written and synced.
#[derive(Debug)]
pub struct Successor {
    file: File,
    /// In bytes.
    length: u64,
}

/// Syncs a log, from any thread.
#[derive(Clone, Debug)]
pub struct Syncer {
    file: Arc<File>,
    path: PathBuf,
    /// How long the log was when this was made.
    length: u64,
    synced: Arc<AtomicU64>,
    reserved: Arc<AtomicU64>,
    is_named: Arc<AtomicBool>,
    is_replaced: Arc<AtomicBool>,
}

impl Syncer {
    /// Syncs everything that was appended before this was created; it survives a power cut then.
    ///
    /// # Errors
    ///
    /// An I/O error: the state of the disk is unknown. [`LogError::Gone`] when the file was removed or replaced.
    pub fn sync(&self) -> Result<(), LogError> {
        self.check_in_place()?;
        self.file.sync_data().map_err(at("sync", &self.path))?;
        if !self.is_named.load(Ordering::Acquire) {
            sync_directory(self.path.parent().unwrap_or(&self.path))?;
            self.is_named.store(true, Ordering::Release);
        }
        self.synced.fetch_max(self.length, Ordering::AcqRel);
        Ok(())
    }
}

impl Syncer {
    /// Checks that the file is still in its place.
    ///
    /// # Errors
    ///
    /// [`LogError::Gone`] when it is not.
    pub fn check_in_place(&self) -> Result<(), LogError> {
        let own = self.file.metadata().map_err(at("inspect", &self.path))?;
        let is_it = |other: fs::Metadata| (other.dev(), other.ino()) == (own.dev(), own.ino());
        match fs::metadata(&self.path).map(is_it) {
            Ok(true) => Ok(()),
            // Its successor replaced it.
            Ok(false) | Err(_) if self.is_replaced.load(Ordering::Acquire) => Ok(()),
            Ok(false) | Err(_) => Err(LogError::Gone(self.path.clone())),
        }
    }

    /// Reserves space ahead of the log, and returns how much the disk has left.
    #[must_use]
    pub fn reserve_space(&self) -> Room {
        space::reserve(&self.file, &self.path, self.length, &self.reserved)
    }
}

fn write_successor(new: &Path, records: &[AgentRecord]) -> Result<File, LogError> {
    remove_if_there(new)?;
    let mut file = OpenOptions::new().append(true).create_new(true).open(new).map_err(at("create", new))?;
    let mut bytes = format::HEADER.to_vec();
    for record in records {
        format::write(record, &mut bytes);
    }
    fill(new, &mut file, &bytes)?;
    Ok(file)
}

/// Writes and syncs a successor. An incomplete one is removed: it would only use space on a full disk.
fn fill(new: &Path, file: &mut File, bytes: &[u8]) -> Result<(), LogError> {
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // The first error is the one to return.
        let _ = fs::remove_file(new);
    }
    written.map_err(at("write", new))
}

/// The records without the log's marks about itself.
fn without_marks(records: Vec<AgentRecord>) -> Vec<AgentRecord> {
    let of_itself = |record: &AgentRecord| matches!(record.kind, Some(Kind::Synced(_)));
    records.into_iter().filter(|record| !of_itself(record)).collect()
}

/// The readable records of a log, their length in bytes, and what follows.
type Content = (Vec<AgentRecord>, usize, Ending<AgentRecord>);

fn read(path: &Path, bytes: &[u8], boot_id: &str, recover: Recover) -> Result<Content, LogError> {
    match format::body(bytes) {
        Ok(body) => {
            let (records, good) = ending::read::<Records>(body);
            let (rest, good) = (&body[good..], format::HEADER.len() + good);
            let ending = if rest.is_empty() { Ending::Torn } else { judge(rest, good, &records, boot_id) };
            return Ok((records, good, ending));
        }
        Err(format::Unknown::Version(found)) => return Err(LogError::Version { path: path.to_owned(), found }),
        Err(format::Unknown::Foreign) => {}
    }
    let (what, later) = match (ending::search::<Records>(bytes), recover) {
        (Some(later), _) => ("it does not begin as the log of an agent, and records follow", later.records),
        (None, Recover::Cleanup) => ("nothing in it can be read", vec![]),
        (None, Recover::Reconnect | Recover::Strict) => return Err(LogError::Foreign(path.to_owned())),
    };
    Ok((vec![], 0, Ending::Damaged { what, later }))
}

fn judge(rest: &[u8], good: usize, records: &[AgentRecord], boot_id: &str) -> Ending<AgentRecord> {
    ending::judge::<Records>(rest, good, ending::synced::<Records>(records), !host_ran_on(records, boot_id))
}

/// Whether the host has been up since the records were written: then no written byte is missing.
fn host_ran_on(records: &[AgentRecord], boot_id: &str) -> bool {
    let mut boots = records.iter().rev().filter_map(|record| match &record.kind {
        Some(Kind::Identity(identity)) => Some(&*identity.boot_id),
        _ => None,
    });
    boots.next() == Some(boot_id)
}

/// Creates a log without records.
fn create(directory: &Path, path: &Path) -> Result<Opened, LogError> {
    let mut file = append_to(path)?;
    file.set_len(0).map_err(at("empty", path))?;
    file.write_all(format::HEADER).and_then(|()| file.sync_all()).map_err(at("write", path))?;
    sync_directory(directory)?;
    let log = Log::new(directory, file, format::HEADER.len() as u64);
    Ok(Opened { log, records: vec![], torn_bytes: 0, damage: None })
}

/// Preserves the damaged log under another name, and replaces it by one with `records`. A crash at any point leaves one
/// of the two in place.
fn replace_damaged(directory: &Path, damage: Damage, records: Vec<AgentRecord>) -> Result<Opened, LogError> {
    let path = directory.join(NAME);
    let kept = damage::keep(damage, directory, NAME).map_err(at("keep a copy of", &path))?;
    let mut log = Log::new(directory, append_to(&path)?, 0);
    let successor = log.successor(&records)?;
    log.adopt(successor)?;
    sync_directory(directory)?;
    Ok(Opened { log, records, torn_bytes: 0, damage: Some(kept) })
}

fn append_to(path: &Path) -> Result<File, LogError> {
    OpenOptions::new().append(true).create(true).open(path).map_err(at("open", path))
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
