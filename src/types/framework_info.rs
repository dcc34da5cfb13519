//! Builders and accessors of `FrameworkInfo`: roles, capabilities, failover timeout.

use std::time::Duration;

use crate::proto::v1::framework_info::{Capability, capability};
use crate::proto::v1::{FrameworkId, FrameworkInfo};

/// An error for a failover timeout that is not a valid duration.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("failover_timeout {0} is not a number of seconds up to 9223372036 (292 years)")]
pub struct InvalidFailoverTimeout(pub f64);

/// The seconds that fit a signed 64-bit count of nanoseconds.
const LONGEST_FAILOVER_SECS: f64 = 9_223_372_036.0;

impl FrameworkInfo {
    /// Creates a description of a framework of that name, in role `*`, without capabilities. `user` is the user of its
    /// tasks. If it is empty, a driver fills in its own user, and more: see `SchedulerDriver::builder`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use divvy::proto::v1::FrameworkInfo;
    ///
    /// let week = Duration::from_secs(7 * 24 * 3600);
    /// let info = FrameworkInfo::new("cron").with_role("eng/cron").with_failover_timeout(week).with_checkpoint();
    /// assert_eq!(info.all_roles(), ["eng/cron"]);
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a role, which makes the framework `MULTI_ROLE`.
    #[must_use]
    pub fn with_role(mut self, role: impl Into<String>) -> Self {
        self.roles.push(role.into());
        self.with_capability(capability::Type::MultiRole)
    }

    /// Sets the id, to re-register as the framework that has it.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<FrameworkId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the user on the agents' hosts that its tasks run as.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = user.into();
        self
    }

    /// Sets how long the framework may be disconnected before its tasks are killed.
    #[must_use]
    pub fn with_failover_timeout(mut self, timeout: Duration) -> Self {
        self.failover_timeout = Some(timeout.as_secs_f64());
        self
    }

    /// Enables checkpointing: tasks survive a restart of their agent.
    #[must_use]
    pub fn with_checkpoint(mut self) -> Self {
        self.checkpoint = Some(true);
        self
    }

    /// Adds a capability, unless it is there already.
    #[must_use]
    pub fn with_capability(mut self, capability: capability::Type) -> Self {
        if !self.has(capability) {
            self.capabilities.push(Capability { r#type: Some(capability.into()) });
        }
        self
    }

    /// Returns whether the framework has the capability.
    #[must_use]
    pub fn has(&self, capability: capability::Type) -> bool {
        self.capabilities.iter().any(|own| own.r#type == Some(capability.into()))
    }

    /// Returns its roles, sorted and distinct: `roles` if it has `MULTI_ROLE`, otherwise `role`, or `*` if that is not
    /// set.
    #[must_use]
    #[expect(deprecated, reason = "frameworks without MULTI_ROLE have only that field")]
    pub fn all_roles(&self) -> Vec<&str> {
        if !self.has(capability::Type::MultiRole) {
            return vec![self.role.as_deref().unwrap_or("*")];
        }
        let mut roles: Vec<&str> = self.roles.iter().map(String::as_str).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    /// Returns how long it may be disconnected before its tasks are killed; zero if unset or negative.
    ///
    /// # Errors
    /// The value is not a number, or does not fit a signed 64-bit count of nanoseconds.
    pub fn failover_duration(&self) -> Result<Duration, InvalidFailoverTimeout> {
        let seconds = self.failover_timeout.unwrap_or_default();
        if seconds.is_nan() || seconds.abs() > LONGEST_FAILOVER_SECS {
            return Err(InvalidFailoverTimeout(seconds));
        }
        Ok(Duration::from_secs_f64(seconds.max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failover(seconds: f64) -> Result<Duration, InvalidFailoverTimeout> {
        FrameworkInfo { failover_timeout: Some(seconds), ..FrameworkInfo::new("f") }.failover_duration()
    }

    #[test]
    #[expect(deprecated, reason = "frameworks without MULTI_ROLE have only that field")]
    fn roles_come_from_the_field_that_the_capability_names() {
        assert_eq!(FrameworkInfo::new("f").all_roles(), ["*"]);
        let old = FrameworkInfo { role: Some("eng".to_owned()), ..FrameworkInfo::new("f") };
        assert_eq!(old.all_roles(), ["eng"]);
        assert_eq!(FrameworkInfo::new("f").with_role("b").with_role("a").with_role("b").all_roles(), ["a", "b"]);
        assert!(FrameworkInfo::new("f").with_capability(capability::Type::MultiRole).all_roles().is_empty());
    }

    #[test]
    fn a_capability_is_added_once() {
        let info = FrameworkInfo::new("f").with_role("a").with_role("b");
        assert_eq!(info.capabilities.len(), 1);
        assert!(info.has(capability::Type::MultiRole) && !info.has(capability::Type::PartitionAware));
        let odd = FrameworkInfo { capabilities: vec![Capability { r#type: None }], ..info };
        assert!(!odd.has(capability::Type::Unknown));
    }

    #[test]
    fn a_failover_timeout_is_a_span_of_time() {
        assert_eq!(FrameworkInfo::new("f").failover_duration(), Ok(Duration::ZERO));
        assert_eq!((failover(1.5), failover(-1.0)), (Ok(Duration::from_millis(1500)), Ok(Duration::ZERO)));
        assert_eq!(failover(9_223_372_036.0), Ok(Duration::from_secs(9_223_372_036)));
        for seconds in [1e10, -1e10, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            assert!(failover(seconds).is_err(), "{seconds}");
        }
    }
}
