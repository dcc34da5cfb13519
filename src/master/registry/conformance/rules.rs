//! The rules, one function each, in the order in which they run.

use super::{Place, Rule, RuleResult, admitted, facts, removed, taken_over};
use crate::{
    master::registry::{Fence, Registry, RegistryError, State},
    proto::{
        internal::{AgentUnreachable, RegistryChange, registry_change::Kind},
        v1,
    },
};

/// Agents of the large state.
const LARGE: usize = 5_000;
/// Changes of one agent in the long history: more than any registry should store.
const LONG: usize = 12_000;

pub(super) fn all<P: Place>() -> Vec<Rule<P>> {
    vec![
        ("a new registry is empty and has an epoch", starts_empty),
        ("every kind of change is loaded again", stores_every_kind),
        ("after each append the next load returns exactly what was appended", stores_every_prefix),
        ("changes take effect in their order, within an append and across", preserves_the_order),
        ("frameworks that are removed and forgotten leave nothing", forgets_frameworks),
        ("the instances that replaced each other are stored in order", stores_lineages),
        ("the epoch rises at every load", raises_the_epoch),
        ("a fence of an earlier load is refused and changes nothing", refuses_an_old_fence),
        ("a fence that no load returned is refused", refuses_an_unknown_fence),
        ("a second master takes the registry over from the first", fences_across_handles),
        ("the position is the number of changes ever appended", counts_changes),
        ("a change appended twice is applied once", applies_repeats_once),
        ("an append without changes returns the position and checks the fence", appends_nothing),
        ("a large state and a large change are loaded completely", stores_large_states),
        ("a long history of few facts is loaded as those facts", stores_long_histories),
        ("a disconnected store is unavailable, and unchanged once it is reconnected", reports_an_unavailable_store),
        ("after a failed append the position counts what was appended of it", appends_after_a_failure),
        ("a load that failed because of an unavailable store can be retried", loads_after_a_failure),
        ("damage is an error: part of the facts is never returned", reports_damage),
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

fn state_of(changes: &[RegistryChange]) -> State {
    changes.iter().collect()
}

fn unreachable(id: &str, wall_ns: i64) -> RegistryChange {
    let agent = AgentUnreachable { agent_id: id.to_owned(), wall_ns };
    RegistryChange { kind: Some(Kind::AgentUnreachable(agent)) }
}

fn starts_empty(place: &impl Place) -> RuleResult {
    let (state, fence) = load(&mut *open(place));
    assert_eq!(state, State::default(), "a new registry holds nothing");
    assert!(fence.epoch() > 0, "the first epoch is above 0, the epoch of an agent that never registered");
    RuleResult::Passed
}

fn stores_every_kind(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &facts());
    assert_eq!(load(&mut *registry).0, state_of(&facts()), "loaded again by the same");
    drop(registry);
    assert_eq!(load(&mut *open(place)).0, state_of(&facts()), "loaded by the next");
    RuleResult::Passed
}

fn stores_every_prefix(place: &impl Place) -> RuleResult {
    let mut expected = State::default();
    for change in facts() {
        let mut registry = open(place);
        let (state, fence) = load(&mut *registry);
        assert_eq!(state, expected, "before {change:?} is appended");
        append(&mut *registry, fence, std::slice::from_ref(&change));
        // Only the append makes the change durable.
        drop(registry);
        expected.apply(&change);
    }
    assert_eq!(load(&mut *open(place)).0, expected);
    RuleResult::Passed
}

fn preserves_the_order(place: &impl Place) -> RuleResult {
    let reachable = RegistryChange { kind: Some(Kind::AgentReachable("a".to_owned())) };
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[admitted("a"), unreachable("a", 1), reachable.clone(), unreachable("a", 2)]);
    append(&mut *registry, fence, &[reachable]);
    append(&mut *registry, fence, &[unreachable("a", 4), unreachable("a", 3)]);
    drop(registry);
    let (state, _) = load(&mut *open(place));
    assert_eq!(state.unreachable.get("a"), Some(&3), "the last change counts");
    RuleResult::Passed
}

fn forgets_frameworks(place: &impl Place) -> RuleResult {
    let forgotten = |id: &str| RegistryChange { kind: Some(Kind::FrameworkForgotten(id.to_owned())) };
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[taken_over("f", "one", 1), removed("f", 2), removed("g", 3)]);
    append(&mut *registry, fence, &[removed("f", 9), forgotten("g")]);
    let state = reopen_and_load(place, registry);
    assert!(state.runs.is_empty(), "no run has a framework that was removed: {:?}", state.runs);
    assert_eq!(state.removed_frameworks.oldest_first().collect::<Vec<_>>(), [("f", 2)], "the first removal counts");
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[forgotten("f")]);
    assert_eq!(reopen_and_load(place, registry), State::default());
    RuleResult::Passed
}

fn stores_lineages(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[taken_over("f", "first", 1), taken_over("g", "first", 2)]);
    append(&mut *registry, fence, &[taken_over("f", "second", 3)]);
    drop(registry);
    let mut registry = open(place);
    let (state, fence) = load(&mut *registry);
    let f = &state.runs["f"];
    assert_eq!((&**f.present(), f.since_ns()), (&b"second"[..], 3), "the last instance is the current one");
    assert!(f.was_replaced(&"first".into()) && !state.runs["g"].was_replaced(&"first".into()), "{:?}", state.runs);
    append(&mut *registry, fence, &[taken_over("f", "third", 4)]);
    drop(registry);
    let (state, _) = load(&mut *open(place));
    let runs: Vec<&[u8]> = state.runs["f"].runs().map(|run| &**run).collect();
    assert_eq!(runs, [&b"first"[..], b"second", b"third"]);
    RuleResult::Passed
}

fn raises_the_epoch(place: &impl Place) -> RuleResult {
    let mut epochs = Vec::new();
    for _ in 0..3 {
        let mut registry = open(place);
        epochs.push(load(&mut *registry).1.epoch());
        epochs.push(load(&mut *registry).1.epoch());
    }
    assert!(epochs.windows(2).all(|two| two[0] < two[1]), "each is above the one before: {epochs:?}");
    RuleResult::Passed
}

fn refuses_an_old_fence(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, old) = load(&mut *registry);
    let (_, new) = load(&mut *registry);
    check_refused(&mut *registry, old, new);
    append(&mut *registry, new, &[admitted("a2")]);
    assert_eq!(load(&mut *registry).0, state_of(&[admitted("a2")]));
    RuleResult::Passed
}

/// Checks that `old` is refused, and that the error has both epochs.
fn check_refused(registry: &mut dyn Registry, old: Fence, new: Fence) {
    match registry.append(old, &[admitted("a1")]) {
        Err(RegistryError::Fenced { mine, current }) => {
            assert_eq!((mine, current), (old.epoch(), new.epoch()), "the error has both epochs");
        }
        other => panic!("an append under epoch {} after epoch {} came to {other:?}", old.epoch(), new.epoch()),
    }
}

fn refuses_an_unknown_fence(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    let later = Fence::new(fence.epoch() + 1);
    let outcome = registry.append(later, &[admitted("a1")]);
    assert!(matches!(outcome, Err(RegistryError::Fenced { .. })), "an epoch that no load returned: {outcome:?}");
    assert_eq!(load(&mut *registry).0, State::default());
    RuleResult::Passed
}

fn fences_across_handles(place: &impl Place) -> RuleResult {
    if !place.shared() {
        return RuleResult::Skipped;
    }
    let (mut first, mut second) = (open(place), open(place));
    let (_, old) = load(&mut *first);
    append(&mut *first, old, &[admitted("a1")]);
    let (seen, new) = load(&mut *second);
    assert_eq!(seen, state_of(&[admitted("a1")]), "the second sees what the first appended");
    check_refused(&mut *first, old, new);
    append(&mut *second, new, &[admitted("a2")]);
    assert_eq!(load(&mut *first).0, state_of(&[admitted("a1"), admitted("a2")]));
    RuleResult::Passed
}

fn counts_changes(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    assert_eq!(append(&mut *registry, fence, &[admitted("a1")]), 1);
    assert_eq!(append(&mut *registry, fence, &[admitted("a2"), admitted("a1")]), 3, "repeats count too");
    drop(registry);
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    assert_eq!(append(&mut *registry, fence, &[admitted("a3")]), 4, "across loads");
    RuleResult::Passed
}

fn applies_repeats_once(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    for change in facts() {
        append(&mut *registry, fence, &[change.clone(), change.clone()]);
        append(&mut *registry, fence, &[change]);
    }
    assert_eq!(load(&mut *registry).0, state_of(&facts()));
    RuleResult::Passed
}

fn appends_nothing(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, old) = load(&mut *registry);
    assert_eq!(append(&mut *registry, old, &[]), 0);
    append(&mut *registry, old, &[admitted("a")]);
    assert_eq!(append(&mut *registry, old, &[]), 1);
    load(&mut *registry);
    let outcome = registry.append(old, &[]);
    assert!(matches!(outcome, Err(RegistryError::Fenced { .. })), "nothing under an old fence: {outcome:?}");
    RuleResult::Passed
}

fn stores_large_states(place: &impl Place) -> RuleResult {
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
    assert!(load(&mut *open(place)).0 == state_of(&changes), "{LARGE} agents were not loaded as appended");
    RuleResult::Passed
}

fn stores_long_histories(place: &impl Place) -> RuleResult {
    let mut changes = vec![admitted("a")];
    changes.extend((1_i64..).take(LONG).map(|time| unreachable("a", time)));
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    for part in changes.chunks(1_024) {
        append(&mut *registry, fence, part);
    }
    // The first load may rewrite the store; the second must return the same.
    for which in ["first", "second"] {
        drop(registry);
        registry = open(place);
        assert_eq!(load(&mut *registry).0, state_of(&changes), "the {which} load");
    }
    let (_, fence) = load(&mut *registry);
    let position = append(&mut *registry, fence, &[]);
    assert_eq!(usize::try_from(position), Ok(changes.len()), "the count of changes continues");
    RuleResult::Passed
}

fn reports_an_unavailable_store(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[admitted("a1")]);
    if !place.cut_off(true) {
        return RuleResult::Skipped;
    }
    let appended = registry.append(fence, &[admitted("a2")]);
    assert!(matches!(appended, Err(RegistryError::Unavailable { .. })), "cut off: {appended:?}");
    let loaded = registry.load().map(|(_, fence)| fence);
    assert!(matches!(loaded, Err(RegistryError::Unavailable { .. })), "cut off: {loaded:?}");
    drop(registry);
    assert!(place.cut_off(false), "a place that can disconnect its store can reconnect it");
    let mut registry = open(place);
    let (state, later) = load(&mut *registry);
    let (without, with) = (state_of(&[admitted("a1")]), state_of(&[admitted("a1"), admitted("a2")]));
    assert!(state == without || state == with, "an append that failed was done or not: {state:?}");
    assert!(later > fence, "the epoch is higher than before the cut");
    append(&mut *registry, later, &[admitted("a2")]);
    assert_eq!(load(&mut *registry).0, with, "a repeated append changes nothing");
    RuleResult::Passed
}

/// As a master does after a failure: it reads the position and appends the missing changes.
fn appends_after_a_failure(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    let before = append(&mut *registry, fence, &[admitted("a1"), unreachable("a1", 1)]);
    if !place.cut_off(true) {
        return RuleResult::Skipped;
    }
    let changes = [unreachable("a1", 2), admitted("a2"), unreachable("a1", 3)];
    for _ in 0..3 {
        let appended = registry.append(fence, &changes);
        assert!(matches!(appended, Err(RegistryError::Unavailable { .. })), "cut off: {appended:?}");
    }
    assert!(place.cut_off(false), "a place that can disconnect its store can reconnect it");
    let done = append(&mut *registry, fence, &[]) - before;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    let rest = changes.get(done..).unwrap_or_else(|| panic!("{done} of {} changes were appended", changes.len()));
    let (state, after) = (reopen_and_load(place, registry), before + 3);
    let known = [admitted("a1"), unreachable("a1", 1)];
    assert_eq!(state, state_of(&[&known, &changes[..done]].concat()), "the position counts what is stored");
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    assert_eq!(append(&mut *registry, fence, rest), after, "with the rest all changes are stored");
    assert_eq!(reopen_and_load(place, registry), state_of(&[&known[..], &changes].concat()));
    RuleResult::Passed
}

fn loads_after_a_failure(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    append(&mut *registry, fence, &[admitted("a1")]);
    if !place.cut_off(true) {
        return RuleResult::Skipped;
    }
    let loaded = registry.load().map(|(_, fence)| fence);
    assert!(matches!(loaded, Err(RegistryError::Unavailable { .. })), "cut off: {loaded:?}");
    assert!(place.cut_off(false), "a place that can disconnect its store can reconnect it");
    let (state, later) = load(&mut *registry);
    assert_eq!(state, state_of(&[admitted("a1")]));
    assert!(later > fence, "the epoch is higher than before the cut");
    append(&mut *registry, later, &[admitted("a2")]);
    RuleResult::Passed
}

fn reopen_and_load(place: &impl Place, registry: Box<dyn Registry>) -> State {
    drop(registry);
    load(&mut *open(place)).0
}

fn reports_damage(place: &impl Place) -> RuleResult {
    let mut registry = open(place);
    let (_, fence) = load(&mut *registry);
    for change in facts() {
        append(&mut *registry, fence, &[change]);
    }
    drop(registry);
    if !place.damage() {
        return RuleResult::Skipped;
    }
    let outcome = place.open().and_then(|mut registry| registry.load().map(|(state, _)| state));
    assert!(matches!(outcome, Err(RegistryError::Corrupt { .. })), "damaged: {outcome:?}");
    RuleResult::Passed
}
