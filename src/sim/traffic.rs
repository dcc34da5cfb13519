//! The frames on the links of a world: which node receives them, who holds a link, and who notices its loss.

use std::time::Duration;

use super::{
    client_link::ClientLink,
    links::{Directions, End, Frame, LinkId},
    nodes::Client,
    world::World,
};

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
    pub(super) fn expects_attempt(&mut self, client: Client, life: u64, attempt: u64) -> bool {
        self.life_of(client) == life && self.client_link(client).is_some_and(|link| link.is_waiting_for(attempt))
    }

    pub(super) fn set_client_link(&mut self, client: Client, link: LinkId) {
        if let Some(client_link) = self.client_link(client) {
            client_link.set_link(link);
        }
    }

    /// The link of a client whose process runs.
    fn client_link(&mut self, client: Client) -> Option<&mut ClientLink> {
        match client {
            Client::Agent(index) => self.agents[index].process.as_mut().map(|process| &mut process.link),
            Client::Framework(_) | Client::Replaced(_) => self.driver_mut(client).map(|process| &mut process.link),
            Client::Author(index) => self.authors[index].process.as_mut().map(|process| &mut process.link),
        }
    }

    pub(super) fn close_client_link(&mut self, link: Option<LinkId>) {
        if let Some(link) = link {
            self.links.close(self.now_ns, &mut self.chance.network, &mut self.queue, link, End::Client);
        }
    }

    /// Cuts the links of a client whose process ended; the master notices within `notice`.
    pub(super) fn drop_links(&mut self, client: Client, notice: Duration) {
        for link in self.links.of(client) {
            self.links.cut(self.now_ns, &mut self.chance.faults, &mut self.queue, link, Directions::Both, notice);
            self.links.release(link, End::Client);
        }
    }
}
