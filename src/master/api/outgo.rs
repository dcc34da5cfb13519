//! Encodes the core's events and orders as wire messages.

use super::MasterFacts;
use crate::{
    master::core::{Event, OfferMade, Order, offer_id},
    proto::{
        ext,
        internal::{self, master_message::Kind},
        v1::{self, scheduler},
    },
};

/// Encodes events as one frame.
pub(crate) fn framework_frame(master: &MasterFacts, version: u32, events: Vec<Event>) -> ext::Events {
    let mut frame = ext::Events { version, ..ext::Events::default() };
    for event in events {
        match event {
            Event::Applied { seq } => frame.applied_seq = seq,
            Event::Refused { seq, field, text, partially_applied } => {
                frame.refused.push(ext::Refused { seq, field, text, partially_applied });
            }
            // The offers of one frame are sent in one event.
            Event::Offers(offers) => {
                let offers = offers.iter().map(|made| offer(master, made));
                match frame.events.last_mut().and_then(|last| last.offers.as_mut()) {
                    Some(last) => last.offers.extend(offers),
                    None => frame.events.push(offers_event(offers.collect())),
                }
            }
            Event::Failures { agents } => frame.events.extend(agents.iter().map(|agent| failure(agent))),
            other => frame.events.extend(framework_event(master, other)),
        }
    }
    frame
}

fn framework_event(master: &MasterFacts, event: Event) -> Option<scheduler::Event> {
    use scheduler::event::Type;
    let mut message = scheduler::Event::default();
    match event {
        Event::Subscribed { framework, heartbeat } => {
            message.set_type(Type::Subscribed);
            message.subscribed = Some(Box::new(scheduler::event::Subscribed {
                framework_id: v1::FrameworkId { value: framework.to_string() },
                heartbeat_interval_seconds: Some(heartbeat.as_secs_f64()),
                master_info: Some(master.info()),
            }));
        }
        Event::Rescinded { offer } => {
            message.set_type(Type::Rescind);
            let offer_id = v1::OfferId { value: offer_id(&master.id, offer) };
            message.rescind = Some(scheduler::event::Rescind { offer_id });
        }
        Event::Updated { status } => {
            message.set_type(Type::Update);
            let status = std::sync::Arc::unwrap_or_clone(status);
            message.update = Some(Box::new(scheduler::event::Update { status }));
        }
        Event::Message { agent, executor, data } => {
            message.set_type(Type::Message);
            message.message = Some(Box::new(scheduler::event::Message {
                agent_id: v1::AgentId { value: agent.to_string() },
                executor_id: v1::ExecutorId { value: executor },
                data,
            }));
        }
        Event::Error { text } => {
            message.set_type(Type::Error);
            message.error = Some(scheduler::event::Error { message: text });
        }
        Event::Heartbeat => message.set_type(Type::Heartbeat),
        Event::OperationFailed { id, text } => {
            message.set_type(Type::UpdateOperationStatus);
            let mut status = v1::OperationStatus {
                operation_id: Some(v1::OperationId { value: id }),
                message: Some(text),
                ..v1::OperationStatus::default()
            };
            status.set_state(v1::OperationState::OperationError);
            message.update_operation_status = Some(Box::new(scheduler::event::UpdateOperationStatus { status }));
        }
        Event::Applied { .. } | Event::Refused { .. } | Event::Offers(_) | Event::Failures { .. } => return None,
    }
    Some(message)
}

fn failure(agent: &str) -> scheduler::Event {
    let failure = scheduler::event::Failure {
        agent_id: Some(v1::AgentId { value: agent.to_owned() }),
        ..scheduler::event::Failure::default()
    };
    let mut message = scheduler::Event { failure: Some(Box::new(failure)), ..scheduler::Event::default() };
    message.set_type(scheduler::event::Type::Failure);
    message
}

fn offers_event(offers: Vec<v1::Offer>) -> scheduler::Event {
    let mut message = scheduler::Event { offers: Some(scheduler::event::Offers { offers }), ..Default::default() };
    message.set_type(scheduler::event::Type::Offers);
    message
}

/// An offer as sent to its framework; with an allocation role only if the framework is multi-role.
fn offer(master: &MasterFacts, made: &OfferMade) -> v1::Offer {
    let role = made.multi_role.then_some(&*made.role);
    v1::Offer {
        id: v1::OfferId { value: offer_id(&master.id, made.key) },
        framework_id: v1::FrameworkId { value: made.framework.to_string() },
        agent_id: v1::AgentId { value: made.agent.to_string() },
        hostname: made.facts.hostname.clone(),
        url: Some(Box::new(v1::Url {
            scheme: "http".to_owned(),
            address: v1::Address {
                hostname: Some(made.facts.hostname.clone()),
                ip: Some(made.facts.address.clone()),
                port: i32::from(made.facts.port),
            },
            path: Some("/slave(1)".to_owned()),
            query: Vec::new(),
            fragment: None,
        })),
        domain: made.facts.domain.clone().map(Box::new),
        resources: made.resources.to_proto_as(role, made.refinement),
        attributes: made.facts.attributes.clone(),
        allocation_info: role.map(|role| v1::resource::AllocationInfo { role: Some(role.to_owned()) }),
        ..v1::Offer::default()
    }
}

/// Encodes orders as one frame.
pub(crate) fn agent_frame(orders: Vec<Order>) -> internal::MasterFrame {
    let messages = orders.into_iter().map(|order| internal::MasterMessage { kind: Some(agent_order(order)) });
    internal::MasterFrame { messages: messages.collect() }
}

fn agent_order(order: Order) -> Kind {
    match order {
        Order::Registered(registered) => Kind::Registered(registered),
        Order::Refused { text, permanent } => Kind::Refused(internal::Refused { text, permanent }),
        Order::Run { framework, container, info } => Kind::RunTask(internal::RunTask {
            framework_id: framework.to_string(),
            container_id: container.to_string(),
            task_info: info,
        }),
        Order::Kill { framework, task, container, policy } => Kind::KillTask(internal::KillTask {
            framework_id: framework.to_string(),
            task_id: task.to_string(),
            kill_policy: policy,
            container_id: container.to_string(),
        }),
        Order::Acknowledge { framework, task, uuid } => {
            Kind::Acknowledge(internal::Acknowledge { framework_id: framework.to_string(), task_id: task, uuid })
        }
        Order::UpdateFramework { info, .. } => {
            Kind::UpdateFramework(Box::new(internal::UpdateFramework { info: prost::Message::decode(info).ok() }))
        }
        Order::Shutdown { framework } => {
            Kind::ShutdownFramework(internal::ShutdownFramework { framework_id: framework.to_string() })
        }
        Order::Ping => Kind::Ping(internal::Ping {}),
        Order::Message { framework, executor, data } => Kind::Message(internal::FrameworkMessage {
            framework_id: framework.to_string(),
            executor_id: executor,
            data,
        }),
        Order::Gone => Kind::Gone(internal::Gone {}),
    }
}

impl MasterFacts {
    /// The master's description as a wire message.
    pub(super) fn info(&self) -> v1::MasterInfo {
        let ip = match self.address.ip() {
            // Mesos stores the address in network byte order inside a native integer.
            std::net::IpAddr::V4(ip) => u32::from_ne_bytes(ip.octets()),
            std::net::IpAddr::V6(_) => 0,
        };
        v1::MasterInfo {
            id: self.id.clone(),
            ip,
            port: u32::from(self.address.port()),
            pid: Some(format!("master@{}", self.address)),
            hostname: Some(self.hostname.clone()),
            version: Some(super::MESOS_VERSION.to_owned()),
            address: Some(v1::Address {
                hostname: Some(self.hostname.clone()),
                ip: Some(self.address.ip().to_string()),
                port: i32::from(self.address.port()),
            }),
            ..v1::MasterInfo::default()
        }
    }
}
