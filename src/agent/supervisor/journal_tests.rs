use super::*;
use crate::proto::internal::supervisor_record::Kind;

fn open(path: &Path) -> (Journal, Vec<SupervisorRecord>) {
    let content = Content::read(path).unwrap();
    (Journal::go_on(path, &content).unwrap(), content.records)
}

fn record(id: &str) -> SupervisorRecord {
    SupervisorRecord { kind: Some(Kind::Starting(id.to_owned())) }
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
fn a_journal_written_anew_holds_what_it_was_given_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exits");
    let mut journal = open(&path).0;
    while !journal.wants_compaction() {
        journal.append(&record(&"x".repeat(1000)));
        journal.flush();
    }
    journal.compact(&[record("kept")]);
    assert!(!journal.wants_compaction());
    journal.append(&record("later"));
    journal.flush();
    assert_eq!(open(&path).1, [record("kept"), record("later")]);
    journal.clear();
    assert_eq!(open(&path).1, []);
}

#[test]
fn a_write_that_fails_is_made_up_for_by_the_next() {
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
