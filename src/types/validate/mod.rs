//! Validation of messages from outside.
//!
//! Every check stops at the first broken rule and names the field by its path in the message. The rules are those of
//! the Mesos master, in its order, so that a client receives the error it knows. What depends on the master's state (is
//! the id in use? does the task fit?) is an argument or stays with the master.

mod agent;
mod call;
mod checks;
mod command;
mod container;
mod executor;
mod framework;
mod resources;
mod sizes;
mod task;

use std::fmt;

pub use self::agent::{agent_info, task_status};
pub use self::call::scheduler_call;
pub use self::executor::{complete_executor, same_executor};
pub use self::framework::{framework_info, framework_update, subscription};
pub use self::resources::fits;
#[cfg(feature = "framework")]
pub(crate) use self::sizes::bounded;
pub use self::task::{LaunchContext, TaskNeeds, task};
use super::{InvalidId, InvalidRole, ResourceError};

/// An error for a field that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {text}")]
pub struct Invalid {
    /// The path of the field, e.g. `accept.operations[0].launch.task_infos[3].task_id`.
    pub field: String,
    /// The rule, with the value and what is expected.
    pub text: String,
}

impl Invalid {
    /// Creates an error: this field breaks this rule.
    #[must_use]
    pub fn new(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: field.into(), text: text.into() }
    }

    /// Prefixes the path with `outer`, the field of the enclosing message.
    #[must_use]
    pub fn under(mut self, outer: &str) -> Self {
        let joint = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field.insert_str(0, joint);
        self.field.insert_str(0, outer);
        self
    }

    fn missing(field: impl Into<String>) -> Self {
        Self::new(field, "is missing")
    }

    fn from_id(field: &str, error: &InvalidId) -> Self {
        Self::new(field, error.to_string())
    }

    fn from_role(field: impl Into<String>, error: &InvalidRole) -> Self {
        Self::new(field, error.to_string())
    }
}

impl From<ResourceError> for Invalid {
    fn from(error: ResourceError) -> Self {
        match error {
            ResourceError::Field { path, problem } => Self::new(path, problem),
            ResourceError::Text { text, problem } => Self::new(text, problem),
        }
    }
}

/// Checks one rule about one field; its text is only formatted when the rule is broken.
fn ensure(holds: bool, field: &str, text: impl fmt::Display) -> Result<(), Invalid> {
    if holds { Ok(()) } else { Err(Invalid::new(field, text.to_string())) }
}

/// Checks every element of a repeated field.
fn each<T>(field: &str, list: &[T], check: impl Fn(&T) -> Result<(), Invalid>) -> Result<(), Invalid> {
    let checked = |(at, element)| check(element).map_err(|error| error.under(&format!("{field}[{at}]")));
    list.iter().enumerate().try_for_each(checked)
}

/// Checks a submessage if it is there.
fn inside<T: ?Sized>(
    field: &str,
    message: Option<&T>,
    check: impl Fn(&T) -> Result<(), Invalid>,
) -> Result<(), Invalid> {
    message.map_or(Ok(()), |message| check(message).map_err(|error| error.under(field)))
}
