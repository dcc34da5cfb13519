//! How much of an agent a client may have: what its role and its abilities open to it, cut to what quotas allow.

use std::borrow::Cow;
use std::sync::Arc;

use super::amounts::{Amounts, Totals};
use super::spending::counts;
use super::tree::Allowance;
use crate::types::{Milli, Resource, Resources};

/// Kinds of resources that only some frameworks can deal with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
pub struct Abilities {
    /// Resources that may be taken back at any time.
    pub revocable: bool,
    /// Volumes that several tasks use.
    pub shared: bool,
    /// Reservations on top of reservations.
    pub refinement: bool,
    /// Agents with graphics processors, and all that is beside them.
    pub gpus: bool,
}

/// The part of `free` that a client of this role and these abilities may have, quotas aside; `gpus` says whether any
/// are among it.
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

/// What quotas leave to one client at one moment.
#[derive(Debug)]
pub(super) struct Measure<'a> {
    pub(super) totals: &'a Totals,
    pub(super) allowance: Allowance,
    /// What is free beyond all that is kept back for guarantees.
    pub(super) surplus: &'a Amounts,
}

impl Measure<'_> {
    /// Cuts what counts for quotas; reservations, ranges, sets and what is revocable pass.
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

    /// Whether this holds something that is guaranteed to the client's role and missing.
    pub(super) fn feeds(&self, part: &Resources) -> bool {
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
