//! What goes over the links of a world: who gets it, who holds a link, who is told that one is gone.

use std::time::Duration;

use super::{
    framework::DriverProcess,
    links::{End, Frame, LinkId, Ways},
    nodes::Client,
    world::World,
};
use crate::agent::core::SessionId as Attempt;

impl World {
    pub(super) fn send(&mut self, link: LinkId, to: End, frame: Frame) {
        self.links.send(self.now_ns, &mut self.chance.network, &mut self.queue, link, to, frame);
    }

    pub(super) fn arrive(&mut self, link: LinkId, to: End, number: u64, frame: Frame) {
        if !self.links.arrives(link, to, number) {
            return;
        }
        match (to, self.links.get(link).map(|link| link.client)) {
            (End::Master, Some(_)) => self.master_received(link, frame),
            (End::Client, Some(Client::Agent(index))) => self.agent_received(index, link, frame),
            (End::Client, Some(client @ (Client::Framework(_) | Client::Replaced(_)))) => {
                self.driver_received(client, link, frame);
            }
            (End::Client, Some(Client::Author(index))) => self.author_received(index, link, frame),
            (End::Master | End::Client, None) => {}
        }
    }

    pub(super) fn notice(&mut self, link: LinkId, end: End) {
        let Some(client) = self.links.get(link).filter(|link| link.holds(end)).map(|link| link.client) else { return };
        match (end, client) {
            (End::Master, _) => self.session_over(link),
            (End::Client, Client::Agent(index)) => self.agent_link_lost(index, link),
            (End::Client, Client::Framework(_) | Client::Replaced(_)) => self.driver_link_lost(client, link),
            (End::Client, Client::Author(index)) => self.author_link_lost(index, link),
        }
    }

    /// Whether the client still waits for this attempt.
    pub(super) fn wants(&self, client: Client, life: u64, attempt: u64) -> bool {
        match client {
            Client::Agent(index) => {
                let process = self.agents[index].process.as_ref().filter(|_| self.agents[index].life == life);
                process.is_some_and(|one| one.link.is_none() && one.attempt == Some(Attempt(attempt)))
            }
            Client::Framework(_) | Client::Replaced(_) => {
                let waits = |one: &DriverProcess| one.link.is_none() && one.attempt == Some(attempt);
                self.life_of(client) == life && self.driver(client).is_some_and(waits)
            }
            Client::Author(index) => {
                let process = self.authors[index].process.as_ref().filter(|_| self.authors[index].life == life);
                process.is_some_and(|one| one.link.is_none() && one.attempt == Some(attempt))
            }
        }
    }

    pub(super) fn hold_link(&mut self, client: Client, link: LinkId) {
        match client {
            Client::Agent(index) => {
                if let Some(process) = &mut self.agents[index].process {
                    process.link = Some(link);
                }
            }
            Client::Framework(_) | Client::Replaced(_) => {
                if let Some(process) = self.driver_mut(client) {
                    process.link = Some(link);
                }
            }
            Client::Author(index) => {
                if let Some(process) = &mut self.authors[index].process {
                    process.link = Some(link);
                }
            }
        }
    }

    pub(super) fn client_lets_go(&mut self, link: Option<LinkId>) {
        if let Some(link) = link {
            self.links.close(self.now_ns, &mut self.chance.network, &mut self.queue, link, End::Client);
        }
    }

    /// The client's process is gone; the master notices within `notice`.
    pub(super) fn drop_links(&mut self, client: Client, notice: Duration) {
        for link in self.links.of(client) {
            self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, Ways::Both, notice);
            self.links.release(link, End::Client);
        }
    }
}
