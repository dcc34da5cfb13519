//! What one instance takes of an agent: amounts, ports and items of sets.
//!
//! The setters never fail, so that a demand reads as one expression; an amount that makes no sense is remembered and
//! reported by [`Demand::check`].

use std::collections::{BTreeMap, BTreeSet};

use super::RequestError;
use crate::types::{Milli, QuantityError};

/// What one instance takes. A request has one, and any number of alternatives to it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Demand {
    /// How much of each scalar resource, by name; `mem` and `disk` in MiB.
    pub scalars: BTreeMap<String, Milli>,
    /// How many ports besides the fixed ones; which, is chosen while placing.
    pub ports: u32,
    /// Ports by number.
    pub fixed_ports: BTreeSet<u16>,
    /// Items of sets, by the set's name.
    pub sets: BTreeMap<String, SetDemand>,
    invalid: Option<RequestError>,
}

/// What one instance takes of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SetDemand {
    /// Items by name.
    pub items: BTreeSet<String>,
    /// How many items besides those; which, is chosen while placing.
    pub any: u32,
}

impl Demand {
    /// Processors, in steps of 0.001.
    #[must_use]
    pub fn cpus(self, cpus: f64) -> Self {
        self.amount("cpus", cpus)
    }

    /// Memory in MiB.
    #[must_use]
    pub fn mem_mib(self, mebibytes: impl Into<f64>) -> Self {
        self.amount("mem", mebibytes.into())
    }

    /// Disk space in MiB.
    #[must_use]
    pub fn disk_mib(self, mebibytes: impl Into<f64>) -> Self {
        self.amount("disk", mebibytes.into())
    }

    /// Graphics processors.
    #[must_use]
    pub fn gpus(self, gpus: u32) -> Self {
        self.resource("gpus", Milli::from_units(i64::from(gpus)))
    }

    /// So much of a scalar resource of any name.
    #[must_use]
    pub fn resource(mut self, name: impl Into<String>, amount: Milli) -> Self {
        self.scalars.insert(name.into(), amount);
        self
    }

    /// How many ports; the lowest free ones.
    #[must_use]
    pub fn ports(mut self, count: u32) -> Self {
        self.ports = count;
        self
    }

    /// Ports by number, before those of [`ports`](Self::ports).
    #[must_use]
    pub fn fixed_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.fixed_ports = ports.into_iter().collect();
        self
    }

    /// So many items of a set, besides those of [`set_items`](Self::set_items).
    #[must_use]
    pub fn set_of(mut self, name: impl Into<String>, count: u32) -> Self {
        self.sets.entry(name.into()).or_default().any = count;
        self
    }

    /// Items of a set by name.
    #[must_use]
    pub fn set_items<I: Into<String>>(mut self, name: impl Into<String>, items: impl IntoIterator<Item = I>) -> Self {
        self.sets.entry(name.into()).or_default().items = items.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the demand makes sense.
    ///
    /// # Errors
    ///
    /// When an amount is negative, not finite or too large, when it asks for parts of a gpu, or for nothing at all.
    pub fn check(&self) -> Result<(), RequestError> {
        if let Some(error) = &self.invalid {
            return Err(error.clone());
        }
        for (name, &amount) in &self.scalars {
            check_scalar(name, amount)?;
        }
        if let Some(name) =
            self.sets.keys().find(|name| ["cpus", "mem", "disk", "gpus", "ports"].contains(&name.as_str()))
        {
            return Err(RequestError::NotSet(name.clone()));
        }
        if self.is_nothing() { Err(RequestError::Nothing) } else { Ok(()) }
    }

    /// Whether two instances cannot share an agent, because they take the same port or item.
    pub(in crate::allocator) fn is_exclusive(&self) -> bool {
        !self.fixed_ports.is_empty() || self.sets.values().any(|set| !set.items.is_empty())
    }

    /// Whether it takes ports or items, which are somebody's in particular.
    pub(in crate::allocator) fn is_in_pieces(&self) -> bool {
        self.ports > 0 || !self.fixed_ports.is_empty() || !self.sets.is_empty()
    }

    fn is_nothing(&self) -> bool {
        let ports = self.ports > 0 || !self.fixed_ports.is_empty();
        let sets = self.sets.values().any(|set| set.any > 0 || !set.items.is_empty());
        !ports && !sets && self.scalars.values().all(|amount| amount.is_zero())
    }

    fn amount(mut self, name: &str, amount: f64) -> Self {
        match Milli::amount(amount) {
            Ok(amount) => self.resource(name, amount),
            Err(problem) => {
                self.invalid.get_or_insert_with(|| RequestError::Amount { name: name.to_owned(), problem });
                self
            }
        }
    }
}

fn check_scalar(name: &str, amount: Milli) -> Result<(), RequestError> {
    if name == "ports" {
        return Err(RequestError::NotScalar(name.to_owned()));
    }
    if amount < Milli::ZERO {
        let problem = QuantityError::Negative(amount.as_f64());
        return Err(RequestError::Amount { name: name.to_owned(), problem });
    }
    if name == "gpus" && !amount.is_whole() {
        return Err(RequestError::Fraction(amount));
    }
    Ok(())
}
