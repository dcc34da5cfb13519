//! What operators ask: to see everything, to remove a framework, to end an agent, to weigh a role, to set quotas.

use super::{
    Effect, Master, Turn,
    keys::RequestId,
    message::{Answer, Question},
};
use crate::proto::{internal::registry_change, v1};

/// Whether a role can have this weight.
pub(super) fn is_weight(weight: f64) -> bool {
    weight.is_finite() && weight > 0.0
}

impl Master {
    pub(super) fn asked(&mut self, turn: &mut Turn<'_>, request: RequestId, question: Question) {
        let answer = match question {
            Question::Alive => Answer::Done,
            Question::Snapshot => Answer::Snapshot(Box::new(self.snapshot())),
            Question::Teardown { framework } => match self.framework_ids.get(framework.as_str()).copied() {
                Some(key) => {
                    self.remove_framework(turn, key);
                    Answer::Done
                }
                None => Answer::Refused(format!("no framework {framework} is known")),
            },
            Question::MarkGone { agent } => self.mark_gone(turn, &agent),
            Question::Registry => Answer::Registry(Box::new(self.facts.clone()), self.epoch),
            Question::Weight { role, weight } => self.weigh(turn, role, weight),
            Question::Quotas { quotas, force } => self.set_quotas(turn, &quotas, force),
        };
        turn.out.push(Effect::Reply { request, answer });
    }

    fn weigh(&mut self, turn: &mut Turn<'_>, role: String, weight: f64) -> Answer {
        if !is_weight(weight) {
            return Answer::Refused(format!("the weight of role {role} is {weight}: it must be over 0"));
        }
        if let Err(error) = crate::types::validate_role(&role) {
            return Answer::Refused(error.to_string());
        }
        self.allocator.set_weight(&role, weight);
        turn.persist(registry_change::Kind::Weight(v1::WeightInfo { weight, role: Some(role.clone()) }));
        self.facts.weights.insert(role, weight);
        Answer::Done
    }
}
