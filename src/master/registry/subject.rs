//! What a change is about: one agent, one framework, or one role's weight or quota.
//!
//! A change depends only on the facts about its subjects, and changes only those. So a store may hold one entry per
//! subject and no history: its size is proportional to what is alive.

use std::collections::{BTreeMap, BTreeSet};

use super::State;
use crate::proto::{
    internal::{
        AgentGone, AgentUnreachable, FrameworkRun, FrameworkTombstone, Quotas, RegistryChange, registry_change::Kind,
    },
    v1,
};

/// What facts are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Agent(String),
    Framework(String),
    Weight(String),
    Quota(String),
}

impl Subject {
    /// The subjects of a change; none where it has no kind.
    pub(super) fn of_change(change: &RegistryChange) -> Vec<Self> {
        match &change.kind {
            None => Vec::new(),
            Some(Kind::AgentAdmitted(info)) => info.id.iter().map(|id| Self::Agent(id.value.clone())).collect(),
            Some(
                Kind::AgentUnreachable(AgentUnreachable { agent_id, .. }) | Kind::AgentGone(AgentGone { agent_id, .. }),
            ) => {
                vec![Self::Agent(agent_id.clone())]
            }
            Some(Kind::AgentReachable(id) | Kind::AgentRemoved(id) | Kind::AgentForgotten(id)) => {
                vec![Self::Agent(id.clone())]
            }
            Some(Kind::FrameworkRemoved(id) | Kind::FrameworkForgotten(id)) => vec![Self::Framework(id.clone())],
            Some(Kind::FrameworkTombstone(FrameworkTombstone { framework_id, .. })) => {
                vec![Self::Framework(framework_id.clone())]
            }
            Some(Kind::FrameworkRun(run)) => vec![Self::Framework(run.framework_id.clone())],
            Some(Kind::Weight(weight)) => vec![Self::Weight(weight.role().to_owned())],
            Some(Kind::Quotas(quotas)) => {
                quotas.configs.iter().map(|config| Self::Quota(config.role.clone())).collect()
            }
        }
    }

    /// The name of its entry in a store.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Agent(id) => format!("agent/{id}"),
            Self::Framework(id) => format!("framework/{id}"),
            Self::Weight(role) => format!("weight/{role}"),
            Self::Quota(role) => format!("quota/{role}"),
        }
    }
}

impl State {
    /// All subjects that have facts.
    pub(super) fn subjects(&self) -> BTreeSet<Subject> {
        let agents = self.agents.keys().chain(self.unreachable.keys()).chain(self.gone.keys());
        let frameworks =
            self.runs.keys().map(String::as_str).chain(self.removed_frameworks.oldest_first().map(|it| it.0));
        let agents = agents.cloned().map(Subject::Agent);
        let frameworks = frameworks.map(|id| Subject::Framework(id.to_owned()));
        let weights = self.weights.keys().cloned().map(Subject::Weight);
        let quotas = self.quotas.keys().cloned().map(Subject::Quota);
        agents.chain(frameworks).chain(weights).chain(quotas).collect()
    }

    /// The changes that produce the facts about this subject from an empty state.
    pub(super) fn changes_about(&self, subject: &Subject) -> Vec<RegistryChange> {
        let kinds = match subject {
            Subject::Agent(id) => self.agent_changes(id),
            Subject::Framework(id) => self.framework_changes(id),
            Subject::Weight(role) => {
                let weight = |weight: &f64| Kind::Weight(v1::WeightInfo { weight: *weight, role: Some(role.clone()) });
                self.weights.get(role).map(weight).into_iter().collect()
            }
            Subject::Quota(role) => {
                let quotas = self.quotas.get(role).map(|config| Quotas { configs: vec![config.clone()] });
                quotas.map(Kind::Quotas).into_iter().collect()
            }
        };
        kinds.into_iter().map(|kind| RegistryChange { kind: Some(kind) }).collect()
    }

    /// `AgentGone` comes first, because it removes the other facts.
    fn agent_changes(&self, id: &str) -> Vec<Kind> {
        let agent_id = id.to_owned();
        let gone = self.gone.get(id).map(|at| Kind::AgentGone(AgentGone { agent_id: agent_id.clone(), wall_ns: *at }));
        let admitted = self.agents.get(id).map(|info| Kind::AgentAdmitted(info.clone()));
        let unreachable = |wall_ns: &i64| Kind::AgentUnreachable(AgentUnreachable { agent_id, wall_ns: *wall_ns });
        gone.into_iter().chain(admitted).chain(self.unreachable.get(id).map(unreachable)).collect()
    }

    fn framework_changes(&self, id: &str) -> Vec<Kind> {
        let tombstone = |wall_ns| FrameworkTombstone { framework_id: id.to_owned(), wall_ns };
        let tombstone = self.removed_frameworks.since_ns(id).map(|at| Kind::FrameworkTombstone(tombstone(at)));
        let runs = self.runs.get(id).into_iter().flat_map(|lineage| {
            lineage.runs().map(|instance| {
                let (instance, wall_ns) = (instance.clone(), lineage.since_ns());
                Kind::FrameworkRun(FrameworkRun { framework_id: id.to_owned(), instance, wall_ns })
            })
        });
        tombstone.into_iter().chain(runs).collect()
    }
}

/// Applies changes to the entries of their subjects and returns the new entries.
///
/// `before` returns the changes in a subject's present entry.
pub(super) fn entries_after<E>(
    changes: &[RegistryChange],
    mut before: impl FnMut(&Subject) -> Result<Vec<RegistryChange>, E>,
) -> Result<BTreeMap<Subject, Vec<RegistryChange>>, E> {
    let mut part = State::default();
    let subjects: BTreeSet<Subject> = changes.iter().flat_map(Subject::of_change).collect();
    for subject in &subjects {
        for change in before(subject)? {
            part.apply(&change);
        }
    }
    for change in changes {
        part.apply(change);
    }
    Ok(subjects.into_iter().map(|subject| (subject.clone(), part.changes_about(&subject))).collect())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

    use super::*;
    use crate::master::registry::conformance::{admitted, facts};

    /// Changes of all kinds about few subjects, in random order.
    fn history(rng: &mut StdRng) -> Vec<RegistryChange> {
        let mut kinds = facts();
        for id in ["a1", "a3"] {
            let gone = AgentGone { agent_id: id.to_owned(), wall_ns: rng.random_range(1..9) };
            kinds.push(RegistryChange { kind: Some(Kind::AgentGone(gone)) });
            kinds.push(admitted(id));
            kinds.push(RegistryChange { kind: Some(Kind::AgentRemoved(id.to_owned())) });
        }
        kinds.push(RegistryChange { kind: Some(Kind::FrameworkRemoved("g".to_owned())) });
        kinds.push(RegistryChange { kind: Some(Kind::FrameworkForgotten("g".to_owned())) });
        (0..rng.random_range(0..60)).filter_map(|_| kinds.choose(rng).cloned()).collect()
    }

    #[test]
    fn entries_per_subject_produce_the_same_state_as_the_whole_history() {
        let mut rng = StdRng::seed_from_u64(3);
        for _ in 0..400 {
            let history = history(&mut rng);
            let mut entries: BTreeMap<Subject, Vec<RegistryChange>> = BTreeMap::new();
            for part in history.chunks(rng.random_range(1..9)) {
                let before = |subject: &Subject| Ok::<_, Infallible>(entries.get(subject).cloned().unwrap_or_default());
                let after = entries_after(part, before).expect("infallible");
                entries.extend(after);
            }
            let whole: State = history.iter().collect();
            let parts: State = entries.values().flatten().collect();
            assert_eq!(parts, whole);
            let there: BTreeSet<Subject> = entries.into_iter().filter(|it| !it.1.is_empty()).map(|it| it.0).collect();
            assert_eq!(there, whole.subjects());
        }
    }
}
