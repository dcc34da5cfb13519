//! How a driver ends: teardown, failover, abort, or an error of the master.

use std::time::Duration;

use super::{
    Driver, Phase,
    input::{Effect, Finished, Stop},
    master_link::Sent,
    wire,
};
use crate::{framework::event::SchedulerEvent, proto::v1::scheduler::call, types::Now};

/// How long the driver tries to tear the framework down.
const TEARDOWN_WAIT: Duration = Duration::from_secs(10);

/// A teardown without a confirmation of the master.
#[derive(Debug)]
pub(super) struct Stopping {
    pub(super) due_ns: u64,
    sent: bool,
}

impl Driver {
    pub(super) fn stop(&mut self, now: Now, stop: Stop, out: &mut Vec<Effect>) {
        match stop {
            Stop::Failover => self.finish(Finished::LeftForFailover, out),
            Stop::Abort => self.finish(Finished::Aborted, out),
            Stop::Teardown if self.stopping.is_some() => {}
            Stop::Teardown if !self.may_be_known() => self.finish(Finished::TornDown, out),
            Stop::Teardown => {
                self.stopping = Some(Stopping { due_ns: now.mono_after(TEARDOWN_WAIT), sent: false });
                if self.subscribed() {
                    self.send_teardown(out);
                } else {
                    self.started(out);
                }
            }
        }
    }

    /// False when no master can have the framework. A master that received SUBSCRIBE may have it although its answer
    /// was lost: the next SUBSCRIBE of this instance returns the same framework, which can then be torn down.
    fn may_be_known(&self) -> bool {
        self.framework_id.is_some() || self.subscribe_sent
    }

    pub(super) fn send_teardown(&mut self, out: &mut Vec<Effect>) {
        if let Some(stopping) = &mut self.stopping {
            stopping.sent = true;
        }
        self.send(wire::bare(None, call::Type::Teardown), 0, Sent::Teardown, out);
    }

    pub(super) fn stop_overdue(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.stopping.as_ref().is_some_and(|stopping| stopping.due_ns <= now.mono_ns) {
            self.finish(Finished::TeardownUnconfirmed, out);
        }
    }

    /// The master ended the session; after a teardown that counts as its confirmation.
    pub(super) fn fail(&mut self, message: String, out: &mut Vec<Effect>) {
        if self.stopping.as_ref().is_some_and(|stopping| stopping.sent) {
            return self.finish(Finished::TornDown, out);
        }
        let (callback, event) = self.deliveries.last(SchedulerEvent::Error(message.clone()));
        out.push(Effect::Deliver { callback, event });
        self.finish(Finished::Failed(message), out);
    }

    pub(super) fn finish(&mut self, how: Finished, out: &mut Vec<Effect>) {
        self.phase = if how == Finished::Aborted { Phase::Aborted } else { Phase::Stopped };
        self.offers.clear();
        out.push(Effect::Disconnect { session: self.link.session() });
        self.finished = Some(how.clone());
        out.push(Effect::Finish(how));
    }
}
