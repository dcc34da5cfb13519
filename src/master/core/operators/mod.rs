//! Operators' requests: snapshots, teardown of frameworks, agents marked gone, weights and quotas.

mod quotas;
mod view;
mod weights;

pub(crate) use self::{
    quotas::quota,
    view::{AgentView, Counts, Snapshot},
};
pub(in crate::master::core) use self::{
    quotas::{AllocationHold, quotas_of},
    view::SnapshotBuilder,
    weights::remove_invalid_weights,
};
use crate::master::core::{
    Answer, Departed, Master, Principal, Question, Turn, authorization::authorize, keys::RequestId,
};

impl Master {
    pub(in crate::master::core) fn asked(
        &mut self,
        turn: &mut Turn<'_>,
        request: RequestId,
        principal: &Principal,
        question: Question,
    ) {
        let authorized = question.action().map_or(Ok(()), |wanted| authorize(self.policy, principal, wanted));
        let answer = match authorized {
            Ok(()) => self.answer(turn, request, question),
            Err(text) => Some(Answer::Refused(text)),
        };
        if let Some(answer) = answer {
            turn.reply(request, answer);
        }
    }

    /// Processes a request; `None` if the answer may take several turns.
    fn answer(&mut self, turn: &mut Turn<'_>, request: RequestId, question: Question) -> Option<Answer> {
        Some(match question {
            Question::Alive => Answer::Alive,
            Question::Snapshot => {
                self.request_snapshot(turn, request);
                return None;
            }
            Question::Teardown { framework } => match self.frameworks.by_id(framework.as_str()) {
                Some(key) => {
                    self.remove_framework(turn, key);
                    Answer::Done
                }
                None => Answer::Refused(format!("no framework {framework} is known")),
            },
            Question::Departed => Answer::Departed(self.departed()),
            Question::MarkGone { agent } => self.mark_gone(turn, &agent),
            Question::Registry => Answer::Registry(Box::new(self.facts.clone()), self.epoch),
            Question::Weights { weights } => self.set_weights(turn, weights),
            Question::Quotas { quotas, force } => self.set_quotas(turn, &quotas, force),
        })
    }

    fn departed(&self) -> Vec<Departed> {
        let hostname = |id| self.facts.agents.get(id).map(|info| info.hostname.clone()).unwrap_or_default();
        let lists = [(&self.facts.unreachable, false), (&self.facts.gone, true)];
        let all = lists.into_iter().flat_map(|(list, gone)| list.iter().map(move |(id, since)| (id, *since, gone)));
        all.map(|(id, since_ns, gone)| Departed { id: id.clone(), hostname: hostname(id), since_ns, gone }).collect()
    }
}

#[cfg(test)]
mod tests;
