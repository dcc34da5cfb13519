//! The registry in one file of the work directory, on an embedded transactional store.
//!
//! Changes are kept as they came, numbered; a start that finds many of them replaces them by the state they make. One
//! append is one synced transaction, so what a crash leaves is a prefix of the appends.

use std::path::Path;

use prost::Message as _;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition};

use super::{Fence, Position, Registry, RegistryChange, RegistryError, State};

const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const EPOCH: &str = "epoch";
const NEXT: &str = "next";
/// Rewritten at a load when there are this many more changes than facts.
const SLACK: usize = 10_000;

/// A registry in a file.
#[derive(Debug)]
pub struct Embedded {
    database: Database,
}

impl Embedded {
    /// Opens the registry in `work_dir/registry.redb`, or makes it.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] when another process has it open or the file cannot be used, and
    /// [`RegistryError::Corrupt`] when its content cannot be read.
    pub fn open(work_dir: &Path) -> Result<Self, RegistryError> {
        let path = work_dir.join("registry.redb");
        let database = Database::create(&path).map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => RegistryError::Unavailable {
                text: format!(
                    "work directory {} is in use by another master: stop it or give another --work-dir",
                    work_dir.display()
                ),
            },
            redb::DatabaseError::Storage(redb::StorageError::Corrupted(text)) => {
                RegistryError::Corrupt { text: format!("{}: {text}", path.display()) }
            }
            other => RegistryError::Unavailable { text: format!("{}: {other}", path.display()) },
        })?;
        Ok(Self { database })
    }

    fn read(&self) -> Result<(State, usize), redb::Error> {
        let transaction = self.database.begin_read()?;
        let mut state = State::default();
        let table = transaction.open_table(CHANGES)?;
        for entry in table.iter()? {
            let (number, bytes) = entry?;
            let change = RegistryChange::decode(bytes.value())
                .map_err(|error| redb::Error::Corrupted(format!("change {}: {error}", number.value())))?;
            state.apply(&change);
        }
        let count = usize::try_from(table.len()?).unwrap_or(usize::MAX);
        Ok((state, count))
    }

    fn raise_epoch(&self) -> Result<u64, redb::Error> {
        let transaction = self.database.begin_write()?;
        let epoch = {
            transaction.open_table(CHANGES)?;
            let mut facts = transaction.open_table(FACTS)?;
            let epoch = facts.get(EPOCH)?.map_or(0, |value| value.value()) + 1;
            facts.insert(EPOCH, epoch)?;
            epoch
        };
        transaction.commit()?;
        Ok(epoch)
    }

    /// Writes the state's own changes in place of the history that made it.
    fn rewrite(&self, state: &State) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut changes = transaction.open_table(CHANGES)?;
            changes.retain(|_, _| false)?;
            let mut facts = transaction.open_table(FACTS)?;
            let mut next = facts.get(NEXT)?.map_or(0, |value| value.value());
            for change in state.as_changes() {
                changes.insert(next, change.encode_to_vec().as_slice())?;
                next += 1;
            }
            facts.insert(NEXT, next)?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn write(&self, fence: Fence, changes: &[RegistryChange]) -> Result<Result<u64, u64>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let next = {
            let mut facts = transaction.open_table(FACTS)?;
            let current = facts.get(EPOCH)?.map_or(0, |value| value.value());
            if current != fence.epoch {
                return Ok(Err(current));
            }
            let mut next = facts.get(NEXT)?.map_or(0, |value| value.value());
            let mut table = transaction.open_table(CHANGES)?;
            for change in changes {
                table.insert(next, change.encode_to_vec().as_slice())?;
                next += 1;
            }
            facts.insert(NEXT, next)?;
            next
        };
        transaction.commit()?;
        Ok(Ok(next))
    }
}

impl Registry for Embedded {
    fn load(&mut self) -> Result<(State, Fence), RegistryError> {
        let epoch = self.raise_epoch().map_err(error)?;
        let (state, count) = self.read().map_err(error)?;
        if count > state.as_changes().len() + SLACK {
            self.rewrite(&state).map_err(error)?;
        }
        Ok((state, Fence { epoch }))
    }

    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError> {
        match self.write(fence, changes).map_err(error)? {
            Ok(next) => Ok(Position(next)),
            Err(current) => Err(RegistryError::Fenced { mine: fence.epoch, current }),
        }
    }
}

fn error(error: redb::Error) -> RegistryError {
    match error {
        redb::Error::Corrupted(text) => RegistryError::Corrupt { text },
        other => RegistryError::Unavailable { text: other.to_string() },
    }
}
