//! The registry in one file of the work directory, on an embedded transactional store.
//!
//! The file holds an entry per agent, framework and role, and no history. An append updates the entries of its subjects
//! in one synced transaction, so a crash leaves a prefix of the appends. File size and start time are proportional to
//! what is alive. An inconsistent file is [`RegistryError::Corrupt`]: part of the facts is never returned as all of
//! them.

mod changes;
mod entries;
mod failure;
mod numbers;
mod place;

use std::path::Path;

use redb::{Database, ReadableDatabase as _, WriteTransaction};

use self::{
    failure::{Outcome, catch_panic, corrupt},
    numbers::{FACTS, Numbers},
    place::{FileState, Place},
};
use super::{FORMAT, Fence, Position, Registry, RegistryChange, RegistryError, State};

/// The file's name in the work directory.
pub(super) const NAME: &str = "registry.redb";
/// A load compacts a file that is this many times as large as its content,
const SPARSE: u64 = 4;
/// and larger than this.
const SMALL_BYTES: u64 = 4 << 20;

/// A registry in a file.
#[derive(Debug)]
pub struct Embedded {
    place: Place,
    /// `None` after the store could not be used: it has to be reopened.
    database: Option<Database>,
}

/// Closing writes too, and may fail on a damaged file.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

/// The content of a store.
#[derive(Debug, Default)]
struct Stored {
    numbers: Numbers,
    state: State,
    bytes: u64,
}

impl Embedded {
    /// Opens the registry in `work_dir/registry.redb`, or creates it.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] when another process has it open or the file cannot be used.
    /// [`RegistryError::Corrupt`] when its content cannot be read.
    pub fn open(work_dir: &Path) -> Result<Self, RegistryError> {
        Self::open_file(work_dir, &work_dir.join(NAME))
    }

    /// Opens an existing registry in `work_dir/registry.redb`.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`RegistryError::Unavailable`] where there is none.
    pub fn open_existing(work_dir: &Path) -> Result<Self, RegistryError> {
        if !work_dir.join(NAME).exists() {
            let text = format!("there is no registry in {}; give another --work-dir", work_dir.display());
            return Err(RegistryError::Unavailable { text });
        }
        Self::open(work_dir)
    }

    /// Opens a file under any name; the error about a file in use names `work_dir`.
    pub(super) fn open_file(work_dir: &Path, path: &Path) -> Result<Self, RegistryError> {
        let place = Place::file(work_dir, path);
        let database = Some(place.create()?);
        Ok(Self { place, database })
    }

    /// Opens a registry on a storage backend instead of a file.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn on(backend: impl redb::StorageBackend + Clone) -> Result<Self, RegistryError> {
        let place = Place::backend(backend);
        let database = Some(place.create()?);
        Ok(Self { place, database })
    }

    /// Returns all facts and the epoch of the last load, without raising it.
    ///
    /// # Errors
    /// As [`load`](Registry::load).
    pub fn peek(&self) -> Result<(State, u64), RegistryError> {
        let stored = catch_panic(|| read(self.database()?))?;
        Ok((stored.state, stored.numbers.epoch))
    }

    /// Writes a complete registry into an empty file; the next load returns an epoch above this one.
    pub(super) fn fill(&self, state: &State, epoch: u64) -> Result<(), RegistryError> {
        let next = u64::try_from(state.as_changes().len()).unwrap_or(u64::MAX);
        catch_panic(|| rewrite(self.database()?, state, Numbers { epoch, next, ..Numbers::default() }))
    }

    fn database(&self) -> Outcome<&Database> {
        self.database.as_ref().ok_or_else(|| redb::Error::DatabaseClosed.into())
    }

    fn close(&mut self) {
        let database = self.database.take();
        // A store that is not closed cleanly is repaired or reported when it is opened.
        drop(catch_panic(|| {
            drop(database);
            Ok(())
        }));
    }

    /// Checks that the open file is the one a start would open. A removed file is recreated. A file that replaced it is
    /// opened instead, and its epoch decides whether appends are refused.
    fn check_file(&mut self) -> Result<(), RegistryError> {
        if self.database.is_none() {
            return Ok(());
        }
        match self.place.file_state() {
            FileState::InPlace => return Ok(()),
            FileState::Removed => {
                let Stored { numbers, state, .. } = catch_panic(|| read(self.database()?))?;
                self.place.recreate(|new| catch_panic(|| rewrite(new, &state, numbers)))?;
                tracing::warn!("the registry's file was removed while it was open and has been recreated");
            }
            FileState::Replaced => {
                tracing::warn!("the registry's file was replaced by another while it was open; opening that one");
            }
        }
        self.close();
        Ok(())
    }

    /// Runs work on the store: reopens it if it was closed, and closes it when it is unavailable.
    fn with_store<T>(&mut self, work: impl FnOnce(&mut Database) -> Outcome<T>) -> Result<T, RegistryError> {
        self.check_file()?;
        let database = match &mut self.database {
            Some(database) => database,
            closed => closed.insert(self.place.reopen()?),
        };
        let outcome = catch_panic(|| work(database));
        if matches!(outcome, Err(RegistryError::Unavailable { .. })) {
            self.close();
        }
        outcome
    }
}

impl Registry for Embedded {
    fn load(&mut self) -> Result<(State, Fence), RegistryError> {
        let Stored { numbers, state, bytes } = self.with_store(|database| read(database))?;
        if numbers.format < u64::from(FORMAT) {
            self.with_store(|database| rewrite(database, &state, numbers))?;
        }
        if self.place.len() > SMALL_BYTES.max(bytes.saturating_mul(SPARSE)) {
            self.with_store(|database| Ok(database.compact()?))?;
        }
        let epoch = self.with_store(|database| raise_epoch(database))?;
        Ok((state, Fence::new(epoch)))
    }

    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError> {
        self.with_store(|database| write(database, fence, changes)).map(Position)
    }
}

fn read(database: &Database) -> Outcome<Stored> {
    let transaction = database.begin_read()?;
    let numbers = match transaction.open_table(FACTS) {
        Ok(table) => Numbers::read(&table)?,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Stored::default()),
        Err(other) => return Err(other.into()),
    };
    let (state, bytes) = if numbers.has_changes() {
        changes::read(&transaction.open_table(changes::CHANGES)?, numbers)?
    } else {
        entries::read(&transaction.open_table(entries::ENTRIES)?, numbers)?
    };
    Ok(Stored { numbers, state, bytes })
}

/// Replaces everything in the store with the state's entries.
fn rewrite(database: &Database, state: &State, numbers: Numbers) -> Outcome<()> {
    let transaction = database.begin_write()?;
    transaction.delete_table(changes::CHANGES)?;
    let numbers = entries::replace_all(&mut transaction.open_table(entries::ENTRIES)?, state, numbers)?;
    numbers.write(&mut transaction.open_table(FACTS)?)?;
    Ok(transaction.commit()?)
}

fn raise_epoch(database: &Database) -> Outcome<u64> {
    let transaction = database.begin_write()?;
    transaction.open_table(entries::ENTRIES)?;
    let mut numbers = stored_numbers(&transaction)?;
    numbers.epoch =
        numbers.epoch.checked_add(1).ok_or_else(|| corrupt("its epoch is the highest possible".to_owned()))?;
    numbers.write(&mut transaction.open_table(FACTS)?)?;
    transaction.commit()?;
    Ok(numbers.epoch)
}

fn write(database: &Database, fence: Fence, changes: &[RegistryChange]) -> Outcome<u64> {
    let transaction = database.begin_write()?;
    let numbers = stored_numbers(&transaction)?;
    if numbers.epoch != fence.epoch {
        return Err(RegistryError::Fenced { mine: fence.epoch, current: numbers.epoch }.into());
    }
    if changes.is_empty() {
        transaction.abort()?;
        return Ok(numbers.next);
    }
    let numbers = entries::write(&mut transaction.open_table(entries::ENTRIES)?, changes, numbers)?;
    numbers.write(&mut transaction.open_table(FACTS)?)?;
    transaction.commit()?;
    Ok(numbers.next)
}

fn stored_numbers(transaction: &WriteTransaction) -> Outcome<Numbers> {
    Numbers::read(&transaction.open_table(FACTS)?)
}

#[cfg(test)]
#[path = "embedded_tests.rs"]
mod tests;
