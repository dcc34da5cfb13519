//! The calls of the framework: sent when subscribed; otherwise kept, answered here, or refused, by kind.

use bytes::Bytes;

use super::{
    Driver,
    input::{Effect, Request},
    master_link::Sent,
    wire,
};
use crate::{
    framework::event::SchedulerEvent,
    proto::v1::{self, AgentId, ExecutorId, Filters, OfferId, TaskId, offer::Operation, task_status::Reason},
    types::Now,
};

/// Why a call that cannot wait was refused.
const NO_MASTER: &str = "not connected to a master; make the call again when registered";
const IN_USE: &str = "a task of that id is live; a new task needs a new id";
const TOO_MANY_QUESTIONS: &str = "too many questions about tasks wait for an answer of the master";

impl Driver {
    pub(super) fn called(&mut self, now: Now, seq: u64, request: Request, out: &mut Vec<Effect>) {
        if let Request::Stop(stop) = request {
            return self.stop(now, stop, out);
        }
        if self.stopping.is_some() {
            return;
        }
        match request {
            Request::Accept { offer_ids, operations, filters } => {
                self.accept(now, seq, offer_ids, operations, filters, out);
            }
            Request::Decline { offer_ids, filters } => self.decline(offer_ids, filters, seq, out),
            Request::Kill { task_id, policy } => self.kill(now, seq, &task_id, policy, out),
            Request::Reconcile { tasks } => self.reconcile(seq, tasks, out),
            Request::Demand { requests } => self.request_resources(seq, requests, out),
            Request::Revive { roles } => self.revive(seq, roles, out),
            Request::Suppress { roles } => self.suppress(seq, roles, out),
            Request::Message { agent_id, executor_id, data } => self.message(seq, agent_id, executor_id, data, out),
            Request::Acknowledge { task_id, agent_id, uuid } => self.acknowledged(task_id, agent_id, uuid, out),
            Request::Stop(_) => {}
        }
    }

    /// Queues offers; declines them at once when a callback has been running for longer than the hold time.
    pub(super) fn offered(&mut self, now: Now, offers: Vec<v1::Offer>, out: &mut Vec<Effect>) {
        let stuck = self.deliveries.busy_since_ns().is_some_and(|since_ns| now.since(since_ns) > self.options.hold);
        if stuck || self.stopping.is_some() {
            let ids = offers.into_iter().map(|offer| offer.id).collect();
            return self.send(wire::decline(ids, None), 0, Sent::Plain, out);
        }
        for offer in offers {
            self.offers.arrived(now, offer);
        }
    }

    pub(super) fn return_overdue_offers(&mut self, now: Now, out: &mut Vec<Effect>) {
        let expired = self.offers.expired(now);
        if expired.is_empty() {
            return;
        }
        for offer in expired.iter().filter(|offer| offer.delivered) {
            self.queue_event(SchedulerEvent::OfferRescinded(offer.id.clone()));
        }
        let ids = expired.into_iter().map(|offer| offer.id).collect();
        self.send(wire::decline(ids, None), 0, Sent::Plain, out);
    }

    /// Sends the calls that waited for a master.
    pub(super) fn send_queued(&mut self, out: &mut Vec<Effect>) {
        let revived = std::mem::take(&mut self.queued.revived);
        if !revived.is_empty() {
            self.send_revive(0, revived.into_iter().collect(), out);
        }
        if !self.queued.demand.is_empty() {
            self.send(wire::request(self.queued.demand.clone()), 0, Sent::Plain, out);
        }
        for (task_id, (agent_id, uuid)) in std::mem::take(&mut self.queued.acknowledgements) {
            self.send(wire::acknowledge(task_id, agent_id, uuid), 0, Sent::Plain, out);
        }
    }

    fn accept(
        &mut self,
        now: Now,
        seq: u64,
        offer_ids: Vec<OfferId>,
        mut operations: Vec<Operation>,
        filters: Option<Filters>,
        out: &mut Vec<Effect>,
    ) {
        if !self.subscribed() {
            return self.drop_all(now, seq, operations, (Reason::MasterDisconnected, NO_MASTER), out);
        }
        let agent_id = match self.offers.take(&offer_ids) {
            Ok(agent_id) => agent_id,
            Err((problem, others)) => {
                if !others.is_empty() {
                    let at_once = Some(Filters { refuse_seconds: Some(0.0) });
                    self.send(wire::decline(others, at_once), 0, Sent::Plain, out);
                }
                return self.drop_all(now, seq, operations, (Reason::InvalidOffers, &problem), out);
            }
        };
        self.refuse_in_use(seq, &mut operations);
        let mut launched = Vec::new();
        for task in operations.iter_mut().filter_map(wire::launched).flatten() {
            if task.agent_id.value.is_empty() {
                task.agent_id.clone_from(&agent_id);
            }
            launched.push(self.tasks.launched(task));
        }
        // Without operations it is a decline, void once the offers are.
        let sent = if operations.is_empty() { Sent::Plain } else { Sent::Accept(launched) };
        self.send(wire::accept(offer_ids, operations, filters), seq, sent, out);
    }

    /// Refuses tasks whose id a live task has: the master's statuses would be attributed to the live one.
    fn refuse_in_use(&mut self, seq: u64, operations: &mut [Operation]) {
        for tasks in operations.iter_mut().filter_map(wire::launched) {
            tasks.retain(|task| {
                let free = !self.tasks.may_live(&task.task_id.value);
                if !free {
                    self.refuse(seq, "accept.operations.launch.task_infos.task_id", IN_USE);
                }
                free
            });
        }
    }

    /// Answers operations that are not sent to the master: tasks by a status, others by a refusal.
    fn drop_all(
        &mut self,
        now: Now,
        seq: u64,
        operations: Vec<Operation>,
        (reason, text): (Reason, &str),
        out: &mut Vec<Effect>,
    ) {
        for mut operation in operations {
            let tasks = wire::launched(&mut operation).map(std::mem::take).unwrap_or_default();
            if tasks.is_empty() {
                self.refuse(seq, "accept.operations", text);
            }
            for task in &tasks {
                if self.tasks.may_live(&task.task_id.value) {
                    self.refuse(seq, "accept.operations.launch.task_infos.task_id", IN_USE);
                    continue;
                }
                self.drop_task(now, task, reason, text.to_owned(), out);
            }
        }
    }

    fn decline(&mut self, offer_ids: Vec<OfferId>, filters: Option<Filters>, seq: u64, out: &mut Vec<Effect>) {
        let offer_ids = self.offers.take_known(offer_ids);
        if !offer_ids.is_empty() {
            self.send(wire::decline(offer_ids, filters), seq, Sent::Plain, out);
        }
    }

    /// Without a master the questions are sent at registration, with the driver's own.
    fn reconcile(&mut self, seq: u64, tasks: Vec<(TaskId, Option<AgentId>)>, out: &mut Vec<Effect>) {
        if tasks.is_empty() {
            self.tasks.asked_all();
        } else if !self.tasks.asked(&tasks) {
            return self.refuse(seq, "reconcile.tasks", TOO_MANY_QUESTIONS);
        }
        if self.subscribed() {
            let tasks = tasks.into_iter().map(|(task_id, agent_id)| self.question(task_id, agent_id)).collect();
            self.send(wire::reconcile(tasks), seq, Sent::Plain, out);
        }
    }

    fn request_resources(&mut self, seq: u64, requests: Vec<v1::Request>, out: &mut Vec<Effect>) {
        self.queued.demand.clone_from(&requests);
        if self.subscribed() {
            self.send(wire::request(requests), seq, Sent::Plain, out);
        }
    }

    fn revive(&mut self, seq: u64, roles: Vec<String>, out: &mut Vec<Effect>) {
        let roles = self.named(roles);
        self.queued.unsuppress(&roles);
        if self.subscribed() {
            self.send_revive(seq, roles, out);
        } else {
            self.queued.revived.extend(roles);
        }
    }

    fn suppress(&mut self, seq: u64, roles: Vec<String>, out: &mut Vec<Effect>) {
        let roles = self.named(roles);
        self.queued.suppress(&roles);
        if self.subscribed() {
            let roles = self.all_or(roles);
            self.send(wire::suppress(roles), seq, Sent::Plain, out);
        }
    }

    fn message(&mut self, seq: u64, agent_id: AgentId, executor_id: ExecutorId, data: Bytes, out: &mut Vec<Effect>) {
        if self.subscribed() {
            self.send(wire::message(agent_id, executor_id, data), seq, Sent::Plain, out);
        } else {
            self.refuse(seq, "message", NO_MASTER);
        }
    }

    fn send_revive(&mut self, seq: u64, roles: Vec<String>, out: &mut Vec<Effect>) {
        let sent = Sent::Revive(roles.clone());
        let roles = self.all_or(roles);
        self.send(wire::revive(roles), seq, sent, out);
    }

    /// The roles that a call is about; none named means all of them.
    fn named(&self, roles: Vec<String>) -> Vec<String> {
        if roles.is_empty() { self.roles.clone() } else { roles }
    }

    /// On the wire, all roles are encoded as none.
    fn all_or(&self, roles: Vec<String>) -> Vec<String> {
        if self.roles.iter().all(|role| roles.contains(role)) { Vec::new() } else { roles }
    }
}
