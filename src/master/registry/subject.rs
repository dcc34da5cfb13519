//! What a change is about: one agent, one framework, or one role's weight or quota.
//!
//! A change depends on nothing but the facts of its subjects, and changes nothing else. So a store may keep an entry per
//! subject and no history: its size follows what is alive.

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
    /// What this change is about; nothing where it is of no kind.
    pub(super) fn of(change: &RegistryChange) -> Vec<Self> {
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
    /// Everything there are facts about.
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

    /// The changes that make the facts about this subject out of nothing; none where there are no facts.
    pub(super) fn changes_about(&self, subject: &Subject) -> Vec<RegistryChange> {
        let kinds = match subject {
            Subject::Agent(id) => self.about_agent(id),
            Subject::Framework(id) => self.about_framework(id),
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

    /// That it is gone comes first: it takes away what was known before.
    fn about_agent(&self, id: &str) -> Vec<Kind> {
        let agent_id = id.to_owned();
        let gone = self.gone.get(id).map(|at| Kind::AgentGone(AgentGone { agent_id: agent_id.clone(), wall_ns: *at }));
        let admitted = self.agents.get(id).map(|info| Kind::AgentAdmitted(info.clone()));
        let unreachable = |wall_ns: &i64| Kind::AgentUnreachable(AgentUnreachable { agent_id, wall_ns: *wall_ns });
        gone.into_iter().chain(admitted).chain(self.unreachable.get(id).map(unreachable)).collect()
    }

    fn about_framework(&self, id: &str) -> Vec<Kind> {
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

/// What stays of many changes: the entries of the subjects they touched, made from those entries as they were.
///
/// `before` gives the changes of a subject's entry.
pub(super) fn entries_after<E>(
    changes: &[RegistryChange],
    mut before: impl FnMut(&Subject) -> Result<Vec<RegistryChange>, E>,
) -> Result<BTreeMap<Subject, Vec<RegistryChange>>, E> {
    let mut part = State::default();
    let subjects: BTreeSet<Subject> = changes.iter().flat_map(Subject::of).collect();
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

    /// Changes of all kinds about few subjects, in an order of chance.
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
    fn entries_per_subject_hold_what_the_whole_history_makes() {
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
