//! The bytes of a log: a header line, then records as `[length u32 le][crc32 u32 le][payload]`.
//!
//! The checksum covers length and payload, and no record is empty. So a run of zeros, which some file systems leave
//! after a power cut, is no record.

use prost::Message as _;

use crate::agent::ending::Format;
use crate::proto::internal::AgentRecord;
use crate::proto::internal::agent_record::Kind;

/// The version written and the highest read.
pub(super) const VERSION: u32 = 1;
/// The first line of a log.
pub(super) const HEADER: &[u8] = b"divvy agent log 1\n";

const MAGIC: &[u8] = b"divvy agent log ";
const PREFIX: usize = Records::PREFIX;

/// Why a file does not begin as a log of this version.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    Foreign,
    Version(String),
}

/// Whether the header is incomplete, as after a crash: a log without a record.
pub(super) fn is_unfinished_header(bytes: &[u8]) -> bool {
    bytes.len() < HEADER.len() && HEADER.starts_with(bytes)
}

/// What follows the header.
pub(super) fn body(bytes: &[u8]) -> Result<&[u8], Unknown> {
    if let Some(body) = bytes.strip_prefix(HEADER) {
        return Ok(body);
    }
    let version = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let version = version.and_then(|text| str::from_utf8(text).ok()).filter(|text| text.parse::<u32>().is_ok());
    Err(version.map_or(Unknown::Foreign, |text| Unknown::Version(text.to_owned())))
}

/// Appends a record to `out`.
pub(super) fn write(record: &AgentRecord, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend([0; PREFIX]);
    record.encode(out).expect("a vector has room");
    let length = u32::try_from(out.len() - start - PREFIX).expect("a record comes from one message of at most 64 MiB");
    let length = length.to_le_bytes();
    let checksum = checksum(length, &out[start + PREFIX..]);
    out[start..start + 4].copy_from_slice(&length);
    out[start + 4..start + PREFIX].copy_from_slice(&checksum.to_le_bytes());
}

/// Records of an agent's log.
pub(super) struct Records;

impl Format for Records {
    type Record = AgentRecord;

    const PREFIX: usize = 8;

    fn announced(prefix: &[u8]) -> usize {
        let length = prefix.first_chunk::<4>().map_or(u32::MAX, |length| u32::from_le_bytes(*length));
        usize::try_from(length).unwrap_or(usize::MAX)
    }

    fn first(bytes: &[u8]) -> Option<(AgentRecord, usize)> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (expected, rest) = rest.split_first_chunk::<4>()?;
        let payload = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        if payload.is_empty() || checksum(*length, payload) != u32::from_le_bytes(*expected) {
            return None;
        }
        let record = AgentRecord::decode(payload).ok()?;
        Some((record, Self::PREFIX + payload.len()))
    }

    fn synced(record: &AgentRecord) -> Option<u64> {
        let Some(Kind::Synced(length)) = record.kind else { return None };
        Some(length)
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}
