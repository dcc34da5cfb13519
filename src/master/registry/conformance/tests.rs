//! The suite runs against divvy's registries, and fails against broken ones.

mod crashes;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

use super::*;
use crate::master::registry::{Embedded, Fence, Memory, Position, State};

impl Place for Memory {
    fn open(&self) -> Result<Box<dyn Registry>, RegistryError> {
        Ok(Box::new(self.clone()))
    }

    fn shared(&self) -> bool {
        true
    }
}

const SECTOR_BYTES: usize = 512;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("registry.redb")
    }
}

impl Place for Folder {
    fn open(&self) -> Result<Box<dyn Registry>, RegistryError> {
        Ok(Box::new(Embedded::open(self.0.path())?))
    }

    /// Changes a letter of an agent's name wherever it is stored.
    fn damage(&self) -> bool {
        let mut bytes = std::fs::read(self.file()).expect("readable");
        let name = b"host-of-a1";
        let places: Vec<usize> = (0..bytes.len() - name.len()).filter(|at| bytes[*at..].starts_with(name)).collect();
        for at in &places {
            bytes[*at] = b'H';
        }
        std::fs::write(self.file(), bytes).expect("writable");
        !places.is_empty()
    }
}

/// A disk in memory that can lose unsynced writes and can be disconnected.
#[derive(Clone, Debug, Default)]
struct Disk {
    content: Arc<Mutex<Content>>,
    off: Arc<AtomicBool>,
    /// How many more writes and syncs succeed before all fail.
    left: Arc<Mutex<Option<u32>>>,
}

#[derive(Debug, Default)]
struct Content {
    synced: Vec<u8>,
    bytes: Vec<u8>,
    /// Writes since the last sync, in order.
    unsynced: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Length(usize),
    At(usize, Vec<u8>),
}

fn apply_write(bytes: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Length(length) => bytes.resize(*length, 0),
        Write::At(at, data) => {
            let end = at + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[*at..end].copy_from_slice(data);
        }
    }
}

/// The write, or a random part of its sectors.
fn torn(write: &Write, rng: &mut StdRng) -> Write {
    match write {
        Write::At(at, data) if rng.random_bool(0.25) => {
            let sectors = rng.random_range(0..=data.len() / SECTOR_BYTES);
            Write::At(*at, data[..sectors * SECTOR_BYTES].to_vec())
        }
        whole => whole.clone(),
    }
}

impl Disk {
    fn reached(&self) -> io::Result<std::sync::MutexGuard<'_, Content>> {
        if self.off.load(SeqCst) {
            return Err(io::Error::other("the disk is cut off"));
        }
        Ok(self.content.lock().expect("no test panics holding it"))
    }

    /// Lets this many writes and syncs succeed, and fails all later ones.
    fn fail_after(&self, writes: u32) {
        *self.left.lock().expect("no test panics holding it") = Some(writes);
    }

    fn size(&self) -> usize {
        self.content.lock().expect("no test panics holding it").bytes.len()
    }

    /// Counts a write or a sync; fails where none is left.
    fn count_write(&self) -> io::Result<()> {
        match &mut *self.left.lock().expect("no test panics holding it") {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    /// The disk after a power cut: each write since the last sync is complete, partial or missing, at random.
    fn after_power_cut(&self, rng: &mut StdRng) -> Self {
        let content = self.content.lock().expect("no test panics holding it");
        let mut bytes = content.synced.clone();
        for write in &content.unsynced {
            if rng.random_bool(0.5) {
                apply_write(&mut bytes, &torn(write, rng));
            }
        }
        let content = Content { synced: bytes.clone(), bytes, unsynced: Vec::new() };
        Self { content: Arc::new(Mutex::new(content)), ..Self::default() }
    }

    fn write_down(&self, write: Write) -> io::Result<()> {
        self.count_write()?;
        let mut content = self.reached()?;
        apply_write(&mut content.bytes, &write);
        content.unsynced.push(write);
        Ok(())
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.reached()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = self.reached()?;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let part = content.bytes.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write_down(Write::Length(usize::try_from(len).map_err(io::Error::other)?))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.count_write()?;
        let mut content = self.reached()?;
        content.synced = content.bytes.clone();
        content.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_down(Write::At(usize::try_from(offset).map_err(io::Error::other)?, data.to_vec()))
    }
}

impl Place for Disk {
    fn open(&self) -> Result<Box<dyn Registry>, RegistryError> {
        Ok(Box::new(Embedded::on(self.clone())?))
    }

    fn cut_off(&self, off: bool) -> bool {
        self.off.store(off, SeqCst);
        true
    }
}

#[test]
fn the_registry_in_memory_conforms() {
    let report = run(Memory::default);
    assert_eq!(report.skipped.len(), 4, "{:?}", report.skipped);
}

#[test]
fn the_registry_in_a_file_conforms() {
    let report = run(Folder::new);
    assert_eq!(report.skipped.len(), 4, "{:?}", report.skipped);
}

#[test]
fn the_registry_on_a_disk_that_can_be_cut_off_conforms() {
    let report = run(Disk::default);
    assert!(report.passed.iter().any(|rule| rule.contains("unavailable")), "{report:?}");
}

#[test]
fn after_a_power_cut_all_that_was_appended_is_stored_and_perhaps_the_append_in_progress() {
    let mut rng = StdRng::seed_from_u64(11);
    for _ in 0..60 {
        let disk = Disk::default();
        let mut registry = Embedded::on(disk.clone()).expect("opens");
        let (mut state, mut fence) = registry.load().expect("loads");
        for number in 0..rng.random_range(1..8) {
            let change = admitted(&format!("a{number}"));
            registry.append(fence, std::slice::from_ref(&change)).expect("appended");
            state.apply(&change);
            if rng.random_bool(0.2) {
                fence = registry.load().expect("loads").1;
            }
        }
        let (found, later) = Embedded::on(disk.after_power_cut(&mut rng)).and_then(|mut it| it.load()).expect("loads");
        assert_eq!(found, state);
        assert!(later > fence, "the epoch was durable before it was returned");
    }
}

#[test]
fn a_changed_byte_never_changes_the_facts_that_are_loaded() {
    let folder = Folder::new();
    let mut registry = folder.open().expect("opens");
    let (_, fence) = registry.load().expect("loads");
    registry.append(fence, &facts()).expect("appended");
    let (truth, _) = registry.load().expect("loads");
    drop(registry);
    let whole = std::fs::read(folder.file()).expect("readable");
    let mut rng = StdRng::seed_from_u64(5);
    let written: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    for _ in 0..150 {
        let mut bytes = whole.clone();
        bytes[written[rng.random_range(0..written.len())]] ^= 1 << rng.random_range(0..8);
        std::fs::write(folder.file(), bytes).expect("writable");
        if let Ok((found, _)) = folder.open().and_then(|mut registry| registry.load()) {
            assert_eq!(found, truth);
        }
    }
}

#[test]
fn an_epoch_that_cannot_be_raised_is_damage() {
    let disk = Disk::default();
    Embedded::on(disk.clone()).and_then(|registry| registry.fill(&State::default(), u64::MAX)).expect("filled");
    let text = Embedded::on(disk).and_then(|mut registry| registry.load()).expect_err("no epoch is left").to_string();
    assert!(text.contains("is damaged: its epoch is the highest possible"), "{text}");
}

#[test]
fn a_registry_in_use_names_the_directory_and_the_flag() {
    let folder = Folder::new();
    let _held = folder.open().expect("opens");
    let text = folder.open().expect_err("in use").to_string();
    assert!(text.contains(&folder.0.path().display().to_string()) && text.contains("--work-dir"), "{text}");
}

/// A registry that breaks a rule in one way.
#[derive(Clone, Debug)]
struct Broken {
    sound: Memory,
    how: &'static str,
    /// Changes it accepted but has not stored.
    withheld: Vec<RegistryChange>,
}

impl Registry for Broken {
    fn load(&mut self) -> Result<(State, Fence), RegistryError> {
        let (state, fence) = self.sound.load()?;
        Ok(if self.how == "returns the same epoch" { (state, Fence::new(1)) } else { (state, fence) })
    }

    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError> {
        let mut changes = changes.to_vec();
        match self.how {
            "reverses the changes" => changes.reverse(),
            "stores an append one call late" => {
                std::mem::swap(&mut self.withheld, &mut changes);
            }
            "drops framework instances" => changes.retain(|it| !matches!(it.kind, Some(Kind::FrameworkRun(_)))),
            "drops tombstones" => changes.retain(|it| !matches!(it.kind, Some(Kind::FrameworkTombstone(_)))),
            _ => {}
        }
        if self.how == "ignores the fence" {
            let (_, fence) = self.sound.load()?;
            return self.sound.append(fence, &changes);
        }
        self.sound.append(fence, &changes)
    }
}

impl Place for Broken {
    fn open(&self) -> Result<Box<dyn Registry>, RegistryError> {
        Ok(Box::new(self.clone()))
    }
}

#[test]
fn the_suite_fails_for_a_broken_registry() {
    for how in [
        "returns the same epoch",
        "reverses the changes",
        "stores an append one call late",
        "drops tombstones",
        "drops framework instances",
        "ignores the fence",
    ] {
        let suite = || run(|| Broken { sound: Memory::default(), how, withheld: Vec::new() });
        assert!(std::panic::catch_unwind(suite).is_err(), "a registry that {how} passes");
    }
    run(|| Broken { sound: Memory::default(), how: "is sound", withheld: Vec::new() });
}

/// How many kinds of change there are, and the number of this one. A new kind must be added to [`facts`] too: only then
/// does the suite test it.
fn kind_of(kind: &Kind) -> (usize, usize) {
    let number = match kind {
        Kind::AgentAdmitted(_) => 0,
        Kind::AgentUnreachable(_) => 1,
        Kind::AgentReachable(_) => 2,
        Kind::AgentGone(_) => 3,
        Kind::AgentRemoved(_) => 4,
        Kind::FrameworkRemoved(_) => 5,
        Kind::Weight(_) => 6,
        Kind::Quotas(_) => 7,
        Kind::AgentForgotten(_) => 8,
        Kind::FrameworkRun(_) => 9,
        Kind::FrameworkForgotten(_) => 10,
        Kind::FrameworkTombstone(_) => 11,
    };
    (12, number)
}

#[test]
fn the_facts_hold_a_change_of_every_kind_there_is() {
    let all = facts();
    let kinds: Vec<(usize, usize)> = all.iter().filter_map(|change| change.kind.as_ref()).map(kind_of).collect();
    for number in 0..kinds[0].0 {
        assert!(kinds.iter().any(|(_, of)| *of == number), "a change of kind {number} is missing");
    }
}
