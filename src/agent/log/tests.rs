//! The log of an agent: written, torn, damaged and read again.

use super::*;
use crate::proto::internal::Identity;
use crate::proto::internal::agent_record::Kind;

/// The run of the host that the tests are in.
pub(super) const BOOT: &str = "this-boot";

fn record(epoch: u64) -> AgentRecord {
    AgentRecord { kind: Some(Kind::Epoch(epoch)), ..AgentRecord::default() }
}

fn text(text: &str) -> AgentRecord {
    AgentRecord { kind: Some(Kind::Forgotten(text.to_owned())), ..AgentRecord::default() }
}

fn open(directory: &Path) -> Result<Opened, LogError> {
    Log::open(directory, BOOT, Recover::Reconnect)
}

/// A log with these records, as bytes.
fn written(records: &[AgentRecord]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).unwrap().log.append(records).unwrap();
    fs::read(directory.path().join(NAME)).unwrap()
}

fn opened(bytes: &[u8]) -> (tempfile::TempDir, Opened) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(NAME), bytes).unwrap();
    let opened = open(directory.path()).unwrap();
    (directory, opened)
}

fn rewrite(log: &mut Log, records: &[AgentRecord]) {
    let successor = log.successor(records).unwrap();
    log.adopt(successor).unwrap();
}

#[test]
fn what_was_appended_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = open(directory.path()).unwrap();
    assert_eq!((first.records.len(), first.damage), (0, None));
    first.log.append(&[record(1), text("a")]).unwrap();
    first.log.append(&[record(2)]).unwrap();
    first.log.syncer().sync().unwrap();
    let again = open(directory.path()).unwrap();
    assert_eq!(again.records, [record(1), text("a"), record(2)]);
    assert_eq!((again.damage, again.log.length), (None, first.log.length));
}

#[test]
fn a_log_torn_at_any_byte_gives_the_whole_records_before_it_and_is_no_damage() {
    let records = [record(1), text("second"), record(300)];
    let ends: Vec<usize> = (0..=records.len()).map(|count| written(&records[..count]).len()).collect();
    let whole = written(&records);
    for cut in 0..=whole.len() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), &whole[..cut]).unwrap();
        let again = Log::open(directory.path(), BOOT, Recover::Strict).unwrap();
        let expected = ends.iter().skip(1).filter(|end| **end <= cut).count();
        assert_eq!(again.records, records[..expected], "cut at {cut}");
        let torn = ends.iter().all(|end| *end != cut) && cut > format::HEADER.len();
        assert_eq!((again.torn_bytes > 0, again.damage), (torn, None), "cut at {cut}");
        let mut log = again.log;
        log.append(&[record(9)]).unwrap();
        let last = open(directory.path()).unwrap();
        assert_eq!((last.torn_bytes, last.damage), (0, None));
        assert_eq!(last.records.last(), Some(&record(9)), "cut at {cut}");
        assert_eq!(last.records.len(), expected + 1);
    }
}

#[test]
fn zeros_at_the_end_are_no_records_and_no_damage() {
    for zeros in [1, 8, 100, 4096] {
        let mut bytes = written(&[record(1), text("second")]);
        bytes.extend(vec![0; zeros]);
        let (_directory, again) = opened(&bytes);
        assert_eq!(again.records, [record(1), text("second")]);
        assert_eq!((again.torn_bytes, again.damage), (zeros as u64, None));
    }
    // A record of which a power cut left the first sectors only.
    let start = written(&[record(1)]).len();
    let mut bytes = written(&[record(1), text(&"x".repeat(4096))]);
    bytes[start.next_multiple_of(512) + 512..].fill(0);
    let (_directory, again) = opened(&bytes);
    assert_eq!((again.records, again.damage), (vec![record(1)], None));
}

/// A log of three batches with recorded syncs, and one unsynced batch; returns where the last two begin.
fn partly_synced() -> (Vec<u8>, [usize; 2]) {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    let mut starts = vec![];
    for batch in 0..4 {
        starts.push(usize::try_from(log.length).unwrap());
        log.append(&[record(batch), text(&"x".repeat(600)), record(100 + batch)]).unwrap();
        log.syncer().sync().unwrap();
    }
    (fs::read(directory.path().join(NAME)).unwrap(), [starts[2], starts[3]])
}

#[test]
fn what_was_not_synced_yet_may_be_lost_in_any_order_and_is_no_damage() {
    let (bytes, [_, last]) = partly_synced();
    // The sector in which the last batch begins never reached the disk, and those behind it did.
    for hole in [last..last + 40, last..last + 512, last + 20..last + 200] {
        let mut bytes = bytes.clone();
        bytes[hole].fill(0);
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), &bytes).unwrap();
        let again = Log::open(directory.path(), BOOT, Recover::Strict).unwrap();
        assert_eq!(again.damage, None);
        assert!(again.torn_bytes > 0);
        assert_eq!(again.records[..9], opened(&bytes[..last]).1.records, "all that was synced is there");
    }
}

#[test]
fn what_was_not_synced_is_damage_too_when_the_host_has_been_up_all_the_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    let boot_id = BOOT.to_owned();
    let identity = Identity { agent_id: "S0".to_owned(), boot_id, ..Identity::default() };
    let identity = AgentRecord { kind: Some(Kind::Identity(identity)), ..AgentRecord::default() };
    log.append(&[identity]).unwrap();
    log.syncer().sync().unwrap();
    log.append(&[text("second"), text("third")]).unwrap();
    drop(log);
    let path = directory.path().join(NAME);
    let mut bytes = fs::read(&path).unwrap();
    let second = bytes.windows(6).position(|six| six == b"second").unwrap();
    bytes[second] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Log::open(directory.path(), BOOT, Recover::Strict).unwrap_err().to_string();
    assert!(error.contains("is damaged at byte"), "{error}");
}

#[test]
fn what_was_synced_and_cannot_be_read_is_damage_also_when_the_sync_is_recorded_behind_it() {
    let (bytes, [third, last]) = partly_synced();
    for at in [third + 40, last - 1] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), &bytes).unwrap();
        let error = Log::open(directory.path(), BOOT, Recover::Strict).unwrap_err().to_string();
        assert!(error.contains("is damaged at byte"), "{error}");
    }
}

#[test]
fn what_was_read_at_the_start_counts_as_synced_from_then_on() {
    let bytes = written(&[record(1), text("second")]);
    let (directory, mut again) = opened(&bytes);
    again.log.append(&[]).unwrap();
    let marked = fs::read(directory.path().join(NAME)).unwrap();
    assert_eq!(
        ending::read::<Records>(format::body(&marked).unwrap()).0[2].kind,
        Some(Kind::Synced(bytes.len() as u64))
    );
    assert_eq!(open(directory.path()).unwrap().records, [record(1), text("second")], "the mark is not returned");
    // The same mark is not written twice.
    again.log.append(&[]).unwrap();
    assert_eq!(fs::read(directory.path().join(NAME)).unwrap(), marked);
}

#[test]
fn a_sync_of_a_replaced_log_does_not_cover_its_successor() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    log.append(&[text(&"x".repeat(4096))]).unwrap();
    let late = log.syncer();
    rewrite(&mut log, &[record(1)]);
    late.sync().unwrap();
    assert_eq!(log.synced.load(Ordering::Relaxed), log.length);
}

#[test]
fn a_removed_log_is_noticed_and_rewritten_with_what_is_appended_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    log.append(&[record(1)]).unwrap();
    fs::remove_file(directory.path().join(NAME)).unwrap();
    assert!(matches!(log.syncer().sync(), Err(LogError::Gone(_))));
    let draft = log.draft(vec![record(1)]);
    log.append(&[record(2)]).unwrap();
    log.adopt(draft.write().unwrap()).unwrap();
    log.syncer().sync().unwrap();
    log.append(&[record(3)]).unwrap();
    drop(log);
    let records = open(directory.path()).unwrap().records;
    assert_eq!(records, [record(1), record(2), record(3)]);
}

#[test]
fn space_is_reserved_ahead_of_a_log_without_changing_its_content() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    log.append(&[record(1)]).unwrap();
    assert_eq!(log.syncer().reserve_space(), Room::Enough);
    assert_eq!(fs::metadata(directory.path().join(NAME)).unwrap().len(), log.length);
    log.append(&[record(2)]).unwrap();
    drop(log);
    assert_eq!(open(directory.path()).unwrap().records, [record(1), record(2)]);
}

#[test]
fn a_successor_for_which_there_is_no_room_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let new = directory.path().join(NEW);
    fs::write(&new, "part of it").unwrap();
    let mut full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let error = fill(&new, &mut full, b"the rest").unwrap_err().to_string();
    assert!(error.contains("No space left on device"), "{error}");
    assert!(!new.exists());
}

#[test]
fn a_length_beyond_the_end_is_ignored() {
    let mut bytes = written(&[record(1)]);
    bytes.extend([0xff; 8]);
    assert_eq!(opened(&bytes).1.records, [record(1)]);
}

#[test]
fn a_file_that_is_no_log_is_left_unchanged_unless_recovery_is_cleanup() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    fs::write(&path, "other notes, longer than a header").unwrap();
    for recover in [Recover::Reconnect, Recover::Strict] {
        let error = Log::open(directory.path(), BOOT, recover).unwrap_err().to_string();
        assert!(error.contains("is not the log of an agent: move it away"), "{error}");
    }
    let cleaned = Log::open(directory.path(), BOOT, Recover::Cleanup).unwrap();
    let kept = cleaned.damage.expect("it is kept");
    assert_eq!(kept.damage.to_string(), format!("{} is damaged at byte 0: nothing in it can be read", path.display()));
    assert_eq!(fs::read(kept.aside).unwrap(), b"other notes, longer than a header");
    assert_eq!(open(directory.path()).unwrap().records, []);
}

#[test]
fn a_log_of_a_later_version_is_refused_in_every_recovery_mode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(NAME);
    fs::write(&path, "divvy agent log 7\nsomething later").unwrap();
    for recover in [Recover::Reconnect, Recover::Strict, Recover::Cleanup] {
        let error = Log::open(directory.path(), BOOT, recover).unwrap_err().to_string();
        let expected = "has version 7, and this agent reads up to 1: run the divvy it was written by";
        assert!(error.ends_with(expected), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"divvy agent log 7\nsomething later");
    }
}

#[test]
fn a_rewritten_log_has_the_same_state_in_fewer_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    let wordy = text(&"x".repeat(64 << 10));
    while !log.should_compact() {
        log.append(std::slice::from_ref(&wordy)).unwrap();
    }
    assert!(log.length > COMPACT_FROM);
    rewrite(&mut log, &[record(1)]);
    assert!(!log.should_compact());
    log.append(&[record(2)]).unwrap();
    assert_eq!(open(directory.path()).unwrap().records, [record(1), record(2)]);
}

#[test]
fn a_log_whose_live_part_is_large_is_not_rewritten_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    let live = vec![text(&"x".repeat(1 << 20)); 5];
    rewrite(&mut log, &live);
    log.append(&live).unwrap();
    assert!(!log.should_compact(), "twice the live size is not worth it");
}

#[test]
fn a_rewrite_cut_off_at_any_step_leaves_one_log_whole() {
    let (old, new) = (written(&[record(1), record(2)]), written(&[record(2)]));
    for cut in 0..=new.len() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(NAME), &old).unwrap();
        fs::write(directory.path().join(NEW), &new[..cut]).unwrap();
        let again = open(directory.path()).unwrap();
        assert_eq!((again.records, again.damage), (vec![record(1), record(2)], None));
        assert!(!directory.path().join(NEW).exists());
    }
    assert_eq!(opened(&new).1.records, [record(2)], "after the rename");
}

#[test]
fn a_full_disk_is_named_with_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    log.file = Arc::new(OpenOptions::new().append(true).open("/dev/full").unwrap());
    let error = log.append(&[record(1)]).unwrap_err().to_string();
    let expected =
        format!("cannot append to {}: No space left on device (os error 28)", log.directory.join(NAME).display());
    assert_eq!(error, expected);
}

#[test]
fn a_successor_that_cannot_be_written_leaves_the_log_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap().log;
    log.append(&[record(1)]).unwrap();
    // A directory in the place of the new file cannot be removed as a file.
    fs::create_dir(directory.path().join(NEW)).unwrap();
    assert!(log.successor(&[record(2)]).is_err());
    log.append(&[record(3)]).unwrap();
    fs::remove_dir(directory.path().join(NEW)).unwrap();
    assert_eq!(open(directory.path()).unwrap().records, [record(1), record(3)]);
}

mod damaged;
mod samples;
