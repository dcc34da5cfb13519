//! The queueing of outgoing messages: their weight, their class, and which newer message replaces an older one.

use prost::Message as _;

use crate::agent::core::Effect;
use crate::proto::internal::agent_message::Kind;
use crate::proto::internal::{AgentMessage, SupervisorRequest, Update};
use crate::transport::outbox::{Class, Message};

/// The approximate size of a message without its unlimited fields.
const MESSAGE_BYTES: usize = 64;
/// The same for a status.
const STATUS_BYTES: usize = 256;

/// The key of a message to the master: a newer message replaces one with the same key.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum MessageKey {
    /// The status in flight of a container's task: the agent sends one at a time.
    Status(String),
    Pong,
}

impl Message for AgentMessage {
    type Key = MessageKey;

    fn weight(&self) -> usize {
        let more = match &self.kind {
            Some(Kind::Register(register)) => register.encoded_len(),
            Some(Kind::Update(update)) => STATUS_BYTES + payload(update),
            Some(Kind::Message(message)) => message.encoded_len(),
            Some(Kind::Pong(_) | Kind::Unregister(_) | Kind::OrphanGone(_)) | None => 0,
        };
        MESSAGE_BYTES + more
    }

    fn class(&self) -> Class {
        match &self.kind {
            Some(Kind::Register(_)) => Class::Opening,
            Some(Kind::Update(_) | Kind::OrphanGone(_)) => Class::Bounded,
            Some(Kind::Pong(_)) => Class::Urgent,
            Some(Kind::Message(_)) => Class::BestEffort,
            Some(Kind::Unregister(_)) | None => Class::Control,
        }
    }

    fn key(&self) -> Option<MessageKey> {
        match &self.kind {
            Some(Kind::Update(update)) => Some(MessageKey::Status(update.container_id.clone())),
            Some(Kind::Pong(_)) => Some(MessageKey::Pong),
            Some(Kind::Register(_) | Kind::Message(_) | Kind::Unregister(_) | Kind::OrphanGone(_)) | None => None,
        }
    }
}

fn payload(update: &Update) -> usize {
    update.status.as_ref().map_or(0, |status| status.data().len() + status.message().len())
}

/// The core limits them to a few per container.
impl Message for SupervisorRequest {
    type Key = ();

    fn weight(&self) -> usize {
        self.encoded_len().max(1)
    }

    fn class(&self) -> Class {
        Class::Bounded
    }
}

/// Effects of the core's own thread, which wait for a sync.
impl Message for Effect {
    type Key = ();

    fn weight(&self) -> usize {
        1
    }

    fn class(&self) -> Class {
        Class::Bounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::internal::Pong;
    use crate::proto::v1::{TaskState, TaskStatus};
    use crate::transport::outbox::{Limits, RecordNumber, SessionQueue, Taken};
    use crate::types::Now;

    fn update(container: &str, state: TaskState) -> AgentMessage {
        let status = Some(TaskStatus::new("t", state));
        let update = Update { container_id: container.to_owned(), status, ..Update::default() };
        AgentMessage { kind: Some(Kind::Update(Box::new(update))) }
    }

    fn taken(queue: &mut SessionQueue<AgentMessage>) -> Vec<AgentMessage> {
        match queue.take(Now::default(), RecordNumber(0)) {
            Taken::Frame(frame) => frame,
            other @ (Taken::Wait(_) | Taken::End) => panic!("nothing leaves: {other:?}"),
        }
    }

    #[test]
    fn one_status_of_a_container_waits_and_an_answer_to_a_ping_does_not() {
        let mut queue = SessionQueue::new(Now::default(), Limits::default());
        let pong = AgentMessage { kind: Some(Kind::Pong(Pong {})) };
        let register = AgentMessage { kind: Some(Kind::Register(Box::default())) };
        let push = |queue: &mut SessionQueue<AgentMessage>, message: &AgentMessage| {
            queue.push(Now::default(), usize::MAX, RecordNumber(0), message.clone());
        };
        push(&mut queue, &register);
        push(&mut queue, &pong);
        assert_eq!(taken(&mut queue), [register, pong.clone()], "nothing overtakes the registration");
        for (container, state) in [("a", TaskState::TaskRunning), ("b", TaskState::TaskRunning)] {
            push(&mut queue, &update(container, state));
        }
        push(&mut queue, &update("a", TaskState::TaskFinished));
        push(&mut queue, &pong);
        let statuses = [update("a", TaskState::TaskFinished), update("b", TaskState::TaskRunning)];
        assert_eq!(taken(&mut queue), [[pong].as_slice(), &statuses].concat());
    }
}
