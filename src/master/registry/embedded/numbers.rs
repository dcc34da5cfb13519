//! The numbers stored beside the entries, with checksums of their own.
//!
//! Format, epoch and position have the same keys and checksum in every format since the second. So an older divvy
//! recognizes a registry of a later format.

use redb::{ReadableTable, Table, TableDefinition};

use super::{
    super::FORMAT,
    failure::{Outcome, corrupt},
};

pub(super) const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const EPOCH: &str = "epoch";
/// The number of the next change: how many were ever appended.
const NEXT: &str = "next";
/// Absent in the first format, whose changes have no checksums.
const STORED_FORMAT: &str = "format";
/// Over format, epoch and next.
const CHECKSUM: &str = "checksum";
const COUNT: &str = "entries";
const DIGEST: &str = "entries_digest";
/// Over count, digest and next.
const ENTRIES_CHECKSUM: &str = "entries_checksum";
/// The last format that stores changes instead of entries.
const LAST_CHANGES_FORMAT: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) format: u64,
    pub(super) epoch: u64,
    pub(super) next: u64,
    /// How many entries there are.
    pub(super) count: u64,
    /// The sum of the digests of all entries.
    pub(super) digest: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { format: FORMAT.into(), epoch: 0, next: 0, count: 0, digest: 0 }
    }
}

impl Numbers {
    /// Whether the store holds changes, as older formats do, instead of entries.
    pub(super) fn has_changes(&self) -> bool {
        self.format <= LAST_CHANGES_FORMAT
    }

    /// Reads the numbers; those of a new registry where there are none.
    pub(super) fn read(table: &impl ReadableTable<&'static str, u64>) -> Outcome<Self> {
        let number = |name| Ok::<_, redb::StorageError>(table.get(name)?.map(|value| value.value()));
        let missing = || corrupt("a number beside the entries is missing".to_owned());
        let Some(format) = number(STORED_FORMAT)? else {
            let Some(epoch) = number(EPOCH)? else { return Ok(Self::default()) };
            let next = number(NEXT)?.unwrap_or_default();
            return Ok(Self { format: 1, epoch, next, ..Self::default() });
        };
        let (Some(epoch), Some(next), Some(stored)) = (number(EPOCH)?, number(NEXT)?, number(CHECKSUM)?) else {
            return Err(missing().into());
        };
        if checksum([format, epoch, next]) != stored {
            return Err(altered());
        }
        if format > u64::from(FORMAT) {
            return Err(super::super::RegistryError::Newer { found: format }.into());
        }
        let mut numbers = Self { format, epoch, next, ..Self::default() };
        if !numbers.has_changes() {
            numbers.count = number(COUNT)?.ok_or_else(missing)?;
            numbers.digest = number(DIGEST)?.ok_or_else(missing)?;
            if number(ENTRIES_CHECKSUM)? != Some(checksum([numbers.count, numbers.digest, next])) {
                return Err(altered());
            }
        }
        Ok(numbers)
    }

    /// Writes the numbers in the current format.
    pub(super) fn write(self, table: &mut Table<'_, &'static str, u64>) -> Outcome<()> {
        let Self { epoch, next, count, digest, .. } = self;
        let format = FORMAT.into();
        for (name, value) in [
            (STORED_FORMAT, format),
            (EPOCH, epoch),
            (NEXT, next),
            (CHECKSUM, checksum([format, epoch, next])),
            (COUNT, count),
            (DIGEST, digest),
            (ENTRIES_CHECKSUM, checksum([count, digest, next])),
        ] {
            table.insert(name, value)?;
        }
        Ok(())
    }
}

fn altered() -> super::failure::Failure {
    corrupt("the numbers beside the entries are not as written".to_owned()).into()
}

fn checksum(numbers: [u64; 3]) -> u64 {
    crc32fast::hash(&numbers.map(u64::to_le_bytes).concat()).into()
}
