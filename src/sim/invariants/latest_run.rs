//! A framework belongs to its latest instance: no master subscribes a replaced instance again or sends it anything more.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Fact, Invariant, Known};
use crate::{
    master::core::{Call, Event, SessionId},
    proto::internal::registry_change::Kind,
};

#[derive(Debug, Default)]
pub(super) struct LatestRun {
    /// The instance named by each session's SUBSCRIBE.
    asked: BTreeMap<SessionId, Bytes>,
    /// The framework named by each session's SUBSCRIBE, if any.
    named: BTreeMap<SessionId, String>,
    /// The instance of each framework in the registry.
    durable: BTreeMap<String, Bytes>,
    /// The framework and the instance of each subscribed session.
    subscribed: BTreeMap<SessionId, (String, Bytes)>,
    /// Sessions that the core has replaced: they may receive what was queued, and the error.
    replaced: BTreeSet<SessionId>,
    /// Sessions that were sent the error.
    ended: BTreeSet<SessionId>,
    /// The instances of each framework, in the order in which they were subscribed.
    runs: BTreeMap<String, Vec<Bytes>>,
}

impl LatestRun {
    fn subscribed(&mut self, session: SessionId, framework: &str) -> Result<(), String> {
        let run = self.asked.get(&session).cloned().unwrap_or_default();
        let runs = self.runs.entry(framework.to_owned()).or_default();
        match runs.iter().position(|one| *one == run) {
            Some(place) if place + 1 < runs.len() => {
                return Err(format!(
                    "instance {} of {framework} is subscribed, and {} have replaced it",
                    place,
                    runs.len() - place - 1
                ));
            }
            Some(_) => {}
            None => runs.push(run.clone()),
        }
        self.subscribed.insert(session, (framework.to_owned(), run));
        Ok(())
    }
}

impl Invariant for LatestRun {
    fn name(&self) -> &'static str {
        "latest_run"
    }

    fn observe(&mut self, _known: &Known, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::MasterStarted { .. } => {
                self.asked.clear();
                self.named.clear();
                self.subscribed.clear();
                self.replaced.clear();
                self.ended.clear();
            }
            Fact::FrameworkSubscribed { session, framework } => {
                let others = self.subscribed.iter().filter(|(one, (of, _))| *one != session && **of == **framework);
                self.replaced.extend(others.map(|(one, _)| *one));
            }
            Fact::OffersMade { session, .. } if self.replaced.contains(session) => {
                return Err(format!("{session:?} is offered something, and another session has its framework"));
            }
            Fact::Called { session, call: Call::Subscribe(subscribe) } => {
                if subscribe.instance.is_empty() {
                    return Err("a driver does not name its instance".to_owned());
                }
                self.asked.insert(*session, subscribe.instance.clone());
                self.named.extend(subscribe.info.id.as_ref().map(|id| (*session, id.value.clone())));
            }
            Fact::Durable { changes, .. } => {
                for change in changes {
                    if let Some(Kind::FrameworkRun(run)) = &change.kind {
                        self.durable.insert(run.framework_id.clone(), run.instance.clone());
                    }
                }
            }
            Fact::EventSent { session, event: Event::Error { text } }
                if text == "Framework failed over" && !self.subscribed.contains_key(session) =>
            {
                let named = self.named.get(session).and_then(|id| Some((id, self.durable.get(id)?)));
                if let Some((id, run)) = named
                    && self.asked.get(session) == Some(run)
                {
                    return Err(format!(
                        "an instance of {id} is refused as replaced, and the registry has no later one"
                    ));
                }
            }
            Fact::EventSent { session, event: Event::Subscribed { framework, .. } } => {
                return self.subscribed(*session, framework);
            }
            Fact::EventSent { session, event } => {
                let Some((framework, run)) = self.subscribed.get(session) else { return Ok(()) };
                let is_last = self.runs[framework].last() == Some(run);
                if self.ended.contains(session) || !is_last && !self.replaced.contains(session) {
                    return Err(format!("a replaced instance of {framework} is sent {event:?}"));
                }
                if self.replaced.contains(session) && matches!(event, Event::Error { .. }) {
                    self.ended.insert(*session);
                }
            }
            _ => {}
        }
        Ok(())
    }
}
