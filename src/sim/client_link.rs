//! A client's link to the master: the last connection attempt of its core, and the link it opened.
//!
//! Frames of an earlier link, and results of an abandoned attempt, are ignored.

use super::links::LinkId;

/// A client's connection: none, an attempt under way, or an open link.
#[derive(Debug, Default)]
pub(super) struct ClientLink {
    attempt: Option<u64>,
    link: Option<LinkId>,
}

impl ClientLink {
    /// Starts a new attempt. Returns the previous link, if any.
    pub(super) fn start_attempt(&mut self, attempt: u64) -> Option<LinkId> {
        self.attempt = Some(attempt);
        self.link.take()
    }

    /// Whether this attempt is still under way.
    pub(super) fn is_waiting_for(&self, attempt: u64) -> bool {
        self.pending_attempt() == Some(attempt)
    }

    /// The attempt that is still under way.
    pub(super) fn pending_attempt(&self) -> Option<u64> {
        self.attempt.filter(|_| self.link.is_none())
    }

    /// Sets the link that the attempt opened.
    pub(super) fn set_link(&mut self, link: LinkId) {
        self.link = Some(link);
    }

    /// The link of an attempt, for sending.
    pub(super) fn link_of_attempt(&self, attempt: u64) -> Option<LinkId> {
        self.link.filter(|_| self.attempt == Some(attempt))
    }

    /// The attempt that opened a link, for receiving.
    pub(super) fn attempt_of_link(&self, link: LinkId) -> Option<u64> {
        self.attempt.filter(|_| self.link == Some(link))
    }

    /// Abandons an attempt. Returns the link to close, if any.
    pub(super) fn abandon_attempt(&mut self, attempt: u64) -> Option<LinkId> {
        if self.attempt != Some(attempt) {
            return None;
        }
        self.attempt = None;
        self.link.take()
    }

    /// Removes a lost link. Returns the attempt that opened it.
    pub(super) fn remove_link(&mut self, link: LinkId) -> Option<u64> {
        if self.link != Some(link) {
            return None;
        }
        self.link = None;
        self.attempt.take()
    }

    /// Removes a failed attempt. Returns whether it was under way.
    pub(super) fn fail_attempt(&mut self, attempt: u64) -> bool {
        let waited = self.is_waiting_for(attempt);
        if waited {
            self.attempt = None;
        }
        waited
    }
}
