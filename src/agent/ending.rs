//! Classifies the end of a file of records that cannot be read to its last byte: torn by a crash, or damaged.
//!
//! A crash leaves an incomplete record, or a run of zeros where the file system had not stored the data yet. Everything
//! else is damage: a record of the right length with a wrong checksum, or whole records after unreadable bytes. Such
//! later records are returned if they reach to the end of the file; the caller decides which of them are valid on their
//! own. A power cut may also destroy any part of what was not synced. If one may have happened and records hold how far
//! the file was synced, nothing beyond that is damage.

/// File systems leave holes of whole sectors of this many bytes.
const SECTOR: usize = 512;
/// The most bytes that a search for records checksums. When they are used up the answer is damage.
const SEARCH_BYTES: usize = 256 << 20;

/// The format of records in a file.
pub(super) trait Format {
    type Record;

    /// Length of what precedes a record's content, in bytes.
    const PREFIX: usize;

    /// The length of content that a prefix announces.
    fn announced(prefix: &[u8]) -> usize;

    /// The record at the beginning of `bytes` and the length of all of it.
    fn first(bytes: &[u8]) -> Option<(Self::Record, usize)>;

    /// How many bytes of the file were synced when the record was written, if the record holds that.
    fn synced(_record: &Self::Record) -> Option<u64> {
        None
    }
}

/// How many bytes of the file were synced, according to the records.
pub(super) fn synced<F: Format>(records: &[F::Record]) -> Option<u64> {
    records.iter().filter_map(F::synced).max()
}

/// What follows the last record that can be read.
#[derive(Debug, PartialEq)]
pub(super) enum Ending<R> {
    /// Nothing, or what a crash causes.
    Torn,
    Damaged {
        what: &'static str,
        /// The records from behind the damage to the end of the file.
        later: Vec<R>,
    },
}

/// The whole records up to the first that is none, and how many bytes they take.
pub(super) fn read<F: Format>(bytes: &[u8]) -> (Vec<F::Record>, usize) {
    let (mut records, mut good) = (vec![], 0);
    while let Some((record, length)) = F::first(&bytes[good..]) {
        records.push(record);
        good += length;
    }
    (records, good)
}

/// Classifies `rest`, which begins with an unreadable record at `offset` of the file. According to the records before
/// it the file was synced up to `known`. `power_cut`: whether the host may have restarted since it was written.
pub(super) fn judge<F: Format>(rest: &[u8], offset: usize, known: Option<u64>, power_cut: bool) -> Ending<F::Record> {
    let found = search::<F>(rest);
    let synced = found.as_ref().and_then(|found| found.synced).max(known).filter(|_| power_cut);
    if synced.is_some_and(|synced| synced <= offset as u64) {
        return Ending::Torn;
    }
    if let Some(Later { records: later, .. }) = found {
        return Ending::Damaged { what: "what stands there is no record, and whole records follow", later };
    }
    let is_whole = content_length::<F>(rest).is_some_and(|length| length <= rest.len() - F::PREFIX);
    if is_whole && !ends_in_a_hole(rest, offset) {
        return Ending::Damaged { what: "a record of the right length has the wrong checksum", later: vec![] };
    }
    Ending::Torn
}

/// Records after unreadable bytes.
#[derive(Debug)]
pub(super) struct Later<R> {
    /// Those that reach to the end.
    pub(super) records: Vec<R>,
    /// How far the file was synced, according to these records.
    synced: Option<u64>,
}

/// Looks for records anywhere in `bytes`.
pub(super) fn search<F: Format>(bytes: &[u8]) -> Option<Later<F::Record>> {
    let (mut later, mut at, mut summed) = (None, 0, 0_usize);
    let mut vouched = None;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let tried = content_length::<F>(rest).filter(|length| *length <= rest.len() - F::PREFIX).unwrap_or(0);
        summed = summed.saturating_add(tried);
        if summed > SEARCH_BYTES {
            return Some(Later { records: vec![], synced: Some(u64::MAX) });
        }
        let (records, length) = read::<F>(rest);
        at += length.max(1);
        if length > 0 {
            vouched = vouched.max(synced::<F>(&records));
            later = Some(if at == bytes.len() { records } else { vec![] });
        }
    }
    later.map(|records| Later { records, synced: vouched })
}

fn content_length<F: Format>(rest: &[u8]) -> Option<usize> {
    rest.get(..F::PREFIX).map(F::announced)
}

/// Whether the last whole sector, or all of it, was never written.
fn ends_in_a_hole(rest: &[u8], offset: usize) -> bool {
    let Some(last) = rest.iter().rposition(|byte| *byte != 0) else { return true };
    (offset + last + 1).next_multiple_of(SECTOR) < offset + rest.len()
}

/// A stored file of a format; written first if that is asked for.
#[cfg(test)]
pub(super) fn sample(name: &str, written: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/formats");
    if std::env::var_os("DIVVY_WRITE_SAMPLES").is_some() {
        std::fs::write(folder.join(name), written()).unwrap();
    }
    std::fs::read(folder.join(name)).unwrap()
}
