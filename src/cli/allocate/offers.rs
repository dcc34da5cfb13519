//! The file format of offers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::{
    proto::v1::{self, resource::AllocationInfo},
    types::{Amount, AttributeValue, Attributes, KindRef, Milli, Ranges, Resource, Resources},
};

/// One offer. Amounts left out are 0; `mem` and `disk` are in MiB.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferText {
    id: String,
    agent: String,
    /// The agent's id unless given.
    hostname: Option<String>,
    role: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, AttributeText>,
    #[serde(default)]
    cpus: f64,
    #[serde(default)]
    mem: f64,
    #[serde(default)]
    disk: f64,
    #[serde(default)]
    gpus: f64,
    /// First and last port of each range.
    #[serde(default)]
    ports: Vec<(u64, u64)>,
    /// Amounts of other scalar resources by name.
    #[serde(default)]
    resources: BTreeMap<String, f64>,
    /// Items of sets by name.
    #[serde(default)]
    sets: BTreeMap<String, BTreeSet<String>>,
}

/// The value of an attribute; a list is joined with commas.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AttributeText {
    Number(serde_json::Number),
    Text(String),
    List(Vec<String>),
}

/// The offers as messages.
pub(super) fn offers(texts: &[OfferText]) -> Result<Vec<v1::Offer>, String> {
    let mut seen = BTreeSet::new();
    let mut offers = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        offers.push(text.offer().map_err(|error| format!("[{index}].{error}"))?);
        if !seen.insert(text.id.as_str()) {
            return Err(format!("[{index}].id: {:?} is the id of an offer before it", text.id));
        }
    }
    Ok(offers)
}

impl OfferText {
    fn offer(&self) -> Result<v1::Offer, String> {
        for (field, value) in [("id", &self.id), ("agent", &self.agent)] {
            if value.is_empty() {
                return Err(format!("{field}: it is empty"));
            }
        }
        let allocation_info = self.role.clone().map(|role| AllocationInfo { role: Some(role) });
        let resources = self.resources()?.to_proto_as(self.role.as_deref(), true);
        Ok(v1::Offer {
            id: v1::OfferId { value: self.id.clone() },
            agent_id: v1::AgentId { value: self.agent.clone() },
            hostname: self.hostname.clone().unwrap_or_else(|| self.agent.clone()),
            attributes: self.attributes().to_proto(),
            resources,
            allocation_info,
            ..Default::default()
        })
    }

    fn resources(&self) -> Result<Resources, String> {
        let usual = [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk), ("gpus", self.gpus)];
        let others = self.resources.iter().map(|(name, &amount)| (name.as_str(), amount));
        let mut resources = Resources::new();
        for (name, amount) in usual.into_iter().chain(others) {
            let amount = Milli::amount(amount).map_err(|problem| format!("{name}: {problem}"))?;
            resources.add(&Resource::new(KindRef::plain(name), Amount::Scalar(amount)));
        }
        for (name, items) in &self.sets {
            resources.add(&Resource::new(KindRef::plain(name), Amount::Set(items.clone())));
        }
        let ports = self.ports()?;
        Ok(if ports.is_empty() { resources } else { resources.with_ports(ports) })
    }

    fn ports(&self) -> Result<Ranges, String> {
        let mut ports = Ranges::new();
        for (index, &(begin, end)) in self.ports.iter().enumerate() {
            if begin > end || end > u64::from(u16::MAX) {
                return Err(format!(
                    "ports[{index}]: [{begin},{end}] is no range of ports; write [first,last] up to 65535"
                ));
            }
            ports += &Ranges::from_iter([begin..=end]);
        }
        Ok(ports)
    }

    fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::default();
        for (name, value) in &self.attributes {
            let value = match value {
                AttributeText::Number(number) => number_or_text(number),
                AttributeText::Text(text) => AttributeValue::Text(text.clone()),
                AttributeText::List(items) => AttributeValue::Text(items.join(",")),
            };
            attributes.push(name.clone(), value);
        }
        attributes
    }
}

/// A number that needs more than three decimals stays text, as in an agent's flags.
fn number_or_text(number: &serde_json::Number) -> AttributeValue {
    let exact = |value: f64| Milli::from_f64(value).ok().filter(|milli| milli.as_f64().total_cmp(&value).is_eq());
    number.as_f64().and_then(exact).map_or_else(|| AttributeValue::Text(number.to_string()), AttributeValue::Scalar)
}
