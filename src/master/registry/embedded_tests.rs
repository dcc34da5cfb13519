//! The registry's file is removed, moved or replaced while it is open.

use std::fs;

use super::*;
use crate::master::registry::conformance::admitted;

/// The agents and the epoch of the last master, as a start reads them from this work directory.
fn stored(work_dir: &Path) -> (Vec<String>, u64) {
    let (state, epoch) = Embedded::open_existing(work_dir).expect("opens").peek().expect("is sound");
    (state.agents.into_keys().collect(), epoch)
}

#[test]
fn a_file_that_is_removed_while_it_is_open_is_written_anew_with_all_that_was_in_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let work_dir = folder.path().join("work");
    fs::create_dir(&work_dir).expect("made");
    let mut registry = Embedded::open(&work_dir).expect("opens");
    let (_, fence) = registry.load().expect("loads");
    registry.append(fence, &[admitted("a")]).expect("appended");
    fs::remove_file(work_dir.join(NAME)).expect("removed");
    assert_eq!(registry.append(fence, &[admitted("b")]).expect("appended"), Position(2));
    // The whole directory too, and without anything to append.
    fs::remove_dir_all(&work_dir).expect("removed");
    assert_eq!(registry.append(fence, &[]).expect("checked"), Position(2));
    registry.append(fence, &[admitted("c")]).expect("appended");
    drop(registry);
    assert_eq!(stored(&work_dir), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], fence.epoch()));
    let left: Vec<_> =
        fs::read_dir(&work_dir).expect("readable").map(|entry| entry.expect("readable").path()).collect();
    assert_eq!(left, [work_dir.join(NAME)], "nothing else is left");
}

#[test]
fn a_file_that_is_moved_while_it_is_open_is_written_to_where_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    fs::create_dir(&before).expect("made");
    let mut registry = Embedded::open(&before).expect("opens");
    let (_, fence) = registry.load().expect("loads");
    fs::rename(&before, &after).expect("moved");
    registry.append(fence, &[admitted("a")]).expect("appended");
    assert!(!before.exists());
    drop(registry);
    assert_eq!(stored(&after).0, ["a"]);
}

#[test]
fn a_master_whose_file_was_replaced_by_that_of_a_later_one_is_fenced() {
    let (mine, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let mut registry = Embedded::open(mine.path()).expect("opens");
    let (_, fence) = registry.load().expect("loads");
    for _ in 0..2 {
        Embedded::open(other.path()).expect("opens").load().expect("loads");
    }
    fs::rename(other.path().join(NAME), mine.path().join(NAME)).expect("renamed");
    let refused = registry.append(fence, &[admitted("a")]).expect_err("it is another master's");
    assert!(matches!(refused, RegistryError::Fenced { mine: 1, current: 2 }), "{refused}");
}

#[test]
fn a_file_that_cannot_be_recreated_is_unavailable_until_it_can() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut registry = Embedded::open(folder.path()).expect("opens");
    let (_, fence) = registry.load().expect("loads");
    registry.append(fence, &[admitted("a")]).expect("appended");
    fs::remove_file(folder.path().join(NAME)).expect("removed");
    // A directory has the name of the new file.
    let obstacle = folder.path().join("registry.anew");
    fs::create_dir(&obstacle).expect("made");
    let refused = registry.append(fence, &[admitted("b")]).expect_err("there is no file");
    assert!(matches!(refused, RegistryError::Unavailable { .. }), "{refused}");
    fs::remove_dir(&obstacle).expect("removed");
    assert_eq!(registry.append(fence, &[admitted("b")]).expect("appended"), Position(2));
    drop(registry);
    assert_eq!(stored(folder.path()).0, ["a", "b"]);
}
