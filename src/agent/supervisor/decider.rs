//! The deciding thread: takes mail, lets the core decide, does what it says.
//!
//! All records of a batch are one write, before anything else of the batch is done. When it ends, by whatever way, the
//! other threads are told to end too.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread,
};

use rustix::process::Signal;

use super::{
    connection::Outbox,
    core::{Core, Effect, Input},
    door::{ConnectionId, Current},
    journal::Journal,
    runtime::ContainerRuntime as _,
    service::Shared,
};
use crate::{agent::pace::Pace, proto::internal, transport::clock::Clock};

/// Inputs taken at once.
const BATCH: usize = 512;

/// What reaches the deciding thread.
#[derive(Debug)]
pub(super) enum Mail {
    /// From another thread of the supervisor.
    Happened(Vec<Input>),
    /// From an agent on this connection. It counts while no other agent has greeted since.
    FromAgent(ConnectionId, Vec<Input>),
    /// An agent greeted; this is where it receives.
    Attached(ConnectionId, Outbox),
}

impl Mail {
    /// How many inputs for the core it holds.
    fn inputs(&self) -> usize {
        match self {
            Self::Happened(inputs) | Self::FromAgent(_, inputs) => inputs.len(),
            Self::Attached(..) => 0,
        }
    }
}

/// The state of the deciding thread.
pub(super) struct Decider<'a> {
    core: Core,
    journal: Journal,
    agent: Current,
    shared: &'a Shared,
    effects: Vec<Effect>,
    ended: bool,
}

impl<'a> Decider<'a> {
    pub(super) fn new(core: Core, journal: Journal, shared: &'a Shared) -> Self {
        Self { core, journal, agent: Current::default(), shared, effects: Vec::new(), ended: false }
    }

    /// Decides until the core ends.
    pub(super) fn run(mut self, mailbox: &Receiver<Mail>) {
        let (clock, mut pace) = (Clock::system(), Pace::of_inputs());
        while !self.ended {
            let Some(first) = self.next(mailbox) else { return };
            let (began, mut inputs) = (clock.now(), 0);
            for mail in std::iter::once(first).chain(mailbox.try_iter().take(BATCH)) {
                inputs += mail.inputs();
                self.take(mail);
            }
            self.perform();
            if let Some(rest) = pace.rest_after(began.mono_ns, clock.now().mono_ns, inputs).filter(|_| !self.ended) {
                thread::sleep(rest);
            }
        }
        if self.core.is_empty() {
            self.shared.directory.remove();
        }
    }

    /// Waits for mail as long as the core does. Nothing while nobody is left to send any.
    fn next(&mut self, mailbox: &Receiver<Mail>) -> Option<Mail> {
        while let Some(patience) = self.core.patience() {
            match mailbox.recv_timeout(patience) {
                Ok(mail) => return Some(mail),
                Err(RecvTimeoutError::Disconnected) => return None,
                // What is in memory only would be lost with this process: a full disk keeps it.
                Err(RecvTimeoutError::Timeout) => {
                    self.journal.flush();
                    if self.journal.is_written() {
                        return Some(Mail::Happened(vec![Input::Waited]));
                    }
                }
            }
        }
        mailbox.recv().ok()
    }

    /// What was decided for one agent is sent to it, not to the next.
    fn take(&mut self, mail: Mail) {
        match mail {
            Mail::Happened(inputs) => {
                for input in inputs {
                    self.core.handle(input, &mut self.effects);
                }
            }
            Mail::FromAgent(connection, inputs) if self.agent.is(connection) => {
                let leaves = inputs.last() == Some(&Input::Detached);
                for input in inputs {
                    self.core.handle(input, &mut self.effects);
                }
                if leaves && !self.core.is_draining() {
                    self.perform();
                    self.agent.outbox = None;
                }
            }
            Mail::FromAgent(..) => {}
            Mail::Attached(connection, outbox) => {
                self.perform();
                self.agent.replace(connection, outbox);
                self.core.handle(Input::Attached, &mut self.effects);
            }
        }
    }

    fn perform(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        self.write_down(&effects);
        let (mut events, mut starts) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Record(_) | Effect::Empty => {}
                Effect::Send(event) => events.push(event),
                Effect::Spawn(spec) => starts.push(*spec),
                Effect::Signal(signal) => self.signal(signal),
                Effect::Disconnect => {
                    self.send(&std::mem::take(&mut events));
                    self.agent.outbox = None;
                }
                Effect::End => self.ended = true,
            }
        }
        self.shared.starts.extend(starts);
        self.send(&events);
    }

    fn write_down(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Record(record) => self.journal.append(record),
                Effect::Empty => self.journal.clear(),
                Effect::Send(_) | Effect::Spawn(_) | Effect::Signal(_) | Effect::Disconnect | Effect::End => {}
            }
        }
        self.journal.flush();
        if self.journal.wants_compaction() {
            self.journal.compact(self.core.snapshot());
        }
    }

    fn send(&self, events: &[internal::SupervisorEvent]) {
        if let Some(outbox) = self.agent.outbox.as_ref().filter(|_| !events.is_empty()) {
            outbox.send(events);
        }
    }

    fn signal(&self, wanted: internal::Signal) {
        let internal::Signal { container_id, signal, tree } = wanted;
        let Some(signal) = Signal::from_named_raw(signal) else {
            tracing::warn!(container_id, signal, "asked for a signal that there is not");
            return;
        };
        self.shared.runtime.signal(&container_id, signal, tree);
    }
}

impl Drop for Decider<'_> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
