//! Builders of tasks, commands and executors.

use std::time::Duration;

use bytes::Bytes;

use super::{ResourceError, Resources};
use crate::proto::v1::{
    AgentId, CommandInfo, Environment, ExecutorInfo, KillPolicy, Label, Labels, TaskId, TaskInfo, command_info,
    environment, executor_info,
};

impl TaskInfo {
    /// Creates a task that runs a shell command. It has no id, agent or resources yet.
    ///
    /// ```
    /// use divvy::{proto::v1::TaskInfo, types::Resources};
    ///
    /// let task = TaskInfo::shell("greeting", "echo hello $WHO")
    ///     .with_id("greeting-1")
    ///     .with_resources(&Resources::cpus_mem(0.1, 32.0))
    ///     .with_env("WHO", "world");
    /// assert_eq!(task.task_id.as_str(), "greeting-1");
    /// ```
    #[must_use]
    pub fn shell(name: impl Into<String>, line: impl Into<String>) -> Self {
        Self::running(name, CommandInfo::in_shell(line))
    }

    /// Creates a task that runs a program with these arguments, without a shell.
    #[must_use]
    pub fn exec<A: Into<String>>(
        name: impl Into<String>,
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        Self::running(name, CommandInfo::exec(program, arguments))
    }

    /// Creates a task that runs this command.
    #[must_use]
    pub fn running(name: impl Into<String>, command: CommandInfo) -> Self {
        Self { name: name.into(), command: Some(Box::new(command)), ..Self::default() }
    }

    /// Creates a task for a custom executor.
    #[must_use]
    pub fn on_executor(name: impl Into<String>, executor: ExecutorInfo) -> Self {
        Self { name: name.into(), executor: Some(Box::new(executor)), ..Self::default() }
    }

    /// Sets the id, unique among the framework's tasks.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<TaskId>) -> Self {
        self.task_id = id.into();
        self
    }

    /// Sets the agent.
    #[must_use]
    pub fn with_agent(mut self, agent: impl Into<AgentId>) -> Self {
        self.agent_id = agent.into();
        self
    }

    /// Sets the resources.
    #[must_use]
    pub fn with_resources(mut self, resources: &Resources) -> Self {
        self.resources = resources.to_proto();
        self
    }

    /// Adds an environment variable to its command, or to its executor's if it has no command.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let executor = self.executor.as_mut().filter(|_| self.command.is_none());
        let command = executor.map_or(&mut self.command, |executor| &mut executor.command).get_or_insert_default();
        **command = std::mem::take(&mut **command).with_env(name, value);
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let label = Label { key: key.into(), value: Some(value.into()) };
        self.labels.get_or_insert_with(Labels::default).labels.push(label);
        self
    }

    /// Sets the data for its executor.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Bytes>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// Sets the grace period between the kill request and the forced kill.
    #[must_use]
    pub fn with_kill_grace(mut self, grace: Duration) -> Self {
        self.kill_policy = Some(KillPolicy { grace_period: Some(grace.into()) });
        self
    }

    /// Sets the longest run time, after which the task fails.
    #[must_use]
    pub fn with_max_completion_time(mut self, time: Duration) -> Self {
        self.max_completion_time = Some(time.into());
        self
    }

    /// Returns the task's resources, without its executor's.
    ///
    /// # Errors
    /// A resource is invalid.
    pub fn resources(&self) -> Result<Resources, ResourceError> {
        Resources::from_proto(&self.resources)
    }
}

impl CommandInfo {
    /// Creates a shell command.
    #[must_use]
    pub fn in_shell(line: impl Into<String>) -> Self {
        Self { shell: Some(true), value: Some(line.into()), ..Self::default() }
    }

    /// Creates a command that runs a program with its arguments, without a shell.
    #[must_use]
    pub fn exec<A: Into<String>>(program: impl Into<String>, arguments: impl IntoIterator<Item = A>) -> Self {
        let program = program.into();
        let arguments = std::iter::once(program.clone()).chain(arguments.into_iter().map(Into::into)).collect();
        Self { shell: Some(false), value: Some(program), arguments, ..Self::default() }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let variable =
            environment::Variable { name: name.into(), value: Some(value.into()), ..environment::Variable::default() };
        self.environment.get_or_insert_with(Environment::default).variables.push(variable);
        self
    }

    /// Sets the user on the agent's host.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Adds a file to fetch into the sandbox before the start.
    #[must_use]
    pub fn with_uri(mut self, uri: impl Into<String>) -> Self {
        self.uris.push(command_info::Uri { value: uri.into(), ..command_info::Uri::default() });
        self
    }
}

impl ExecutorInfo {
    /// Creates a custom executor, started by this command.
    #[must_use]
    pub fn custom(id: impl Into<crate::proto::v1::ExecutorId>, command: CommandInfo) -> Self {
        Self {
            executor_id: id.into(),
            r#type: Some(executor_info::Type::Custom.into()),
            command: Some(Box::new(command)),
            ..Self::default()
        }
    }

    /// Sets the executor's own resources, besides those of its tasks.
    #[must_use]
    pub fn with_resources(mut self, resources: &Resources) -> Self {
        self.resources = resources.to_proto();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_sees_its_own_name_first() {
        let command = CommandInfo::exec("/bin/cp", ["a b", "c"]);
        assert_eq!((command.value(), command.shell()), ("/bin/cp", false));
        assert_eq!(command.arguments, ["/bin/cp", "a b", "c"]);
        assert!(CommandInfo::in_shell("a | b").shell());
    }

    #[test]
    fn variables_go_to_whatever_starts_the_task() {
        let variables = |command: &CommandInfo| command.environment.as_ref().map_or(0, |all| all.variables.len());
        let task = TaskInfo::shell("a", "true").with_env("A", "1").with_env("B", "2");
        assert_eq!(variables(task.command.as_ref().unwrap()), 2);
        let executor = ExecutorInfo::custom("e", CommandInfo::in_shell("run"));
        let task = TaskInfo::on_executor("a", executor).with_env("A", "1");
        assert_eq!((task.command, variables(task.executor.unwrap().command.as_ref().unwrap())), (None, 1));
    }

    #[test]
    fn resources_survive_the_message_form() {
        let resources = Resources::cpus_mem(0.5, 64.0).with_ports(31000..=31002);
        assert_eq!(TaskInfo::shell("a", "true").with_resources(&resources).resources(), Ok(resources));
    }
}
