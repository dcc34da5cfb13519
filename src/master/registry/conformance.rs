//! The contract of [`Registry`](super::Registry) as tests that take any implementation.

use super::{Embedded, Memory, Registry, RegistryError, State};
use crate::proto::{
    internal::{AgentUnreachable, Quotas, RegistryChange, registry_change::Kind},
    v1,
};

fn admitted(id: &str) -> RegistryChange {
    let info =
        v1::AgentInfo { hostname: "h".into(), id: Some(v1::AgentId { value: id.into() }), ..v1::AgentInfo::default() };
    RegistryChange { kind: Some(Kind::AgentAdmitted(info)) }
}

/// A limit for a role; none at all when it is zero.
fn quota(role: &str, cpus: f64) -> RegistryChange {
    let limits = (cpus > 0.0).then(|| ("cpus".to_owned(), v1::value::Scalar { value: cpus })).into_iter().collect();
    let config = v1::quota::QuotaConfig { role: role.into(), limits, ..v1::quota::QuotaConfig::default() };
    RegistryChange { kind: Some(Kind::Quotas(Quotas { configs: vec![config] })) }
}

fn facts() -> Vec<RegistryChange> {
    vec![
        admitted("a1"),
        admitted("a2"),
        RegistryChange { kind: Some(Kind::AgentUnreachable(AgentUnreachable { agent_id: "a1".into(), wall_ns: 7 })) },
        RegistryChange { kind: Some(Kind::FrameworkRemoved("f".into())) },
        quota("r", 4.0),
        quota("passing", 1.0),
        quota("passing", 0.0),
        RegistryChange { kind: Some(Kind::Weight(v1::WeightInfo { weight: 2.0, role: Some("r".into()) })) },
    ]
}

/// What was appended is there after the next load, in order, whoever loads it.
fn keeps_what_was_appended(mut open: impl FnMut() -> Box<dyn Registry>) {
    let mut expected = State::default();
    let mut registry = open();
    let (_, fence) = registry.load().expect("a new registry loads");
    for change in facts() {
        expected.apply(&change);
        registry.append(fence, &[change]).expect("appended");
    }
    drop(registry);
    let (state, next) = open().load().expect("loads again");
    assert_eq!(state, expected);
    assert!(next > fence, "the epoch is higher at every load");
}

/// A fence of an earlier load is refused and changes nothing.
fn refuses_an_old_fence(mut open: impl FnMut() -> Box<dyn Registry>) {
    let mut registry = open();
    let (_, old) = registry.load().expect("loads");
    let (_, new) = registry.load().expect("loads");
    let refused = registry.append(old, &[admitted("a1")]);
    assert!(matches!(refused, Err(RegistryError::Fenced { .. })), "{refused:?}");
    registry.append(new, &[admitted("a2")]).expect("the new fence holds");
    let (state, _) = registry.load().expect("loads");
    assert_eq!(state.agents.keys().collect::<Vec<_>>(), ["a2"]);
}

#[test]
fn the_registry_in_memory_conforms() {
    let shared = Memory::default();
    keeps_what_was_appended(|| Box::new(shared.clone()));
    refuses_an_old_fence(|| Box::new(Memory::default()));
}

#[test]
fn the_registry_in_a_file_conforms() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    keeps_what_was_appended(|| Box::new(Embedded::open(folder.path()).expect("opens")));
    let folder = tempfile::tempdir().expect("a temporary folder");
    refuses_an_old_fence(|| Box::new(Embedded::open(folder.path()).expect("opens")));
}

#[test]
fn a_registry_in_use_names_the_directory_and_the_way_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let _held = Embedded::open(folder.path()).expect("opens");
    let text = Embedded::open(folder.path()).expect_err("in use").to_string();
    assert!(text.contains(&folder.path().display().to_string()) && text.contains("--work-dir"), "{text}");
}

#[test]
fn a_state_is_what_its_own_changes_make() {
    let mut state = State::default();
    for change in facts() {
        state.apply(&change);
    }
    let mut again = State::default();
    for change in state.as_changes() {
        again.apply(&change);
    }
    assert_eq!(again, state);
}

#[test]
fn a_registry_from_before_there_were_quotas_has_none() {
    let mut state = State::default();
    state.apply(&admitted("a1"));
    assert!(state.quotas.is_empty());
    for change in facts() {
        state.apply(&change);
    }
    assert_eq!(state.quotas.keys().collect::<Vec<_>>(), ["r"], "the other was removed again");
}

#[test]
fn the_oldest_tombstone_goes_when_there_are_too_many() {
    let mut state = State::default();
    for number in 0..=super::TOMBSTONES {
        state.remove_framework(&number.to_string());
    }
    assert_eq!(state.removed_frameworks.len(), super::TOMBSTONES);
    assert!(!state.removed_frameworks.contains("0"));
}
