//! The registry in one file of the work directory, on an embedded transactional store.
//!
//! Changes are kept as they came, numbered without a gap, each with its checksum; a start that finds many of them replaces
//! them by the state they make. One append is one synced transaction, so what a crash leaves is a prefix of the appends.
//! Whatever does not add up is [`RegistryError::Corrupt`]: part of the facts is never taken for all of them.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use prost::Message as _;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _, TableDefinition};

use super::{FORMAT, Fence, Position, Registry, RegistryChange, RegistryError, State};

const CHANGES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("changes");
const FACTS: TableDefinition<'_, &str, u64> = TableDefinition::new("facts");
const EPOCH: &str = "epoch";
/// The number of the next change: so many were ever appended.
const NEXT: &str = "next";
/// Absent in the first format, whose changes have no checksums.
const STORED_FORMAT: &str = "format";
/// Over the other facts.
const CHECKSUM: &str = "checksum";
/// Rewritten at a load when there are this many more changes than facts.
const SLACK: usize = 10_000;
const CHECKSUM_BYTES: usize = 4;

/// The file's name in the work directory.
pub(super) const NAME: &str = "registry.redb";

/// A registry in a file.
#[derive(Debug)]
pub struct Embedded {
    /// There until it is dropped.
    database: Option<Database>,
}

/// Closing writes too, and stumbles over damage as all else does.
impl Drop for Embedded {
    fn drop(&mut self) {
        let database = self.database.take();
        let closed = guarded(|| {
            drop(database);
            Ok(())
        });
        // What could not be closed cleanly is repaired, or found out, when it is opened.
        drop(closed);
    }
}

/// The numbers beside the changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    format: u64,
    epoch: u64,
    next: u64,
}

/// Everything that is stored.
#[derive(Debug)]
struct Stored {
    facts: Facts,
    state: State,
    count: usize,
}

type Outcome<T> = Result<T, redb::Error>;

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

    /// Opens a file that may not be the registry yet; `work_dir` is told to who finds it in use.
    pub(super) fn open_file(work_dir: &Path, path: &Path) -> Result<Self, RegistryError> {
        let new = !path.exists();
        let database = guarded(|| Ok(Database::create(path))).and_then(|opened| {
            opened.map_err(|error| match error {
                redb::DatabaseError::DatabaseAlreadyOpen => RegistryError::Unavailable { text: in_use(work_dir) },
                other => self::error(other.into()),
            })
        });
        let database = database.map_err(|error| located(error, path))?;
        if new {
            // The file's name has to survive a power cut as its content does.
            let synced = File::open(work_dir).and_then(|directory| directory.sync_all());
            synced.map_err(|error| RegistryError::Unavailable { text: format!("{}: {error}", work_dir.display()) })?;
        }
        Ok(Self { database: Some(database) })
    }

    /// Stores in something else than a file.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn on(backend: impl redb::StorageBackend) -> Result<Self, RegistryError> {
        let database = guarded(|| Ok(Database::builder().create_with_backend(backend)))?;
        Ok(Self { database: Some(database.map_err(|error| self::error(error.into()))?) })
    }

    /// All facts and the epoch of the last load, which is not raised.
    ///
    /// # Errors
    /// As [`load`](Registry::load).
    pub fn peek(&self) -> Result<(State, u64), RegistryError> {
        let stored = guarded(|| self.read())??;
        Ok((stored.state, stored.facts.epoch))
    }

    /// Writes a whole registry into an empty file: the next load has an epoch above this one.
    pub(super) fn fill(&self, state: &State, epoch: u64) -> Result<(), RegistryError> {
        let next = u64::try_from(state.as_changes().len()).unwrap_or(u64::MAX);
        guarded(|| self.rewrite(state, Facts { format: FORMAT.into(), epoch, next }))
    }

    fn database(&self) -> Outcome<&Database> {
        self.database.as_ref().ok_or(redb::Error::DatabaseClosed)
    }

    fn read(&self) -> Outcome<Result<Stored, RegistryError>> {
        let transaction = self.database()?.begin_read()?;
        let facts = match transaction.open_table(FACTS) {
            Ok(table) => read_facts(&table)?,
            Err(redb::TableError::TableDoesNotExist(_)) => {
                return Ok(Ok(Stored { facts: Facts::default(), state: State::default(), count: 0 }));
            }
            Err(other) => return Err(other.into()),
        };
        let facts = match facts {
            Ok(facts) if facts.format > u64::from(FORMAT) => {
                return Ok(Err(RegistryError::Newer { found: facts.format }));
            }
            Ok(facts) => facts,
            Err(error) => return Ok(Err(error)),
        };
        let table = transaction.open_table(CHANGES)?;
        let count = usize::try_from(table.len()?).unwrap_or(usize::MAX);
        let mut state = State::default();
        let mut expected = facts.next.checked_sub(table.len()?);
        for entry in table.iter()? {
            let (number, bytes) = entry?;
            let (number, bytes) = (number.value(), bytes.value());
            if expected != Some(number) {
                return Ok(Err(corrupt(format!("change {number} is not where it belongs"))));
            }
            expected = number.checked_add(1);
            match unsealed(facts.format, number, bytes) {
                Ok(change) => state.apply(&change),
                Err(error) => return Ok(Err(error)),
            }
        }
        if expected != Some(facts.next) {
            return Ok(Err(corrupt(format!("{} changes were appended, and {count} are there", facts.next))));
        }
        Ok(Ok(Stored { facts, state, count }))
    }

    fn raise_epoch(&self) -> Outcome<u64> {
        let transaction = self.database()?.begin_write()?;
        let epoch = {
            transaction.open_table(CHANGES)?;
            let mut table = transaction.open_table(FACTS)?;
            let facts = read_facts(&table)?.unwrap_or_default();
            let epoch = facts.epoch.checked_add(1);
            let epoch = epoch.ok_or_else(|| redb::Error::Corrupted("its epoch is the last there is".to_owned()))?;
            let facts = Facts { epoch, format: FORMAT.into(), ..facts };
            write_facts(&mut table, facts)?;
            facts.epoch
        };
        transaction.commit()?;
        Ok(epoch)
    }

    /// Writes the state's own changes in place of the history that made it.
    fn rewrite(&self, state: &State, facts: Facts) -> Outcome<()> {
        let own = state.as_changes();
        let transaction = self.database()?.begin_write()?;
        {
            let mut changes = transaction.open_table(CHANGES)?;
            changes.retain(|_, _| false)?;
            // Each fact was made by a change of its own, so there are never more facts than changes were appended.
            let first = facts.next.saturating_sub(u64::try_from(own.len()).unwrap_or(u64::MAX));
            for (number, change) in (first..).zip(&own) {
                changes.insert(number, sealed(number, change).as_slice())?;
            }
            write_facts(&mut transaction.open_table(FACTS)?, Facts { format: FORMAT.into(), ..facts })?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn write(&self, fence: Fence, changes: &[RegistryChange]) -> Outcome<Result<u64, u64>> {
        let transaction = self.database()?.begin_write()?;
        let next = {
            let mut table = transaction.open_table(FACTS)?;
            let mut facts = read_facts(&table)?.unwrap_or_default();
            if facts.epoch != fence.epoch {
                return Ok(Err(facts.epoch));
            }
            let mut stored = transaction.open_table(CHANGES)?;
            for change in changes {
                stored.insert(facts.next, sealed(facts.next, change).as_slice())?;
                facts.next += 1;
            }
            write_facts(&mut table, facts)?;
            facts.next
        };
        if changes.is_empty() {
            transaction.abort()?;
        } else {
            transaction.commit()?;
        }
        Ok(Ok(next))
    }
}

impl Registry for Embedded {
    fn load(&mut self) -> Result<(State, Fence), RegistryError> {
        let Stored { facts, state, count } = guarded(|| self.read())??;
        if facts.format < u64::from(FORMAT) || count > state.as_changes().len() + SLACK {
            guarded(|| self.rewrite(&state, facts))?;
        }
        let epoch = guarded(|| self.raise_epoch())?;
        Ok((state, Fence::new(epoch)))
    }

    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError> {
        match guarded(|| self.write(fence, changes))? {
            Ok(next) => Ok(Position(next)),
            Err(current) => Err(RegistryError::Fenced { mine: fence.epoch, current }),
        }
    }
}

fn read_facts(table: &impl redb::ReadableTable<&'static str, u64>) -> Outcome<Result<Facts, RegistryError>> {
    let fact = |name| Ok::<_, redb::Error>(table.get(name)?.map(|value| value.value()));
    let Some(format) = fact(STORED_FORMAT)? else {
        let (epoch, next) = (fact(EPOCH)?.unwrap_or_default(), fact(NEXT)?.unwrap_or_default());
        return Ok(Ok(Facts { format: 1, epoch, next }));
    };
    let (Some(epoch), Some(next), Some(stored)) = (fact(EPOCH)?, fact(NEXT)?, fact(CHECKSUM)?) else {
        return Ok(Err(corrupt("a number beside the changes is missing".to_owned())));
    };
    let facts = Facts { format, epoch, next };
    let sound = checksum(&facts) == stored;
    Ok(if sound { Ok(facts) } else { Err(corrupt("the numbers beside the changes are not as written".to_owned())) })
}

fn write_facts(table: &mut redb::Table<'_, &'static str, u64>, facts: Facts) -> Outcome<()> {
    let all = [(STORED_FORMAT, facts.format), (EPOCH, facts.epoch), (NEXT, facts.next), (CHECKSUM, checksum(&facts))];
    for (name, value) in all {
        table.insert(name, value)?;
    }
    Ok(())
}

fn checksum(facts: &Facts) -> u64 {
    let bytes = [facts.format, facts.epoch, facts.next].map(u64::to_le_bytes).concat();
    crc32fast::hash(&bytes).into()
}

/// A change as it is stored: the checksum of its number and itself, then itself.
fn sealed(number: u64, change: &RegistryChange) -> Vec<u8> {
    let bytes = change.encode_to_vec();
    let mut stored = checksum_of(number, &bytes).to_le_bytes().to_vec();
    stored.extend(bytes);
    stored
}

fn unsealed(format: u64, number: u64, stored: &[u8]) -> Result<RegistryChange, RegistryError> {
    let bytes = if format == 1 {
        stored
    } else {
        let (sum, bytes) = stored.split_at_checked(CHECKSUM_BYTES).unwrap_or_default();
        if sum != checksum_of(number, bytes).to_le_bytes() {
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

fn checksum_of(number: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Runs what touches the store. A damaged file makes the store return an error or, where it trusts what it finds, panic.
fn guarded<T>(work: impl FnOnce() -> Outcome<T>) -> Result<T, RegistryError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(error),
        Err(_) => Err(corrupt("the store stumbled over what it found".to_owned())),
    }
}

fn corrupt(text: String) -> RegistryError {
    RegistryError::Corrupt { text }
}

fn in_use(work_dir: &Path) -> String {
    format!("work directory {} is in use by another master: stop it or give another --work-dir", work_dir.display())
}

fn located(error: RegistryError, path: &Path) -> RegistryError {
    match error {
        RegistryError::Corrupt { text } => corrupt(format!("{}: {text}", path.display())),
        RegistryError::Unavailable { text } => {
            RegistryError::Unavailable { text: format!("{}: {text}", path.display()) }
        }
        other @ (RegistryError::Fenced { .. } | RegistryError::Newer { .. }) => other,
    }
}

fn error(error: redb::Error) -> RegistryError {
    match error {
        redb::Error::Corrupted(text) => corrupt(text),
        redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } | redb::Error::UpgradeRequired(_) => {
            corrupt(error.to_string())
        }
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => corrupt(io.to_string()),
        other => RegistryError::Unavailable { text: other.to_string() },
    }
}
