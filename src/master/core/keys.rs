//! The integer keys of the core, and their text forms.
//!
//! No key is issued twice. The text forms are those of Mesos: `<master>-S3` for an agent,
//! `<master>-O12` for an offer, `<master>-0001` for a framework.

use super::container::ContainerId;

/// One connection, from accepted to closed. The shell numbers them; a reconnect is a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// An agent, as long as this master knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AgentKey(pub(crate) u32);

/// A framework, as long as this master knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FrameworkKey(pub(crate) u32);

/// An offer; its number is part of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OfferKey(pub(crate) u64);

/// A task, from its launch until it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskKey(pub(crate) u64);

/// An operator's request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub(crate) u64);

/// Issues keys.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    agents: u32,
    agent_ids: u32,
    frameworks: u32,
    framework_ids: u32,
    offers: u64,
    tasks: u64,
}

impl Counters {
    pub(crate) fn agent(&mut self) -> AgentKey {
        self.agents += 1;
        AgentKey(self.agents)
    }

    pub(crate) fn agent_id(&mut self, master: &str) -> String {
        let number = self.agent_ids;
        self.agent_ids += 1;
        format!("{master}-S{number}")
    }

    pub(crate) fn framework(&mut self) -> FrameworkKey {
        self.frameworks += 1;
        FrameworkKey(self.frameworks)
    }

    pub(crate) fn framework_id(&mut self, master: &str) -> String {
        let number = self.framework_ids;
        self.framework_ids += 1;
        format!("{master}-{number:04}")
    }

    /// Whether [`framework_id`](Self::framework_id) issued this id.
    pub(crate) fn gave_framework_id(&self, master: &str, id: &str) -> bool {
        let number = id.strip_prefix(master).and_then(|rest| rest.strip_prefix('-'));
        let number = number.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        let canonical = |given: &u32| id.len() == master.len() + 1 + format!("{given:04}").len();
        number.and_then(|digits| digits.parse().ok()).filter(canonical).is_some_and(|given| given < self.framework_ids)
    }

    pub(crate) fn offer(&mut self) -> OfferKey {
        let key = OfferKey(self.offers);
        self.offers += 1;
        key
    }

    pub(crate) fn task(&mut self) -> TaskKey {
        self.tasks += 1;
        TaskKey(self.tasks)
    }

    /// The key of the next task.
    pub(crate) fn next_task(&self) -> TaskKey {
        TaskKey(self.tasks + 1)
    }
}

/// The id under which a framework sees an offer.
pub(crate) fn offer_id(master: &str, key: OfferKey) -> String {
    format!("{master}-O{}", key.0)
}

/// The id of the container in which a task is launched: a UUID of version 8 made of the master's epoch, the number of
/// the task and random bits, in this order. So ids never repeat, and of two launches the later has the id that sorts
/// later, also across masters.
pub(crate) fn container_id(epoch: u64, task: TaskKey, chance: u32) -> ContainerId {
    let high = (epoch >> 12) << 16 | 8 << 12 | epoch & 0xfff;
    let low = 0b10 << 62 | (task.0 & 0xffff_ffff) << 30 | u64::from(chance >> 2);
    uuid::Uuid::from_u64_pair(high, low).into()
}

/// The key behind an offer id of this master; `None` for any other text.
pub(crate) fn offer_key(master: &str, id: &str) -> Option<OfferKey> {
    let number = id.strip_prefix(master)?.strip_prefix("-O")?;
    let canonical = number == "0" || number.starts_with(|first: char| ('1'..='9').contains(&first));
    number.parse().ok().filter(|_| canonical).map(OfferKey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_launch_has_the_id_that_sorts_later() {
        let launches = [(1, 1, u32::MAX), (1, 2, 0), (2, 1, 7), (4_095, 9, 0), (4_096, 1, 0), (1 << 51, 3, 0)];
        let ids = launches.map(|(epoch, task, chance)| container_id(epoch, TaskKey(task), chance));
        assert!(ids.is_sorted(), "{ids:?}");
        for id in &ids {
            let parsed: uuid::Uuid = id.to_string().parse().expect("a UUID");
            assert_eq!((parsed.get_version_num(), parsed.get_variant()), (8, uuid::Variant::RFC4122));
        }
    }

    #[test]
    fn an_id_that_was_given_to_a_framework_is_known_and_no_other_text_is() {
        let mut counters = Counters::default();
        let given: Vec<String> = (0..3).map(|_| counters.framework_id("m")).collect();
        assert!(given.iter().all(|id| counters.gave_framework_id("m", id)), "{given:?}");
        for foreign in ["m-0003", "m-1", "m-00001", "m-+001", "m-", "m", "", "n-0001", "m-S001", "m-99999999999"] {
            assert!(!counters.gave_framework_id("m", foreign), "{foreign}");
        }
    }

    #[test]
    fn an_offer_id_leads_back_to_its_key_and_no_other_text_does() {
        assert_eq!(offer_key("m", &offer_id("m", OfferKey(12))), Some(OfferKey(12)));
        for foreign in ["", "m", "m-O", "m-O-1", "m-O+1", "m-O012", "n-O12", "m-S12", "m-O99999999999999999999"] {
            assert_eq!(offer_key("m", foreign), None, "{foreign}");
        }
    }
}
