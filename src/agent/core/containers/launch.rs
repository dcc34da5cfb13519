//! Turns a task's description into the process to start, or into an error that says what to change.
//!
//! A task is refused here, before its sandbox is made. A field that the agent does not support yet is refused too: no
//! part of a description is silently ignored.

use crate::agent::core::containers::environment::{TaskEnvironment, environment};
use crate::agent::core::{Config, ContainerId};
use crate::proto::internal::{Output, Start, output};
use crate::proto::v1::{self, FrameworkId};

/// Why a task is not started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::agent::core) enum LaunchError {
    #[error("task.executor is set, and executors come later: use task.command")]
    Executor,
    #[error("task.{field} is not supported by this agent yet: leave it out")]
    Unsupported { field: &'static str },
    #[error("the task is to run as user \"{asked}\", but this agent runs everything as its own user \"{own}\"")]
    User { asked: String, own: String },
    #[error("task.command.value is empty: give a shell command, or a program with shell set to false")]
    NoCommand,
    #[error("task.command contains a zero byte, which no process can be given")]
    ZeroByte,
    #[error("\"{0}\" cannot be the name of an environment variable: it is empty or contains '=' or a zero byte")]
    VariableName(String),
    #[error("the value of environment variable \"{0}\" contains a zero byte")]
    VariableValue(String),
    #[error("environment variable \"{0}\" is a secret, and secrets come later: give it a plain value")]
    Secret(String),
}

/// What a launch depends on besides the task itself.
pub(in crate::agent::core) struct Launch<'a> {
    pub(in crate::agent::core) config: &'a Config,
    pub(in crate::agent::core) agent: &'a str,
    pub(in crate::agent::core) framework: &'a FrameworkId,
    /// The user the framework runs as, if known.
    pub(in crate::agent::core) framework_user: Option<&'a str>,
    pub(in crate::agent::core) container: &'a ContainerId,
    /// The container it is nested in.
    pub(in crate::agent::core) parent: Option<&'a ContainerId>,
}

impl Launch<'_> {
    /// The process to start for the task, or why it is refused.
    pub(in crate::agent::core) fn prepare(&self, task: &v1::TaskInfo) -> Result<Start, LaunchError> {
        if let Some(field) = unsupported(task) {
            return Err(LaunchError::Unsupported { field });
        }
        let Some(command) = task.command.as_deref().filter(|_| task.executor.is_none()) else {
            return Err(if task.executor.is_some() { LaunchError::Executor } else { LaunchError::NoCommand });
        };
        self.check_user(command)?;
        let sandbox = format!("{}/{}", self.config.sandboxes, self.container);
        let (program, arguments) = process(command, &sandbox)?;
        let context = TaskEnvironment {
            agent: self.agent,
            framework: &self.framework.value,
            container: self.container,
            sandbox: &sandbox,
        };
        Ok(Start {
            container_id: self.container.to_string(),
            parent_id: self.parent.map(ToString::to_string),
            program,
            arguments,
            environment: environment(&context, task)?,
            stdout: Some(file(&sandbox, "stdout")),
            stderr: Some(file(&sandbox, "stderr")),
            working_directory: sandbox,
        })
    }

    fn check_user(&self, command: &v1::CommandInfo) -> Result<(), LaunchError> {
        let own = &self.config.user;
        let asked = command.user.as_deref().or(self.framework_user).filter(|user| !user.is_empty());
        match asked {
            Some(asked) if asked != own => Err(LaunchError::User { asked: asked.to_owned(), own: own.clone() }),
            Some(_) | None => Ok(()),
        }
    }
}

fn process(command: &v1::CommandInfo, sandbox: &str) -> Result<(String, Vec<String>), LaunchError> {
    let value = command.value.as_deref().unwrap_or_default();
    if value.is_empty() {
        return Err(LaunchError::NoCommand);
    }
    if value.contains('\0') || command.arguments.iter().any(|argument| argument.contains('\0')) {
        return Err(LaunchError::ZeroByte);
    }
    if command.shell() {
        return Ok(("/bin/sh".to_owned(), vec!["sh".to_owned(), "-c".to_owned(), value.to_owned()]));
    }
    let arguments = if command.arguments.is_empty() { vec![value.to_owned()] } else { command.arguments.clone() };
    // A bare name is looked up in PATH; a relative path is relative to the sandbox.
    let relative = value.contains('/') && !value.starts_with('/');
    Ok((if relative { format!("{sandbox}/{value}") } else { value.to_owned() }, arguments))
}

fn unsupported(task: &v1::TaskInfo) -> Option<&'static str> {
    let command = task.command.as_deref();
    let container = task.container.as_deref();
    let found = [
        ("command.uris", command.is_some_and(|command| !command.uris.is_empty())),
        ("health_check", task.health_check.is_some()),
        ("check", task.check.is_some()),
        ("limits", !task.limits.is_empty()),
        ("container.docker", container.is_some_and(|it| it.docker.is_some())),
        ("container.mesos.image", container.and_then(|it| it.mesos.as_ref()).is_some_and(|it| it.image.is_some())),
        ("container.volumes", container.is_some_and(|it| !it.volumes.is_empty())),
        ("container.hostname", container.is_some_and(|it| it.hostname.is_some())),
        ("container.network_infos", container.is_some_and(|it| it.network_infos.iter().any(is_named))),
        ("container.linux_info", container.is_some_and(|it| it.linux_info.is_some())),
        ("container.rlimit_info", container.is_some_and(|it| it.rlimit_info.is_some())),
        ("container.tty_info", container.is_some_and(|it| it.tty_info.is_some())),
    ];
    found.into_iter().find_map(|(field, present)| present.then_some(field))
}

/// A network without a name is the host's own, which every task uses.
fn is_named(network: &v1::NetworkInfo) -> bool {
    network.name.is_some() || !network.port_mappings.is_empty()
}

fn file(sandbox: &str, name: &str) -> Output {
    Output { kind: Some(output::Kind::File(format!("{sandbox}/{name}"))) }
}

#[cfg(test)]
#[path = "launch_tests.rs"]
mod tests;
