//! The amount of an item: a scalar, ranges or a set.

use std::collections::BTreeSet;

use crate::types::{Milli, Ranges};

/// The amount of one item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Amount {
    /// A scalar: cpus, MiB, devices.
    Scalar(Milli),
    /// Ranges of integers, such as ports.
    Ranges(Ranges),
    /// A set of names.
    Set(BTreeSet<String>),
}

/// The type of an amount; amounts of different shapes are never combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    Scalar,
    Ranges,
    Set,
}

impl Amount {
    /// Returns whether the amount is zero or empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Scalar(amount) => *amount <= Milli::ZERO,
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(set) => set.is_empty(),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Scalar(_) => Shape::Scalar,
            Self::Ranges(_) => Shape::Ranges,
            Self::Set(_) => Shape::Set,
        }
    }

    /// Returns whether `other` is contained; an amount of another shape is not.
    pub(super) fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(own), Self::Scalar(other)) => own >= other,
            (Self::Ranges(own), Self::Ranges(other)) => own.contains_all(other),
            (Self::Set(own), Self::Set(other)) => other.is_subset(own),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => false,
        }
    }

    /// Adds an amount of the same shape; one of another shape changes nothing.
    pub(super) fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(own), Self::Scalar(other)) => *own += *other,
            (Self::Ranges(own), Self::Ranges(other)) => *own += other,
            (Self::Set(own), Self::Set(other)) => own.extend(other.iter().cloned()),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => debug_assert!(false, "amounts of two shapes"),
        }
    }

    /// Adds amounts of the same shape; ranges are sorted once for all of them.
    pub(super) fn add_all<'a>(&mut self, others: impl Iterator<Item = &'a Self>) {
        match self {
            Self::Scalar(_) | Self::Set(_) => others.for_each(|other| self.add(other)),
            Self::Ranges(own) => {
                let ranges = others.filter_map(|other| match other {
                    Self::Ranges(ranges) => Some(ranges),
                    Self::Scalar(_) | Self::Set(_) => None,
                });
                let ranges: Vec<&Ranges> = ranges.collect();
                if !ranges.is_empty() {
                    *own = std::iter::once(&*own).chain(ranges).collect();
                }
            }
        }
    }

    /// Subtracts what is there of an amount of the same shape.
    pub(super) fn subtract(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(own), Self::Scalar(other)) => *own = own.saturating_sub(*other),
            (Self::Ranges(own), Self::Ranges(other)) => *own -= other,
            (Self::Set(own), Self::Set(other)) => own.retain(|item| !other.contains(item)),
            (Self::Scalar(_) | Self::Ranges(_) | Self::Set(_), _) => debug_assert!(false, "amounts of two shapes"),
        }
    }
}
