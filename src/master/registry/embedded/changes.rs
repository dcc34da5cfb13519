//! Formats 1 to 3: the appended changes, numbered without a gap. They are read, then rewritten as entries.

use std::collections::VecDeque;

use prost::Message as _;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};

use super::{
    super::{RegistryChange, RegistryError, State},
    failure::{Outcome, corrupt},
    numbers::Numbers,
};
use crate::proto::internal::registry_change::Kind;

pub(super) const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
const CHECKSUM_BYTES: usize = 4;
/// How many tombstones a master of these formats had: readers drop the older ones.
const MAX_TOMBSTONES: usize = 10_000;

/// Reads all facts, and how many bytes their changes take.
pub(super) fn read<T>(table: &T, numbers: Numbers) -> Outcome<(State, u64)>
where
    T: ReadableTable<u64, &'static [u8]> + ReadableTableMetadata,
{
    let count = table.len()?;
    let (mut state, mut bytes) = (State::default(), 0);
    let mut removed = VecDeque::new();
    let mut expected = numbers.next.checked_sub(count);
    for entry in table.iter()? {
        let (number, stored) = entry?;
        let (number, stored) = (number.value(), stored.value());
        if expected != Some(number) {
            return Err(corrupt(format!("change {number} is out of order")).into());
        }
        expected = number.checked_add(1);
        let change = decode_change(numbers.format, number, stored)?;
        state.apply(&change);
        if let Some(Kind::FrameworkRemoved(id)) = change.kind {
            removed.push_back(id);
        }
        if removed.len() > MAX_TOMBSTONES
            && let Some(oldest) = removed.pop_front()
        {
            state.apply(&RegistryChange { kind: Some(Kind::FrameworkForgotten(oldest)) });
        }
        bytes += stored.len() as u64;
    }
    if expected != Some(numbers.next) {
        return Err(corrupt(format!("{} changes were appended, and {count} are stored", numbers.next)).into());
    }
    Ok((state, bytes))
}

/// Checks and decodes a stored change. All formats but the first store the checksum of number and change before it.
fn decode_change(format: u64, number: u64, stored: &[u8]) -> Result<RegistryChange, RegistryError> {
    let bytes = if format == 1 {
        stored
    } else {
        let (sum, bytes) = stored.split_at_checked(CHECKSUM_BYTES).unwrap_or_default();
        if sum != checksum(number, bytes).to_le_bytes() {
            return Err(corrupt(format!("change {number} is not as written")));
        }
        bytes
    };
    let change = RegistryChange::decode(bytes).map_err(|error| corrupt(format!("change {number}: {error}")))?;
    if change.kind.is_none() {
        return Err(corrupt(format!("change {number} is of no kind that format {format} has")));
    }
    Ok(change)
}

fn checksum(number: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}
