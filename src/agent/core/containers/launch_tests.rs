//! Launches that an agent accepts or refuses, and what it starts for them.

use std::time::Duration;

use super::*;
use crate::agent::core::Retention;

fn prepare(task: &v1::TaskInfo, framework_user: Option<&str>) -> Result<Start, LaunchError> {
    let retention = Retention { keep: Duration::ZERO, keep_at_most: 0 };
    let config = Config {
        info: v1::AgentInfo::default(),
        divvy_version: String::new(),
        user: "me".to_owned(),
        sandboxes: "/w/runs".to_owned(),
        retention,
        spread_first: Duration::ZERO,
    };
    let framework = FrameworkId { value: "F".to_owned() };
    let container = ContainerId::parse("c1").unwrap();
    let launch = Launch {
        config: &config,
        agent: "S0",
        framework: &framework,
        framework_user,
        container: &container,
        parent: None,
    };
    launch.prepare(task)
}

fn command(change: impl FnOnce(&mut v1::CommandInfo)) -> v1::TaskInfo {
    let mut command = v1::CommandInfo { value: Some("echo hi".to_owned()), ..Default::default() };
    change(&mut command);
    v1::TaskInfo { command: Some(Box::new(command)), ..Default::default() }
}

#[test]
fn a_shell_command_is_one_argument_of_the_shell() {
    let start = prepare(&command(|_| {}), None).unwrap();
    assert_eq!(start.program, "/bin/sh");
    assert_eq!(start.arguments, ["sh", "-c", "echo hi"]);
    assert_eq!(start.working_directory, "/w/runs/c1");
    assert_eq!(start.stdout, Some(file("/w/runs/c1", "stdout")));
    assert_eq!(start.stderr, Some(file("/w/runs/c1", "stderr")));
}

#[test]
fn without_a_shell_the_arguments_go_through_untouched() {
    let exec = |value: &str, arguments: &[&str]| {
        let task = command(|command| {
            command.shell = Some(false);
            command.value = Some(value.to_owned());
            command.arguments = arguments.iter().map(|&it| it.to_owned()).collect();
        });
        let start = prepare(&task, None).unwrap();
        (start.program, start.arguments)
    };
    assert_eq!(
        exec("/bin/echo", &["echo", "$HOME; rm"]),
        ("/bin/echo".into(), vec!["echo".into(), "$HOME; rm".into()])
    );
    assert_eq!(exec("sleep", &[]), ("sleep".into(), vec!["sleep".into()]));
    assert_eq!(exec("bin/run", &[]).0, "/w/runs/c1/bin/run");
}

#[test]
fn another_user_than_the_agents_own_is_refused_naming_both() {
    let asked = LaunchError::User { asked: "root".to_owned(), own: "me".to_owned() };
    assert_eq!(prepare(&command(|command| command.user = Some("root".to_owned())), None), Err(asked.clone()));
    assert_eq!(prepare(&command(|_| {}), Some("root")), Err(asked));
    assert!(prepare(&command(|command| command.user = Some("me".to_owned())), Some("root")).is_ok());
    assert!(prepare(&command(|_| {}), Some("")).is_ok());
}

#[test]
fn an_unsupported_field_is_refused_by_name() {
    let mut executor = command(|_| {});
    executor.executor = Some(Box::default());
    assert_eq!(prepare(&executor, None), Err(LaunchError::Executor));
    let mut image = command(|_| {});
    image.container = Some(Box::new(v1::ContainerInfo { docker: Some(Box::default()), ..Default::default() }));
    assert_eq!(prepare(&image, None), Err(LaunchError::Unsupported { field: "container.docker" }));
    let fetched = command(|command| command.uris.push(v1::command_info::Uri::default()));
    assert_eq!(prepare(&fetched, None), Err(LaunchError::Unsupported { field: "command.uris" }));
}

#[test]
fn a_command_no_process_can_be_given_is_refused() {
    assert_eq!(prepare(&v1::TaskInfo::default(), None), Err(LaunchError::NoCommand));
    assert_eq!(prepare(&command(|command| command.value = None), None), Err(LaunchError::NoCommand));
    assert_eq!(prepare(&command(|command| command.value = Some("a\0b".to_owned())), None), Err(LaunchError::ZeroByte));
    assert_eq!(prepare(&command(|command| command.arguments.push("\0".to_owned())), None), Err(LaunchError::ZeroByte));
}
