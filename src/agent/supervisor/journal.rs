//! What a supervisor knows, on disk: an append log of checksummed records.
//!
//! Written without syncing: it survives the end of any process, which is all that is asked for, since a host that goes
//! down takes the containers with it. Any prefix of a journal is a journal; reading stops at the first record that is
//! cut short or damaged. A full disk stops nobody: what could not be written is kept and tried again with the next record.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bytes::{Buf as _, BufMut as _, BytesMut};
use prost::Message as _;

use crate::proto::internal::SupervisorRecord;

/// Length and checksum, 32 bits each, big end first.
const HEADER: usize = 8;
/// A journal longer than this is written anew when more than half of it is of no use any more.
const COMPACT_BYTES: u64 = 1 << 20;

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// How far the file is known to be good.
    written: u64,
    /// Its length after it was last written anew.
    compacted: u64,
    pending: BytesMut,
    failing: bool,
}

impl Journal {
    /// Opens or creates the journal at `path` and reads what is in it; a damaged end is cut off.
    ///
    /// # Errors
    /// The file cannot be opened, read or cut.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<SupervisorRecord>)> {
        let file = create(path, false)?;
        let (records, good) = parse(&std::fs::read(path)?);
        file.set_len(good)?;
        let journal =
            Self { path: path.to_owned(), file, written: good, compacted: 0, pending: BytesMut::new(), failing: false };
        Ok((journal, records))
    }

    /// Adds a record; [`Self::flush`] writes it.
    pub(super) fn append(&mut self, record: &SupervisorRecord) {
        let length = record.encoded_len();
        self.pending.reserve(HEADER + length);
        let payload = record.encode_to_vec();
        self.pending.put_u32(u32::try_from(length).expect("ids and a few numbers are far below 4 GiB"));
        self.pending.put_u32(crc32fast::hash(&payload));
        self.pending.put_slice(&payload);
    }

    /// Writes what was added. On a failure it stays to be written the next time, and the log says so once.
    pub(super) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        // At an offset of its own choosing, a write that was cut short is simply written over by the next one.
        match self.file.write_all_at(&self.pending, self.written) {
            Ok(()) => {
                self.written += self.pending.len() as u64;
                self.pending.clear();
                self.failing = false;
            }
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(path = %self.path.display(), %error, "cannot write the journal: exits are in memory only");
            }
            Err(_) => {}
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.pending.clear();
        if self.written > 0 && self.file.set_len(0).is_ok() {
            (self.written, self.compacted) = (0, 0);
        }
    }

    /// Whether so much of the journal is of no use that it should be written anew.
    pub(super) fn wants_compaction(&self) -> bool {
        self.written > COMPACT_BYTES.max(2 * self.compacted)
    }

    /// Replaces the journal by one that holds `records`. On a failure the old one stays, for a good while.
    pub(super) fn compact(&mut self, records: &[SupervisorRecord]) {
        if let Err(error) = self.write_anew(records) {
            tracing::warn!(path = %self.path.display(), %error, "cannot shorten the journal");
            self.compacted = self.written;
        }
    }

    fn write_anew(&mut self, records: &[SupervisorRecord]) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let mut next = Self {
            path: self.path.clone(),
            file: create(&path, true)?,
            written: 0,
            compacted: 0,
            pending: BytesMut::new(),
            failing: false,
        };
        for record in records {
            next.append(record);
        }
        next.file.write_all(&next.pending)?;
        std::fs::rename(&path, &self.path)?;
        next.written = next.pending.len() as u64;
        next.compacted = next.written;
        next.pending.clear();
        *self = next;
        Ok(())
    }
}

fn create(path: &Path, truncate: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(truncate).mode(0o600).open(path)
}

/// The records of a journal, and how many of its bytes they are.
fn parse(content: &[u8]) -> (Vec<SupervisorRecord>, u64) {
    let (mut rest, mut records) = (content, Vec::new());
    while let Some((record, after)) = parse_one(rest) {
        records.push(record);
        rest = after;
    }
    (records, (content.len() - rest.len()) as u64)
}

fn parse_one(mut bytes: &[u8]) -> Option<(SupervisorRecord, &[u8])> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    let checksum = bytes.try_get_u32().ok()?;
    let (payload, after) = bytes.split_at_checked(length)?;
    // An all-zero tail, as a file system may leave one, would otherwise read as an empty record.
    let good = length > 0 && crc32fast::hash(payload) == checksum;
    good.then(|| SupervisorRecord::decode(payload).ok()).flatten().map(|record| (record, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::internal::supervisor_record::Kind;

    fn record(id: &str) -> SupervisorRecord {
        SupervisorRecord { kind: Some(Kind::Starting(id.to_owned())) }
    }

    #[test]
    fn any_prefix_of_a_journal_gives_a_prefix_of_its_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exits");
        let records: Vec<_> = ["one", "two", "three"].iter().map(|id| record(id)).collect();
        let (mut journal, before) = Journal::open(&path).unwrap();
        assert!(before.is_empty());
        for each in &records {
            journal.append(each);
            journal.flush();
        }
        let whole = std::fs::read(&path).unwrap();
        for length in 0..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (mut journal, read) = Journal::open(&path).unwrap();
            assert_eq!(read, records[..read.len()]);
            journal.append(&record("after"));
            journal.flush();
            assert_eq!(Journal::open(&path).unwrap().1.last(), Some(&record("after")), "cut at {length}");
        }
    }

    #[test]
    fn a_damaged_record_ends_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exits");
        let mut journal = Journal::open(&path).unwrap().0;
        for id in ["one", "two"] {
            journal.append(&record(id));
        }
        journal.flush();
        let mut content = std::fs::read(&path).unwrap();
        *content.last_mut().unwrap() ^= 1;
        std::fs::write(&path, content).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, [record("one")]);
    }

    #[test]
    fn a_journal_written_anew_holds_what_it_was_given_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exits");
        let mut journal = Journal::open(&path).unwrap().0;
        while !journal.wants_compaction() {
            journal.append(&record(&"x".repeat(1000)));
            journal.flush();
        }
        journal.compact(&[record("kept")]);
        assert!(!journal.wants_compaction());
        journal.append(&record("later"));
        journal.flush();
        assert_eq!(Journal::open(&path).unwrap().1, [record("kept"), record("later")]);
        journal.clear();
        assert_eq!(Journal::open(&path).unwrap().1, []);
    }

    #[test]
    fn a_write_that_fails_is_made_up_for_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exits");
        let mut journal = Journal::open(&path).unwrap().0;
        let file = std::mem::replace(&mut journal.file, File::open("/dev/null").unwrap());
        journal.append(&record("one"));
        journal.flush();
        journal.file = file;
        journal.append(&record("two"));
        journal.flush();
        assert_eq!(Journal::open(&path).unwrap().1, [record("one"), record("two")]);
    }
}
