//! The contract of [`Registry`] as a suite that any implementation can be run against.
//!
//! An implementer says where a registry of theirs is kept ([`Place`]) and calls [`run`] in a test; every rule gets a new
//! place. A rule that needs something from outside which a place cannot do (damaging what is stored, cutting the store
//! off) is reported as skipped, never passed over in silence.

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

/// Where a registry under test keeps its facts. It starts with none.
pub trait Place {
    /// Opens the registry at this place. What was opened before is dropped by then, unless the place is
    /// [shared](Self::shared).
    ///
    /// # Errors
    /// Whatever the registry says, for example that what it finds is damaged.
    fn open(&self) -> Result<Box<dyn Registry>, RegistryError>;

    /// Whether it can be open twice at once, as a store for several masters can.
    fn shared(&self) -> bool {
        false
    }

    /// Damages what is stored so that it cannot be read in full; false where that cannot be done.
    fn damage(&self) -> bool {
        false
    }

    /// Cuts what is open off from its store, or connects it again; false where that cannot be done.
    fn cut_off(&self, _off: bool) -> bool {
        false
    }
}

/// What a run has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Rules that hold.
    pub passed: Vec<&'static str>,
    /// Rules that could not be tried here.
    pub skipped: Vec<&'static str>,
}

/// How a rule came out.
enum Tried {
    Holds,
    CannotBeTried,
}

type Rule<P> = (&'static str, fn(&P) -> Tried);

/// Runs the whole suite; `fresh` gives a new place for each rule.
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
/// At the first rule that is broken, with its name and what was seen.
pub fn run<P: Place>(mut fresh: impl FnMut() -> P) -> Report {
    let mut report = Report::default();
    for (name, rule) in rules::all::<P>() {
        let place = fresh();
        match rule(&place) {
            Tried::Holds => report.passed.push(name),
            Tried::CannotBeTried => report.skipped.push(name),
        }
    }
    report
}

/// Changes of every kind there is; together they leave something of each that can be seen.
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

/// This run of the framework took it over then.
fn taken_over(framework: &str, instance: &'static str, wall_ns: i64) -> RegistryChange {
    let instance = instance.as_bytes().into();
    let run = FrameworkRun { framework_id: framework.to_owned(), instance, wall_ns };
    RegistryChange { kind: Some(Kind::FrameworkRun(run)) }
}

/// This framework was removed then.
fn removed(framework: &str, wall_ns: i64) -> RegistryChange {
    let tombstone = FrameworkTombstone { framework_id: framework.to_owned(), wall_ns };
    RegistryChange { kind: Some(Kind::FrameworkTombstone(tombstone)) }
}

/// An agent of this id was admitted.
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
