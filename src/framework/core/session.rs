//! One stream to the master: connecting, subscribing, receiving frames, and losing the connection.

use std::time::Duration;

use super::{
    Driver, Phase,
    input::{Effect, Finished},
    master_link::{PendingCall, Sent},
    wire,
};
use crate::{
    framework::event::{InDoubt, Refusal, SchedulerEvent},
    proto::{
        ext,
        v1::{
            FrameworkInfo, TaskId,
            scheduler::{Call, Event, call, event},
        },
    },
    types::Now,
};

/// How long the master may take to answer SUBSCRIBE.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(30);

impl Driver {
    pub(super) fn started(&mut self, out: &mut Vec<Effect>) {
        if self.phase == Phase::Disconnected {
            self.link.open(out);
            self.phase = Phase::Connecting;
        }
    }

    pub(super) fn connected(&mut self, now: Now, session: u64, out: &mut Vec<Effect>) {
        if session != self.link.session() || self.phase != Phase::Connecting {
            return;
        }
        self.phase = Phase::Subscribing { due_ns: now.mono_after(SUBSCRIBE_WAIT) };
        self.subscribe_sent = true;
        let framework_info = FrameworkInfo { id: self.framework_id.clone(), ..self.options.framework.clone() };
        let suppressed_roles = self.queued.suppressed.iter().cloned().collect();
        let instance = Some(self.options.instance.clone());
        let subscribe = call::Subscribe { framework_info, suppressed_roles, offer_constraints: None, instance };
        let call = Call { subscribe: Some(Box::new(subscribe)), ..wire::bare(None, call::Type::Subscribe) };
        self.send(call, 0, Sent::Plain, out);
    }

    pub(super) fn disconnected(&mut self, session: u64, reason: &str, leader: Option<String>, out: &mut Vec<Effect>) {
        if session == self.link.session() && self.phase != Phase::Disconnected {
            self.connection_lost(reason, leader, out);
        }
    }

    pub(super) fn received(&mut self, now: Now, session: u64, frame: ext::Events, out: &mut Vec<Effect>) {
        if session != self.link.session() || matches!(self.phase, Phase::Disconnected | Phase::Connecting) {
            return;
        }
        if frame.version != 0 && frame.version != super::VERSION {
            let text =
                format!("the master speaks version {} of the stream, this driver {}", frame.version, super::VERSION);
            return self.fail(text, out);
        }
        self.record_liveness(now);
        for event in frame.events {
            self.event_received(now, event, out);
            if self.ended() {
                return;
            }
        }
        // The statuses of a call's tasks precede its refusal, in this frame or an earlier one.
        for refused in frame.refused {
            self.refused(now, refused, out);
        }
        if self.link.applied(frame.applied_seq) {
            self.finish(Finished::TornDown, out);
        }
    }

    /// Closes the connection and requests another one.
    pub(super) fn reconnect(&mut self, reason: &str, out: &mut Vec<Effect>) {
        out.push(Effect::Disconnect { session: self.link.session() });
        self.connection_lost(reason, None, out);
    }

    /// Sends a call on the current stream.
    pub(super) fn send(&mut self, mut call: Call, user_seq: u64, sent: Sent, out: &mut Vec<Effect>) {
        call.framework_id.clone_from(&self.framework_id);
        self.link.send(call, user_seq, sent, out);
    }

    /// Reports that a call of the user was refused.
    pub(super) fn refuse(&mut self, seq: u64, field: &str, text: impl Into<String>) {
        self.queue_event(SchedulerEvent::Refused(Refusal { seq, field: field.to_owned(), text: text.into() }));
    }

    fn connection_lost(&mut self, reason: &str, leader: Option<String>, out: &mut Vec<Effect>) {
        if leader.is_some() || std::mem::replace(&mut self.link.outage_logged, true) {
            tracing::debug!(leader, "still not connected to a master: {reason}");
        } else {
            tracing::warn!("not connected to a master: {reason}; retrying");
        }
        if self.subscribed() {
            self.queue_event(SchedulerEvent::Disconnected);
        }
        self.offers.clear();
        self.reconciliation.reset();
        for call in self.link.take_pending() {
            self.carry_over(call);
        }
        self.phase = Phase::Connecting;
        self.link.reopen(leader, &mut self.rng, out);
    }

    /// Carries a call without a confirmation over to the next session; launches are resolved by reconciliation.
    fn carry_over(&mut self, call: PendingCall) {
        match call.sent {
            Sent::Revive(roles) => {
                let suppressed = &self.queued.suppressed;
                let wanted = roles.into_iter().filter(|role| !suppressed.contains(role));
                self.queued.revived.extend(wanted);
            }
            Sent::Accept(tasks) => {
                let in_doubt = tasks.iter().filter(|task_id| self.tasks.is_unreported(task_id));
                let task_ids: Vec<_> = in_doubt.map(|task_id| TaskId { value: task_id.to_string() }).collect();
                if tasks.is_empty() || !task_ids.is_empty() {
                    self.queue_event(SchedulerEvent::InDoubt(InDoubt { seq: call.user_seq, task_ids }));
                }
            }
            // Kept elsewhere, sent again at registration, or void.
            Sent::Kill(_) | Sent::Plain | Sent::Teardown => {}
        }
    }

    fn record_liveness(&mut self, now: Now) {
        if self.subscribed() {
            self.phase = Phase::Subscribed { due_ns: now.mono_after(self.link.idle_timeout()) };
        }
    }

    fn event_received(&mut self, now: Now, event: Event, out: &mut Vec<Effect>) {
        let kind = event.r#type.and_then(|kind| event::Type::try_from(kind).ok()).unwrap_or(event::Type::Unknown);
        if kind == event::Type::Subscribed {
            if let Some(subscribed) = event.subscribed {
                self.subscription(now, *subscribed, out);
            }
            return;
        }
        if kind == event::Type::Error {
            let message = event.error.map(|error| error.message).unwrap_or_default();
            return self.fail(message, out);
        }
        if !self.subscribed() {
            return;
        }
        self.dispatch_event(now, kind, event, out);
    }

    fn dispatch_event(&mut self, now: Now, kind: event::Type, event: Event, out: &mut Vec<Effect>) {
        match kind {
            event::Type::Offers => self.offered(now, event.offers.map(|offers| offers.offers).unwrap_or_default(), out),
            event::Type::Rescind => {
                if let Some(rescind) = event.rescind.filter(|rescind| self.offers.rescinded(&rescind.offer_id)) {
                    self.queue_event(SchedulerEvent::OfferRescinded(rescind.offer_id));
                }
            }
            event::Type::Update => {
                if let Some(update) = event.update {
                    self.status_received(now, update.status, out);
                }
            }
            event::Type::Message => {
                if let Some(message) = event.message {
                    let event::Message { agent_id, executor_id, data } = *message;
                    self.queue_event(SchedulerEvent::FrameworkMessage { agent_id, executor_id, data });
                }
            }
            event::Type::Failure => self.failure(event.failure.map(|failure| *failure)),
            event::Type::Heartbeat | event::Type::Unknown | event::Type::Subscribed | event::Type::Error => {}
            event::Type::InverseOffers | event::Type::RescindInverseOffer | event::Type::UpdateOperationStatus => {
                tracing::debug!(kind = kind.as_str_name(), "ignored an event without a callback");
            }
        }
    }

    fn failure(&mut self, failure: Option<event::Failure>) {
        let Some(event::Failure { agent_id: Some(agent_id), executor_id, status }) = failure else { return };
        self.queue_event(match executor_id {
            None => SchedulerEvent::AgentLost(agent_id),
            Some(executor_id) => SchedulerEvent::ExecutorLost { executor_id, agent_id, status: status.unwrap_or(-1) },
        });
    }

    fn subscription(&mut self, now: Now, subscribed: event::Subscribed, out: &mut Vec<Effect>) {
        self.link.established(subscribed.heartbeat_interval_seconds);
        self.phase = Phase::Subscribed { due_ns: now.mono_after(self.link.idle_timeout()) };
        self.framework_id = Some(subscribed.framework_id.clone());
        if self.stopping.is_some() {
            return self.send_teardown(out);
        }
        let master = Box::new(subscribed.master_info.unwrap_or_default());
        self.queue_event(if self.registered {
            SchedulerEvent::Reregistered { master }
        } else {
            SchedulerEvent::Registered { framework_id: subscribed.framework_id, master }
        });
        self.registered = true;
        self.send_queued(out);
        self.reconcile_all(now, out);
    }
}
