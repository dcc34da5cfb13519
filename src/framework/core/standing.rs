//! Which calls the core would take at this moment, so that a handle can refuse one at once instead of by a callback.
//!
//! | call | without a master | on its way when the connection breaks |
//! |---|---|---|
//! | accept, launch | refused; each task is told dropped | in doubt: told so, settled by reconciliation |
//! | decline, message | refused | lost; the offers are void, messages may be lost anyway |
//! | kill | kept, one per task | sent again, as it is until it is known to have arrived |
//! | reconcile | kept, one question per task | asked again |
//! | acknowledge | kept, one per task | the agent repeats the status |
//! | revive, suppress, request | kept as a state, told at registration | told at registration |
//! | stop | waits up to 10 s for a teardown | sent again |

use super::{Driver, input::Request};

/// A reading of what the core would take; by the time a call gets there it may have changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each queue that can be full")]
pub(crate) struct Standing {
    subscribed: bool,
    kills_full: bool,
    questions_full: bool,
    acknowledgements_full: bool,
    unheard: bool,
}

/// Why a call would not be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Objection {
    /// There is no master, and the call is void by the time there is.
    Disconnected,
    /// There is no room for another call of that kind, as the master has settled none.
    Full,
    /// So many refusals and doubts of earlier calls wait for a callback that there is no room for this one's.
    Unheard,
}

impl Standing {
    /// What speaks against a call.
    pub(crate) fn objection(self, request: &Request) -> Option<Objection> {
        // A kill and an acknowledgement are answered by statuses.
        let answered_for = matches!(request, Request::Stop(_) | Request::Kill { .. } | Request::Acknowledge { .. });
        if self.unheard && !answered_for {
            return Some(Objection::Unheard);
        }
        let full = match request {
            Request::Stop(_) => false,
            Request::Kill { .. } => self.kills_full,
            Request::Acknowledge { .. } => self.acknowledgements_full && !self.subscribed,
            Request::Accept { .. } | Request::Decline { .. } | Request::Message { .. } if !self.subscribed => {
                return Some(Objection::Disconnected);
            }
            Request::Reconcile { .. } => self.questions_full && !self.subscribed,
            Request::Accept { .. }
            | Request::Decline { .. }
            | Request::Message { .. }
            | Request::Demand { .. }
            | Request::Revive { .. }
            | Request::Suppress { .. } => false,
        };
        full.then_some(Objection::Full)
    }
}

impl Driver {
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            subscribed: self.subscribed(),
            kills_full: self.tasks.is_full_of_kills(),
            questions_full: self.tasks.is_full_of_questions(),
            acknowledgements_full: self.queued.is_full_of_acknowledgements(),
            unheard: self.deliveries.are_unheard(),
        }
    }
}
