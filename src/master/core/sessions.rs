//! Sessions: the peer of each open one.
//!
//! The core forgets a session with the input that closes it. Later inputs of that session change nothing; messages sent
//! to it before still leave.

use std::collections::BTreeMap;

use super::{AgentKey, FrameworkKey, Principal, SessionId};

/// The peer of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// It has neither subscribed nor registered.
    Unidentified,
    Framework(FrameworkKey),
    Agent(AgentKey),
}

#[derive(Debug)]
struct Session {
    peer: Peer,
    principal: Principal,
}

/// All open sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    open: BTreeMap<SessionId, Session>,
}

impl Sessions {
    /// Adds a session whose stream was opened.
    pub(super) fn attach(&mut self, session: SessionId, principal: Principal) {
        self.open.insert(session, Session { peer: Peer::Unidentified, principal });
    }

    /// Sets the peer of an open session.
    pub(super) fn identify(&mut self, session: SessionId, peer: Peer) {
        if let Some(session) = self.open.get_mut(&session) {
            session.peer = peer;
        }
    }

    /// The peer of a session; `None` once the session is closed.
    pub(super) fn peer(&self, session: SessionId) -> Option<Peer> {
        self.open.get(&session).map(|session| session.peer)
    }

    /// The principal of a session; `None` once the session is closed.
    pub(super) fn principal(&self, session: SessionId) -> Option<&Principal> {
        self.open.get(&session).map(|session| &session.principal)
    }

    /// Removes a session and returns its peer.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<Peer> {
        self.open.remove(&session).map(|session| session.peer)
    }

    /// The sessions of frameworks and agents.
    pub(super) fn identified(&self) -> impl Iterator<Item = (SessionId, Peer)> {
        let all = self.open.iter().map(|(id, session)| (*id, session.peer));
        all.filter(|(_, peer)| *peer != Peer::Unidentified)
    }
}
