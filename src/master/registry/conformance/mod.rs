//! The contract of [`Registry`] as a test suite for any implementation.
//!
//! An implementation provides a [`Place`] for its registry and calls [`run`] in a test; every rule gets a new place.
//! Some rules damage the stored facts or disconnect the store. Where a place does not support that, the rule is
//! reported as skipped.

mod rules;
#[cfg(test)]
mod tests;

use super::{Registry, RegistryError};
use crate::proto::{
    internal::{
        AgentGone, AgentUnreachable, FrameworkRun, FrameworkTombstone, Quotas, RegistryChange, registry_change::Kind,
    },
    v1::{self, quota::QuotaConfig},
};

/// Where a registry under test stores its facts; it starts empty.
pub trait Place {
    /// Opens the registry at this place.
    ///
    /// The value opened before has been dropped, unless the place is [shared](Self::shared).
    ///
    /// # Errors
    /// The registry's error, for example that its content is damaged.
    fn open(&self) -> Result<Box<dyn Registry>, RegistryError>;

    /// Whether the registry can be open twice at once, as a store for several masters can.
    fn shared(&self) -> bool {
        false
    }

    /// Damages the stored facts so that they cannot all be read; false if that is not supported.
    fn damage(&self) -> bool {
        false
    }

    /// Disconnects the open registry from its store, or reconnects it; false if that is not supported.
    fn cut_off(&self, _off: bool) -> bool {
        false
    }
}

/// The result of a run of the suite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Rules that hold.
    pub passed: Vec<&'static str>,
    /// Rules that the place does not support.
    pub skipped: Vec<&'static str>,
}

/// The result of one rule.
enum RuleResult {
    Passed,
    Skipped,
}

type Rule<P> = (&'static str, fn(&P) -> RuleResult);

/// Runs the whole suite; `fresh` returns a new place for each rule.
///
/// ```
/// use divvy::master::registry::{Memory, Registry, RegistryError, conformance};
///
/// struct Here(Memory);
///
/// impl conformance::Place for Here {
///     fn open(&self) -> Result<Box<dyn Registry>, RegistryError> {
///         Ok(Box::new(self.0.clone()))
///     }
///     fn shared(&self) -> bool {
///         true
///     }
/// }
///
/// let report = conformance::run(|| Here(Memory::default()));
/// assert!(report.passed.len() > 8);
/// ```
///
/// # Panics
/// At the first rule that is broken, with what was observed.
pub fn run<P: Place>(mut fresh: impl FnMut() -> P) -> Report {
    let mut report = Report::default();
    for (name, rule) in rules::all::<P>() {
        let place = fresh();
        match rule(&place) {
            RuleResult::Passed => report.passed.push(name),
            RuleResult::Skipped => report.skipped.push(name),
        }
    }
    report
}

/// Changes of every kind, each with a visible effect on the final state.
#[must_use]
pub fn facts() -> Vec<RegistryChange> {
    let unreachable = |id: &str| Kind::AgentUnreachable(AgentUnreachable { agent_id: id.to_owned(), wall_ns: 7 });
    let gone = AgentGone { agent_id: "a3".to_owned(), wall_ns: 8 };
    let limits = [("cpus".to_owned(), v1::value::Scalar { value: 2.5 })].into();
    let quota = QuotaConfig { role: "r".to_owned(), limits, ..QuotaConfig::default() };
    let kinds = vec![
        admitted("a1").kind,
        admitted("a2").kind,
        admitted("a3").kind,
        admitted("a4").kind,
        admitted("a5").kind,
        Some(unreachable("a1")),
        Some(unreachable("a2")),
        Some(Kind::AgentReachable("a2".to_owned())),
        Some(Kind::AgentGone(gone)),
        Some(Kind::AgentRemoved("a4".to_owned())),
        Some(Kind::FrameworkRemoved("f".to_owned())),
        Some(Kind::Weight(v1::WeightInfo { weight: 2.0, role: Some("r".to_owned()) })),
        Some(Kind::AgentForgotten("a5".to_owned())),
        taken_over("g", "one", 9).kind,
        taken_over("g", "two", 10).kind,
        taken_over("h", "one", 11).kind,
        Some(Kind::FrameworkForgotten("h".to_owned())),
        Some(Kind::Quotas(Quotas { configs: vec![quota] })),
        // Kinds are added at the end: samples of older formats hold those before.
        removed("i", 12).kind,
        removed("j", 13).kind,
        Some(Kind::FrameworkForgotten("j".to_owned())),
    ];
    kinds.into_iter().map(|kind| RegistryChange { kind }).collect()
}

/// The change that an instance of a framework took it over.
fn taken_over(framework: &str, instance: &'static str, wall_ns: i64) -> RegistryChange {
    let instance = instance.as_bytes().into();
    let run = FrameworkRun { framework_id: framework.to_owned(), instance, wall_ns };
    RegistryChange { kind: Some(Kind::FrameworkRun(run)) }
}

/// The change that a framework was removed.
fn removed(framework: &str, wall_ns: i64) -> RegistryChange {
    let tombstone = FrameworkTombstone { framework_id: framework.to_owned(), wall_ns };
    RegistryChange { kind: Some(Kind::FrameworkTombstone(tombstone)) }
}

/// The change that an agent of this id was admitted.
#[must_use]
pub fn admitted(id: &str) -> RegistryChange {
    let info = v1::AgentInfo {
        hostname: format!("host-of-{id}"),
        id: Some(v1::AgentId { value: id.to_owned() }),
        port: Some(5051),
        ..v1::AgentInfo::default()
    };
    RegistryChange { kind: Some(Kind::AgentAdmitted(info)) }
}
