//! What a supervisor knows, on disk: an append log of checksummed records, `exits` in its folder.
//!
//! Records are written without syncing: they survive the end of any process, which is all that is asked for, since a
//! host that goes down takes the containers with it. Any prefix of a journal is a journal; reading stops at the first
//! record that is cut short. In a damaged one the records behind the damage count too: each stands on its own. A full
//! disk stops nobody: what could not be written is kept and tried again with the next record.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
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
/// A journal longer than this is written anew when more than half of it is of no use any more.
const COMPACT_BYTES: u64 = 1 << 20;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// How far the file is known to be good.
    written: u64,
    /// Its length after it was last written anew.
    compacted: u64,
    pending: BytesMut,
    failing: bool,
}

/// What a journal says.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) records: Vec<SupervisorRecord>,
    /// What could not be read; what a crash cut off does not count.
    pub(crate) damage: Option<Damage>,
    /// How many bytes of the file can be read.
    good: u64,
    /// Whether all records stand there, without a break.
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

    /// The same after a restart of the host: records appended to a journal are never synced, so a power cut may have
    /// left any part of them.
    pub(super) fn after_restart(self) -> Self {
        Self { damage: None, ..self }
    }
}

impl Journal {
    /// Opens or creates the journal at `path` to go on after `content`, which was just read from it: a torn end is cut
    /// off, and a damaged one is written anew.
    ///
    /// # Errors
    /// The file cannot be opened, cut or written.
    pub(crate) fn go_on(path: &Path, content: &Content) -> io::Result<Self> {
        let file = create(path, false)?;
        let written = content.good;
        let (compacted, pending) = (0, BytesMut::new());
        let mut journal = Self { path: path.to_owned(), file, written, compacted, pending, failing: false };
        if content.whole {
            journal.file.set_len(written)?;
        } else {
            journal.write_anew(&content.records)?;
        }
        Ok(journal)
    }

    /// Opens or creates the journal at `path` of a supervisor that has not begun yet.
    ///
    /// # Errors
    /// The file cannot be read or opened.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        Self::go_on(path, &Content::read(path)?)
    }

    /// Adds a record; [`Self::flush`] writes it.
    pub(crate) fn append(&mut self, record: &SupervisorRecord) {
        let length = record.encoded_len();
        self.pending.reserve(Records::PREFIX + length);
        let payload = record.encode_to_vec();
        self.pending.put_u32(u32::try_from(length).expect("ids and a few numbers are far below 4 GiB"));
        self.pending.put_u32(crc32fast::hash(&payload));
        self.pending.put_slice(&payload);
    }

    /// Writes what was added. On a failure it stays to be written the next time, and the log says so once.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match self.write_pending() {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(path = %self.path.display(), %error, "cannot write the journal: exits are in memory only");
            }
            Err(_) => {}
        }
    }

    /// Whether all that was added is in the file.
    pub(super) fn is_written(&self) -> bool {
        self.pending.is_empty()
    }

    /// At an offset of its own choosing, a write that was cut short is simply written over by the next one.
    fn write_pending(&mut self) -> io::Result<()> {
        let start = if self.written == 0 { HEADER.len() as u64 } else { self.written };
        if self.written == 0 {
            self.file.write_all_at(HEADER, 0)?;
        }
        self.file.write_all_at(&self.pending, start)?;
        self.written = start + self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.pending.clear();
        if self.written > 0 && self.file.set_len(0).is_ok() {
            (self.written, self.compacted) = (0, 0);
        }
    }

    /// Whether so much of the journal is of no use that it should be written anew.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.written > COMPACT_BYTES.max(2 * self.compacted)
    }

    /// Replaces the journal by one that holds `records`. On a failure the old one stays, for a good while.
    pub(crate) fn compact(&mut self, records: &[SupervisorRecord]) {
        if let Err(error) = self.write_anew(records) {
            tracing::warn!(path = %self.path.display(), %error, "cannot shorten the journal");
            self.compacted = self.written;
        }
    }

    fn write_anew(&mut self, records: &[SupervisorRecord]) -> io::Result<()> {
        let path = self.path.with_extension("new");
        self.write_anew_at(&path, records).inspect_err(|_| {
            // On a full disk what there is of it would only take up room.
            let _ = std::fs::remove_file(&path);
        })
    }

    fn write_anew_at(&mut self, path: &Path, records: &[SupervisorRecord]) -> io::Result<()> {
        let mut next = Self {
            path: self.path.clone(),
            file: create(path, true)?,
            written: 0,
            compacted: 0,
            pending: BytesMut::new(),
            failing: false,
        };
        for record in records {
            next.append(record);
        }
        next.file.write_all(HEADER)?;
        next.file.write_all(&next.pending)?;
        // Or a power cut could leave the new name without the content, and what the disk had long had would be gone.
        next.file.sync_data()?;
        std::fs::rename(path, &self.path)?;
        next.written = (HEADER.len() + next.pending.len()) as u64;
        next.compacted = next.written;
        next.pending.clear();
        *self = next;
        Ok(())
    }
}

fn create(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path)
}

/// How long the header is; none in a journal of version 1, in an empty one, and in one that was cut off in it.
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
