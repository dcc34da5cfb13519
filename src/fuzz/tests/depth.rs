//! Checks that the corpus of each core reaches deep states.

use std::{collections::BTreeSet, fs};

use super::corpus;
use crate::fuzz::{agent, driver, master, supervisor};

type Reached = BTreeSet<&'static str>;

/// Asserts that a target's corpus reaches all of this; prints what each input reaches.
fn assert_reached(target: &str, play: fn(&[u8]) -> Reached, wanted: &[&str]) {
    let entries = fs::read_dir(corpus().join(target)).expect("readable");
    let mut all = Reached::new();
    for entry in entries {
        let path = entry.expect("readable").path();
        let reached = play(&fs::read(&path).expect("readable"));
        eprintln!("{}: {reached:?}", path.display());
        all.extend(reached);
    }
    let missing: Vec<&&str> = wanted.iter().filter(|one| !all.contains(**one)).collect();
    assert!(missing.is_empty(), "{target} never gets to {missing:?}");
}

#[test]
fn the_corpus_of_the_masters_core_launches_tasks_and_sees_them_end() {
    let wanted =
        ["resources were offered", "a task was launched", "a task's end was sent", "an acknowledgement was forwarded"];
    assert_reached("core-master", master::play, &wanted);
}

#[test]
fn the_corpus_of_the_agents_core_starts_tasks_and_reports_their_end_also_after_a_restart() {
    let wanted = [
        "a container was started",
        "a task's end was sent",
        "a status was acknowledged",
        "a task's end was sent after a restart",
    ];
    assert_reached("core-agent", agent::play, &wanted);
}

#[test]
fn the_corpus_of_the_drivers_core_launches_tasks_and_has_their_end_acknowledged() {
    let wanted = [
        "a task was launched",
        "the end of a task that was launched was delivered",
        "the end of a task that was launched was acknowledged",
    ];
    assert_reached("core-driver", driver::play, &wanted);
}

#[test]
fn the_corpus_of_the_supervisors_core_reports_exits_also_after_a_reconnection_or_a_replay() {
    let wanted = [
        "a process was sent a signal",
        "an agent received an exit",
        "an agent that reconnected received an exit",
        "a replay was sent Forget for all its containers",
    ];
    assert_reached("core-supervisor", supervisor::play, &wanted);
}
