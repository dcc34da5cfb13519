//! What operators set and read: declared resources and attributes, complete output, addresses.

use std::{
    collections::BTreeSet,
    fs::File,
    net::TcpListener,
    os::fd::{AsFd as _, OwnedFd},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use divvy::{
    framework::{Result, Scheduler, SchedulerDriver},
    local::LocalCluster,
    proto::v1::{FrameworkInfo, Offer},
    types::Resources,
};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::Value;

use super::{
    part::{Site, get, until},
    scheduler::{ended, start_in},
};

fn divvy(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_divvy"));
    command.args(arguments);
    command
}

/// The active agents as `divvy agents --json` lists them, once there are so many.
fn agents(site: &Site, master: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} agents"), || {
        let output = site.run(divvy(&["--master", master, "agents", "--json"]));
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut list = list.as_array().cloned().unwrap_or_default();
        list.retain(|agent| agent["state"] == "active");
        if list.len() == count { Ok(list) } else { Err(format!("{output:?}")) }
    })
}

#[test]
fn zero_of_a_resource_means_none_of_it() {
    let site = Site::new();
    let master = site.master();
    let text = "cpus:2;mem:0;disk:0;ports:[]";
    let _agent = site.agent("a", &master.address, text);
    let listed = agents(&site, &master.address, 1);
    assert_eq!(listed[0]["total"], serde_json::json!({"cpus": 2.0}));
    let local = site.start("local", divvy(&["local", "--listen", "127.0.0.1:0", "--resources", text]));
    let listed = agents(&site, &local.address, 1);
    assert_eq!(listed[0]["total"], serde_json::json!({"cpus": 2.0}));
}

#[test]
fn what_is_not_declared_is_detected_also_beside_a_zero_alone() {
    let site = Site::new();
    let master = site.master();
    for (name, text, missing) in [("none", "", ""), ("blank", " ; ", ""), ("zero", "cpus:0", "cpus")] {
        let agent = site.agent(name, &master.address, text);
        let listed = agents(&site, &master.address, 1);
        let total = listed[0]["total"].as_object().expect("an object");
        let names: BTreeSet<&str> = total.keys().map(String::as_str).collect();
        let mut wanted = BTreeSet::from(["cpus", "disk", "mem", "ports"]);
        wanted.remove(missing);
        assert_eq!(names, wanted, "{text:?}");
        assert!(agent.stop().success());
    }
}

/// Records every offer and declines it.
struct Watcher {
    offered: Arc<Mutex<Vec<Resources>>>,
}

#[async_trait::async_trait]
impl Scheduler for Watcher {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        for offer in offers {
            self.offered.lock().expect("not poisoned").push(offer.resources()?);
            driver.decline_offer(&offer.id, None).await?;
        }
        Ok(())
    }
}

/// What the first offer to a framework in that role holds.
async fn first_offer(cluster: &LocalCluster, role: &str) -> String {
    let offered = Arc::new(Mutex::new(Vec::new()));
    let watcher = Watcher { offered: offered.clone() };
    let info = FrameworkInfo::new(format!("watcher of {role}")).with_role(role);
    let driver = SchedulerDriver::builder(info).master(cluster.master()).build(watcher).expect("valid");
    driver.start().expect("starts");
    let first = until("an offer", || offered.lock().expect("not poisoned").first().cloned().ok_or("none came"));
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
    first.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_reserved_by_the_flag_is_offered_to_its_role_alone() {
    let resources = "cpus(web):2;mem(web):512;cpus:1;mem:64;disk:0;ports(web):[31000-31001];ports:[31002-31003]";
    let cluster = LocalCluster::builder().agents(1).resources(resources).start().await.expect("starts");
    assert_eq!(first_offer(&cluster, "batch").await, "cpus:1; mem:64; ports:[31002-31003]");
    let all = "cpus:1; cpus(reservations: [(STATIC,web)]):2; mem:64; mem(reservations: [(STATIC,web)]):512; \
               ports:[31002-31003]; ports(reservations: [(STATIC,web)]):[31000-31001]";
    assert_eq!(first_offer(&cluster, "web").await, all);
    assert_eq!(first_offer(&cluster, "web/front").await, all);
    let (worker, seen) =
        start_in("web", &cluster.master(), "cpus(web):2;mem(web):512", vec![("t".into(), "true".into())]);
    until("the task to end", || if ended(&seen).0 == 1 { Ok(()) } else { Err(ended(&seen)) });
    worker.stop_teardown().await.expect("stops");
    worker.join().await.expect("joins");
    cluster.stop().await;
}

#[test]
fn an_agent_takes_reservations_as_text_as_json_and_from_a_file() {
    let site = Site::new();
    let master = site.master();
    let json = r#"[{"name":"cpus","type":"SCALAR","scalar":{"value":2},
        "reservations":[{"type":"STATIC","role":"web","principal":"ops"}]},
        {"name":"mem","type":"SCALAR","scalar":{"value":64},"role":"web"}]"#;
    let file = site.path().join("resources.json");
    std::fs::write(&file, json).expect("written");
    for (name, text) in [("text", "cpus(web):2;mem(web):64"), ("json", json), ("file", file.to_str().expect("text"))] {
        let agent = site.agent(name, &master.address, text);
        agents(&site, &master.address, 1);
        let state: Value =
            serde_json::from_str(get(&master.address, "/state").split_once("\r\n\r\n").expect("a body").1)
                .unwrap_or_else(|error| panic!("{error}"));
        let reserved = state["slaves"].as_array().expect("agents").iter().find(|agent| agent["active"] == true);
        let reserved = &reserved.expect("one is active")["reserved_resources"]["web"];
        assert_eq!((&reserved["cpus"], &reserved["mem"]), (&2.0.into(), &64.0.into()), "{name}: {state}");
        assert!(agent.stop().success());
    }
}

#[test]
fn an_attribute_that_is_no_number_is_kept_as_it_was_written() {
    let site = Site::new();
    let master = site.master();
    let mut command = site.agent_command(env!("CARGO_BIN_EXE_divvy-agent"), "a", &master.address, "cpus:1");
    command.args(["--attributes", "rev:12345e67;built:1764496032123456;code:007;version:1.10;rack:5"]);
    let _agent = site.start("a", command);
    let listed = agents(&site, &master.address, 1);
    let wanted = serde_json::json!({
        "rev": "12345e67", "built": "1764496032123456", "code": "007", "version": "1.10", "rack": "5"
    });
    assert_eq!(listed[0]["attributes"], wanted);
}

/// A port that is free for now.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").to_string()
}

#[test]
fn the_output_of_a_run_continues_after_its_agent_restarts() {
    let site = Site::new();
    let master = site.master();
    for (name, same_port) in [("same", true), ("other", false)] {
        let agent_on = |listen: &str| {
            let mut command =
                site.agent_command(env!("CARGO_BIN_EXE_divvy-agent"), name, &master.address, "cpus:1;mem:64");
            command = replaced(&command, "127.0.0.1:0", listen);
            site.start(name, command)
        };
        let agent = agent_on(&free_port());
        agents(&site, &master.address, 1);
        let go = site.path().join(format!("{name}.go"));
        let script = format!(
            "echo 1; echo 2; while [ ! -e {go} ]; do sleep 0.05; done; echo 3; sleep 1; echo 4; exit 5",
            go = go.display()
        );
        let arguments = ["run", "--cpus", "1", "--mem", "64", "--name", name, "--", "sh", "-c", &script];
        let running = site.divvy(&format!("run-{name}"), &master.address, &arguments);
        until(
            "the first lines",
            || if running.out() == "1\n2\n" { Ok(()) } else { Err((running.out(), running.err())) },
        );
        let address = agent.address.clone();
        assert!(agent.stop().success());
        let again = agent_on(&if same_port { address } else { free_port() });
        agents(&site, &master.address, 1);
        std::fs::write(&go, "").expect("written");
        let (status, out, err) = running.wait();
        assert_eq!((out.as_str(), status.code()), ("1\n2\n3\n4\n", Some(5)), "{err}");
        assert!(again.stop().success());
    }
}

/// The same command with one argument in place of another.
fn replaced(command: &Command, old: &str, new: &str) -> Command {
    let mut other = Command::new(command.get_program());
    other.args(command.get_args().map(|argument| if argument == old { new.as_ref() } else { argument }));
    other
}

#[test]
fn what_cannot_be_read_of_an_output_is_named() {
    let site = Site::new();
    let master = site.master();
    let agent = site.agent("a", &master.address, "cpus:1;mem:64");
    agents(&site, &master.address, 1);
    let running = site.divvy("run", &master.address, &["run", "--mem", "64", "--", "sh", "-c", "echo 1; sleep 1000"]);
    until("the first line", || if running.out() == "1\n" { Ok(()) } else { Err((running.out(), running.err())) });
    let id = agents(&site, &master.address, 1)[0]["id"].as_str().expect("an id").to_owned();
    agent.kill();
    let gone = site.run(divvy(&["--master", &master.address, "agents", "gone", &id, "--yes"]));
    assert!(gone.status.success(), "{gone:?}");
    let (status, out, err) = running.wait();
    assert_eq!((out.as_str(), status.code()), ("1\n", Some(1)), "{err}");
    assert!(err.contains("stdout: the output from byte 2 on is missing"), "{err}");
}

#[test]
fn a_reader_that_is_slow_gets_every_byte_though_the_pipe_does_not_block() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:1;mem:64");
    agents(&site, &master.address, 1);
    let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe");
    let mut command = divvy(&["--master", &master.address, "run", "--mem", "64", "--", "seq", "1", "300000"]);
    let errors = File::create(site.path().join("run.err")).expect("a file");
    let mut child = command.stdout(Stdio::from(writer)).stderr(errors).spawn().expect("starts");
    drop(command);
    let text = read_slowly(&reader);
    let wanted = (1..=300_000).map(|number| number.to_string()).collect::<Vec<_>>().join("\n") + "\n";
    let stderr = std::fs::read_to_string(site.path().join("run.err")).expect("text");
    assert!(text == wanted.as_bytes(), "{} of {} bytes: {stderr}", text.len(), wanted.len());
    assert!(child.wait().expect("a child of ours").success(), "{stderr}");
}

/// Waits until a pipe is full before it reads the first byte of it, and reads to the end.
fn read_slowly(pipe: &OwnedFd) -> Vec<u8> {
    let mut waited = Duration::ZERO;
    until("the pipe to be full", || match rustix::io::ioctl_fionread(pipe).expect("a pipe") {
        length if length >= 65_536 => Ok(()),
        length => Err(length),
    });
    let (mut text, mut piece) = (Vec::new(), vec![0; 65_536]);
    loop {
        match rustix::io::read(pipe.as_fd(), &mut piece) {
            Ok(0) => return text,
            Ok(length) => {
                text.extend_from_slice(&piece[..length]);
                waited = Duration::ZERO;
            }
            Err(rustix::io::Errno::AGAIN) => {
                assert!(waited < super::part::LIMIT, "nothing came after {} bytes", text.len());
                thread::sleep(Duration::from_millis(5));
                waited += Duration::from_millis(5);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn every_command_names_what_keeps_its_output_from_being_written() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:1;mem:64");
    agents(&site, &master.address, 1);
    std::fs::write(site.path().join("offers"), r#"[{"id":"o","agent":"a","cpus":1}]"#).expect("written");
    std::fs::write(site.path().join("tasks"), r#"[{"name":"t","cpus":1}]"#).expect("written");
    let backup = site.path().join("backup");
    let backup = backup.to_str().expect("text");
    let allocate = ["allocate", "--offers", "offers", "--tasks", "tasks"];
    let commands: [&[&str]; 12] = [
        &["run", "--mem", "64", "--", "seq", "1", "300000"],
        &["run", "--mem", "64", "--", "echo", "one"],
        &["agents"],
        &["agents", "--json"],
        &["tasks", "--all"],
        &["tasks", "--json"],
        &["frameworks"],
        &allocate,
        &["backup", "--to", backup],
        &["--help"],
        &["--version"],
        &["local", "--listen", "127.0.0.1:0", "--resources", "cpus:1"],
    ];
    for arguments in commands {
        let mut command = divvy(&["--master", &master.address]);
        command.args(arguments).current_dir(site.path()).stdin(Stdio::null());
        let full = File::options().write(true).open("/dev/full").expect("it is there");
        let output = command.stdout(full).output().expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("standard output: No space left on device"), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).expect("a pipe");
        drop(reader);
        if matches!(arguments[0], "local" | "backup") {
            continue;
        }
        let mut command = divvy(&["--master", &master.address]);
        command.args(arguments).current_dir(site.path()).stdin(Stdio::null());
        let output = command.stdout(Stdio::from(writer)).output().expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let wanted = if arguments[0] == "run" { 141 } else { 0 };
        assert_eq!(output.status.code(), Some(wanted), "{arguments:?}: {stderr}");
        assert!(stderr.is_empty(), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_task_is_killed_when_its_output_can_no_longer_be_written() {
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("a", &master.address, "cpus:1;mem:64");
    agents(&site, &master.address, 1);
    let mut command =
        divvy(&["--master", &master.address, "run", "--mem", "64", "--", "sh", "-c", "echo 1; sleep 1000"]);
    let full = File::options().write(true).open("/dev/full").expect("it is there");
    let output = command.current_dir(site.path()).stdout(full).output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("No space left on device") && stderr.contains("is killed"), "{stderr}");
    let runs = site.path().join("a/runs");
    until("the task to be gone", || {
        let left = super::part::processes_below(&runs);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[test]
fn servers_serve_though_nothing_they_print_can_be_written() {
    let site = Site::new();
    let master = site.master();
    let full = || File::options().write(true).open("/dev/full").expect("it is there");
    let mut command = site.agent_command(env!("CARGO_BIN_EXE_divvy-agent"), "a", &master.address, "cpus:1;mem:64");
    let mut agent = command.env("DIVVY_LOG", "debug").stdout(full()).stderr(full()).spawn().expect("starts");
    agents(&site, &master.address, 1);
    let output = site.run(divvy(&["--master", &master.address, "run", "--mem", "64", "--", "echo", "hi"]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hi\n", "{output:?}");
    agent.kill().expect("killed");
    agent.wait().expect("reaped");
}

#[test]
fn an_ipv6_address_is_printed_in_brackets_everywhere() {
    if TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let site = Site::new();
    let master = site.master_on("[::1]:0");
    assert!(master.address.starts_with("[::1]:"), "{}", master.address);
    let command = site.agent_command(env!("CARGO_BIN_EXE_divvy-agent"), "a", &master.address, "cpus:1;mem:64");
    let agent = site.start("a", replaced(&command, "127.0.0.1:0", "[::1]:0"));
    let listed = agents(&site, &master.address, 1);
    assert_eq!(listed[0]["address"], agent.address.as_str());
    let table = site.run(divvy(&["--master", &master.address, "agents"]));
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains(&format!(" {} ", agent.address)), "{table}");
    let state = get(&master.address, "/state");
    for wanted in [format!("\"slave(1)@{}\"", agent.address), format!("\"master@{}\"", master.address)] {
        assert!(state.contains(&wanted), "{wanted}: {state}");
    }
    let output = site.run(divvy(&["--master", &master.address, "run", "--mem", "64", "--", "echo", "hi"]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hi\n", "{output:?}");
}

#[test]
fn a_work_directory_that_is_not_utf_8_is_refused_at_the_start() {
    use std::os::unix::ffi::OsStrExt as _;

    let site = Site::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_divvy-agent"));
    command.args(["--listen", "127.0.0.1:0", "--master", "127.0.0.1:1", "--work-dir"]);
    command.arg(site.path().join(std::ffi::OsStr::from_bytes(b"work-\xff")));
    let output = site.run(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("work-\\xFF") && stderr.contains("--work-dir") && stderr.lines().count() == 1, "{stderr}");
}
