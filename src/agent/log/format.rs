//! The bytes of a log: a header line, then records as `[length u32 le][crc32 u32 le][payload]`.
//!
//! The checksum covers length and payload, and no record is empty: so a run of zeros, which is what some file systems
//! leave after a power cut, is no record.

use prost::Message as _;

use crate::proto::internal::AgentRecord;

/// The version written and the highest read.
pub(super) const VERSION: u32 = 1;
/// The first line of a log.
pub(super) const HEADER: &[u8] = b"divvy agent log 1\n";

const MAGIC: &[u8] = b"divvy agent log ";
/// Length and checksum.
const PREFIX: usize = 8;

/// What a file that is no log of this version is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Foreign,
    Version(String),
}

/// Whether writing the header was cut off, which leaves a log without a record.
pub(super) fn is_unfinished_header(bytes: &[u8]) -> bool {
    bytes.len() < HEADER.len() && HEADER.starts_with(bytes)
}

/// What follows the header.
pub(crate) fn body(bytes: &[u8]) -> Result<&[u8], Unknown> {
    if let Some(body) = bytes.strip_prefix(HEADER) {
        return Ok(body);
    }
    let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let version = version.and_then(|text| str::from_utf8(text).ok()).filter(|text| text.parse::<u32>().is_ok());
    Err(version.map_or(Unknown::Foreign, |text| Unknown::Version(text.to_owned())))
}

/// The records up to the first that is torn or damaged, and how many bytes they take.
pub(crate) fn read(body: &[u8]) -> (Vec<AgentRecord>, usize) {
    let (mut records, mut good) = (vec![], 0);
    while let Some((record, length)) = first(&body[good..]) {
        records.push(record);
        good += length;
    }
    (records, good)
}

/// Appends a record to `out`.
pub(crate) fn write(record: &AgentRecord, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; PREFIX]);
    record.encode(out).expect("a vector has room");
    let length = u32::try_from(out.len() - start - PREFIX).expect("a record comes from one message of at most 64 MiB");
    let length = length.to_le_bytes();
    let checksum = checksum(length, &out[start + PREFIX..]);
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + PREFIX].copy_from_slice(&checksum.to_le_bytes());
}

fn first(bytes: &[u8]) -> Option<(AgentRecord, usize)> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (expected, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    if payload.is_empty() || checksum(*length, payload) != u32::from_le_bytes(*expected) {
        return None;
    }
    let record = AgentRecord::decode(payload).ok()?;
    Some((record, PREFIX + payload.len()))
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}
