//! Which run of a framework's driver is the present one, and which were replaced.
//!
//! A run that was cut off when another took its framework over may come back after its session is long gone, and after
//! the master that saw it replaced. It must not take the framework back. Runs are in the order in which a master first
//! took their SUBSCRIBE: a token says nothing of when its run began, because the clocks of hosts differ.

use std::collections::VecDeque;

use bytes::Bytes;

/// So many that were replaced are remembered, the latest.
const REMEMBERED: usize = 64;

/// The runs of one framework. A run that does not name itself can neither be replaced nor kept out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    present: Bytes,
    replaced: VecDeque<Bytes>,
    since_ns: i64,
}

impl Lineage {
    /// As the run that has the framework names itself; empty where it does not.
    #[must_use]
    pub fn present(&self) -> &Bytes {
        &self.present
    }

    /// When the present run took the framework over, in nanoseconds since 1970.
    #[must_use]
    pub fn since_ns(&self) -> i64 {
        self.since_ns
    }

    /// Whether another has taken the framework over from this run.
    #[must_use]
    pub fn was_replaced(&self, instance: &Bytes) -> bool {
        self.replaced.contains(instance)
    }

    /// All runs in order, the present one last.
    pub fn runs(&self) -> impl Iterator<Item = &Bytes> {
        self.replaced.iter().chain([&self.present])
    }

    /// This run has the framework from now on.
    pub(super) fn takes_over(&mut self, instance: &Bytes, wall_ns: i64) {
        self.since_ns = wall_ns;
        if *instance == self.present {
            return;
        }
        let old = std::mem::replace(&mut self.present, instance.clone());
        if !old.is_empty() {
            self.replaced.push_back(old);
        }
        while self.replaced.len() > REMEMBERED {
            self.replaced.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_that_were_replaced_are_remembered_and_no_more() {
        let mut lineage = Lineage::default();
        let run = |number: usize| Bytes::from(number.to_string());
        lineage.takes_over(&Bytes::new(), 0);
        (0..REMEMBERED + 2).for_each(|number| lineage.takes_over(&run(number), 1));
        lineage.takes_over(&run(REMEMBERED + 1), 2);
        assert!(!lineage.was_replaced(&run(REMEMBERED + 1)), "it is the present one");
        assert!(lineage.was_replaced(&run(REMEMBERED)) && lineage.was_replaced(&run(1)));
        assert!(!lineage.was_replaced(&run(0)) && !lineage.was_replaced(&Bytes::new()));
        assert_eq!((lineage.runs().count(), lineage.since_ns()), (REMEMBERED + 1, 2));
    }
}
