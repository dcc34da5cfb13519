//! Weights in the core: set together, refused together, and removed from a registry if invalid.

use super::world::World;
use crate::{
    master::{
        core::{Answer, Config, Effect, Question},
        registry::State,
    },
    proto::{
        internal::{RegistryChange, registry_change::Kind},
        v1::WeightInfo,
    },
};

fn set(world: &mut World, weights: &[(&str, f64)]) -> Answer {
    let weights = weights.iter().map(|(role, weight)| ((*role).to_owned(), *weight)).collect();
    world.ask(Question::Weights { weights })
}

fn written(role: &str, weight: f64) -> RegistryChange {
    RegistryChange { kind: Some(Kind::Weight(WeightInfo { weight, role: Some(role.to_owned()) })) }
}

#[test]
fn weights_are_written_together_before_they_are_confirmed() {
    let mut world = World::new();
    assert!(matches!(set(&mut world, &[("a", 2.0), ("b/c", 0.5)]), Answer::Done));
    let [Effect::Persist { changes, .. }, Effect::Reply { .. }] = world.effects.as_slice() else {
        panic!("{:?}", world.effects)
    };
    assert_eq!(*changes, [written("a", 2.0), written("b/c", 0.5)]);
    assert_eq!(world.facts().weights.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 2.0), ("b/c".to_owned(), 0.5)]);
}

#[test]
fn one_invalid_weight_leaves_all_as_they_were_and_the_refusal_names_its_number() {
    for (role, weight, prefix) in [
        ("c", 0.0, "update_weights.weight_infos[2].weight: 0 for role c: it must be over 0 and finite"),
        ("c", f64::NAN, "update_weights.weight_infos[2].weight: NaN for role c: it must be over 0 and finite"),
        ("c", f64::INFINITY, "update_weights.weight_infos[2].weight: inf for role c: it must be over 0 and finite"),
        ("c/..", 1.0, "update_weights.weight_infos[2].role: "),
    ] {
        let mut world = World::new();
        let answer = set(&mut world, &[("a", 2.0), ("b", 3.0), (role, weight)]);
        assert!(matches!(&answer, Answer::Refused(text) if text.starts_with(prefix)), "{answer:?}");
        assert!(world.persisted().is_empty());
        assert!(world.facts().weights.is_empty());
    }
}

/// A registry may be another cluster's, or restored from its backup.
#[test]
fn invalid_weights_of_a_registry_are_removed_at_the_start() {
    let mut state = State::default();
    for (role, weight) in [("nothing", 0.0), ("no number", f64::NAN), ("negative", -1.0), ("/", 2.0), ("sound", 3.0)] {
        state.weights.insert(role.to_owned(), weight);
    }
    let mut world = World::with(state, Config::default());
    assert_eq!(world.harness.core.snapshot().weights.into_iter().collect::<Vec<_>>(), [("sound".to_owned(), 3.0)]);
    assert!(matches!(set(&mut world, &[("nothing", 2.0)]), Answer::Done));
}
