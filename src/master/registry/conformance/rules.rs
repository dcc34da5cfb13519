//! The rules, one function each, in the order in which they are tried.

use super::{Place, Rule, Tried, admitted, facts, removed, taken_over};
use crate::{
    master::registry::{Fence, Registry, RegistryError, State},
    proto::{
        internal::{AgentUnreachable, RegistryChange, registry_change::Kind},
        v1,
    },
};

/// Agents of the large state.
const LARGE: usize = 5_000;
/// Changes of one agent in the long history: more than any registry should keep.
const LONG: usize = 12_000;

pub(super) fn all<P: Place>() -> Vec<Rule<P>> {
    vec![
        ("a new registry is empty and has an epoch", starts_empty),
        ("every kind of change is there after the next load", keeps_every_kind),
        ("after each append the registry that is opened next has that much and no more", keeps_every_prefix),
        ("changes take effect in their order, within an append and across", keeps_the_order),
        ("frameworks that are removed and forgotten leave nothing", forgets_frameworks),
        ("who replaced whom at the head of a framework is kept, in order", keeps_lineages),
        ("the epoch rises at every load, whoever loads", raises_the_epoch),
        ("a fence of an earlier load is refused and changes nothing", refuses_an_old_fence),
        ("a fence nobody was given is refused", refuses_a_made_up_fence),
        ("a second master takes the registry over from the first", fences_across_handles),
        ("the position is the number of changes ever appended", counts_changes),
        ("a change appended twice is applied once", repeats_are_harmless),
        ("an append without changes tells the position and checks the fence", appends_nothing),
        ("a large state and a large change come back whole", keeps_large_states),
        ("a long history of few facts is loaded as those facts", keeps_long_histories),
        ("a store that cannot be reached is unavailable, and as it was when it is back", tells_what_is_unavailable),
        ("after an append that failed the position counts what was done of it", goes_on_after_a_failure),
        ("a store that was unavailable for a load can be loaded by the same", loads_after_a_failure),
        ("what is damaged is an error, never part of the facts", tells_what_is_damaged),
    ]
}

fn open(place: &impl Place) -> Box<dyn Registry> {
    place.open().unwrap_or_else(|error| panic!("the place cannot be opened: {error}"))
}

fn load(registry: &mut dyn Registry) -> (State, Fence) {
    registry.load().unwrap_or_else(|error| panic!("the registry cannot be loaded: {error}"))
}

fn append(registry: &mut dyn Registry, fence: Fence, changes: &[RegistryChange]) -> u64 {
    let appended = registry.append(fence, changes);
    appended.unwrap_or_else(|error| panic!("{} changes are not appended: {error}", changes.len())).0
}

fn made_by(changes: &[RegistryChange]) -> State {
    changes.iter().collect()
}

fn unreachable(id: &str, wall_ns: i64) -> RegistryChange {
    let agent = AgentUnreachable { agent_id: id.to_owned(), wall_ns };
    RegistryChange { kind: Some(Kind::AgentUnreachable(agent)) }
}

fn starts_empty(place: &impl Place) -> Tried {
    let (state, fence) = load(&mut *open(place));
    assert_eq!(state, State::default(), "a new registry holds nothing");
    assert!(fence.epoch() > 0, "the first epoch is above what an agent knows that never saw a master");
    Tried::Holds
}

fn keeps_every_kind(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &facts());
    assert_eq!(load(&mut *registry).0, made_by(&facts()), "loaded again by the same");
    drop(registry);
    assert_eq!(load(&mut *open(place)).0, made_by(&facts()), "loaded by the next");
    Tried::Holds
}

fn keeps_every_prefix(place: &impl Place) -> Tried {
    let mut expected = State::default();
    for change in facts() {
        let mut registry = open(place);
        let (state, fence) = load(&mut *registry);
        assert_eq!(state, expected, "before {change:?} is appended");
        append(&mut *registry, fence, std::slice::from_ref(&change));
        // Nothing but the append is there to make it durable.
        drop(registry);
        expected.apply(&change);
    }
    assert_eq!(load(&mut *open(place)).0, expected);
    Tried::Holds
}

fn keeps_the_order(place: &impl Place) -> Tried {
    let back = RegistryChange { kind: Some(Kind::AgentReachable("a".to_owned())) };
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[admitted("a"), unreachable("a", 1), back.clone(), unreachable("a", 2)]);
    append(&mut *registry, fence, &[back]);
    append(&mut *registry, fence, &[unreachable("a", 4), unreachable("a", 3)]);
    drop(registry);
    let (state, _) = load(&mut *open(place));
    assert_eq!(state.unreachable.get("a"), Some(&3), "the last change counts");
    Tried::Holds
}

fn forgets_frameworks(place: &impl Place) -> Tried {
    let forgotten = |id: &str| RegistryChange { kind: Some(Kind::FrameworkForgotten(id.to_owned())) };
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[taken_over("f", "one", 1), removed("f", 2), removed("g", 3)]);
    append(&mut *registry, fence, &[removed("f", 9), forgotten("g")]);
    let state = load_elsewhere(place, registry);
    assert!(state.runs.is_empty(), "no run has a framework that was removed: {:?}", state.runs);
    assert_eq!(state.removed_frameworks.oldest_first().collect::<Vec<_>>(), [("f", 2)], "the first removal counts");
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[forgotten("f")]);
    assert_eq!(load_elsewhere(place, registry), State::default());
    Tried::Holds
}

fn keeps_lineages(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[taken_over("f", "first", 1), taken_over("g", "first", 2)]);
    append(&mut *registry, fence, &[taken_over("f", "second", 3)]);
    drop(registry);
    let mut registry = open(place);
    let (state, fence) = load(&mut *registry);
    let f = &state.runs["f"];
    assert_eq!((&**f.present(), f.since_ns()), (&b"second"[..], 3), "the last has it");
    assert!(f.was_replaced(&"first".into()) && !state.runs["g"].was_replaced(&"first".into()), "{:?}", state.runs);
    append(&mut *registry, fence, &[taken_over("f", "third", 4)]);
    drop(registry);
    let (state, _) = load(&mut *open(place));
    let runs: Vec<&[u8]> = state.runs["f"].runs().map(|run| &**run).collect();
    assert_eq!(runs, [&b"first"[..], b"second", b"third"]);
    Tried::Holds
}

fn raises_the_epoch(place: &impl Place) -> Tried {
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let mut registry = open(place);
        epochs.push(load(&mut *registry).1.epoch());
        epochs.push(load(&mut *registry).1.epoch());
    }
    assert!(epochs.windows(2).all(|two| two[0] < two[1]), "each is above the one before: {epochs:?}");
    Tried::Holds
}

fn refuses_an_old_fence(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, old) = load(&mut *registry);
    let (_, new) = load(&mut *registry);
    refused(&mut *registry, old, new);
    append(&mut *registry, new, &[admitted("a2")]);
    assert_eq!(load(&mut *registry).0, made_by(&[admitted("a2")]));
    Tried::Holds
}

/// `old` is refused, and the error tells both epochs.
fn refused(registry: &mut dyn Registry, old: Fence, new: Fence) {
    match registry.append(old, &[admitted("a1")]) {
        Err(RegistryError::Fenced { mine, current }) => {
            assert_eq!((mine, current), (old.epoch(), new.epoch()), "both epochs are told");
        }
        other => panic!("an append under epoch {} after epoch {} came to {other:?}", old.epoch(), new.epoch()),
    }
}

fn refuses_a_made_up_fence(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    let later = Fence::new(fence.epoch() + 1);
    let outcome = registry.append(later, &[admitted("a1")]);
    assert!(matches!(outcome, Err(RegistryError::Fenced { .. })), "an epoch that never was: {outcome:?}");
    assert_eq!(load(&mut *registry).0, State::default());
    Tried::Holds
}

fn fences_across_handles(place: &impl Place) -> Tried {
    if !place.shared() {
        return Tried::CannotBeTried;
    }
    let (mut first, mut second) = (open(place), open(place));
    let (_, old) = load(&mut *first);
    append(&mut *first, old, &[admitted("a1")]);
    let (seen, new) = load(&mut *second);
    assert_eq!(seen, made_by(&[admitted("a1")]), "the second sees what the first appended");
    refused(&mut *first, old, new);
    append(&mut *second, new, &[admitted("a2")]);
    assert_eq!(load(&mut *first).0, made_by(&[admitted("a1"), admitted("a2")]));
    Tried::Holds
}

fn counts_changes(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    assert_eq!(append(&mut *registry, fence, &[admitted("a1")]), 1);
    assert_eq!(append(&mut *registry, fence, &[admitted("a2"), admitted("a1")]), 3, "repeats count too");
    drop(registry);
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    assert_eq!(append(&mut *registry, fence, &[admitted("a3")]), 4, "across loads");
    Tried::Holds
}

fn repeats_are_harmless(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    for change in facts() {
        append(&mut *registry, fence, &[change.clone(), change.clone()]);
        append(&mut *registry, fence, &[change]);
    }
    assert_eq!(load(&mut *registry).0, made_by(&facts()));
    Tried::Holds
}

fn appends_nothing(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, old) = load(&mut *registry);
    assert_eq!(append(&mut *registry, old, &[]), 0);
    append(&mut *registry, old, &[admitted("a")]);
    assert_eq!(append(&mut *registry, old, &[]), 1);
    load(&mut *registry);
    let outcome = registry.append(old, &[]);
    assert!(matches!(outcome, Err(RegistryError::Fenced { .. })), "nothing under an old fence: {outcome:?}");
    Tried::Holds
}

fn keeps_large_states(place: &impl Place) -> Tried {
    let mut changes: Vec<RegistryChange> = (0..LARGE).map(|number| admitted(&format!("a{number}"))).collect();
    let attributes = (0..10_000).map(|number| v1::Attribute { name: format!("attribute {number}"), ..<_>::default() });
    let heavy = v1::AgentInfo {
        id: Some(v1::AgentId { value: "heavy".to_owned() }),
        attributes: attributes.collect(),
        ..v1::AgentInfo::default()
    };
    changes.push(RegistryChange { kind: Some(Kind::AgentAdmitted(heavy)) });
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    for part in changes.chunks(1_024) {
        append(&mut *registry, fence, part);
    }
    drop(registry);
    assert!(load(&mut *open(place)).0 == made_by(&changes), "{LARGE} agents came back otherwise");
    Tried::Holds
}

fn keeps_long_histories(place: &impl Place) -> Tried {
    let mut changes = vec![admitted("a")];
    changes.extend((1_i64..).take(LONG).map(|time| unreachable("a", time)));
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    for part in changes.chunks(1_024) {
        append(&mut *registry, fence, part);
    }
    // Whatever the first load made of it, the second finds the same.
    for which in ["first", "second"] {
        drop(registry);
        registry = open(place);
        assert_eq!(load(&mut *registry).0, made_by(&changes), "the {which} load");
    }
    let (_, fence) = load(&mut *registry);
    let position = append(&mut *registry, fence, &[]);
    assert_eq!(usize::try_from(position), Ok(changes.len()), "the count of changes goes on");
    Tried::Holds
}

fn tells_what_is_unavailable(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[admitted("a1")]);
    if !place.cut_off(true) {
        return Tried::CannotBeTried;
    }
    let appended = registry.append(fence, &[admitted("a2")]);
    assert!(matches!(appended, Err(RegistryError::Unavailable { .. })), "cut off: {appended:?}");
    let loaded = registry.load().map(|(_, fence)| fence);
    assert!(matches!(loaded, Err(RegistryError::Unavailable { .. })), "cut off: {loaded:?}");
    drop(registry);
    assert!(place.cut_off(false), "what can be cut off can be connected again");
    let mut registry = open(place);
    let (state, later) = load(&mut *registry);
    let (without, with) = (made_by(&[admitted("a1")]), made_by(&[admitted("a1"), admitted("a2")]));
    assert!(state == without || state == with, "an append that failed was done or not: {state:?}");
    assert!(later > fence, "the epoch is higher than before the cut");
    append(&mut *registry, later, &[admitted("a2")]);
    assert_eq!(load(&mut *registry).0, with, "trying again is harmless");
    Tried::Holds
}

/// What a master does after a failure: it asks how far the registry has got, and appends what is missing.
fn goes_on_after_a_failure(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    let before = append(&mut *registry, fence, &[admitted("a1"), unreachable("a1", 1)]);
    if !place.cut_off(true) {
        return Tried::CannotBeTried;
    }
    let changes = [unreachable("a1", 2), admitted("a2"), unreachable("a1", 3)];
    for _ in 0..3 {
        let appended = registry.append(fence, &changes);
        assert!(matches!(appended, Err(RegistryError::Unavailable { .. })), "cut off: {appended:?}");
    }
    assert!(place.cut_off(false), "what can be cut off can be connected again");
    let done = append(&mut *registry, fence, &[]) - before;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    let rest = changes.get(done..).unwrap_or_else(|| panic!("{done} of {} changes were appended", changes.len()));
    let (state, after) = (load_elsewhere(place, registry), before + 3);
    let known = [admitted("a1"), unreachable("a1", 1)];
    assert_eq!(state, made_by(&[&known, &changes[..done]].concat()), "the position counts what is there");
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    assert_eq!(append(&mut *registry, fence, rest), after, "with the rest all of them are there");
    assert_eq!(load_elsewhere(place, registry), made_by(&[&known[..], &changes].concat()));
    Tried::Holds
}

fn loads_after_a_failure(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[admitted("a1")]);
    if !place.cut_off(true) {
        return Tried::CannotBeTried;
    }
    let loaded = registry.load().map(|(_, fence)| fence);
    assert!(matches!(loaded, Err(RegistryError::Unavailable { .. })), "cut off: {loaded:?}");
    assert!(place.cut_off(false), "what can be cut off can be connected again");
    let (state, later) = load(&mut *registry);
    assert_eq!(state, made_by(&[admitted("a1")]));
    assert!(later > fence, "the epoch is higher than before the cut");
    append(&mut *registry, later, &[admitted("a2")]);
    Tried::Holds
}

fn load_elsewhere(place: &impl Place, registry: Box<dyn Registry>) -> State {
    drop(registry);
    load(&mut *open(place)).0
}

fn tells_what_is_damaged(place: &impl Place) -> Tried {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    for change in facts() {
        append(&mut *registry, fence, &[change]);
    }
    drop(registry);
    if !place.damage() {
        return Tried::CannotBeTried;
    }
    let outcome = place.open().and_then(|mut registry| registry.load().map(|(state, _)| state));
    assert!(matches!(outcome, Err(RegistryError::Corrupt { .. })), "damaged: {outcome:?}");
    Tried::Holds
}
