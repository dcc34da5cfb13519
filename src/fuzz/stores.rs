//! Files that divvy reads back: reading damaged files ends in an error or a consistent result.
//!
//! Random bytes hardly ever have the right checksums. So some targets write a file as divvy does, then damage it: nothing
//! may be read that was not written.

use std::{fs, path::PathBuf};

use prost::Message;

use super::{agent, script::Script, supervisor};
use crate::{
    agent::{
        Recover,
        log::Log,
        supervisor::journal::{Content, Journal},
    },
    master::registry::Backup,
    proto::internal::{AgentRecord, SupervisorRecord},
};

/// A damaged log is read up to the damage or refused; the repaired log reads the same again.
pub(super) fn agent_log(bytes: &[u8]) {
    for recover in [Recover::Strict, Recover::Reconnect, Recover::Cleanup] {
        if let Some(records) = read_log(bytes, recover) {
            agent::begin_with(&records);
        }
    }
}

/// The records a script makes, written and damaged.
pub(super) fn agent_log_damaged(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let written: Vec<AgentRecord> = (0..script.below(8)).map(|_| agent::record(&mut script)).collect();
    let folder = Folder::new();
    let mut log = Log::open(&folder.0, "boot", Recover::Strict).expect("a log can be begun").log;
    log.append(&written).expect("a temporary file can be written");
    drop(log);
    let damaged = damage(&mut script, fs::read(folder.0.join("log")).expect("it is there"));
    drop(folder);
    for recover in [Recover::Strict, Recover::Reconnect, Recover::Cleanup] {
        let records = read_log(&damaged, recover).unwrap_or_default();
        assert!(is_part(&records, &written), "nothing is read that was not written");
        agent::begin_with(&records);
    }
}

fn read_log(bytes: &[u8], recover: Recover) -> Option<Vec<AgentRecord>> {
    let folder = Folder::new();
    fs::write(folder.0.join("log"), bytes).expect("a temporary file can be written");
    let opened = Log::open(&folder.0, "boot", recover).ok()?;
    let records = opened.records;
    drop(opened.log);
    let again = Log::open(&folder.0, "boot", Recover::Strict).expect("a log that was opened can be opened");
    assert_eq!(encoded(&again.records), encoded(&records));
    assert!(again.damage.is_none() && again.torn_bytes == 0, "what was read is whole: {again:?}");
    Some(records)
}

/// A supervisor's journal, likewise; a replay knows all of it.
pub(super) fn journal(bytes: &[u8]) {
    if let Some(records) = read_journal(bytes) {
        supervisor::replay(&records);
    }
}

/// The records a script makes, written and damaged.
pub(super) fn journal_damaged(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let written: Vec<SupervisorRecord> = (0..script.below(8)).map(|_| supervisor::record(&mut script)).collect();
    let folder = Folder::new();
    let path = folder.0.join("exits");
    let mut journal = Journal::begin(&path).expect("a journal can be begun");
    for record in &written {
        journal.append(record);
    }
    journal.flush();
    drop(journal);
    let damaged = damage(&mut script, fs::read(&path).expect("it is there"));
    drop(folder);
    let records = read_journal(&damaged).unwrap_or_default();
    assert!(is_part(&records, &written), "nothing is read that was not written");
    supervisor::replay(&records);
}

fn read_journal(bytes: &[u8]) -> Option<Vec<SupervisorRecord>> {
    let folder = Folder::new();
    let path = folder.0.join("exits");
    fs::write(&path, bytes).expect("a temporary file can be written");
    let content = Content::read(&path).ok()?;
    drop(Journal::go_on(&path, &content).expect("what was read can be continued"));
    let again = Content::read(&path).expect("what was continued can be read");
    assert_eq!(encoded(&again.records), encoded(&content.records));
    assert_eq!(again.damage, None, "what was read is whole");
    Some(content.records)
}

/// A backup that was read and written again reads the same.
pub(super) fn backup(bytes: &[u8]) {
    let Ok(read) = Backup::decode(bytes) else { return };
    let again = Backup::decode(&read.encode()).expect("what was written can be read");
    assert_eq!(again.encode(), read.encode());
}

/// Encoded records, because NaN does not equal itself.
fn encoded(records: &[impl Message]) -> Vec<Vec<u8>> {
    records.iter().map(Message::encode_to_vec).collect()
}

fn is_part(read: &[impl Message], written: &[impl Message]) -> bool {
    let written = encoded(written);
    encoded(read).iter().all(|record| written.contains(record))
}

/// Flips bits, and truncates, removes, zeroes or repeats bytes, up to four times.
fn damage(script: &mut Script<'_>, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..script.below(5) {
        if bytes.is_empty() {
            break;
        }
        let (one, other) = (script.below(bytes.len()), script.below(bytes.len()));
        let part = one.min(other)..one.max(other);
        match script.below(5) {
            0 => bytes[one] ^= 1 << script.below(8),
            1 => bytes.truncate(one),
            2 => drop(bytes.drain(part)),
            3 => bytes[part].fill(0),
            _ => bytes.extend_from_within(part),
        }
    }
    bytes
}

/// A temporary folder of this thread, removed on drop.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
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
