//! What an agent writes down: an append log of checksummed records in its work directory.
//!
//! Every prefix of a log is a log. Opening reads up to the first record that is torn or damaged and goes on from there;
//! a damaged log is kept aside as it was (see [`crate::agent::Recover`]). A batch of records is one write; [`Syncer`]
//! brings what was written so far to the disk itself, from another thread. How far that has come is written down with
//! the next batch: what a power cut made of the rest is no damage. A log that has grown far beyond what it says is
//! written anew, from another thread too. Room is kept for it ahead of what is written ([`space`]), so that what has to be
//! written on a full disk can be; and a log whose file was removed is noticed and written anew.

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
    /// The disk has no room. What was to be appended is not in the log; it can be tried again.
    #[error("no room on the disk to append to {}", .0.display())]
    Full(PathBuf),
    /// The file in its place is not the one that is written: it was removed or replaced.
    #[error("{} was removed or replaced while it was in use", .0.display())]
    Gone(PathBuf),
    /// The work directory is not this agent's any more.
    #[error(transparent)]
    WorkDir(WorkDirError),
    /// The file is something else.
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
    /// The file is damaged, and that is not to be passed over.
    #[error("{0}; nothing was touched: start with --recover=reconnect or --recover=cleanup to go on without the rest")]
    Damaged(Damage),
}

/// What opening a log gives.
#[derive(Debug)]
pub struct Opened {
    /// The log, ready to be appended to.
    pub log: Log,
    /// What it says.
    pub records: Vec<AgentRecord>,
    /// How many bytes of a record that a crash cut off were dropped.
    pub torn_bytes: u64,
    /// What could not be read.
    pub damage: Option<Kept>,
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
    /// How much of it is on the disk itself, and how much it says is.
    synced: Arc<AtomicU64>,
    marked: u64,
    /// How far room is kept for it.
    reserved: Arc<AtomicU64>,
    /// Whether the name of the file is on the disk too.
    is_named: Arc<AtomicBool>,
    /// Whether a successor has taken the place of the file.
    is_replaced: Arc<AtomicBool>,
    /// What was appended since a successor was begun.
    tail: Option<Vec<u8>>,
}

impl Log {
    /// Opens the log in a work directory, or begins one, in this run of the host. What is read is on the disk itself when this returns: an
    /// earlier agent may have been killed between a write and its sync.
    ///
    /// # Errors
    ///
    /// The directory or the file cannot be used, the file is no log of this version, or it is damaged and `recover` does
    /// not pass over that. What is there stays as it is then.
    pub fn open(directory: &Path, boot_id: &str, recover: Recover) -> Result<Opened, LogError> {
        let path = directory.join(NAME);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
            read => read.map_err(at("read", &path))?,
        };
        if format::is_unfinished_header(&bytes) {
            remove_if_there(&directory.join(NEW))?;
            return begin(directory, &path);
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
                Ok(Opened { log, records: said(records), torn_bytes, damage: None })
            }
            Ending::Damaged { what, later } => {
                let damage = Damage { file: path, offset: good as u64, what: what.to_owned() };
                // Who the agent is and which master it has seen depends on nothing that may be missing.
                let stands_alone =
                    |record: &AgentRecord| matches!(record.kind, Some(Kind::Identity(_) | Kind::Epoch(_)));
                let facts: Vec<AgentRecord> = later.into_iter().filter(stands_alone).collect();
                if recover == Recover::Strict {
                    return Err(LogError::Damaged(damage));
                }
                set_aside(directory, damage, [said(records), facts].concat())
            }
        }
    }

    /// `length` bytes of it are on the disk itself.
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

    /// Appends records with one write. What was written survives the end of this process.
    ///
    /// # Errors
    ///
    /// [`LogError::Full`] when the disk has no room: the log is as it was. Any other error means that it may end in a torn
    /// record and takes no more: whoever appends has to stop.
    pub fn append(&mut self, records: &[AgentRecord]) -> Result<(), LogError> {
        self.buffer.clear();
        let synced = self.synced.load(Ordering::Acquire);
        if synced > self.marked {
            let mark = AgentRecord { kind: Some(Kind::Synced(synced)), ..AgentRecord::default() };
            format::write(&mark, &mut self.buffer);
        }
        // What a successor needs: a mark is about this file.
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

    /// Takes back what a write left that found no room.
    fn not_appended(&self, error: io::Error) -> LogError {
        let path = self.directory.join(NAME);
        if space::is_shortage(&error) && self.file.set_len(self.length).is_ok() {
            // Shortening a file gives back what was kept for it.
            self.reserved.store(0, Ordering::Release);
            return LogError::Full(path);
        }
        at("append to", &path)(error)
    }

    /// What brings everything appended so far to the disk.
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

    /// Whether the log is so much longer than it need be that it is worth writing it anew.
    #[must_use]
    pub fn wants_compaction(&self) -> bool {
        self.tail.is_none() && self.length > COMPACT_FROM.max(self.compact.saturating_mul(COMPACT_FACTOR))
    }

    /// Begins a log with `records` that may take this one's place: [`Draft::write`] writes it, on whatever thread, while
    /// this one is appended to.
    pub fn draft(&mut self, records: Vec<AgentRecord>) -> Draft {
        self.compact = self.length;
        self.tail = Some(vec![]);
        Draft { path: self.directory.join(NEW), records }
    }

    /// The successor that was begun is not written: this log goes on.
    pub fn drop_draft(&mut self) {
        self.tail = None;
    }

    /// Writes `records` as a log that may take this one's place. This one stays as it is.
    ///
    /// # Errors
    ///
    /// The file system refused. Nothing is lost by it, and it is not worth trying again soon.
    pub fn successor(&mut self, records: &[AgentRecord]) -> Result<Successor, LogError> {
        self.draft(records.to_vec()).write()
    }

    /// Goes on with a successor that says all that this log says, and has what was appended meanwhile written to it.
    /// Whenever this is cut off, one of the two is there whole; the next [`Syncer::sync`] brings its name to the disk.
    ///
    /// # Errors
    ///
    /// The file system refused: this log goes on.
    pub fn adopt(&mut self, mut successor: Successor) -> Result<(), LogError> {
        let new = self.directory.join(NEW);
        let tail = self.tail.take().unwrap_or_default();
        successor.file.write_all(&tail).map_err(at("append to", &new))?;
        // Before the rename: a sync of the file before may be under way.
        self.is_replaced.store(true, Ordering::Release);
        if let Err(error) = fs::rename(&new, self.directory.join(NAME)) {
            self.is_replaced.store(false, Ordering::Release);
            return Err(at("rename", &new)(error));
        }
        self.is_replaced = Arc::default();
        self.length = successor.length + tail.len() as u64;
        self.compact = self.length;
        self.file = Arc::new(successor.file);
        // Its own: a sync of the log before may still be on its way.
        self.synced = Arc::new(AtomicU64::new(successor.length));
        self.marked = format::HEADER.len() as u64;
        self.reserved = Arc::new(AtomicU64::new(0));
        self.is_named = Arc::new(AtomicBool::new(false));
        Ok(())
    }
}

/// A log that is to take the place of another, before it is written.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    records: Vec<AgentRecord>,
}

impl Draft {
    /// Writes it; all of it is on the disk itself then.
    ///
    /// # Errors
    ///
    /// The file system refused. Nothing is lost by it, and it is not worth trying again soon.
    pub fn write(self) -> Result<Successor, LogError> {
        let file = write_successor(&self.path, &self.records)?;
        let length = file.metadata().map_err(at("inspect", &self.path))?.len();
        Ok(Successor { file, length })
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
    /// How long the log was when this was made.
    length: u64,
    synced: Arc<AtomicU64>,
    reserved: Arc<AtomicU64>,
    is_named: Arc<AtomicBool>,
    is_replaced: Arc<AtomicBool>,
}

impl Syncer {
    /// Returns when everything that was appended before this was made survives a power cut.
    ///
    /// # Errors
    ///
    /// The disk refused: nothing can be said of what it holds. [`LogError::Gone`] when the file is not in its place.
    pub fn sync(&self) -> Result<(), LogError> {
        self.look()?;
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
    /// Whether the file is still in its place.
    ///
    /// # Errors
    ///
    /// [`LogError::Gone`] when it is not.
    pub fn look(&self) -> Result<(), LogError> {
        let own = self.file.metadata().map_err(at("inspect", &self.path))?;
        let is_it = |other: fs::Metadata| (other.dev(), other.ino()) == (own.dev(), own.ino());
        match fs::metadata(&self.path).map(is_it) {
            Ok(true) => Ok(()),
            // Its successor has its place, as it should.
            Ok(false) | Err(_) if self.is_replaced.load(Ordering::Acquire) => Ok(()),
            Ok(false) | Err(_) => Err(LogError::Gone(self.path.clone())),
        }
    }

    /// Keeps room ahead of the log, and finds out how much the disk has otherwise.
    #[must_use]
    pub fn keep_room(&self) -> Room {
        space::keep(&self.file, &self.path, self.length, &self.reserved)
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

/// Writes all of a successor. One that does not get whole is removed: on a full disk it would only take up room.
fn fill(new: &Path, file: &mut File, bytes: &[u8]) -> Result<(), LogError> {
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // What the disk said first is what counts.
        let _ = fs::remove_file(new);
    }
    written.map_err(at("write", new))
}

/// What a log says of the agent, without what it says of itself.
fn said(records: Vec<AgentRecord>) -> Vec<AgentRecord> {
    let of_itself = |record: &AgentRecord| matches!(record.kind, Some(Kind::Synced(_)));
    records.into_iter().filter(|record| !of_itself(record)).collect()
}

/// What can be read of a log, how many bytes that is, and what comes after.
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

/// Whether the host has been up since the records were written: then nothing that was written is missing.
fn host_ran_on(records: &[AgentRecord], boot_id: &str) -> bool {
    let mut boots = records.iter().rev().filter_map(|record| match &record.kind {
        Some(Kind::Identity(identity)) => Some(&*identity.boot_id),
        _ => None,
    });
    boots.next() == Some(boot_id)
}

/// A log without a record.
fn begin(directory: &Path, path: &Path) -> Result<Opened, LogError> {
    let mut file = append_to(path)?;
    file.set_len(0).map_err(at("empty", path))?;
    file.write_all(format::HEADER).and_then(|()| file.sync_all()).map_err(at("write", path))?;
    sync_directory(directory)?;
    let log = Log::new(directory, file, format::HEADER.len() as u64);
    Ok(Opened { log, records: vec![], torn_bytes: 0, damage: None })
}

/// Keeps the damaged log under another name, and puts one with `records` in its place. Whenever this is cut off, one of
/// the two stands there.
fn set_aside(directory: &Path, damage: Damage, records: Vec<AgentRecord>) -> Result<Opened, LogError> {
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
