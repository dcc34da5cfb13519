//! A client's way to the master: the attempt its core made last, and the link that came of it.
//!
//! What comes over a link that is not the way's any more, or of an attempt that was given up, concerns nobody.

use super::links::LinkId;

/// Nowhere yet, on the way, or there.
#[derive(Debug, Default)]
pub(super) struct Way {
    attempt: Option<u64>,
    link: Option<LinkId>,
}

impl Way {
    /// The client tries anew. Answers with the link it leaves behind, if it has one.
    pub(super) fn begin(&mut self, attempt: u64) -> Option<LinkId> {
        self.attempt = Some(attempt);
        self.link.take()
    }

    /// Whether this attempt is still on its way.
    pub(super) fn waits(&self, attempt: u64) -> bool {
        self.under_way() == Some(attempt)
    }

    /// The attempt that is still on its way.
    pub(super) fn under_way(&self) -> Option<u64> {
        self.attempt.filter(|_| self.link.is_none())
    }

    /// The attempt that waits has got there.
    pub(super) fn arrive(&mut self, link: LinkId) {
        self.link = Some(link);
    }

    /// The link of an attempt, for what is sent.
    pub(super) fn link(&self, attempt: u64) -> Option<LinkId> {
        self.link.filter(|_| self.attempt == Some(attempt))
    }

    /// The attempt that a link came of, for what is received.
    pub(super) fn attempt(&self, link: LinkId) -> Option<u64> {
        self.attempt.filter(|_| self.link == Some(link))
    }

    /// The client gives an attempt up. Answers with the link that is to be let go.
    pub(super) fn give_up(&mut self, attempt: u64) -> Option<LinkId> {
        if self.attempt != Some(attempt) {
            return None;
        }
        self.attempt = None;
        self.link.take()
    }

    /// The link is gone. Answers with the attempt that ends with it.
    pub(super) fn lose(&mut self, link: LinkId) -> Option<u64> {
        if self.link != Some(link) {
            return None;
        }
        self.link = None;
        self.attempt.take()
    }

    /// The attempt came to nothing. Answers whether it was waited for.
    pub(super) fn fail(&mut self, attempt: u64) -> bool {
        let waited = self.waits(attempt);
        if waited {
            self.attempt = None;
        }
        waited
    }
}
