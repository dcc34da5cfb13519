//! The journal of a supervisor, written, cut off, damaged and read again.

use super::*;
use crate::proto::internal::supervisor_record::Kind;
use crate::proto::internal::{Exited, Started, exited};

fn open(path: &Path) -> (Journal, Vec<SupervisorRecord>) {
    let content = Content::read(path).unwrap();
    (Journal::go_on(path, &content).unwrap(), content.records)
}

fn record(id: &str) -> SupervisorRecord {
    SupervisorRecord { kind: Some(Kind::Starting(id.to_owned())), ..Default::default() }
}

#[test]
fn any_prefix_of_a_journal_gives_a_prefix_of_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let records: Vec<_> = ["one", "two", "three"].iter().map(|id| record(id)).collect();
    let (mut journal, before) = open(&path);
    assert!(before.is_empty());
    for each in &records {
        journal.append(each);
        journal.flush();
    }
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (mut journal, read) = open(&path);
        assert_eq!(read, records[..read.len()]);
        journal.append(&record("after"));
        journal.flush();
        assert_eq!(open(&path).1.last(), Some(&record("after")), "cut at {length}");
    }
}

#[test]
fn a_damaged_record_ends_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let mut journal = open(&path).0;
    for id in ["one", "two"] {
        journal.append(&record(id));
    }
    journal.flush();
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&path, content).unwrap();
    assert_eq!(open(&path).1, [record("one")]);
}

#[test]
fn a_compacted_journal_holds_the_given_records_and_can_be_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let mut journal = open(&path).0;
    while !journal.needs_compaction() {
        journal.append(&record(&"x".repeat(1000)));
        journal.flush();
    }
    journal.compact(vec![record("kept")]);
    assert!(!journal.needs_compaction());
    journal.append(&record("meanwhile"));
    journal.flush();
    journal.finish_compaction();
    journal.append(&record("later"));
    journal.flush();
    assert_eq!(open(&path).1, [record("kept"), record("meanwhile"), record("later")]);
    journal.clear();
    assert_eq!(open(&path).1, []);
}

#[test]
fn records_of_a_failed_write_are_written_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let mut journal = open(&path).0;
    let file = std::mem::replace(&mut journal.file, File::open("/dev/null").unwrap());
    journal.append(&record("one"));
    journal.flush();
    journal.file = file;
    journal.append(&record("two"));
    journal.flush();
    assert_eq!(open(&path).1, [record("one"), record("two")]);
}

/// One record of each kind.
fn records() -> Vec<SupervisorRecord> {
    let container_id = || "c".to_owned();
    let exited = Exited { container_id: container_id(), wall_ns: 1_700_000_000_000_000_000, ..Exited::default() };
    let kinds = [
        Kind::Starting(container_id()),
        Kind::Started(Started { container_id: container_id(), pid: 4321, start_time: 99 }),
        Kind::Exited(Exited { status: Some(exited::Status::Signal(11)), core_dumped: true, ..exited.clone() }),
        Kind::Exited(Exited { status: Some(exited::Status::Lost("died".to_owned())), ..exited.clone() }),
        Kind::Exited(Exited { status: Some(exited::Status::Code(3)), ..exited }),
        Kind::Forgotten(container_id()),
    ];
    kinds.map(|kind| SupervisorRecord { kind: Some(kind), ..Default::default() }).to_vec()
}

#[test]
fn the_samples_of_every_version_are_read_and_the_newest_is_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let (mut journal, _) = open(&path);
    for record in &records() {
        journal.append(record);
    }
    journal.flush();
    let written = std::fs::read(&path).unwrap();
    let newest = ending::sample("exits-2", || written.clone());
    assert_eq!(written, newest, "the format has changed: it needs a new version and a new sample");
    for sample in [newest, ending::sample("exits-1", || written[HEADER.len()..].to_vec())] {
        std::fs::write(&path, &sample).unwrap();
        let content = Content::read(&path).unwrap();
        assert_eq!((&content.records, &content.damage), (&records(), &None));
        // A recovering agent appends to it.
        let mut journal = Journal::go_on(&path, &content).unwrap();
        journal.append(&record("later"));
        journal.flush();
        assert_eq!(open(&path).1, [records(), vec![record("later")]].concat());
        assert!(std::fs::read(&path).unwrap().starts_with(&sample));
    }
}

#[test]
fn a_journal_of_a_later_version_is_rejected_with_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    std::fs::write(&path, "divvy exits 3\nsomething later").unwrap();
    let error = Content::read(&path).unwrap_err().to_string();
    assert_eq!(error, "it has version 3, and this agent reads up to 2: run the divvy it was written by");
}

#[test]
fn of_a_damaged_journal_all_counts_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let (mut journal, _) = open(&path);
    for id in ["one", "two", "three"] {
        journal.append(&record(id));
    }
    journal.flush();
    let whole = std::fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x04;
        std::fs::write(&path, &bytes).unwrap();
        // A version that does not exist.
        let Ok(content) = Content::read(&path) else { continue };
        let expected = [record("one"), record("two"), record("three")];
        let lost = expected.iter().filter(|it| !content.records.contains(it)).count();
        let in_header = position < HEADER.len();
        assert_eq!(lost, usize::from(!in_header), "a bit at {position}");
        assert!(content.records.iter().all(|it| expected.contains(it)));
        let journal = Journal::go_on(&path, &content).unwrap();
        drop(journal);
        let again = Content::read(&path).unwrap();
        assert_eq!((again.records, again.damage), (content.records, None), "a bit at {position}");
    }
}

#[test]
fn a_compacted_journal_that_does_not_fit_on_the_disk_is_removed_and_the_old_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let mut journal = Journal::begin(&path).unwrap();
    let record = SupervisorRecord { kind: Some(Kind::Starting("a".to_owned())), ..Default::default() };
    journal.append(&record);
    journal.flush();
    std::os::unix::fs::symlink("/dev/full", path.with_extension("new")).unwrap();
    journal.compact(vec![]);
    journal.finish_compaction();
    assert!(path.with_extension("new").symlink_metadata().is_err());
    assert_eq!(Content::read(&path).unwrap().records, [record]);
}

#[test]
fn after_a_restart_of_the_host_no_damage_is_reported_and_all_readable_records_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let mut journal = Journal::begin(&path).unwrap();
    let records =
        ["a", "b", "c"].map(|id| SupervisorRecord { kind: Some(Kind::Starting(id.to_owned())), ..Default::default() });
    for record in &records {
        journal.append(record);
    }
    journal.flush();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.iter().position(|byte| *byte == b'b').unwrap();
    bytes[middle] = 0;
    std::fs::write(&path, &bytes).unwrap();
    let content = Content::read(&path).unwrap();
    assert!(content.damage.is_some());
    let content = content.after_restart();
    assert_eq!(content.damage, None);
    let left = [records[0].clone(), records[2].clone()];
    assert_eq!(content.records, left);
    drop(Journal::go_on(&path, &content).unwrap());
    let again = Content::read(&path).unwrap();
    assert_eq!((again.records, again.damage), (left.to_vec(), None), "it is rewritten without the hole");
}
