//! Crashes at any write: the completed appends are stored, and perhaps the append in progress.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::{super::facts, Disk};
use crate::{
    master::registry::{Embedded, Registry as _, RegistryError, State, conformance::admitted},
    proto::internal::{FrameworkRun, FrameworkTombstone, RegistryChange, registry_change::Kind},
};

/// Changes of every kind about few subjects, so that entries are overwritten and removed.
fn some_changes(rng: &mut StdRng) -> Vec<RegistryChange> {
    let all = facts();
    (0..rng.random_range(1..6))
        .filter_map(|number| {
            if number == 0 {
                Some(admitted(&format!("a{}", rng.random_range(0..40))))
            } else {
                all.choose(rng).cloned()
            }
        })
        .collect()
}

/// Every state a load may return: all completed appends, and a prefix of the one in progress.
fn prefixes(known: &State, in_progress: &[RegistryChange]) -> Vec<State> {
    let mut states = vec![known.clone()];
    for change in in_progress {
        let mut next = states.last().cloned().unwrap_or_default();
        next.apply(change);
        states.push(next);
    }
    states
}

#[test]
fn after_a_crash_at_any_write_all_that_was_appended_is_stored_and_perhaps_the_append_in_progress() {
    let mut cut_in_an_append = 0;
    for seed in 0..120 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut disk = Disk::default();
        let (mut known, mut epoch, mut in_progress) = (State::default(), 0, Vec::new());
        for _ in 0..4 {
            let mut registry = Embedded::on(disk.clone()).expect("opens after a crash");
            let (found, mut fence) = registry.load().expect("loads after a crash");
            assert!(prefixes(&known, &in_progress).contains(&found), "seed {seed}: {found:?}");
            assert!(fence.epoch() > epoch, "seed {seed}: the epoch was durable before it was returned");
            (known, epoch, in_progress) = (found, fence.epoch(), Vec::new());
            disk.fail_after(rng.random_range(0..60));
            loop {
                if rng.random_bool(0.1) {
                    match registry.load() {
                        Ok((_, later)) => (fence, epoch) = (later, later.epoch()),
                        Err(_) => break,
                    }
                    continue;
                }
                let changes = some_changes(&mut rng);
                match registry.append(fence, &changes) {
                    Ok(_) => changes.iter().for_each(|change| known.apply(change)),
                    Err(error) => {
                        assert!(matches!(error, RegistryError::Unavailable { .. }), "seed {seed}: {error}");
                        cut_in_an_append += 1;
                        in_progress = changes;
                        break;
                    }
                }
            }
            drop(registry);
            disk = disk.after_power_cut(&mut rng);
        }
    }
    assert!(cut_in_an_append > 100, "{cut_in_an_append} appends were cut off");
}

/// The changes of a short-lived framework; the one `remembered` before it is forgotten.
fn short_framework(number: usize, remembered: usize) -> Vec<RegistryChange> {
    let id = |number: usize| format!("00000000-0000-4000-8000-000000000000-{number:04}");
    let run = FrameworkRun { framework_id: id(number), instance: vec![7; 16].into(), wall_ns: 1 };
    let tombstone = FrameworkTombstone { framework_id: id(number), wall_ns: 2 };
    let forgotten = number.checked_sub(remembered).map(|number| Kind::FrameworkForgotten(id(number)));
    let kinds = [Some(Kind::FrameworkRun(run)), forgotten, Some(Kind::FrameworkTombstone(tombstone))];
    kinds.into_iter().flatten().map(|kind| RegistryChange { kind: Some(kind) }).collect()
}

#[test]
fn the_registry_has_the_same_size_after_many_short_lived_frameworks_as_after_few() {
    const REMEMBERED: usize = 500;
    let disk = Disk::default();
    let mut registry = Embedded::on(disk.clone()).expect("opens");
    let (_, fence) = registry.load().expect("loads");
    let mut sizes = Vec::new();
    for number in 0..8_000_usize {
        registry.append(fence, &short_framework(number, REMEMBERED)).expect("appended");
        if number % 2_000 == 1_999 {
            sizes.push(disk.size());
        }
    }
    assert_eq!(sizes[0], sizes[3], "the file is as large as it was: {sizes:?}");
    let (state, _) = registry.load().expect("loads");
    assert_eq!((state.removed_frameworks.len(), state.runs.len()), (REMEMBERED, 0));
}

#[test]
fn a_sparse_file_is_compacted_at_the_next_load_and_a_crash_meanwhile_loses_nothing() {
    let filled = Disk::default();
    let mut registry = Embedded::on(filled.clone()).expect("opens");
    let (_, fence) = registry.load().expect("loads");
    for part in 0..20 {
        let agents: Vec<RegistryChange> =
            (0..500).map(|number| admitted(&format!("{part}-{number}-{}", "x".repeat(400)))).collect();
        registry.append(fence, &agents).expect("appended");
    }
    let all: Vec<String> = registry.load().expect("loads").0.agents.into_keys().collect();
    let (_, fence) = registry.load().expect("loads");
    let forgotten = |id: &String| RegistryChange { kind: Some(Kind::AgentForgotten(id.clone())) };
    registry.append(fence, &all[1..].iter().map(forgotten).collect::<Vec<_>>()).expect("appended");
    drop(registry);
    let large = filled.size();
    for seed in 0..20 {
        let mut rng = StdRng::seed_from_u64(seed);
        let disk = filled.after_power_cut(&mut StdRng::seed_from_u64(0));
        let mut registry = Embedded::on(disk.clone()).expect("opens");
        disk.fail_after(rng.random_range(0..400));
        let cut = registry.load().is_err();
        drop(registry);
        let disk = disk.after_power_cut(&mut rng);
        let (state, _) = Embedded::on(disk.clone()).and_then(|mut registry| registry.load()).expect("loads");
        assert_eq!(state.agents.into_keys().collect::<Vec<_>>(), all[..1], "seed {seed}, cut off: {cut}");
        assert!(disk.size() * 4 < large, "seed {seed}: {} of {large} bytes", disk.size());
    }
}
