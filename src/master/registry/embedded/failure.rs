//! Errors of the store, and the registry error of each.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use super::super::RegistryError;

/// `EIO`: the device failed, perhaps while it synced.
const INPUT_OUTPUT_ERROR: i32 = 5;

/// Why work on the store failed.
#[derive(Debug)]
pub(super) enum Failure {
    Store(redb::Error),
    Registry(RegistryError),
}

pub(super) type Outcome<T> = Result<T, Failure>;

macro_rules! from_store {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Store(error.into())
            }
        }
    )*};
}

from_store!(
    redb::Error,
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::CompactionError
);

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// Runs work on the store and catches its panics: on a damaged file the store returns an error or panics.
pub(super) fn catch_panic<T>(work: impl FnOnce() -> Outcome<T>) -> Result<T, RegistryError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(Failure::Registry(error))) => Err(error),
        Ok(Err(Failure::Store(error))) => Err(registry_error(error)),
        Err(_) => Err(corrupt("the store panicked on what it found".to_owned())),
    }
}

pub(super) fn corrupt(text: String) -> RegistryError {
    RegistryError::Corrupt { text }
}

/// Adds the file's name to an error.
pub(super) fn with_path(error: RegistryError, path: &Path) -> RegistryError {
    match error {
        RegistryError::Corrupt { text } => corrupt(format!("{}: {text}", path.display())),
        RegistryError::Unavailable { text } => {
            RegistryError::Unavailable { text: format!("{}: {text}", path.display()) }
        }
        RegistryError::Indeterminate { text } => {
            RegistryError::Indeterminate { text: format!("{}: {text}", path.display()) }
        }
        other @ (RegistryError::Fenced { .. } | RegistryError::Newer { .. }) => other,
    }
}

pub(super) fn registry_error(error: redb::Error) -> RegistryError {
    match error {
        redb::Error::Corrupted(text) => corrupt(text),
        redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. } | redb::Error::UpgradeRequired(_) => {
            corrupt(error.to_string())
        }
        redb::Error::Io(io) if io.kind() == io::ErrorKind::InvalidData => corrupt(io.to_string()),
        // After a failed sync the system may report success the next time, though the pages are not on the disk.
        redb::Error::Io(io) if io.raw_os_error() == Some(INPUT_OUTPUT_ERROR) => {
            RegistryError::Indeterminate { text: io.to_string() }
        }
        other => RegistryError::Unavailable { text: other.to_string() },
    }
}
