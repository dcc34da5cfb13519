//! The configuration of a driver: which master, which framework, which intervals and policies.

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

/// The default failover timeout.
const FAILOVER: Duration = Duration::from_hours(7 * 24);
/// The default time after which the driver declines an unanswered offer.
const HOLD: Duration = Duration::from_secs(10);
/// The default interval between reconciliations of all tasks.
const RECONCILE: Duration = Duration::from_mins(15);
/// The shortest interval between two periodic reconciliations.
const RECONCILE_LEAST: Duration = Duration::from_secs(1);
/// The longest.
const RECONCILE_MOST: Duration = Duration::from_hours(365 * 24);
/// The default address of the master.
const MASTER: &str = "127.0.0.1:5050";

/// The capabilities that are added unless [`DriverBuilder::own_capabilities`] is called.
const CAPABILITIES: [capability::Type; 5] = [
    capability::Type::PartitionAware,
    capability::Type::TaskKillingState,
    capability::Type::MultiRole,
    capability::Type::ReservationRefinement,
    capability::Type::GpuResources,
];

/// The configuration of a driver; made by [`SchedulerDriver::builder`].
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

    /// Sets the address of the master, `host:port`.
    ///
    /// Several addresses are separated by commas; the driver finds the leading master. The default is `127.0.0.1:5050`.
    pub fn master(mut self, addresses: impl Into<String>) -> Self {
        self.masters = addresses.into();
        self
    }

    /// Leaves acknowledgements to the user ([`SchedulerDriver::acknowledge`]).
    pub fn explicit_acknowledgements(mut self) -> Self {
        self.explicit = true;
        self
    }

    /// Uses only the capabilities that the framework lists.
    ///
    /// Otherwise the driver adds `PARTITION_AWARE`, `TASK_KILLING_STATE`, `MULTI_ROLE`, `RESERVATION_REFINEMENT` and
    /// `GPU_RESOURCES`.
    pub fn own_capabilities(mut self) -> Self {
        self.own_capabilities = true;
        self
    }

    /// Sets the roles that receive no offers until they are revived.
    pub fn suppressed_roles(mut self, roles: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.suppressed_roles = roles.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the time after which an unanswered offer is declined; default 10 s.
    pub fn offer_hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// Sets the interval between reconciliations of all tasks.
    ///
    /// The default is 15 min, the minimum 1 s, and it varies by a tenth. `None` leaves only the reconciliation after
    /// every registration.
    pub fn reconcile_every(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.reconcile_every = every.into();
        self
    }

    /// Adds tasks that an earlier instance of the framework launched.
    ///
    /// Add their agents where known. The driver reconciles them at registration. Leave out those that are known to have
    /// ended.
    pub fn known_tasks(mut self, tasks: impl IntoIterator<Item = (TaskId, Option<AgentId>)>) -> Self {
        self.known_tasks.extend(tasks);
        self
    }

    /// Adds the partition policies of tasks among [`known_tasks`](Self::known_tasks).
    ///
    /// A master that started while a task's agent was disconnected does not know the task. It needs the policy from the
    /// driver to report the task as lost after `lost_after`.
    pub fn partition_policies(mut self, policies: impl IntoIterator<Item = (TaskId, PartitionPolicy)>) -> Self {
        self.partition_policies.extend(policies);
        self
    }

    /// Sets the policy for unknown tasks; the default is [`UnknownTasks::Report`].
    pub fn unknown_tasks(mut self, policy: UnknownTasks) -> Self {
        self.unknown_tasks = policy;
        self
    }

    /// Sets the seed of the driver's jitter and of [`SchedulerDriver::rng`].
    ///
    /// The name of the instance is drawn independently. Instances that share a seed are fenced from each other, and
    /// their task ids differ.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Replaces the host's environment.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn environment(mut self, environment: Arc<dyn Environment>) -> Self {
        self.environment = environment;
        self
    }

    /// Builds a driver that calls `scheduler`. It does nothing until it is started.
    ///
    /// # Errors
    /// The address of a master, the framework or a known task is invalid.
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
        let generators = (rng, TaskIds::new(identity));
        Ok(SchedulerDriver::new(self.environment, generators, (to_mailbox, to_stops), start))
    }

    /// Builds a driver that delivers its events to a stream.
    ///
    /// It does nothing until it is started.
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

/// Sets the defaults of unset fields.
#[expect(deprecated, reason = "a framework may name its one role in the old field")]
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

    fn some_user() -> String {
        "ann".to_owned()
    }

    #[test]
    fn unset_fields_get_their_defaults() {
        let framework = complete(FrameworkInfo::new("f"), false, some_user);
        assert_eq!((framework.checkpoint, framework.failover_timeout), (Some(true), Some(604_800.0)));
        assert_eq!(framework.roles, ["*"]);
        assert!(CAPABILITIES.into_iter().all(|capability| framework.has(capability)));
        assert_eq!(framework.user, "ann");
    }

    #[test]
    fn a_known_task_without_an_id_is_refused_by_its_index() {
        let known = vec![(TaskId::from("t1"), None), (TaskId::default(), None)];
        let error = check_known(&known).expect_err("the second has no id");
        assert_eq!(error.to_string(), "known_tasks[1].task_id: task id `` must not be empty");
    }

    #[test]
    #[expect(deprecated, reason = "the old field is what is tested")]
    fn fields_that_a_framework_sets_are_kept() {
        let given = FrameworkInfo {
            checkpoint: Some(false),
            failover_timeout: Some(0.0),
            user: "me".into(),
            role: Some("eng".into()),
            ..FrameworkInfo::new("f")
        };
        assert_eq!(complete(given.clone(), true, some_user), given);
        let both = complete(given, false, some_user);
        assert_eq!((both.roles, both.role, both.checkpoint), (vec!["eng".to_owned()], None, Some(false)));
    }
}
