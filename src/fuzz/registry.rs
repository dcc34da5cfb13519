//! The registry: its file damaged in many ways, and any changes it may hold.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use prost::Message as _;

use super::{master, script::Script};
use crate::{
    master::registry::{Backup, Embedded, Registry as _, RegistryError, State, conformance},
    proto::internal::RegistryBackup,
};

const PAGE_BYTES: usize = 4096;
/// The disk is full beyond this size.
const MOST_BYTES: usize = 64 << 20;

/// An intact file, the offsets of its written bytes, and every state it ever held.
static INTACT: LazyLock<(Vec<u8>, Vec<usize>, Vec<State>)> = LazyLock::new(|| {
    let image = Image::default();
    let mut states = vec![State::default()];
    let mut registry = Embedded::on(image.clone()).expect("opens");
    let (mut state, fence) = registry.load().expect("loads");
    for change in conformance::facts() {
        registry.append(fence, std::slice::from_ref(&change)).expect("appended");
        state.apply(&change);
        states.push(state.clone());
    }
    drop(registry);
    let bytes = image.bytes().clone();
    let written = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    (bytes, written, states)
});

/// A damaged file gives the state of some moment, or an error. A file that can be read can be appended to.
pub(super) fn file(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let image = if script.one_in(8) { bytes.to_vec() } else { damaged(&mut script) };
    let image = Image(Arc::new(Mutex::new(image)));
    let Ok((state, count)) = load_and_append(&image) else { return };
    assert!(INTACT.2.contains(&state), "the facts are those of some moment: {state:?}");
    if let Ok((again, _)) = load_and_append(&image) {
        assert_eq!(again.agents.len(), count, "what was appended is there");
    }
}

/// Opens, loads and appends an agent; returns the loaded state, and the new number of agents.
fn load_and_append(image: &Image) -> Result<(State, usize), RegistryError> {
    let mut registry = Embedded::on(image.clone())?;
    let (state, fence) = registry.load()?;
    let change = conformance::admitted("another");
    registry.append(fence, std::slice::from_ref(&change))?;
    let mut later = state.clone();
    later.apply(&change);
    Ok((state, later.agents.len()))
}

fn damaged(script: &mut Script<'_>) -> Vec<u8> {
    let (intact, written, _) = &*INTACT;
    let mut bytes = intact.clone();
    for _ in 0..=script.below(4) {
        let at = script.pick(written).copied().unwrap_or_default().min(bytes.len().saturating_sub(8));
        let page = at - at % PAGE_BYTES;
        let other = script.pick(written).copied().unwrap_or_default();
        let source = other - other % PAGE_BYTES;
        match script.below(6) {
            0 => bytes.truncate(page),
            1 if page + PAGE_BYTES <= bytes.len() => bytes[page..page + PAGE_BYTES].fill(0),
            2 if page + PAGE_BYTES <= bytes.len() => {
                bytes[page..page + PAGE_BYTES].copy_from_slice(&intact[source..source + PAGE_BYTES]);
            }
            3 => bytes.iter_mut().skip(at).take(8).for_each(|byte| *byte = 0xff),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << script.below(8)),
        }
    }
    bytes
}

/// Changes of any kind: a backup holds them, and a master can start with them.
pub(super) fn changes(bytes: &[u8]) {
    let Ok(message) = RegistryBackup::decode(bytes) else { return };
    let state: State = message.changes.iter().collect();
    let encoded = |state: &State| RegistryBackup { changes: state.as_changes(), ..Default::default() }.encode_to_vec();
    let again: State = state.as_changes().iter().collect();
    assert_eq!(encoded(&again), encoded(&state), "a state is what its own changes make");
    let backup = Backup::new(state.clone(), message.epoch, message.wall_ns).encode();
    let read = Backup::decode(&backup).expect("what was written can be read");
    assert_eq!(encoded(&read.state), encoded(&state));
    master::begin_with(state);
}

/// A file in memory.
#[derive(Clone, Debug, Default)]
struct Image(Arc<Mutex<Vec<u8>>>);

impl Image {
    /// Ignores poison: a panic does not leave the bytes half written.
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl redb::StorageBackend for Image {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = self.bytes();
        let part = start.checked_add(out.len()).and_then(|end| bytes.get(start..end));
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let length = usize::try_from(len).ok().filter(|length| *length <= MOST_BYTES);
        self.bytes().resize(length.ok_or(io::ErrorKind::StorageFull)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(data.len()).filter(|end| *end <= MOST_BYTES).ok_or(io::ErrorKind::StorageFull)?;
        let mut bytes = self.bytes();
        let length = bytes.len().max(end);
        bytes.resize(length, 0);
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }
}
