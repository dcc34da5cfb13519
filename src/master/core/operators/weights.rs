//! Weights of roles: set all or none, recorded before they are confirmed, and kept over a restart.

use std::collections::BTreeMap;

use crate::{
    master::core::{Answer, Master, Turn},
    proto::{internal::registry_change::Kind, v1::WeightInfo},
    types::validate_role,
};

/// Removes invalid weights, which no master records: a registry may be another cluster's, or edited by hand.
pub(in crate::master::core) fn remove_invalid_weights(weights: &mut BTreeMap<String, f64>) {
    weights.retain(|role, weight| match check(role, *weight) {
        Ok(()) => true,
        Err((_, text)) => {
            tracing::warn!("the registry's weight of role {role:?} is left out, so it weighs 1: {text}");
            false
        }
    });
}

/// Checks a weight; an error names the field that is wrong.
fn check(role: &str, weight: f64) -> Result<(), (&'static str, String)> {
    if !(weight.is_finite() && weight > 0.0) {
        return Err(("weight", format!("{weight} for role {role}: it must be over 0 and finite")));
    }
    validate_role(role).map_err(|error| ("role", error.to_string()))
}

impl Master {
    /// Sets all of these weights, or none if one is invalid. Of a role named twice the last weight counts, as in Mesos.
    pub(in crate::master::core) fn set_weights(&mut self, turn: &mut Turn<'_>, weights: Vec<(String, f64)>) -> Answer {
        for (number, (role, weight)) in weights.iter().enumerate() {
            if let Err((field, text)) = check(role, *weight) {
                return Answer::Refused(format!("update_weights.weight_infos[{number}].{field}: {text}"));
            }
        }
        for (role, weight) in &weights {
            self.ledger.shares_mut().set_weight(role, *weight);
        }
        let change = |(role, weight)| Kind::Weight(WeightInfo { weight, role: Some(role) });
        self.record_all(turn, weights.into_iter().map(change).collect());
        Answer::Done
    }
}
