//! Bugs planted at the edges of the cores, to show that the invariants find them.

mod hosts;
mod queues;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::world::World;
use crate::{
    agent::core::Effect as AgentEffect,
    master::core::{Call, Config, Event, Input, Order, Report, SessionId, offer_id},
    master::registry,
    proto::{
        internal::{MasterMessage, RegistryChange, agent_message, agent_record, master_message, registry_change},
        v1::TaskState,
    },
};

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// The master sends an agent its registration before the registry holds it.
    RegistersTooEarly,
    /// Pings do not leave while a registry write is pending.
    HoldsPings,
    /// The tombstone of a removed framework is not written.
    DropsTombstones,
    /// The registry does not record which instance has a framework.
    ForgetsRuns,
    /// A status leaves the agent before it is written.
    SendsBeforeWriting,
    /// A status is not written at all.
    DropsStatusRecords,
    /// An acknowledgement names another task.
    AcknowledgesAnother,
    /// No acknowledgement reaches an agent.
    LosesAcknowledgements,
    /// A task's resources are freed while it runs.
    FreesTooEarly,
    /// The resources of a removed framework's tasks are freed before their containers are gone.
    FreesTheRemovedAtOnce,
    /// The launch of one ACCEPT is repeated out of the same offer.
    UsesOffersTwice,
    /// An ACCEPT of a rescinded offer uses a live offer instead.
    AcceptsRescinded,
    /// A restarted agent repeats its starts.
    StartsAgainAfterRestart,
    /// A restarted agent does not recover the sandboxes to be removed.
    RecoversNoSandboxes,
    /// An agent re-registers without its tasks.
    LosesTasksAtReregistration,
    /// A master that was replaced writes to the registry.
    OldMasterWrites,
    /// Refusals have no duration.
    ForgetsFilters,
    /// A task of a removed framework is launched with an agent's next ping.
    LaunchesForTheRemoved,
    /// A kill does not reach the agent.
    LosesKills,
    /// RECONCILE calls are not answered.
    IgnoresReconciliation,
    /// Offers are sent in the order of a hash map.
    LeaksMapOrder,
    /// A refusal filters every offer until it expires.
    FiltersEverything,
    /// Agents are marked unreachable without a rate limit.
    GivesUpAtOnce,
    /// The registry does not record that an agent is gone.
    ForgetsTheGone,
    /// An agent that is marked gone does not receive the order.
    KeepsTheGone,
    /// A supervisor that does not answer counts as dead.
    TakesSilenceForDeath,
    /// A container that no supervisor has is reported to have ended while its processes run.
    EndsBeforeDead,
    /// Statuses written while an agent's disk is full are dropped.
    LosesEndsOnAFullDisk,
    /// Bytes written to a session are reported to the core twice.
    FreesBytesTwice,
    /// Bytes queued for a session count as written.
    ChargesNothing,
    /// Bytes written to a session over its budget are not reported.
    ForgetsWhatWasWritten,
    /// An effect leaves before the records of its subjects are durable.
    ForgetsRecordNumbers,
    /// If two queued statuses of a task are merged, neither is sent.
    LosesMergedStatuses,
    /// Rescinds of offers are lost.
    LosesRescinds,
    /// An answer to RECONCILE over several turns skips every third task.
    SkipsTasksOfACursor,
    /// One of the statuses to be resent after a subscription is lost.
    ForgetsResends,
    /// A tombstone is gone when the next master starts.
    PrunesTombstonesEarly,
    /// The latest state in an update replaces the state of its status.
    EndsFromASummary,
    /// Any supervisor counts as the one that received the starts.
    TrustsFreshSupervisors,
    /// The records of a copied folder are believed.
    BelievesCopiedFolders,
    /// A kill of one container also ends one that forged its marker.
    BelievesMarkersOfOthers,
    /// A start from a replaced agent process is executed.
    StartsForTheReplaced,
}

/// The state of the planted bugs.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The unanswered offers of each session.
    live: BTreeMap<SessionId, Vec<String>>,
    /// The last launch of each framework.
    launched: BTreeMap<Arc<str>, Order>,
    removed: Vec<Order>,
    pub(super) queues: queues::QueueMemory,
    /// Sessions that get no offers, with the end of that time.
    suppressed_until: BTreeMap<SessionId, u64>,
}

/// The configuration of a master that starts.
pub(super) fn sabotage_config(sabotage: Option<Sabotage>, config: &Config) -> Config {
    let removal_rate = config.removal_rate.filter(|_| sabotage != Some(Sabotage::GivesUpAtOnce));
    Config { removal_rate, ..config.clone() }
}

/// The registry state that a starting master loads.
pub(super) fn sabotage_state(sabotage: Option<Sabotage>, mut state: registry::State) -> registry::State {
    if sabotage == Some(Sabotage::PrunesTombstonesEarly) {
        state.removed_frameworks = registry::State::default().removed_frameworks;
    }
    state
}

/// Whether the changes are lost before they reach the registry.
pub(super) fn drops_changes(sabotage: Option<Sabotage>, changes: &[RegistryChange]) -> bool {
    let tombstone = |change: &RegistryChange| matches!(change.kind, Some(registry_change::Kind::FrameworkTombstone(_)));
    let gone = |change: &RegistryChange| matches!(change.kind, Some(registry_change::Kind::AgentGone(_)));
    match sabotage {
        Some(Sabotage::DropsTombstones) => changes.iter().any(tombstone),
        Some(Sabotage::ForgetsTheGone) => changes.iter().any(gone),
        _ => false,
    }
}

/// The changes that the registry really keeps.
pub(super) fn kept_changes(sabotage: Option<Sabotage>, changes: &[RegistryChange]) -> Vec<RegistryChange> {
    let run = |change: &RegistryChange| matches!(change.kind, Some(registry_change::Kind::FrameworkRun(_)));
    let lost = |change: &RegistryChange| sabotage == Some(Sabotage::ForgetsRuns) && run(change);
    changes.iter().filter(|change| !lost(change)).cloned().collect()
}

impl World {
    pub(super) fn sabotage_report(&self, report: &mut Report) {
        match (self.sabotage, report) {
            (Some(Sabotage::FreesTooEarly), Report::Updated(update)) => update.latest = TaskState::TaskFinished,
            (Some(Sabotage::EndsFromASummary), Report::Updated(update)) if update.latest.is_terminal() => {
                Arc::make_mut(&mut update.status).state = update.latest as i32;
            }
            (Some(Sabotage::LosesTasksAtReregistration), Report::Register(register)) => register.tasks.clear(),
            (Some(Sabotage::FreesTheRemovedAtOnce), Report::Register(register)) => register.version = 1,
            _ => {}
        }
    }

    /// The call as it reaches the core.
    pub(super) fn sabotage_call(&mut self, session: SessionId, mut call: Call) -> Option<Call> {
        match (self.sabotage, &mut call) {
            (Some(Sabotage::IgnoresReconciliation), Call::Reconcile { .. }) => return None,
            (Some(Sabotage::ForgetsFilters), Call::Decline { refuse, .. }) => *refuse = None,
            (Some(Sabotage::ForgetsFilters), Call::Accept(accept)) => accept.refuse = None,
            (Some(Sabotage::AcceptsRescinded), Call::Accept(accept)) => {
                let live = self.planted.live.entry(session).or_default();
                for id in &mut accept.offers {
                    if !live.contains(id)
                        && let Some(other) = live.first()
                    {
                        id.clone_from(other);
                    }
                    live.retain(|one| one != id);
                }
            }
            _ => {}
        }
        Some(call)
    }

    /// An additional input that a refusal causes.
    pub(super) fn sabotage_refusal(&mut self, session: SessionId, call: &Call) -> Option<Input> {
        let Some(Sabotage::FiltersEverything) = self.sabotage else { return None };
        let refuse = match call {
            Call::Decline { refuse, .. } => refuse.filter(|time| time.as_secs() > 1)?,
            Call::Revive { .. } => {
                self.planted.suppressed_until.remove(&session);
                return None;
            }
            _ => return None,
        };
        self.planted.suppressed_until.insert(session, self.now_ns + super::chance::nanos(refuse));
        Some(Input::Called { session, seq: 0, call: Call::Suppress { roles: Vec::new() } })
    }

    /// Adds inputs that reach the core.
    pub(super) fn sabotage_inputs(&mut self, inputs: &mut Vec<Input>) {
        let now_ns = self.now_ns;
        let over = self.planted.suppressed_until.extract_if(.., |_, until_ns| *until_ns <= now_ns);
        let revive = |(session, _)| Input::Called { session, seq: 0, call: Call::Revive { roles: Vec::new() } };
        inputs.extend(over.map(revive));
    }

    /// The event that is sent instead of this one.
    pub(super) fn sabotage_event(&mut self, session: SessionId, event: Event) -> Event {
        let master = self.master.process.as_ref().map(|process| process.id()).unwrap_or_default();
        match (self.sabotage, event) {
            (Some(Sabotage::LeaksMapOrder), Event::Offers(offers)) => {
                let shuffled: HashMap<u64, _> = offers.into_iter().map(|offer| (offer.key.0, offer)).collect();
                Event::Offers(shuffled.into_values().collect())
            }
            (Some(Sabotage::AcceptsRescinded), event) => {
                let live = self.planted.live.entry(session).or_default();
                match &event {
                    Event::Offers(offers) => live.extend(offers.iter().map(|offer| offer_id(&master, offer.key))),
                    Event::Rescinded { offer } => live.retain(|id| *id != offer_id(&master, *offer)),
                    _ => {}
                }
                event
            }
            (_, event) => event,
        }
    }

    pub(super) fn sabotage_order(&mut self, _session: SessionId, order: Order) -> Vec<Order> {
        match (self.sabotage, &order) {
            (Some(Sabotage::UsesOffersTwice), Order::Run { framework, container, info }) => {
                let container = format!("{container}-again").as_str().into();
                let again = Order::Run { framework: framework.clone(), container, info: info.clone() };
                vec![order, again]
            }
            (Some(Sabotage::LosesAcknowledgements), Order::Acknowledge { .. })
            | (Some(Sabotage::LosesKills), Order::Kill { .. })
            | (Some(Sabotage::KeepsTheGone), Order::Gone) => Vec::new(),
            (Some(Sabotage::LaunchesForTheRemoved), Order::Run { framework, container, info }) => {
                let container = format!("{container}-late").as_str().into();
                let late = Order::Run { framework: framework.clone(), container, info: info.clone() };
                self.planted.launched.insert(framework.clone(), late);
                vec![order]
            }
            (Some(Sabotage::LaunchesForTheRemoved), Order::Shutdown { framework }) => {
                let late = self.planted.launched.remove(framework);
                self.planted.removed.extend(late);
                vec![order]
            }
            (Some(Sabotage::LaunchesForTheRemoved), Order::Ping) => {
                let late = self.planted.removed.pop();
                std::iter::once(order).chain(late).collect()
            }
            _ => vec![order],
        }
    }

    pub(super) fn sabotage_agent(&self, index: usize, effects: Vec<AgentEffect>) -> Vec<AgentEffect> {
        let is_update = |effect: &AgentEffect| match effect {
            AgentEffect::Send { message, .. } => matches!(message.kind, Some(agent_message::Kind::Update(_))),
            _ => false,
        };
        match self.sabotage {
            Some(Sabotage::SendsBeforeWriting) => {
                let (mut first, rest): (Vec<_>, Vec<_>) = effects.into_iter().partition(is_update);
                first.extend(rest);
                first
            }
            Some(Sabotage::LosesEndsOnAFullDisk) if self.disk_is_full(super::nodes::Node::Agent(index)) => {
                effects.into_iter().map(without_statuses).collect()
            }
            Some(Sabotage::DropsStatusRecords) => effects.into_iter().map(without_statuses).collect(),
            _ => effects,
        }
    }

    /// The acknowledgement names a pending status of another task of the agent.
    pub(super) fn sabotage_received_order(&self, index: usize, mut message: MasterMessage) -> MasterMessage {
        if self.sabotage != Some(Sabotage::AcknowledgesAnother) {
            return message;
        }
        let Some(master_message::Kind::Acknowledge(acknowledge)) = &mut message.kind else { return message };
        let Some(process) = &self.agents[index].process else { return message };
        let waiting = process.harness.core.snapshot().into_iter().find_map(|record| match record.kind {
            Some(agent_record::Kind::Status(made)) => made.status.filter(|it| it.task_id.value != acknowledge.task_id),
            _ => None,
        });
        if let Some(status) = waiting {
            acknowledge.task_id = status.task_id.value;
            acknowledge.uuid = status.uuid.unwrap_or_default();
        }
        message
    }
}

fn without_statuses(effect: AgentEffect) -> AgentEffect {
    match effect {
        AgentEffect::Persist { mut records, level } => {
            records.retain(|record| !matches!(record.kind, Some(agent_record::Kind::Status(_))));
            AgentEffect::Persist { records, level }
        }
        other => other,
    }
}
