//! Links between the master and its clients.
//!
//! Each direction keeps its order, and each frame has its own latency, until an end closes the link or it is cut. After a
//! cut a prefix of the frames under way still arrives; each end notices after its own delay.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng as _, rngs::StdRng};

use super::{
    nodes::Client,
    queue::{Event, Queue},
};
use crate::{
    master::core::SessionId,
    proto::{
        ext,
        internal::{AgentFrame, MasterFrame},
    },
};

/// How much longer a frame takes on a slow link, at most.
const SLOW_NS: u64 = 8_000_000_000;

/// The id of a link; never reused.
pub(super) type LinkId = u64;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Master,
}

impl End {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Master,
            Self::Master => Self::Client,
        }
    }
}

/// A frame on a link.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    /// The master has the stream.
    Opened,
    Calls(ext::Calls),
    Events(ext::Events),
    Reports(AgentFrame),
    Orders(MasterFrame),
    /// The other end closed the link.
    Closed,
}

/// Which directions of a link break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directions {
    Both,
    ToClient,
    ToMaster,
}

impl Directions {
    fn includes(self, end: End) -> bool {
        match (self, end) {
            (Self::Both, _) | (Self::ToClient, End::Client) | (Self::ToMaster, End::Master) => true,
            (Self::ToClient, End::Master) | (Self::ToMaster, End::Client) => false,
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    sent: u64,
    arrived: u64,
    /// Nothing from this number on arrives.
    limit: Option<u64>,
    last_ns: u64,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) session: SessionId,
    /// Whether the end holds it.
    client_holds: bool,
    master_holds: bool,
    to_client: Direction,
    to_master: Direction,
}

impl Link {
    pub(super) fn holds(&self, end: End) -> bool {
        match end {
            End::Client => self.client_holds,
            End::Master => self.master_holds,
        }
    }

    fn release(&mut self, end: End) {
        match end {
            End::Client => self.client_holds = false,
            End::Master => self.master_holds = false,
        }
    }

    fn direction_mut(&mut self, to: End) -> &mut Direction {
        match to {
            End::Client => &mut self.to_client,
            End::Master => &mut self.to_master,
        }
    }
}

/// All links.
#[derive(Debug)]
pub(super) struct Links {
    all: BTreeMap<LinkId, Link>,
    made: u64,
    latency: Duration,
    /// Clients with slow links, with the end of that time.
    slow: BTreeMap<Client, u64>,
}

impl Links {
    pub(super) fn new(latency: Duration) -> Self {
        Self { all: BTreeMap::new(), made: 0, latency, slow: BTreeMap::new() }
    }

    /// Makes the client's links slow until then.
    pub(super) fn slow(&mut self, client: Client, until_ns: u64) {
        self.slow.insert(client, until_ns);
    }

    /// Ends all slowness.
    pub(super) fn clear_slow(&mut self) {
        self.slow.clear();
    }

    /// Draws the travel time of a frame.
    pub(super) fn travel_ns(&self, rng: &mut StdRng) -> u64 {
        let most = u64::try_from(self.latency.as_nanos()).unwrap_or(u64::MAX);
        rng.random_range(most / 20..=most)
    }

    pub(super) fn get(&self, link: LinkId) -> Option<&Link> {
        self.all.get(&link)
    }

    pub(super) fn ids(&self) -> Vec<LinkId> {
        self.all.keys().copied().collect()
    }

    pub(super) fn of(&self, client: Client) -> Vec<LinkId> {
        self.all.iter().filter(|(_, link)| link.client == client).map(|(id, _)| *id).collect()
    }

    /// Gives the links of one client to another.
    pub(super) fn rename(&mut self, old: Client, new: Client) {
        for link in self.all.values_mut().filter(|link| link.client == old) {
            link.client = new;
        }
    }

    /// Opens a link that both ends hold.
    pub(super) fn open(&mut self, client: Client, session: SessionId) -> LinkId {
        self.made += 1;
        let link = Link {
            client,
            session,
            client_holds: true,
            master_holds: true,
            to_client: Direction::default(),
            to_master: Direction::default(),
        };
        self.all.insert(self.made, link);
        self.made
    }

    pub(super) fn send(
        &mut self,
        now_ns: u64,
        rng: &mut StdRng,
        queue: &mut Queue,
        link: LinkId,
        to: End,
        frame: Frame,
    ) {
        let travel_ns = self.travel_ns(rng);
        let Some(found) = self.all.get_mut(&link) else { return };
        let slow = self.slow.get(&found.client).is_some_and(|until_ns| *until_ns > now_ns);
        let travel_ns = if slow { travel_ns.saturating_add(rng.random_range(0..SLOW_NS)) } else { travel_ns };
        let direction = found.direction_mut(to);
        let number = direction.sent;
        direction.sent += 1;
        direction.last_ns = (now_ns + travel_ns).max(direction.last_ns + 1);
        let at_ns = direction.last_ns;
        if direction.limit.is_none_or(|limit| number < limit) {
            queue.at(at_ns, Event::Arrive { link, to, number, frame: Box::new(frame) });
        }
    }

    /// Whether a frame under way arrives; if so, counts it as arrived.
    pub(super) fn arrives(&mut self, link: LinkId, to: End, number: u64) -> bool {
        let Some(found) = self.all.get_mut(&link) else { return false };
        let holds = found.holds(to);
        let direction = found.direction_mut(to);
        let arrives = direction.limit.is_none_or(|limit| number < limit);
        if arrives {
            direction.arrived = number + 1;
        }
        arrives && holds
    }

    /// Closes the link at one end; the other end receives `Closed` in order, unless the link is cut.
    pub(super) fn close(&mut self, now_ns: u64, rng: &mut StdRng, queue: &mut Queue, link: LinkId, end: End) {
        if self.all.get(&link).is_some_and(|found| found.holds(end)) {
            self.send(now_ns, rng, queue, link, end.other(), Frame::Closed);
            self.release(link, end);
        }
    }

    /// Releases the link at one end; returns whether that end still held it.
    pub(super) fn release(&mut self, link: LinkId, end: End) -> bool {
        let Some(found) = self.all.get_mut(&link) else { return false };
        let held = found.holds(end);
        found.release(end);
        if !found.client_holds && !found.master_holds {
            self.all.remove(&link);
        }
        held
    }

    /// Cuts one or both directions; a prefix of the frames under way still arrives. Each end notices within `notice`.
    pub(super) fn cut(
        &mut self,
        now_ns: u64,
        rng: &mut StdRng,
        queue: &mut Queue,
        link: LinkId,
        directions: Directions,
        notice: Duration,
    ) {
        let Some(found) = self.all.get_mut(&link) else { return };
        for end in [End::Client, End::Master] {
            let direction = found.direction_mut(end);
            if directions.includes(end) {
                let under_way = rng.random_range(direction.arrived..=direction.sent.max(direction.arrived));
                direction.limit = Some(direction.limit.map_or(under_way, |limit| limit.min(under_way)));
            }
            let after = super::chance::between(rng, Duration::from_millis(1), notice);
            let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
            queue.at(now_ns.saturating_add(after_ns), Event::Notice { link, end });
        }
    }
}
