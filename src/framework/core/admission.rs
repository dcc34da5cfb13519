//! Which calls the core accepts now, so that a handle can refuse one at once instead of by a callback.
//!
//! | call | without a master | on its way when the connection is lost |
//! |---|---|---|
//! | accept, launch | refused; each task is reported as dropped | reported in doubt, resolved by reconciliation |
//! | decline, message | refused | lost; the offers are void, messages may be lost anyway |
//! | kill | kept, one per task | sent again, until it is known to have arrived |
//! | reconcile | kept, one question per task | sent again |
//! | acknowledge | kept, one per task | the agent resends the status |
//! | revive, suppress, request | kept as a state, sent at registration | sent at registration |
//! | stop | waits up to 10 s for a teardown | sent again |

use super::{Driver, input::Request};

/// A snapshot of which calls the core accepts; it may have changed when a call arrives there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each queue that can be full")]
pub(crate) struct CallAdmission {
    subscribed: bool,
    kills_full: bool,
    questions_full: bool,
    acknowledgements_full: bool,
    backlog_full: bool,
}

/// Why a call would be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusalReason {
    /// There is no connection to a master, and the call cannot wait for one.
    Disconnected,
    /// Too many calls of that kind wait for an answer of the master.
    Full,
    /// Too many refusals and launches in doubt wait for a callback.
    EventBacklogFull,
}

impl CallAdmission {
    /// Why a call would be refused; `None` when it would be accepted.
    pub(crate) fn refusal_reason(self, request: &Request) -> Option<RefusalReason> {
        // The result of a kill or an acknowledgement is a status.
        let answered_for = matches!(request, Request::Stop(_) | Request::Kill { .. } | Request::Acknowledge { .. });
        if self.backlog_full && !answered_for {
            return Some(RefusalReason::EventBacklogFull);
        }
        let full = match request {
            Request::Kill { .. } => self.kills_full,
            Request::Acknowledge { .. } => self.acknowledgements_full && !self.subscribed,
            Request::Accept { .. } | Request::Decline { .. } | Request::Message { .. } if !self.subscribed => {
                return Some(RefusalReason::Disconnected);
            }
            Request::Reconcile { .. } => self.questions_full && !self.subscribed,
            Request::Stop(_)
            | Request::Accept { .. }
            | Request::Decline { .. }
            | Request::Message { .. }
            | Request::Demand { .. }
            | Request::Revive { .. }
            | Request::Suppress { .. } => false,
        };
        full.then_some(RefusalReason::Full)
    }
}

impl Driver {
    pub(crate) fn admission(&self) -> CallAdmission {
        CallAdmission {
            subscribed: self.subscribed(),
            kills_full: self.tasks.is_full_of_kills(),
            questions_full: self.tasks.is_full_of_questions(),
            acknowledgements_full: self.queued.is_full_of_acknowledgements(),
            backlog_full: self.deliveries.is_backlog_full(),
        }
    }
}
