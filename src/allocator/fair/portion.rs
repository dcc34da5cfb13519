//! The part of an agent that a client may get: by its role and abilities, reduced to what quotas allow.

use std::borrow::Cow;
use std::sync::Arc;

use super::amounts::{Amounts, Totals};
use super::spending::counts;
use super::tree::Allowance;
use crate::types::{Milli, Resource, Resources};

/// Kinds of resources that only frameworks with a capability receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
pub struct Abilities {
    /// Revocable resources.
    pub revocable: bool,
    /// Shared volumes.
    pub shared: bool,
    /// Refined reservations.
    pub refinement: bool,
    /// Agents with gpus, and everything else on them.
    pub gpus: bool,
}

/// Returns the part of `free` for a client of this role and these abilities, without quotas; `gpus` is whether it
/// includes any.
pub(super) fn suitable<'r>(free: &'r Resources, gpus: bool, role: &str, able: Abilities) -> Cow<'r, Resources> {
    if gpus && !able.gpus {
        return Cow::Owned(Resources::default());
    }
    let fits = |item: &Resource| {
        let kind = item.kind();
        kind.is_allocatable_to(role)
            && (able.revocable || !kind.is_revocable())
            && (able.shared || !kind.is_shared())
            && (able.refinement || !kind.is_refined())
    };
    if free.iter().all(fits) { Cow::Borrowed(free) } else { Cow::Owned(free.filter(fits)) }
}

/// The quota of one client at one moment.
#[derive(Debug)]
pub(super) struct Measure<'a> {
    pub(super) totals: &'a Totals,
    pub(super) allowance: Allowance,
    /// What is free beyond everything that guarantees require.
    pub(super) surplus: &'a Amounts,
}

impl Measure<'_> {
    /// Reduces what counts for quotas; reservations, ranges, sets and revocable resources pass.
    pub(super) fn cut<'r>(&self, part: Cow<'r, Resources>) -> Cow<'r, Resources> {
        let mut most: Vec<(Arc<str>, Milli)> = Vec::new();
        let mut tight = false;
        for item in part.iter().filter(|item| counts(item)) {
            let name = item.kind().name();
            let allowed = self.allowed(name);
            tight |= item.scalar().unwrap_or_default() > allowed || most.iter().any(|(other, _)| other == name);
            most.push((name.clone(), allowed));
        }
        if !tight {
            return part;
        }
        let mut cut = part.filter(counts).shrink_to(&most);
        cut += &part.filter(|item| !counts(item));
        Cow::Owned(cut)
    }

    /// Returns whether this contains something that the client's role is guaranteed and lacks.
    pub(super) fn has_missing_guarantee(&self, part: &Resources) -> bool {
        part.iter().filter(|item| counts(item)).any(|item| {
            let kept = self.totals.index_of(item.name()).map_or(0, |name| self.allowance.kept.of(name));
            kept > 0 && item.scalar().is_some_and(|amount| !amount.is_zero())
        })
    }

    fn allowed(&self, name: &str) -> Milli {
        let Some(index) = self.totals.index_of(name) else { return Milli::MAX };
        let room =
            self.allowance.room.iter().find(|(limited, _)| *limited == index).map_or(i64::MAX, |(_, room)| *room);
        let open = self.surplus.of(index).saturating_add(self.allowance.kept.of(index));
        Milli::from_raw(open.min(room).max(0))
    }
}
