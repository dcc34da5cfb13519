//! The journal of a supervisor: an append-only log of checksummed records, `exits` in its folder.
//!
//! Records are written without syncing: they survive the end of any process, which is enough, since the containers end
//! with the host. Any prefix of a journal is a journal; reading stops at the first truncated record. Records behind a
//! damaged part count too: each is independent. When the disk is full, unwritten records are kept and written with the
//! next one. Another thread compacts a journal that has grown: the core thread waits for no sync.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread,
};

use bytes::{BufMut as _, BytesMut};
use prost::Message as _;

use crate::{
    agent::{
        damage::Damage,
        ending::{self, Ending, Format},
    },
    proto::internal::SupervisorRecord,
};

/// The first line of a journal. Version 1 had none.
const HEADER: &[u8] = b"divvy exits 2\n";
const MAGIC: &[u8] = b"divvy exits ";
const STACK_BYTES: usize = 128 << 10;
/// A journal longer than this is compacted when more than half of it is obsolete.
const COMPACT_BYTES: u64 = 1 << 20;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// How many bytes of the file are valid.
    written: u64,
    /// Its length after the last compaction.
    compacted: u64,
    pending: BytesMut,
    failing: bool,
    compaction: Option<Compaction>,
    /// How many compactions were abandoned, each of which may still write its own file.
    abandoned: u32,
}

/// A journal that another thread is writing to replace this one.
#[derive(Debug)]
struct Compaction {
    path: PathBuf,
    /// The file and its length, synced.
    done: Receiver<io::Result<(File, u64)>>,
    /// The records written to the old file since.
    since: BytesMut,
}

/// The content of a journal.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) records: Vec<SupervisorRecord>,
    /// The damage found; a record truncated by a crash does not count.
    pub(crate) damage: Option<Damage>,
    /// The length of the valid part of the file, in bytes.
    good: u64,
    /// Whether all records are in the valid part.
    whole: bool,
}

impl Content {
    /// Reads the journal at `path`; one that is not there is empty.
    ///
    /// # Errors
    /// The file cannot be read, or a later divvy wrote it.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let start = header_length(&bytes)?;
        let (mut records, length) = ending::read::<Records>(&bytes[start..]);
        let good = start + length;
        let rest = &bytes[good..];
        let ending = if rest.is_empty() { Ending::Torn } else { ending::judge::<Records>(rest, good, None, true) };
        let good = good as u64;
        let damage = match ending {
            Ending::Torn => None,
            Ending::Damaged { what, later } => {
                records.extend(later);
                Some(Damage { file: path.to_owned(), offset: good, what: what.to_owned() })
            }
        };
        let whole = damage.is_none();
        Ok(Self { records, damage, good, whole })
    }

    /// Ignores damage after a restart of the host: records are never synced, so a power cut may have lost any of them.
    pub(super) fn after_restart(self) -> Self {
        Self { damage: None, ..self }
    }

    /// Marks the journal to be rewritten to a new file: another folder may share this one (a hard link).
    pub(super) fn needing_rewrite(self) -> Self {
        Self { whole: false, ..self }
    }
}

impl Journal {
    /// Opens or creates the journal at `path` to append to `content`, which was just read from it. A torn end is cut
    /// off, and a damaged journal is rewritten.
    ///
    /// # Errors
    /// The file cannot be opened, cut or written.
    pub(crate) fn go_on(path: &Path, content: &Content) -> io::Result<Self> {
        let file = create(path, false)?;
        let written = content.good;
        let (file, written, compacted) = if content.whole {
            file.set_len(written)?;
            (file, written, 0)
        } else {
            let next = path.with_extension("new");
            let (file, length) = write_successor(&next, &content.records)?;
            std::fs::rename(next, path)?;
            (file, length, length)
        };
        let (path, pending) = (path.to_owned(), BytesMut::new());
        Ok(Self { path, file, written, compacted, pending, failing: false, compaction: None, abandoned: 0 })
    }

    /// Opens or creates the journal at `path` of a new supervisor.
    ///
    /// # Errors
    /// The file cannot be read or opened.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        Self::go_on(path, &Content::read(path)?)
    }

    /// Adds a record; [`Self::flush`] writes it.
    pub(crate) fn append(&mut self, record: &SupervisorRecord) {
        put(record, &mut self.pending);
    }

    /// Writes the added records. After a failure they are written the next time; the failure is logged once.
    pub(crate) fn flush(&mut self) {
        self.switch_to_successor();
        if self.pending.is_empty() {
            return;
        }
        match self.write_pending() {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(path = %self.path.display(), %error, "cannot write the journal: exits stay in memory until it can be written");
            }
            Err(_) => {}
        }
    }

    /// Whether all that was added is in the file.
    pub(super) fn is_written(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes at the known offset, so that the next write overwrites one that was cut short.
    fn write_pending(&mut self) -> io::Result<()> {
        let start = if self.written == 0 { HEADER.len() as u64 } else { self.written };
        if self.written == 0 {
            self.file.write_all_at(HEADER, 0)?;
        }
        self.file.write_all_at(&self.pending, start)?;
        self.written = start + self.pending.len() as u64;
        if let Some(compaction) = &mut self.compaction {
            compaction.since.extend_from_slice(&self.pending);
        }
        self.pending.clear();
        Ok(())
    }

    /// Removes all records.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        self.abandoned += u32::from(self.compaction.take().is_some());
        if self.written > 0 && self.file.set_len(0).is_ok() {
            (self.written, self.compacted) = (0, 0);
        }
    }

    /// Whether so much of the journal is obsolete that it should be compacted.
    pub(crate) fn needs_compaction(&self) -> bool {
        self.compaction.is_none() && self.written > COMPACT_BYTES.max(2 * self.compacted)
    }

    /// Has another thread write a journal of `records`, the current state. A later [`Self::flush`] switches to it.
    /// After a failure the current file stays until it has doubled.
    pub(crate) fn compact(&mut self, records: Vec<SupervisorRecord>) {
        let extension = if self.abandoned == 0 { "new".to_owned() } else { format!("new{}", self.abandoned) };
        let path = self.path.with_extension(extension);
        let (sender, done) = sync_channel(1);
        let body = {
            let path = path.clone();
            move || {
                // An abandoned compaction leaves no file.
                if sender.send(write_successor(&path, &records)).is_err() {
                    let _ = std::fs::remove_file(&path);
                }
            }
        };
        match thread::Builder::new().name("journal-compact".to_owned()).stack_size(STACK_BYTES).spawn(body) {
            Ok(_) => self.compaction = Some(Compaction { path, done, since: BytesMut::new() }),
            Err(error) => self.keep_current_file(&error),
        }
    }

    /// Switches to the compacted file, once the other thread has written it.
    fn switch_to_successor(&mut self) {
        let Some(compaction) = &self.compaction else { return };
        let outcome = match compaction.done.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(io::Error::other("a thread panicked")),
            Ok(outcome) => outcome,
        };
        let Some(Compaction { path, since, .. }) = self.compaction.take() else { return };
        let adopted = outcome.and_then(|(file, length)| {
            file.write_all_at(&since, length)?;
            std::fs::rename(&path, &self.path)?;
            Ok((file, length))
        });
        match adopted {
            Ok((file, length)) => {
                self.file = file;
                (self.written, self.compacted) = (length + since.len() as u64, length);
            }
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                self.keep_current_file(&error);
            }
        }
    }

    fn keep_current_file(&mut self, error: &io::Error) {
        tracing::warn!(path = %self.path.display(), %error, "cannot shorten the journal");
        self.compacted = self.written;
    }

    /// Waits for the other thread.
    #[cfg(test)]
    fn finish_compaction(&mut self) {
        if let Some(compaction) = &mut self.compaction {
            let (sender, done) = sync_channel(1);
            sender.send(compaction.done.recv().unwrap()).unwrap();
            compaction.done = done;
        }
        self.switch_to_successor();
    }
}

/// Writes a journal of these records to `path` and syncs it; nothing is left of it on a failure.
fn write_successor(path: &Path, records: &[SupervisorRecord]) -> io::Result<(File, u64)> {
    let write = || {
        let mut content = BytesMut::from(HEADER);
        for record in records {
            put(record, &mut content);
        }
        let mut file = create(path, true)?;
        file.write_all(&content)?;
        // Without it a power cut could leave the new name without the content, and records long on disk would be lost.
        file.sync_data()?;
        Ok((file, content.len() as u64))
    };
    write().inspect_err(|_| {
        // On a full disk a partial file would only use up space.
        let _ = std::fs::remove_file(path);
    })
}

fn put(record: &SupervisorRecord, buffer: &mut BytesMut) {
    let payload = record.encode_to_vec();
    buffer.reserve(Records::PREFIX + payload.len());
    buffer.put_u32(u32::try_from(payload.len()).expect("ids and a few numbers are far below 4 GiB"));
    buffer.put_u32(crc32fast::hash(&payload));
    buffer.put_slice(&payload);
}

fn create(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path)
}

/// The length of the header; 0 in a journal of version 1, in an empty one, and in one truncated within the header.
fn header_length(bytes: &[u8]) -> io::Result<usize> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else { return Ok(0) };
    if bytes.starts_with(HEADER) {
        return Ok(HEADER.len());
    }
    match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) if rest[..end].iter().all(u8::is_ascii_digit) => {
            let version = String::from_utf8_lossy(&rest[..end]);
            let text =
                format!("it has version {version}, and this agent reads up to 2: run the divvy it was written by");
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        Some(_) | None => Ok(0),
    }
}

/// Records of a journal.
struct Records;

impl Format for Records {
    type Record = SupervisorRecord;

    /// Length and checksum of the content, 32 bits each, big end first.
    const PREFIX: usize = 8;

    fn announced(prefix: &[u8]) -> usize {
        let length = prefix.first_chunk::<4>().map_or(u32::MAX, |length| u32::from_be_bytes(*length));
        usize::try_from(length).unwrap_or(usize::MAX)
    }

    fn first(bytes: &[u8]) -> Option<(SupervisorRecord, usize)> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let payload = rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        // An all-zero tail, as a file system may leave one, would otherwise read as an empty record.
        let good = !payload.is_empty() && crc32fast::hash(payload) == u32::from_be_bytes(*checksum);
        good.then(|| SupervisorRecord::decode(payload).ok()).flatten().map(|it| (it, Self::PREFIX + payload.len()))
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
