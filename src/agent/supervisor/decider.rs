//! The core thread: receives mail, feeds the core, and carries out its effects.
//!
//! All records of a batch are one write, before any other effect of the batch. However this thread ends, it stops the
//! other threads too.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread,
};

use rustix::process::Signal;

use super::{
    accept::{ConnectionId, CurrentAgent},
    connection::Outbox,
    core::{Core, Effect, Input},
    journal::Journal,
    runtime::ContainerRuntime as _,
    service::Shared,
};
use crate::{agent::pace::Pace, proto::internal, transport::clock::Clock};

/// Inputs taken at once.
const BATCH: usize = 512;

/// A message to the core thread.
#[derive(Debug)]
pub(super) enum Mail {
    /// From another thread of the supervisor.
    Happened(Vec<Input>),
    /// From an agent on this connection. It is ignored once another agent has connected.
    FromAgent(ConnectionId, Vec<Input>),
    /// An agent connected; events are sent to this outbox.
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

/// The state of the core thread.
pub(super) struct Decider<'a> {
    core: Core,
    journal: Journal,
    agent: CurrentAgent,
    shared: &'a Shared,
    effects: Vec<Effect>,
    ended: bool,
}

impl<'a> Decider<'a> {
    pub(super) fn new(core: Core, journal: Journal, shared: &'a Shared) -> Self {
        Self { core, journal, agent: CurrentAgent::default(), shared, effects: Vec::new(), ended: false }
    }

    /// Handles mail until the core ends.
    pub(super) fn run(mut self, mailbox: &Receiver<Mail>) {
        let (clock, mut pace) = (Clock::system(), Pace::of_inputs());
        while !self.ended {
            let Some(first) = self.next_mail(mailbox) else { return };
            let (began, mut inputs) = (clock.now(), 0);
            for mail in std::iter::once(first).chain(mailbox.try_iter().take(BATCH)) {
                inputs += mail.inputs();
                self.handle_mail(mail);
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

    /// Waits for mail, or for the idle timeout of the core. `None` when all senders are gone.
    fn next_mail(&mut self, mailbox: &Receiver<Mail>) -> Option<Mail> {
        while let Some(timeout) = self.core.idle_timeout() {
            match mailbox.recv_timeout(timeout) {
                Ok(mail) => return Some(mail),
                Err(RecvTimeoutError::Disconnected) => return None,
                // Unwritten records would be lost with this process: while the disk is full it stays.
                Err(RecvTimeoutError::Timeout) => {
                    self.journal.flush();
                    if self.journal.is_written() {
                        return Some(Mail::Happened(vec![Input::IdleTimeout]));
                    }
                }
            }
        }
        mailbox.recv().ok()
    }

    /// Effects for one agent are carried out before the next agent replaces it.
    fn handle_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Happened(inputs) => {
                for input in inputs {
                    self.core.handle(input, &mut self.effects);
                }
            }
            Mail::FromAgent(connection, inputs) if self.agent.is_current(connection) => {
                let is_detached = inputs.last() == Some(&Input::Detached);
                for input in inputs {
                    self.core.handle(input, &mut self.effects);
                }
                if is_detached && !self.core.is_draining() {
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
        self.write_journal(&effects);
        let (mut events, mut starts) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Record(_) | Effect::Empty => {}
                Effect::Send(event) => events.push(event),
                Effect::Spawn(spec) => starts.push(*spec),
                Effect::Signal(signal) => self.send_signal(signal),
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

    fn write_journal(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Record(record) => self.journal.append(record),
                Effect::Empty => self.journal.clear(),
                Effect::Send(_) | Effect::Spawn(_) | Effect::Signal(_) | Effect::Disconnect | Effect::End => {}
            }
        }
        self.journal.flush();
        if self.journal.needs_compaction() {
            self.journal.compact(self.core.snapshot());
        }
    }

    fn send(&self, events: &[internal::SupervisorEvent]) {
        if let Some(outbox) = self.agent.outbox.as_ref().filter(|_| !events.is_empty()) {
            outbox.send(events);
        }
    }

    fn send_signal(&self, wanted: internal::Signal) {
        let internal::Signal { container_id, signal, tree } = wanted;
        let Some(signal) = Signal::from_named_raw(signal) else {
            tracing::warn!(container_id, signal, "an agent requested a signal that does not exist");
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
