//! Where an embedded registry is stored, and how it is opened, the first time and again.

use std::{
    fmt,
    fs::{self, File},
    path::Path,
};

use redb::Database;

use super::{
    super::RegistryError,
    failure::{guarded, located, meaning},
};

type Open = Box<dyn Fn(bool) -> Result<Database, RegistryError> + Send>;

/// A file, or what stands for one in tests.
pub(super) struct Place {
    /// Creates it where it is new and that is asked for.
    open: Open,
    len: Box<dyn Fn() -> u64 + Send>,
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Place").field("len", &(self.len)()).finish_non_exhaustive()
    }
}

impl Place {
    pub(super) fn file(work_dir: &Path, path: &Path) -> Self {
        let (work_dir, place, sized) = (work_dir.to_owned(), path.to_owned(), path.to_owned());
        Self {
            open: Box::new(move |create| open_file(&work_dir, &place, create)),
            len: Box::new(move || fs::metadata(&sized).map_or(0, |metadata| metadata.len())),
        }
    }

    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn backend(backend: impl redb::StorageBackend + Clone) -> Self {
        let sized = backend.clone();
        Self {
            open: Box::new(move |_| {
                let opened = guarded(|| Ok(Database::builder().create_with_backend(backend.clone())))?;
                opened.map_err(|error| meaning(error.into()))
            }),
            len: Box::new(move || sized.len().unwrap_or_default()),
        }
    }

    /// Opens the registry, or makes it.
    pub(super) fn create(&self) -> Result<Database, RegistryError> {
        (self.open)(true)
    }

    /// Opens the registry that was there.
    pub(super) fn reopen(&self) -> Result<Database, RegistryError> {
        (self.open)(false)
    }

    pub(super) fn len(&self) -> u64 {
        (self.len)()
    }
}

fn open_file(work_dir: &Path, path: &Path, create: bool) -> Result<Database, RegistryError> {
    let new = create && !path.exists();
    let open = || if create { Database::create(path) } else { Database::open(path) };
    let database = guarded(|| Ok(open())).and_then(|opened| {
        opened.map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => RegistryError::Unavailable { text: in_use(work_dir) },
            other => meaning(other.into()),
        })
    });
    let database = database.map_err(|error| located(error, path))?;
    if new {
        // The file's name has to survive a power cut as its content does.
        let synced = File::open(work_dir).and_then(|directory| directory.sync_all());
        synced.map_err(|error| RegistryError::Unavailable { text: format!("{}: {error}", work_dir.display()) })?;
    }
    Ok(database)
}

fn in_use(work_dir: &Path) -> String {
    format!("work directory {} is in use by another master: stop it or give another --work-dir", work_dir.display())
}
