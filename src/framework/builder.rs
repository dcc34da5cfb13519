//! How a driver is described before it is made: which master, which framework, which habits.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::sync::mpsc;

use super::{
    core::Options,
    driver::SchedulerDriver,
    environment::{Environment, Host},
    error::DriverError,
    scheduler::Scheduler,
    service::{MAILBOX, STOPS, Start},
    stream::{self, EventStream},
    task_ids::TaskIds,
    unknown::UnknownTasks,
};
use crate::{
    proto::{
        ext::PartitionPolicy,
        v1::{AgentId, FrameworkInfo, TaskId, framework_info::capability},
    },
    transport::connect::Addresses,
    types::{
        validate::{self, Invalid},
        validate_id,
    },
};

/// How long a framework may be away before its tasks are killed, unless it says otherwise.
const FAILOVER: Duration = Duration::from_hours(7 * 24);
/// How long offers may go unanswered before the driver gives them back, unless told otherwise.
const HOLD: Duration = Duration::from_secs(10);
/// How often all tasks are reconciled, unless told otherwise.
const RECONCILE: Duration = Duration::from_mins(15);
/// The shortest time between two reconciliations of the timer.
const RECONCILE_LEAST: Duration = Duration::from_secs(1);
/// The longest.
const RECONCILE_MOST: Duration = Duration::from_hours(365 * 24);
/// Where the master is unless told otherwise.
const MASTER: &str = "127.0.0.1:5050";

/// What every framework is taken to understand unless it says that it lists its capabilities itself.
const CAPABILITIES: [capability::Type; 5] = [
    capability::Type::PartitionAware,
    capability::Type::TaskKillingState,
    capability::Type::MultiRole,
    capability::Type::ReservationRefinement,
    capability::Type::GpuResources,
];

/// Describes a driver; made by [`SchedulerDriver::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until build() or stream() is called"]
pub struct DriverBuilder {
    framework: FrameworkInfo,
    masters: String,
    suppressed_roles: Vec<String>,
    explicit: bool,
    own_capabilities: bool,
    hold: Duration,
    reconcile_every: Option<Duration>,
    known_tasks: Vec<(TaskId, Option<AgentId>)>,
    partition_policies: Vec<(TaskId, PartitionPolicy)>,
    unknown_tasks: UnknownTasks,
    seed: Option<u64>,
    environment: Arc<dyn Environment>,
}

impl DriverBuilder {
    pub(super) fn new(framework: FrameworkInfo) -> Self {
        Self {
            framework,
            masters: MASTER.to_owned(),
            suppressed_roles: Vec::new(),
            explicit: false,
            own_capabilities: false,
            hold: HOLD,
            reconcile_every: Some(RECONCILE),
            known_tasks: Vec::new(),
            partition_policies: Vec::new(),
            unknown_tasks: UnknownTasks::default(),
            seed: None,
            environment: Arc::new(Host::new()),
        }
    }

    /// Where the master is: `host:port`, or several of them separated by commas. The driver finds the one that leads.
    /// `127.0.0.1:5050` unless set.
    pub fn master(mut self, addresses: impl Into<String>) -> Self {
        self.masters = addresses.into();
        self
    }

    /// The user acknowledges statuses ([`SchedulerDriver::acknowledge`]), not the driver.
    pub fn explicit_acknowledgements(mut self) -> Self {
        self.explicit = true;
        self
    }

    /// The framework has the capabilities it lists and no others. Otherwise the driver adds `PARTITION_AWARE`,
    /// `TASK_KILLING_STATE`, `MULTI_ROLE`, `RESERVATION_REFINEMENT` and `GPU_RESOURCES`.
    pub fn own_capabilities(mut self) -> Self {
        self.own_capabilities = true;
        self
    }

    /// Roles that want no offers until they are revived.
    pub fn suppressed_roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.suppressed_roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// How long offers may go unanswered before the driver gives them back; 10 s unless set.
    pub fn offer_hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// About how often all tasks are reconciled, besides after every registration; 15 min unless set, at least 1 s,
    /// `None` for never.
    pub fn reconcile_every(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.reconcile_every = every.into();
        self
    }

    /// Tasks that an earlier instance of the framework launched and that are not known to have ended, with their agents
    /// where known. The driver asks what became of each.
    pub fn known_tasks(mut self, tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) -> Self {
        self.known_tasks.extend(tasks);
        self
    }

    /// The partition policies that tasks among [`known_tasks`](Self::known_tasks) were launched with. A master that was
    /// started anew while a task's agent was away does not know the task: only by its driver's word can it tell, after
    /// the policy's `lost_after`, that the task is lost.
    pub fn partition_policies(mut self, policies: impl IntoIterator<Item = (TaskId, PartitionPolicy)>) -> Self {
        self.partition_policies.extend(policies);
        self
    }

    /// What is done about tasks that this driver neither launched nor was told of; reported unless set.
    pub fn unknown_tasks(mut self, policy: UnknownTasks) -> Self {
        self.unknown_tasks = policy;
        self
    }

    /// Fixes what the driver leaves to chance: its jitter and [`SchedulerDriver::rng`]. What tells one run of a framework
    /// from another stays its own, so runs that share a seed are fenced off from each other, and their task ids differ.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// What surrounds the driver instead of the host.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.environment = environment;
        self
    }

    /// Makes a driver that tells `scheduler` what happens. It does nothing until it is started.
    ///
    /// # Errors
    /// A master's address or a framework that makes no sense.
    pub fn build(self, scheduler: impl Scheduler + 'static) -> Result<SchedulerDriver, DriverError> {
        let masters: Addresses = self.masters.parse()?;
        let framework = complete(self.framework, self.own_capabilities, || self.environment.user());
        validate::subscription(&framework, &self.suppressed_roles, None)?;
        check_known(&self.known_tasks)?;
        let reconcile_every = self.reconcile_every.map(|every| every.clamp(RECONCILE_LEAST, RECONCILE_MOST));
        let identity = self.environment.identity();
        let options = Options {
            framework,
            masters: masters.iter().map(ToString::to_string).collect(),
            suppressed_roles: self.suppressed_roles,
            explicit: self.explicit,
            hold: self.hold,
            reconcile_every,
            instance: Bytes::copy_from_slice(&identity),
            known_tasks: self.known_tasks,
            partition_policies: self.partition_policies,
            unknown_tasks: self.unknown_tasks,
        };
        let seed = self.seed.unwrap_or_else(|| self.environment.seed());
        let mut rng = StdRng::seed_from_u64(seed);
        let own = StdRng::from_rng(&mut rng);
        let (to_mailbox, mailbox) = mpsc::channel(MAILBOX);
        let (to_stops, stops) = mpsc::channel(STOPS);
        let start = Start { options, scheduler: Box::new(scheduler), mailbox, stops, rng: own };
        let chance = (rng, TaskIds::new(identity));
        Ok(SchedulerDriver::new(self.environment, chance, (to_mailbox, to_stops), start))
    }

    /// Makes a driver that tells a stream what happens. It does nothing until it is started.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn stream(self) -> Result<(SchedulerDriver, EventStream), DriverError> {
        let (feed, events) = stream::pair();
        Ok((self.build(feed)?, events))
    }
}

fn check_known(tasks: &[(TaskId, Option<AgentId>)]) -> Result<(), Invalid> {
    tasks.iter().enumerate().try_for_each(|(index, (task_id, _))| {
        validate_id("task id", &task_id.value)
            .map_err(|error| Invalid::new(format!("known_tasks[{index}].task_id"), error.to_string()))
    })
}

/// Says what the framework left unsaid.
#[expect(deprecated, reason = "a framework that names its one role in the old field is taken at its word")]
fn complete(mut framework: FrameworkInfo, own_capabilities: bool, user: impl FnOnce() -> String) -> FrameworkInfo {
    if framework.user.is_empty() {
        framework.user = user();
    }
    framework.checkpoint.get_or_insert(true);
    framework.failover_timeout.get_or_insert(FAILOVER.as_secs_f64());
    if !own_capabilities {
        framework = CAPABILITIES.into_iter().fold(framework, FrameworkInfo::with_capability);
    }
    if framework.has(capability::Type::MultiRole) && framework.roles.is_empty() {
        framework.roles = vec![framework.role.take().unwrap_or_else(|| "*".to_owned())];
    }
    framework
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> String {
        "nobody".to_owned()
    }

    #[test]
    fn what_a_framework_leaves_unsaid_is_what_nearly_all_want() {
        let framework = complete(FrameworkInfo::new("f"), false, nobody);
        assert_eq!((framework.checkpoint, framework.failover_timeout), (Some(true), Some(604_800.0)));
        assert_eq!(framework.roles, ["*"]);
        assert!(CAPABILITIES.into_iter().all(|capability| framework.has(capability)));
        assert_eq!(framework.user, "nobody");
    }

    #[test]
    fn a_known_task_without_an_id_is_refused_by_its_place() {
        let known = vec![(TaskId::from("t1"), None), (TaskId::default(), None)];
        let error = check_known(&known).expect_err("the second has no id");
        assert_eq!(error.to_string(), "known_tasks[1].task_id: task id `` must not be empty");
    }

    #[test]
    #[expect(deprecated, reason = "the old field is what is tested")]
    fn what_a_framework_says_stands() {
        let said = FrameworkInfo {
            checkpoint: Some(false),
            failover_timeout: Some(0.0),
            user: "me".into(),
            role: Some("eng".into()),
            ..FrameworkInfo::new("f")
        };
        assert_eq!(complete(said.clone(), true, nobody), said);
        let both = complete(said, false, nobody);
        assert_eq!((both.roles, both.role, both.checkpoint), (vec!["eng".to_owned()], None, Some(false)));
    }
}
