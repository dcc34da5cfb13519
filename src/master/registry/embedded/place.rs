//! Where an embedded registry is stored, and how its file is opened, reopened and recreated.

use std::{
    cell::RefCell,
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use redb::Database;

use super::{
    super::RegistryError,
    failure::{catch_panic, registry_error, with_path},
};

type Open = Box<dyn Fn(bool) -> Result<Database, RegistryError> + Send>;

/// A file, or a backend that replaces one in tests.
pub(super) struct Place {
    /// Opens the store; with `true` it creates one that is missing.
    open: Open,
    len: Box<dyn Fn() -> u64 + Send>,
    file: Option<OpenFile>,
}

/// The file as it was opened. An open file stays writable after its name is removed, and what is written then is lost.
struct OpenFile {
    work_dir: PathBuf,
    path: PathBuf,
    /// A second handle: shows the file's identity and whether it has a name left.
    open: RefCell<Option<File>>,
}

/// What happened to the open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    InPlace,
    /// Its name was removed.
    Removed,
    /// Another file has its name.
    Replaced,
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Place").field("len", &(self.len)()).finish_non_exhaustive()
    }
}

impl Place {
    pub(super) fn file(work_dir: &Path, path: &Path) -> Self {
        let (directory, place, sized) = (work_dir.to_owned(), path.to_owned(), path.to_owned());
        Self {
            open: Box::new(move |create| open_file(&directory, &place, create)),
            len: Box::new(move || fs::metadata(&sized).map_or(0, |metadata| metadata.len())),
            file: Some(OpenFile { work_dir: work_dir.to_owned(), path: path.to_owned(), open: RefCell::default() }),
        }
    }

    #[cfg(any(test, feature = "fuzz"))]
    pub(super) fn backend(backend: impl redb::StorageBackend + Clone) -> Self {
        let sized = backend.clone();
        Self {
            open: Box::new(move |_| {
                let opened = catch_panic(|| Ok(Database::builder().create_with_backend(backend.clone())))?;
                opened.map_err(|error| registry_error(error.into()))
            }),
            len: Box::new(move || sized.len().unwrap_or_default()),
            file: None,
        }
    }

    /// Opens the registry, or creates it.
    pub(super) fn create(&self) -> Result<Database, RegistryError> {
        self.open_database(true)
    }

    /// Opens an existing registry.
    pub(super) fn reopen(&self) -> Result<Database, RegistryError> {
        self.open_database(false)
    }

    fn open_database(&self, create: bool) -> Result<Database, RegistryError> {
        let database = (self.open)(create)?;
        if let Some(file) = &self.file {
            *file.open.borrow_mut() = File::open(&file.path).ok();
        }
        Ok(database)
    }

    /// What happened to the file since it was opened. A moved file counts as in place, as does one whose state is
    /// unknown.
    pub(super) fn file_state(&self) -> FileState {
        let Some(file) = &self.file else { return FileState::InPlace };
        let open = file.open.borrow();
        let opened = open.as_ref().and_then(|open| open.metadata().ok());
        let identity = |file: &fs::Metadata| (file.dev(), file.ino());
        match (opened, fs::metadata(&file.path)) {
            (Some(opened), Ok(found)) if identity(&opened) != identity(&found) => FileState::Replaced,
            (Some(opened), Err(error)) if error.kind() == io::ErrorKind::NotFound && opened.nlink() == 0 => {
                FileState::Removed
            }
            (_, Ok(_) | Err(_)) => FileState::InPlace,
        }
    }

    /// Recreates a removed file: `write` fills a file beside it, which is then linked to the name, if that is still
    /// free.
    pub(super) fn recreate(
        &self,
        write: impl FnOnce(&Database) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        let Some(file) = &self.file else { return Ok(()) };
        let new = file.work_dir.join("registry.anew");
        let unavailable = |path: &Path, error: &io::Error| RegistryError::Unavailable {
            text: format!("{} was removed and cannot be recreated: {}: {error}", file.path.display(), path.display()),
        };
        let is_new = !file.work_dir.exists();
        fs::create_dir_all(&file.work_dir).map_err(|error| unavailable(&file.work_dir, &error))?;
        if let Some(parent) = file.work_dir.parent().filter(|_| is_new) {
            let synced = File::open(parent).and_then(|parent| parent.sync_all());
            synced.map_err(|error| unavailable(parent, &error))?;
        }
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unavailable(&new, &error)),
            Ok(()) | Err(_) => {}
        }
        let database = open_file(&file.work_dir, &new, true)?;
        write(&database)?;
        catch_panic(|| {
            drop(database);
            Ok(())
        })?;
        fs::hard_link(&new, &file.path).map_err(|error| unavailable(&file.path, &error))?;
        let synced = fs::remove_file(&new).and_then(|()| File::open(&file.work_dir)?.sync_all());
        synced.map_err(|error| unavailable(&new, &error))
    }

    pub(super) fn len(&self) -> u64 {
        (self.len)()
    }
}

fn open_file(work_dir: &Path, path: &Path, create: bool) -> Result<Database, RegistryError> {
    let new = create && !path.exists();
    let open = || if create { Database::create(path) } else { Database::open(path) };
    let database = catch_panic(|| Ok(open())).and_then(|opened| {
        opened.map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => RegistryError::Unavailable { text: in_use(work_dir) },
            other => registry_error(other.into()),
        })
    });
    let database = database.map_err(|error| with_path(error, path))?;
    if new {
        // The file's name has to survive a power cut, too.
        let synced = File::open(work_dir).and_then(|directory| directory.sync_all());
        synced.map_err(|error| RegistryError::Unavailable { text: format!("{}: {error}", work_dir.display()) })?;
    }
    Ok(database)
}

fn in_use(work_dir: &Path) -> String {
    format!("work directory {} is in use by another master: stop it or give another --work-dir", work_dir.display())
}
