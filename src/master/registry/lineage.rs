//! Which instance of a framework's driver is current, and which were replaced.
//!
//! A replaced instance may reconnect long after its session ended, and to a later master. It must not take the
//! framework over again. Instances are in the order in which a master first accepted their SUBSCRIBE. Their tokens
//! carry no start time, because the clocks of hosts differ.

use std::collections::VecDeque;

use bytes::Bytes;

/// How many replaced instances are recorded: the latest.
const MAX_REPLACED: usize = 64;

/// The instances of one framework's driver.
///
/// An instance without a token can be neither replaced nor refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    present: Bytes,
    replaced: VecDeque<Bytes>,
    since_ns: i64,
}

impl Lineage {
    /// The token of the current instance; empty where it sent none.
    #[must_use]
    pub fn present(&self) -> &Bytes {
        &self.present
    }

    /// When the current instance took the framework over, in nanoseconds since 1970.
    #[must_use]
    pub fn since_ns(&self) -> i64 {
        self.since_ns
    }

    /// Whether another instance took the framework over from this one.
    #[must_use]
    pub fn was_replaced(&self, instance: &Bytes) -> bool {
        self.replaced.contains(instance)
    }

    /// All instances in order, the current one last.
    pub fn runs(&self) -> impl Iterator<Item = &Bytes> {
        self.replaced.iter().chain([&self.present])
    }

    /// Makes this instance the current one.
    pub(super) fn take_over(&mut self, instance: &Bytes, wall_ns: i64) {
        self.since_ns = wall_ns;
        if *instance == self.present {
            return;
        }
        let old = std::mem::replace(&mut self.present, instance.clone());
        if !old.is_empty() {
            self.replaced.push_back(old);
        }
        while self.replaced.len() > MAX_REPLACED {
            self.replaced.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_replaced_instances_are_recorded() {
        let mut lineage = Lineage::default();
        let run = |number: usize| Bytes::from(number.to_string());
        lineage.take_over(&Bytes::new(), 0);
        (0..MAX_REPLACED + 2).for_each(|number| lineage.take_over(&run(number), 1));
        lineage.take_over(&run(MAX_REPLACED + 1), 2);
        assert!(!lineage.was_replaced(&run(MAX_REPLACED + 1)), "it is the current one");
        assert!(lineage.was_replaced(&run(MAX_REPLACED)) && lineage.was_replaced(&run(1)));
        assert!(!lineage.was_replaced(&run(0)) && !lineage.was_replaced(&Bytes::new()));
        assert_eq!((lineage.runs().count(), lineage.since_ns()), (MAX_REPLACED + 1, 2));
    }
}
