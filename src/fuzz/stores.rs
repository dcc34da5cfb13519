//! Files that parts read back: whatever a disk has made of them, reading ends in an answer that holds.

use std::{fs, path::PathBuf};

use super::agent;
use crate::{
    agent::{Recover, log::Log},
    master::registry::Backup,
};

/// A log that was damaged anyhow is read as far as it goes or refused; what was read once is read again, undamaged.
pub(super) fn agent_log(bytes: &[u8]) {
    for recover in [Recover::Strict, Recover::Reconnect, Recover::Cleanup] {
        let folder = Folder::new();
        fs::write(folder.0.join("log"), bytes).expect("a temporary file can be written");
        let Ok(opened) = Log::open(&folder.0, recover) else { continue };
        let records = opened.records;
        drop(opened.log);
        let again = Log::open(&folder.0, Recover::Strict).expect("a log that was opened can be opened");
        assert_eq!(again.records, records);
        assert!(again.damage.is_none() && again.torn_bytes == 0, "what was read is whole: {again:?}");
        agent::begin_with(&records);
    }
}

/// What is read of a backup reads the same when it is written again.
pub(super) fn backup(bytes: &[u8]) {
    let Ok(read) = Backup::decode(bytes) else { return };
    let again = Backup::decode(&read.encode()).expect("what was written can be read");
    assert_eq!(again.state, read.state);
    assert_eq!(again.epoch, read.epoch);
}

/// A folder of this thread's, removed with all that is in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("divvy-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_dir_all(&path));
        fs::create_dir_all(&path).expect("a temporary folder can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}
