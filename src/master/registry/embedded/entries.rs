//! The entries: the facts about each agent, framework and role, under its key and with a checksum.
//!
//! Count and digest of all entries are stored beside them, so that a missing or outdated entry is detected.

use prost::Message as _;
use redb::{ReadableTable, Table, TableDefinition};

use super::{
    super::{
        RegistryChange, RegistryError, State,
        subject::{Subject, entries_after},
    },
    failure::{Failure, Outcome, corrupt},
    numbers::Numbers,
};
use crate::proto::internal::RegistryEntry;

pub(super) const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const CHECKSUM_BYTES: usize = 4;

/// Reads all facts, and how many bytes they take.
pub(super) fn read(table: &impl ReadableTable<&'static str, &'static [u8]>, numbers: Numbers) -> Outcome<(State, u64)> {
    let (mut state, mut bytes) = (State::default(), 0);
    let (mut count, mut sum) = (0_u64, 0_u64);
    for entry in table.iter()? {
        let (key, stored) = entry?;
        let (key, stored) = (key.value(), stored.value());
        decode_entry(key, stored)?.iter().for_each(|change| state.apply(change));
        count += 1;
        sum = sum.wrapping_add(digest(stored));
        bytes += (key.len() + stored.len()) as u64;
    }
    if (count, sum) != (numbers.count, numbers.digest) {
        let text =
            format!("{} entries were written, and {count} are stored, or others than were written", numbers.count);
        return Err(corrupt(text).into());
    }
    Ok((state, bytes))
}

/// Applies changes to the entries of their subjects.
pub(super) fn write(
    table: &mut Table<'_, &'static str, &'static [u8]>,
    changes: &[RegistryChange],
    mut numbers: Numbers,
) -> Outcome<Numbers> {
    let after = entries_after(changes, |subject| {
        let key = subject.key();
        match table.get(&*key)? {
            Some(stored) => Ok::<_, Failure>(decode_entry(&key, stored.value())?),
            None => Ok(Vec::new()),
        }
    })?;
    for (subject, changes) in after {
        write_entry(table, &subject, changes, &mut numbers)?;
    }
    numbers.next = numbers.next.saturating_add(changes.len() as u64);
    Ok(numbers)
}

/// Writes the entries of this state in place of all others.
pub(super) fn replace_all(
    table: &mut Table<'_, &'static str, &'static [u8]>,
    state: &State,
    mut numbers: Numbers,
) -> Outcome<Numbers> {
    table.retain(|_, _| false)?;
    (numbers.count, numbers.digest) = (0, 0);
    for subject in state.subjects() {
        write_entry(table, &subject, state.changes_about(&subject), &mut numbers)?;
    }
    Ok(numbers)
}

/// Writes an entry, or removes it where there are no changes, and updates count and digest.
fn write_entry(
    table: &mut Table<'_, &'static str, &'static [u8]>,
    subject: &Subject,
    changes: Vec<RegistryChange>,
    numbers: &mut Numbers,
) -> Outcome<()> {
    let key = subject.key();
    let before = if changes.is_empty() {
        table.remove(&*key)?.map(|stored| digest(stored.value()))
    } else {
        let stored = encode_entry(&key, changes);
        numbers.count = numbers.count.saturating_add(1);
        numbers.digest = numbers.digest.wrapping_add(digest(&stored));
        table.insert(&*key, stored.as_slice())?.map(|stored| digest(stored.value()))
    };
    if let Some(before) = before {
        numbers.count = numbers.count.saturating_sub(1);
        numbers.digest = numbers.digest.wrapping_sub(before);
    }
    Ok(())
}

/// Encodes an entry: the checksum of its key and content, then its content.
fn encode_entry(key: &str, changes: Vec<RegistryChange>) -> Vec<u8> {
    let bytes = RegistryEntry { changes }.encode_to_vec();
    let mut stored = checksum(key, &bytes).to_le_bytes().to_vec();
    stored.extend(bytes);
    stored
}

fn decode_entry(key: &str, stored: &[u8]) -> Result<Vec<RegistryChange>, RegistryError> {
    let (sum, bytes) = stored.split_at_checked(CHECKSUM_BYTES).unwrap_or_default();
    if sum != checksum(key, bytes).to_le_bytes() {
        return Err(corrupt(format!("entry {key:.100} is not as written")));
    }
    let entry = RegistryEntry::decode(bytes).map_err(|error| corrupt(format!("entry {key:.100}: {error}")))?;
    if entry.changes.iter().any(|change| change.kind.is_none()) {
        return Err(corrupt(format!("entry {key:.100} holds a change of no kind that this format has")));
    }
    Ok(entry.changes)
}

fn checksum(key: &str, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// What an entry adds to the digest of all: its length in the high 32 bits, its checksum in the low ones.
fn digest(stored: &[u8]) -> u64 {
    let sum = stored.first_chunk().map_or(0, |sum| u32::from_le_bytes(*sum));
    (stored.len() as u64) << 32 | u64::from(sum)
}
