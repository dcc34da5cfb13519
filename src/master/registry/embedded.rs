//! The registry in one file of the work directory, on an embedded transactional store.
//!
//! The file holds an entry per agent, framework and role, and no history: an append changes the entries that its changes are
//! about, in one synced transaction. So what a crash leaves is a prefix of the appends, and the size of the file and the time
//! of a start follow what is alive. Whatever does not add up is [`RegistryError::Corrupt`]: part of the facts is never taken
//! for all of them.

mod changes;
mod entries;
mod failure;
mod numbers;
mod place;

use std::path::Path;

use redb::{Database, ReadableDatabase as _, WriteTransaction};

use self::{
    failure::{Outcome, corrupt, guarded},
    numbers::{FACTS, Numbers},
    place::{Place, Whereabouts},
};
use super::{FORMAT, Fence, Position, Registry, RegistryChange, RegistryError, State};

/// The file's name in the work directory.
pub(super) const NAME: &str = "registry.redb";
/// A file is made smaller at a load when it is this many times as large as what it holds,
const SPARSE: u64 = 4;
/// and larger than this.
const SMALL_BYTES: u64 = 4 << 20;

/// A registry in a file.
#[derive(Debug)]
pub struct Embedded {
    place: Place,
    /// Closed after the store could not be used: only opening it anew shows what it holds then.
    database: Option<Database>,
}

/// Closing writes too, and fails on damage as all else does.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.close();
    }
}

/// Everything that is stored.
#[derive(Debug, Default)]
struct Stored {
    numbers: Numbers,
    state: State,
    bytes: u64,
}

impl Embedded {
    /// Opens the registry in `work_dir/registry.redb`, or makes it.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] when another process has it open or the file cannot be used, and
    /// [`RegistryError::Corrupt`] when its content cannot be read.
    pub fn open(work_dir: &Path) -> Result<Self, RegistryError> {
        Self::open_file(work_dir, &work_dir.join(NAME))
    }

    /// Opens the registry in `work_dir/registry.redb` if there is one.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`RegistryError::Unavailable`] where there is none.
    pub fn open_existing(work_dir: &Path) -> Result<Self, RegistryError> {
        if !work_dir.join(NAME).exists() {
            let text = format!("there is none in {}; name another --work-dir", work_dir.display());
            return Err(RegistryError::Unavailable { text });
        }
        Self::open(work_dir)
    }

    /// Opens a file that may not be the registry yet; the error about a file in use names `work_dir`.
    pub(super) fn open_file(work_dir: &Path, path: &Path) -> Result<Self, RegistryError> {
        let place = Place::file(work_dir, path);
        let database = Some(place.create()?);
        Ok(Self { place, database })
    }

    /// Stores in something else than a file.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn on(backend: impl redb::StorageBackend + Clone) -> Result<Self, RegistryError> {
        let place = Place::backend(backend);
        let database = Some(place.create()?);
        Ok(Self { place, database })
    }

    /// All facts and the epoch of the last load, which is not raised.
    ///
    /// # Errors
    /// As [`load`](Registry::load).
    pub fn peek(&self) -> Result<(State, u64), RegistryError> {
        let stored = guarded(|| read(self.opened()?))?;
        Ok((stored.state, stored.numbers.epoch))
    }

    /// Writes a whole registry into an empty file: the next load has an epoch above this one.
    pub(super) fn fill(&self, state: &State, epoch: u64) -> Result<(), RegistryError> {
        let next = u64::try_from(state.as_changes().len()).unwrap_or(u64::MAX);
        guarded(|| rewrite(self.opened()?, state, Numbers { epoch, next, ..Numbers::default() }))
    }

    fn opened(&self) -> Outcome<&Database> {
        self.database.as_ref().ok_or_else(|| redb::Error::DatabaseClosed.into())
    }

    fn close(&mut self) {
        let database = self.database.take();
        // What could not be closed cleanly is repaired, or found out, when it is opened.
        drop(guarded(|| {
            drop(database);
            Ok(())
        }));
    }

    /// Sees to it that what is open is what a start would find: a file that was removed is written anew, one that took its
    /// name is opened in its place, and its epoch says whether it may be used.
    fn keep_in_place(&mut self) -> Result<(), RegistryError> {
        if self.database.is_none() {
            return Ok(());
        }
        match self.place.whereabouts() {
            Whereabouts::InPlace => return Ok(()),
            Whereabouts::Removed => {
                let Stored { numbers, state, .. } = guarded(|| read(self.opened()?))?;
                self.place.make_anew(|new| guarded(|| rewrite(new, &state, numbers)))?;
                tracing::warn!("the registry's file was removed while it was open; it was written anew");
            }
            Whereabouts::Replaced => tracing::warn!("another file took the place of the registry's while it was open"),
        }
        self.close();
        Ok(())
    }

    /// Does the work on the store, which is opened anew where it was closed, and closes it where it cannot be used.
    fn with_store<T>(&mut self, work: impl FnOnce(&mut Database) -> Outcome<T>) -> Result<T, RegistryError> {
        self.keep_in_place()?;
        let database = match &mut self.database {
            Some(database) => database,
            closed => closed.insert(self.place.reopen()?),
        };
        let outcome = guarded(|| work(database));
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
    let (state, bytes) = if numbers.keeps_changes() {
        changes::read(&transaction.open_table(changes::CHANGES)?, numbers)?
    } else {
        entries::read(&transaction.open_table(entries::ENTRIES)?, numbers)?
    };
    Ok(Stored { numbers, state, bytes })
}

/// Writes the state's entries in place of all there is.
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
    numbers.epoch = numbers.epoch.checked_add(1).ok_or_else(|| corrupt("its epoch is the last there is".to_owned()))?;
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
