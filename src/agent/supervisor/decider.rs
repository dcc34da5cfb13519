//! The deciding thread: takes mail, lets the core decide, does what it says.
//!
//! All records of a batch are one write, before anything else of the batch is done. When it ends, by whatever way, the
//! other threads are told to end too.

use std::sync::mpsc::{Receiver, RecvTimeoutError};

use rustix::process::Signal;

use super::{
    connection::Outbox,
    core::{Core, Effect, Input},
    journal::Journal,
    service::Shared,
    sweep::Job,
};
use crate::proto::internal;

/// Inputs taken at once.
const BATCH: usize = 512;

/// What reaches the deciding thread.
#[derive(Debug)]
pub(super) enum Mail {
    Input(Input),
    /// An agent connected; this is where it listens.
    Attached(Outbox),
}

/// The state of the deciding thread.
pub(super) struct Decider<'a> {
    core: Core,
    journal: Journal,
    outbox: Option<Outbox>,
    shared: &'a Shared,
    effects: Vec<Effect>,
    ended: bool,
}

impl<'a> Decider<'a> {
    pub(super) fn new(core: Core, journal: Journal, shared: &'a Shared) -> Self {
        Self { core, journal, outbox: None, shared, effects: Vec::new(), ended: false }
    }

    /// Decides until the core ends.
    pub(super) fn run(mut self, mailbox: &Receiver<Mail>) {
        while !self.ended {
            let Some(first) = self.next(mailbox) else { return };
            self.take(first);
            for mail in mailbox.try_iter().take(BATCH) {
                self.take(mail);
            }
            self.perform();
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
                        return Some(Mail::Input(Input::Waited));
                    }
                }
            }
        }
        mailbox.recv().ok()
    }

    /// What was decided for one agent is said to it, not to the next.
    fn take(&mut self, mail: Mail) {
        match mail {
            Mail::Input(input) => {
                let leaves = input == Input::Detached;
                self.core.handle(input, &mut self.effects);
                if leaves && !self.core.talks_on() {
                    self.perform();
                    self.outbox = None;
                }
            }
            Mail::Attached(outbox) => {
                self.perform();
                self.outbox = Some(outbox);
                self.core.handle(Input::Attached, &mut self.effects);
            }
        }
    }

    fn perform(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        self.write_down(&effects);
        let mut events = Vec::new();
        for effect in effects {
            match effect {
                Effect::Record(_) | Effect::Empty => {}
                Effect::Send(event) => events.push(event),
                Effect::Spawn(start) => self.shared.starts.extend([*start]),
                Effect::Signal(signal) => self.signal(signal),
                Effect::Disconnect => {
                    self.say(std::mem::take(&mut events));
                    self.outbox = None;
                }
                Effect::End => self.ended = true,
            }
        }
        self.say(events);
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
            self.journal.compact(&self.core.snapshot());
        }
    }

    fn say(&self, events: Vec<internal::SupervisorEvent>) {
        if let Some(outbox) = self.outbox.as_ref().filter(|_| !events.is_empty()) {
            outbox.send(events);
        }
    }

    fn signal(&self, wanted: internal::Signal) {
        let internal::Signal { container_id, signal, tree } = wanted;
        let Some(signal) = Signal::from_named_raw(signal) else {
            tracing::warn!(container_id, signal, "asked for a signal that there is not");
            return;
        };
        self.shared.live.signal(&container_id, signal);
        if tree {
            self.shared.sweeps.extend([Job::Signal { container_id, signal }]);
        }
    }
}

impl Drop for Decider<'_> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
