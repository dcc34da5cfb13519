use super::*;
use crate::proto::internal::agent_record::Kind;

fn record(epoch: u64) -> AgentRecord {
    AgentRecord { kind: Some(Kind::Epoch(epoch)) }
}

fn text(text: &str) -> AgentRecord {
    AgentRecord { kind: Some(Kind::Forgotten(text.to_owned())) }
}

/// A log with these records, as bytes.
fn written(records: &[AgentRecord]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    Log::open(directory.path()).unwrap().log.append(records).unwrap();
    fs::read(directory.path().join(NAME)).unwrap()
}

fn opened(bytes: &[u8]) -> (tempfile::TempDir, Opened) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(NAME), bytes).unwrap();
    let opened = Log::open(directory.path()).unwrap();
    (directory, opened)
}

fn rewrite(log: &mut Log, records: &[AgentRecord]) {
    let successor = log.successor(records).unwrap();
    log.adopt(successor).unwrap();
}

#[test]
fn what_was_appended_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = Log::open(directory.path()).unwrap();
    assert_eq!((first.records.len(), first.damage), (0, None));
    first.log.append(&[record(1), text("a")]).unwrap();
    first.log.append(&[record(2)]).unwrap();
    first.log.syncer().sync().unwrap();
    let again = Log::open(directory.path()).unwrap();
    assert_eq!(again.records, [record(1), text("a"), record(2)]);
    assert_eq!((again.damage, again.log.length), (None, first.log.length));
}

#[test]
fn a_log_torn_at_any_byte_gives_the_whole_records_before_it() {
    let records = [record(1), text("second"), record(300)];
    let ends: Vec<usize> = (0..=records.len()).map(|count| written(&records[..count]).len()).collect();
    let whole = written(&records);
    for cut in 0..=whole.len() {
        let (directory, again) = opened(&whole[..cut]);
        let expected = ends.iter().skip(1).filter(|end| **end <= cut).count();
        assert_eq!(again.records, records[..expected], "cut at {cut}");
        let torn = ends.iter().all(|end| *end != cut) && cut > format::HEADER.len();
        assert_eq!(again.damage.is_some(), torn, "cut at {cut}");
        let mut log = again.log;
        log.append(&[record(9)]).unwrap();
        let last = Log::open(directory.path()).unwrap();
        assert_eq!(last.damage, None);
        assert_eq!(last.records.last(), Some(&record(9)), "cut at {cut}");
        assert_eq!(last.records.len(), expected + 1);
    }
}

#[test]
fn a_flipped_bit_ends_the_log_there_and_the_rest_is_kept_aside() {
    let records = [record(1), text("second"), record(300)];
    let whole = written(&records);
    for position in format::HEADER.len()..whole.len() {
        let mut flipped = whole.clone();
        flipped[position] ^= 0x10;
        let (directory, again) = opened(&flipped);
        assert!(again.records.len() < records.len(), "flip at {position} went unseen");
        assert_eq!(again.records, records[..again.records.len()], "flip at {position}");
        let damage = again.damage.unwrap();
        assert_eq!(damage.kept, directory.path().join("log.damaged-1"));
        let kept = fs::read(&damage.kept).unwrap();
        assert!(flipped.ends_with(&kept) && kept.len() as u64 == damage.bytes);
    }
}

#[test]
fn zeros_at_the_end_are_no_records() {
    let mut bytes = written(&[record(1)]);
    bytes.extend([0; 4096]);
    let (_directory, again) = opened(&bytes);
    assert_eq!(again.records, [record(1)]);
    assert_eq!(again.damage.unwrap().bytes, 4096);
}

#[test]
fn a_length_beyond_the_end_is_not_believed() {
    let mut bytes = written(&[record(1)]);
    bytes.extend([0xff; 8]);
    assert_eq!(opened(&bytes).1.records, [record(1)]);
}

#[test]
fn damage_does_not_overwrite_earlier_damage() {
    let (directory, _) = opened(&[&written(&[])[..], b"junk"].concat());
    let mut file = OpenOptions::new().append(true).open(directory.path().join(NAME)).unwrap();
    file.write_all(b"more").unwrap();
    let damage = Log::open(directory.path()).unwrap().damage.unwrap();
    assert_eq!(damage.kept, directory.path().join("log.damaged-2"));
    assert_eq!(fs::read(directory.path().join("log.damaged-1")).unwrap(), b"junk");
}

#[test]
fn a_file_that_is_no_log_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    fs::write(&path, "somebody's notes, longer than a header").unwrap();
    let error = Log::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("is not the log of an agent: move it away"), "{error}");
    fs::write(&path, "divvy agent log 7\nsomething later").unwrap();
    let error = Log::open(directory.path()).unwrap_err().to_string();
    assert!(error.ends_with("has version 7, and this agent reads up to 1: run the divvy it was written by"), "{error}");
    assert!(fs::read(&path).unwrap().starts_with(b"divvy agent log 7\n"));
}

#[test]
fn a_rewritten_log_says_the_same_in_less() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(directory.path()).unwrap().log;
    let wordy = text(&"x".repeat(64 << 10));
    while !log.wants_compaction() {
        log.append(std::slice::from_ref(&wordy)).unwrap();
    }
    assert!(log.length > COMPACT_FROM);
    rewrite(&mut log, &[record(1)]);
    assert!(!log.wants_compaction());
    log.append(&[record(2)]).unwrap();
    assert_eq!(Log::open(directory.path()).unwrap().records, [record(1), record(2)]);
}

#[test]
fn a_log_whose_live_part_is_large_is_not_rewritten_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(directory.path()).unwrap().log;
    let live = vec![text(&"x".repeat(1 << 20)); 5];
    rewrite(&mut log, &live);
    log.append(&live).unwrap();
    assert!(!log.wants_compaction(), "twice the live size is not worth it");
}

#[test]
fn a_rewrite_cut_off_at_any_step_leaves_one_log_whole() {
    let (old, new) = (written(&[record(1), record(2)]), written(&[record(2)]));
    for cut in 0..=new.len() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), &old).unwrap();
        fs::write(directory.path().join(NEW), &new[..cut]).unwrap();
        let again = Log::open(directory.path()).unwrap();
        assert_eq!((again.records, again.damage), (vec![record(1), record(2)], None));
        assert!(!directory.path().join(NEW).exists());
    }
    assert_eq!(opened(&new).1.records, [record(2)], "after the rename");
}

#[test]
fn a_full_disk_is_named_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(directory.path()).unwrap().log;
    log.file = Arc::new(OpenOptions::new().append(true).open("/dev/full").unwrap());
    let error = log.append(&[record(1)]).unwrap_err().to_string();
    let expected =
        format!("cannot append to {}: No space left on device (os error 28)", log.directory.join(NAME).display());
    assert_eq!(error, expected);
}

#[test]
fn a_successor_that_cannot_be_written_leaves_the_log_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(directory.path()).unwrap().log;
    log.append(&[record(1)]).unwrap();
    // A directory in the place of the new file cannot be removed as a file.
    fs::create_dir(directory.path().join(NEW)).unwrap();
    assert!(log.successor(&[record(2)]).is_err());
    log.append(&[record(3)]).unwrap();
    fs::remove_dir(directory.path().join(NEW)).unwrap();
    assert_eq!(Log::open(directory.path()).unwrap().records, [record(1), record(3)]);
}
