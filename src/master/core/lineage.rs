//! Which run of a framework's driver is the present one, and which were replaced.
//!
//! A run that was cut off when another took its framework over may come back after its session is long gone. It must not
//! take the framework back: who replaced it was started later. A master that was started anew does not know of those
//! that were replaced before.

use std::collections::VecDeque;

use bytes::Bytes;

/// So many that were replaced are remembered, the latest.
const REMEMBERED: usize = 64;

/// The runs of one framework. A run without an identity can neither be replaced nor kept out.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    present: Bytes,
    replaced: VecDeque<Bytes>,
}

impl Lineage {
    pub(super) fn was_replaced(&self, instance: &Bytes) -> bool {
        self.replaced.contains(instance)
    }

    pub(super) fn is_present(&self, instance: &Bytes) -> bool {
        !instance.is_empty() && *instance == self.present
    }

    /// This run has the framework from now on.
    pub(super) fn takes_over(&mut self, instance: Bytes) {
        if instance == self.present {
            return;
        }
        let old = std::mem::replace(&mut self.present, instance);
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
        lineage.takes_over(Bytes::new());
        (0..REMEMBERED + 2).for_each(|number| lineage.takes_over(run(number)));
        lineage.takes_over(run(REMEMBERED + 1));
        assert!(!lineage.was_replaced(&run(REMEMBERED + 1)), "it is the present one");
        assert!(lineage.was_replaced(&run(REMEMBERED)) && lineage.was_replaced(&run(1)));
        assert!(!lineage.was_replaced(&run(0)) && !lineage.was_replaced(&Bytes::new()));
    }
}
