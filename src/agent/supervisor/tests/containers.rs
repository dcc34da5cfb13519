//! The environment of a container, and how its exit is reported.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[tokio::test]
async fn an_exit_is_reported_with_its_code_or_its_signal() {
    for mode in BOTH {
        let mut agent = Agent::new(mode).await;
        agent.shell("code", "exit 7").await;
        let started = agent.started("code").await;
        assert!(started.pid > 1 && started.start_time > 0, "{started:?}");
        let exited = agent.exited("code").await;
        assert_eq!(exited.status, Some(Status::Code(7)));
        assert!(exited.wall_ns > 1_600_000_000_000_000_000, "{exited:?}");
        agent.shell("signal", "kill -TERM $$").await;
        assert_eq!(agent.status("signal").await, Status::Signal(15));
    }
}

#[tokio::test]
async fn the_environment_is_what_was_given_and_a_random_marker() {
    for mode in BOTH {
        let mut agent = Agent::new(mode).await;
        let mut start = shell(agent.folder.path(), "env", "");
        start.program = "/usr/bin/env".to_owned();
        start.arguments = vec!["env".to_owned()];
        start.environment = vec![variable("B", "2 = two"), variable("A", "")];
        start.stdout = Some(file(&agent.path("stdout")));
        agent.start(start).await;
        assert_eq!(agent.status("env").await, Status::Code(0));
        let output = fs::read_to_string(agent.path("stdout")).unwrap();
        let marker = output.strip_prefix("A=\nB=2 = two\nDIVVY_MARKER=").unwrap_or_else(|| panic!("{output}"));
        assert!(marker.trim_end().len() >= 32 && !output.contains("supervisor"), "random, and no path: {output}");
    }
}

#[tokio::test]
async fn output_is_appended_to_its_files_and_input_is_empty() {
    let mut agent = Agent::new(Mode::Process).await;
    fs::write(agent.path("stdout"), "before\n").unwrap();
    let mut start = shell(agent.folder.path(), "out", "cat; echo out; echo err >&2; pwd");
    start.stdout = Some(file(&agent.path("stdout")));
    start.stderr = Some(file(&agent.path("stderr")));
    agent.start(start).await;
    assert_eq!(agent.status("out").await, Status::Code(0));
    let folder = agent.folder.path().canonicalize().unwrap();
    assert_eq!(fs::read_to_string(agent.path("stdout")).unwrap(), format!("before\nout\n{}\n", folder.display()));
    assert_eq!(fs::read_to_string(agent.path("stderr")).unwrap(), "err\n");
}

#[tokio::test]
async fn a_container_inherits_no_descriptors_and_cannot_gain_privileges() {
    let mut agent = Agent::new(Mode::Process).await;
    let script = "ls /proc/$$/fd; grep NoNewPrivs /proc/$$/status; ulimit -c; cut -d' ' -f5 /proc/$$/stat; echo $$";
    let mut start = shell(agent.folder.path(), "bare", script);
    start.stdout = Some(file(&agent.path("stdout")));
    agent.start(start).await;
    let pid = agent.started("bare").await.pid;
    assert_eq!(agent.status("bare").await, Status::Code(0));
    let expected = format!("0\n1\n2\nNoNewPrivs:\t1\n0\n{pid}\n{pid}\n");
    assert_eq!(fs::read_to_string(agent.path("stdout")).unwrap(), expected, "the fifth field is the process group");
}

#[tokio::test]
async fn a_container_may_open_as_many_files_as_the_agent_that_was_started() {
    let mut agent = Agent::new(Mode::Process).await;
    let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    // The supervisor runs out of them, and then has more than before.
    let few = rustix::process::Rlimit { current: Some(16), ..before };
    let supervisor = super::super::process::to_pid(agent.supervisor_pid());
    rustix::process::prlimit(supervisor, rustix::process::Resource::Nofile, few).unwrap();
    for number in 0..16 {
        agent.shell(&format!("c{number}"), "exec sleep 1000").await;
    }
    let mut start = shell(agent.folder.path(), "limit", "ulimit -Sn; ulimit -Hn");
    start.stdout = Some(file(&agent.path("stdout")));
    agent.start(start).await;
    assert_eq!(agent.status("limit").await, Status::Code(0));
    let expected = format!("{}\n{}\n", before.current.unwrap(), before.maximum.unwrap());
    assert_eq!(fs::read_to_string(agent.path("stdout")).unwrap(), expected);
}

#[tokio::test]
async fn exits_are_reported_as_they_were_also_when_the_agent_was_started_with_ended_children_ignored() {
    let folder = Folder::new();
    let (sender, events) = mpsc::channel(16);
    let mut settings = settings(folder.path());
    let script = "trap '' CHLD; exec \"$0\" \"$@\"";
    let arguments = ["-c".into(), script.into(), settings.program.into_os_string()];
    settings.arguments = arguments.into_iter().chain(settings.arguments).collect();
    settings.program = "/bin/sh".into();
    let link = launch(&settings, sender).await.unwrap();
    let mut agent = Agent { folder, link, events, seen: Vec::new() };
    agent.welcome().await;
    for (id, code) in [("a", 0), ("b", 7)] {
        agent.shell(id, &format!("exit {code}")).await;
        assert_eq!(agent.exited(id).await.status, Some(Status::Code(code)));
    }
}

#[tokio::test]
async fn a_container_has_the_default_dispositions_also_when_the_agent_was_started_under_nohup() {
    let folder = Folder::new();
    let mut settings = settings(folder.path());
    settings.arguments.insert(0, settings.program.clone().into());
    settings.program = "/usr/bin/nohup".into();
    let (sender, events) = mpsc::channel(16);
    let link = launch(&settings, sender).await.unwrap();
    let mut agent = Agent { folder, link, events, seen: Vec::new() };
    let mut start = shell(agent.folder.path(), "signals", "");
    start.program = "/bin/cat".to_owned();
    start.arguments = ["cat", "/proc/self/status"].map(str::to_owned).to_vec();
    start.stdout = Some(file(&agent.path("stdout")));
    agent.start(start).await;
    assert_eq!(agent.status("signals").await, Status::Code(0));
    let status = fs::read_to_string(agent.path("stdout")).unwrap();
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(status.contains(&format!("{field}:\t{}\n", "0".repeat(16))), "{status}");
    }
}

#[tokio::test]
async fn a_start_that_fails_names_the_step_and_the_error() {
    const NO_ENTRY: i32 = 2;
    for mode in BOTH {
        let mut agent = Agent::new(mode).await;
        let folder = agent.folder.path().to_owned();
        fs::write(folder.join("script"), "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(folder.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
        let base = |id: &str, program: &str| Start { program: program.to_owned(), ..shell(&folder, id, "") };
        let cases = [
            (base("path", "nope"), NO_ENTRY, "find \"nope\" in the PATH \"/usr/bin:/bin\"".to_owned()),
            (base("absolute", "/bin/nope"), NO_ENTRY, "execute /bin/nope".to_owned()),
            (
                base("script", "./script"),
                NO_ENTRY,
                format!("execute {}/./script, whose interpreter is missing,", folder.display()),
            ),
            (base("denied", "/etc/passwd"), 13, "execute /etc/passwd".to_owned()),
            (
                Start { working_directory: "/no/dir".to_owned(), ..base("folder", "sh") },
                NO_ENTRY,
                "enter the directory /no/dir".to_owned(),
            ),
            (
                Start { stdout: Some(file(Path::new("/no/dir/out"))), ..base("out", "sh") },
                NO_ENTRY,
                "open stdout at /no/dir/out".to_owned(),
            ),
            (
                Start { working_directory: "here".to_owned(), ..base("relative", "sh") },
                22,
                "take a start request with the working directory \"here\", which is not absolute".to_owned(),
            ),
            (base("../up", "sh"), 22, "take a start request with the container id \"../up\"".to_owned()),
        ];
        for (start, errno, step) in cases {
            let container_id = start.container_id.clone();
            agent.start(start).await;
            assert_eq!(agent.start_failed(&container_id).await, StartFailed { container_id, step, errno });
        }
    }
}

#[tokio::test]
async fn output_goes_neither_through_a_link_nor_into_a_pipe() {
    let mut agent = Agent::new(Mode::Process).await;
    std::os::unix::fs::symlink(agent.path("elsewhere"), agent.path("link")).unwrap();
    pipe(&agent, "pipe");
    for name in ["link", "pipe"] {
        agent
            .start(Start { stderr: Some(file(&agent.path(name))), ..shell(agent.folder.path(), name, "echo x >&2") })
            .await;
        let failed = agent.start_failed(name).await;
        assert!(failed.step.starts_with("open stderr at "), "{failed:?}");
    }
    assert!(!agent.path("elsewhere").exists());
}

#[tokio::test]
async fn a_start_requested_twice_is_executed_once_and_reported_twice() {
    let mut agent = Agent::new(Mode::Process).await;
    let hold = pipe(&agent, "hold");
    agent.shell("once", "echo x >> count; cat hold").await;
    let first = agent.started("once").await;
    agent.shell("once", "echo x >> count; cat hold").await;
    assert_eq!(agent.started("once").await, first);
    fs::write(hold, "").unwrap();
    let exited = agent.exited("once").await;
    agent.shell("once", "echo x >> count; cat hold").await;
    assert_eq!(agent.exited("once").await, exited);
    assert_eq!(fs::read_to_string(agent.path("count")).unwrap(), "x\n");
    agent.forget("once").await;
    agent.shell("once", "exit 3").await;
    assert_eq!(agent.status("once").await, Status::Code(3), "what was forgotten may be started again");
}

#[tokio::test]
async fn descriptors_are_as_before_after_many_starts() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("first", "exec cat /dev/null").await;
    agent.exited("first").await;
    let supervisor = agent.supervisor_pid();
    let count = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = count(supervisor);
    let names: Vec<String> = (0..500).map(|number| format!("n{number}")).collect();
    for name in &names {
        agent.start(Start { stdout: Some(file(&agent.path("stdout"))), ..shell(agent.folder.path(), name, ":") }).await;
    }
    for name in &names {
        agent.exited(name).await;
        agent.forget(name).await;
    }
    assert_eq!(count(supervisor), before);
}

impl Agent {
    /// The process that serves.
    pub(super) fn supervisor_pid(&self) -> u32 {
        let path = self.path("supervisors").join(self.link.id().as_str()).join("pid");
        fs::read_to_string(path).unwrap().split(' ').next().unwrap().parse().unwrap()
    }
}
