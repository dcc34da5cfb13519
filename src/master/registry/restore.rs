//! Creating a registry from a backup, with an epoch above all that agents may have recorded.
//!
//! Agents refuse a master of a lower epoch than they know, and a backup does not show how many masters followed it. So
//! the new epoch is the higher of two: 2^20 for every second since 1970, or 2^20 above the epochs of the backup and of
//! the existing registry. A later restore is always above an earlier one and above all masters that followed that.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{Backup, BackupError, Embedded, RegistryError, State, embedded::NAME};

/// How many masters may follow a restore within a second.
const EPOCH_STEP: u64 = 1 << 20;

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The registry's epoch; the next master gets one above.
    pub epoch: u64,
    /// Where the registry that was replaced is kept.
    pub aside: Option<PathBuf>,
}

/// Why a backup was not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The existing registry holds facts.
    #[error(
        "the registry in {directory} holds {agents} agents and is of epoch {epoch}: give another --work-dir, or --force \
         to put it aside"
    )]
    NotEmpty {
        /// The work directory.
        directory: PathBuf,
        /// How many agents it holds.
        agents: usize,
        /// Its epoch.
        epoch: u64,
    },
    /// The existing registry cannot be read, or the new one cannot be written.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The file system returned an error.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Writes the registry of `backup` into `work_dir`, at the wall time `wall_ns`.
///
/// With `force` an existing registry that holds facts or cannot be read is renamed. A registry that a master has open
/// is never replaced.
///
/// # Errors
/// [`RestoreError::NotEmpty`] without `force`, and errors of the file system or the store. The existing registry is
/// then unchanged.
pub fn restore(backup: &Backup, work_dir: &Path, force: bool, wall_ns: i64) -> Result<Restored, RestoreError> {
    fs::create_dir_all(work_dir).map_err(at("make", work_dir))?;
    let place = work_dir.join(NAME);
    let existing = if place.exists() { existing_epoch(work_dir, force)? } else { None };
    let epoch = next_epoch(backup.epoch, existing.unwrap_or_default(), wall_ns);
    let new = work_dir.join("registry.restoring");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at("remove", &new)(error)),
        Ok(()) | Err(_) => {}
    }
    Embedded::open_file(work_dir, &new)?.fill(&backup.state, epoch)?;
    let aside = place.exists().then(|| work_dir.join(format!("registry.before-{epoch}.redb")));
    if let Some(aside) = &aside {
        // The second name comes first: without any name, a master would start a new cluster.
        fs::hard_link(&place, aside).map_err(at("put aside", &place))?;
    }
    fs::rename(&new, &place).map_err(at("put in place", &place))?;
    let synced = fs::File::open(work_dir).and_then(|directory| directory.sync_all());
    synced.map_err(at("sync", work_dir))?;
    Ok(Restored { epoch, aside })
}

/// The epoch of the existing registry; with `force`, `None` for one that cannot be read.
fn existing_epoch(work_dir: &Path, force: bool) -> Result<Option<u64>, RestoreError> {
    let read = Embedded::open(work_dir).and_then(|registry| registry.peek());
    match read {
        Ok((state, epoch)) if !force && state != State::default() => {
            Err(RestoreError::NotEmpty { directory: work_dir.to_owned(), agents: state.agents.len(), epoch })
        }
        Ok((_, epoch)) => Ok(Some(epoch)),
        Err(RegistryError::Corrupt { .. }) if force => Ok(None),
        Err(other) => Err(other.into()),
    }
}

fn next_epoch(backup: u64, existing: u64, wall_ns: i64) -> u64 {
    let seconds = u64::try_from(wall_ns / 1_000_000_000).unwrap_or_default();
    backup.max(existing).saturating_add(EPOCH_STEP).max(seconds.saturating_mul(EPOCH_STEP))
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::registry::{Registry as _, conformance::facts};

    const NOW_NS: i64 = 1_700_000_000_000_000_000;

    fn backup() -> Backup {
        Backup::new(facts().iter().collect(), 7, NOW_NS)
    }

    fn load(folder: &Path) -> (State, u64) {
        let (state, fence) = Embedded::open(folder).expect("opens").load().expect("loads");
        (state, fence.epoch())
    }

    #[test]
    fn a_restored_registry_has_the_facts_and_a_higher_epoch_than_any_before() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let restored = restore(&backup(), folder.path(), false, NOW_NS).expect("restored");
        assert_eq!(restored.aside, None);
        let (state, epoch) = load(folder.path());
        assert_eq!((state, epoch), (backup().state, restored.epoch + 1));
        assert!(epoch > 7 + EPOCH_STEP);
        let again = restore(&backup(), folder.path(), true, NOW_NS + 1_000_000_000).expect("restored");
        assert!(again.epoch > epoch, "a later restore is above the masters that followed the first");
        let backward = restore(&backup(), folder.path(), true, 0).expect("restored");
        assert!(backward.epoch > again.epoch, "even where the clock was set back");
    }

    #[test]
    fn an_existing_registry_is_not_replaced_unless_forced_and_then_renamed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut registry = Embedded::open(folder.path()).expect("opens");
        let (_, fence) = registry.load().expect("loads");
        registry.append(fence, &facts()[..1]).expect("appended");
        drop(registry);
        let refused = restore(&backup(), folder.path(), false, NOW_NS).expect_err("it holds an agent").to_string();
        assert!(refused.contains("holds 1 agents and is of epoch 1") && refused.contains("--force"), "{refused}");
        assert_eq!(load(folder.path()).0.agents.len(), 1);
        let restored = restore(&backup(), folder.path(), true, NOW_NS).expect("restored");
        assert!(restored.aside.expect("renamed").exists());
        assert_eq!(load(folder.path()).0, backup().state);
    }

    #[test]
    fn an_empty_registry_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut held = Embedded::open(folder.path()).expect("opens");
        held.load().expect("loads");
        let refused = restore(&backup(), folder.path(), true, NOW_NS).expect_err("in use").to_string();
        assert!(refused.contains("is in use by another master"), "{refused}");
        drop(held);
        restore(&backup(), folder.path(), false, NOW_NS).expect("an empty registry is nothing to lose");
        assert_eq!(load(folder.path()).0, backup().state);
    }

    #[test]
    fn a_damaged_registry_is_replaced_with_force_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join(NAME), "not a database").expect("written");
        let refused = restore(&backup(), folder.path(), false, NOW_NS);
        assert!(matches!(refused, Err(RestoreError::Registry(RegistryError::Corrupt { .. }))), "{refused:?}");
        restore(&backup(), folder.path(), true, NOW_NS).expect("restored");
        assert_eq!(load(folder.path()).0, backup().state);
    }
}
