//! Connections between the master and its clients: each way in order, each frame after a time of its own, until the link
//! is closed by an end or cut. A cut lets any number of the frames under way arrive and none after them; each end
//! notices in its own time.

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

/// Names a link, for ever.
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

/// What travels.
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
pub(super) enum Ways {
    Both,
    ToClient,
    ToMaster,
}

impl Ways {
    fn reach(self, end: End) -> bool {
        match (self, end) {
            (Self::Both, _) | (Self::ToClient, End::Client) | (Self::ToMaster, End::Master) => true,
            (Self::ToClient, End::Master) | (Self::ToMaster, End::Client) => false,
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Way {
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
    to_client: Way,
    to_master: Way,
}

impl Link {
    pub(super) fn holds(&self, end: End) -> bool {
        match end {
            End::Client => self.client_holds,
            End::Master => self.master_holds,
        }
    }

    fn let_go(&mut self, end: End) {
        match end {
            End::Client => self.client_holds = false,
            End::Master => self.master_holds = false,
        }
    }

    fn way(&mut self, to: End) -> &mut Way {
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
    /// Clients for which everything takes long, and until when.
    slow: BTreeMap<Client, u64>,
}

impl Links {
    pub(super) fn new(latency: Duration) -> Self {
        Self { all: BTreeMap::new(), made: 0, latency, slow: BTreeMap::new() }
    }

    /// Whatever goes to and from this client takes long until then.
    pub(super) fn slow(&mut self, client: Client, until_ns: u64) {
        self.slow.insert(client, until_ns);
    }

    /// Nothing takes long any more.
    pub(super) fn quicken(&mut self) {
        self.slow.clear();
    }

    /// A time on the way.
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

    /// The links of one client are another's from now on.
    pub(super) fn rename(&mut self, old: Client, new: Client) {
        for link in self.all.values_mut().filter(|link| link.client == old) {
            link.client = new;
        }
    }

    /// Makes a link that both ends hold.
    pub(super) fn open(&mut self, client: Client, session: SessionId) -> LinkId {
        self.made += 1;
        let link = Link {
            client,
            session,
            client_holds: true,
            master_holds: true,
            to_client: Way::default(),
            to_master: Way::default(),
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
        let way = found.way(to);
        let number = way.sent;
        way.sent += 1;
        way.last_ns = (now_ns + travel_ns).max(way.last_ns + 1);
        let at_ns = way.last_ns;
        if way.limit.is_none_or(|limit| number < limit) {
            queue.at(at_ns, Event::Arrive { link, to, number, frame: Box::new(frame) });
        }
    }

    /// Whether a frame that was under way gets there; it counts as arrived then.
    pub(super) fn arrives(&mut self, link: LinkId, to: End, number: u64) -> bool {
        let Some(found) = self.all.get_mut(&link) else { return false };
        let holds = found.holds(to);
        let way = found.way(to);
        let arrives = way.limit.is_none_or(|limit| number < limit);
        if arrives {
            way.arrived = number + 1;
        }
        arrives && holds
    }

    /// The end lets go of the link; the other one is told in order, unless it is cut.
    pub(super) fn close(&mut self, now_ns: u64, rng: &mut StdRng, queue: &mut Queue, link: LinkId, end: End) {
        if self.all.get(&link).is_some_and(|found| found.holds(end)) {
            self.send(now_ns, rng, queue, link, end.other(), Frame::Closed);
            self.release(link, end);
        }
    }

    /// The end has noticed that the link is no more; true if it still held it.
    pub(super) fn release(&mut self, link: LinkId, end: End) -> bool {
        let Some(found) = self.all.get_mut(&link) else { return false };
        let held = found.holds(end);
        found.let_go(end);
        if !found.client_holds && !found.master_holds {
            self.all.remove(&link);
        }
        held
    }

    /// Breaks the link one way or both; some of what is under way still arrives. Each end notices within `notice`.
    pub(super) fn cut(
        &mut self,
        now_ns: u64,
        rng: &mut StdRng,
        queue: &mut Queue,
        link: LinkId,
        ways: Ways,
        notice: Duration,
    ) {
        let Some(found) = self.all.get_mut(&link) else { return };
        for end in [End::Client, End::Master] {
            let way = found.way(end);
            if ways.reach(end) {
                let under_way = rng.random_range(way.arrived..=way.sent.max(way.arrived));
                way.limit = Some(way.limit.map_or(under_way, |limit| limit.min(under_way)));
            }
            let after = super::chance::between(rng, Duration::from_millis(1), notice);
            let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
            queue.at(now_ns.saturating_add(after_ns), Event::Notice { link, end });
        }
    }
}
