//! Sessions: for each open one, who is at the other end.
//!
//! A session that the core closed is forgotten with the input that closed it: whatever of its inputs is still on the way
//! changes nothing, while what was said to it before still leaves.

use std::collections::BTreeMap;

use super::{AgentKey, FrameworkKey, Principal, SessionId};

/// Who is at the other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Attached, and has not said who it is.
    Stranger,
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
    /// The stream was opened.
    pub(super) fn attach(&mut self, session: SessionId, principal: Principal) {
        self.open.insert(session, Session { peer: Peer::Stranger, principal });
    }

    /// The peer of an open session has said who it is.
    pub(super) fn identify(&mut self, session: SessionId, peer: Peer) {
        if let Some(session) = self.open.get_mut(&session) {
            session.peer = peer;
        }
    }

    /// Who is at the other end; `None` once the session is over.
    pub(super) fn peer(&self, session: SessionId) -> Option<Peer> {
        self.open.get(&session).map(|session| session.peer)
    }

    /// On whose behalf the peer acts; `None` once the session is over.
    pub(super) fn principal(&self, session: SessionId) -> Option<&Principal> {
        self.open.get(&session).map(|session| &session.principal)
    }

    /// The session is over; answers who was at the other end.
    pub(super) fn remove(&mut self, session: SessionId) -> Option<Peer> {
        self.open.remove(&session).map(|session| session.peer)
    }

    /// The sessions of those who have said who they are.
    pub(super) fn identified(&self) -> impl Iterator<Item = (SessionId, Peer)> {
        let all = self.open.iter().map(|(id, session)| (*id, session.peer));
        all.filter(|(_, peer)| *peer != Peer::Stranger)
    }
}
