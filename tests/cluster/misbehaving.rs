//! A host that misbehaves while two hundred tasks run. Every reported end agrees with the process's own file, no
//! process outlives its container, and no end is reported before the process is dead.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use divvy::proto::v1::TaskState;

use super::{
    part::{Part, Site, get, processes_below, until},
    scheduler::{StatusLog, in_state, start, states},
};

const TASKS: usize = 200;
const GROUPS: usize = 4;
const RESOURCES: &str = "cpus:40;mem:8192";
/// Longer than an earlier version waited before it took a silent supervisor for dead.
const SILENCE: Duration = Duration::from_secs(20);

/// The work directory of the agent, on a small file system of its own where this may be mounted.
struct SmallFileSystem<'a>(&'a Site);

impl<'a> SmallFileSystem<'a> {
    fn mounted(site: &'a Site) -> Self {
        let folder = site.path().join("agent");
        fs::create_dir(&folder).expect("made");
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(&folder).status();
        assert!(status.expect("mount runs").success(), "these tests are run by root");
        Self(site)
    }

    /// Fills the file system to the last byte.
    fn fill(&self) {
        let mut file = File::create(self.0.path().join("agent/filler")).expect("created");
        for size in [64 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn empty(&self) {
        fs::remove_file(self.0.path().join("agent/filler")).expect("removed");
    }
}

impl Drop for SmallFileSystem<'_> {
    fn drop(&mut self) {
        for pid in processes_below(&self.0.path().join("agent")) {
            drop(Command::new("kill").args(["-9", &pid.to_string()]).status());
        }
        drop(Command::new("umount").arg("-l").arg(self.0.path().join("agent")).status());
    }
}

/// Tasks of four groups. Each waits for a line from its group's pipe, records its end, and ends with code 0, 3 or by a
/// signal.
fn commands(folder: &Path) -> Vec<(String, String)> {
    for group in 0..GROUPS {
        let made = Command::new("mkfifo").arg(folder.join(format!("go.{group}"))).status().expect("mkfifo runs");
        assert!(made.success());
    }
    let folder = folder.display();
    let one = |number: usize| {
        let end = ["exit 0", "exit 3", "kill -9 $$"][number % 3];
        let note = format!("echo $$ > {folder}/pid.{number}");
        let wait = format!("read go < {folder}/go.{}", number % GROUPS);
        (format!("t{number}"), format!("{note}; {wait}; echo end >> {folder}/ended.{number}; {end}"))
    };
    (0..TASKS).map(one).collect()
}

fn of_group(group: usize) -> impl Iterator<Item = usize> {
    (group..TASKS).step_by(GROUPS)
}

/// Releases a group of tasks; tasks that read later are released too while the returned pipe is open.
fn release_group(site: &Site, group: usize) -> File {
    let pipe = OpenOptions::new().write(true).open(site.path().join(format!("go.{group}")));
    let mut pipe = pipe.expect("a task reads it");
    pipe.write_all("\n".repeat(TASKS / GROUPS).as_bytes()).expect("there is room");
    pipe
}

fn pid_of(site: &Site, number: usize) -> u32 {
    let text = fs::read_to_string(site.path().join(format!("pid.{number}"))).expect("it ran");
    text.trim().parse().expect("a process id")
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn end_states(received: &StatusLog, number: usize) -> Vec<TaskState> {
    states(received, &format!("t{number}")).into_iter().filter(|state| state.is_terminal()).collect()
}

/// Waits for an end of every task of the group, each dead by then.
fn wait_for_group(site: &Site, received: &StatusLog, group: usize) {
    until(&format!("group {group} to end"), || {
        let mut missing = of_group(group).filter(|number| end_states(received, *number).is_empty());
        missing.next().map_or(Ok(()), Err)
    });
    for number in of_group(group) {
        assert!(!is_alive(pid_of(site, number)), "t{number} was reported as ended and is alive");
    }
}

/// Asserts that each task of the group was reported once, with the end of its process.
fn assert_true_ends(site: &Site, received: &StatusLog, group: usize) {
    for number in of_group(group) {
        let state = if number.is_multiple_of(3) { TaskState::TaskFinished } else { TaskState::TaskFailed };
        let own = fs::read_to_string(site.path().join(format!("ended.{number}")));
        assert_eq!((end_states(received, number), own.ok().as_deref()), (vec![state], Some("end\n")), "t{number}");
    }
}

fn assert_all_alive(site: &Site, received: &StatusLog, groups: impl Iterator<Item = usize>, after: &str) {
    for number in groups.flat_map(of_group) {
        assert_eq!(end_states(received, number), [], "t{number} after {after}");
        assert!(is_alive(pid_of(site, number)), "t{number} after {after}");
    }
}

/// The supervisor's process id: the parent of the first task.
fn supervisor(site: &Site) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid_of(site, 0))).expect("it runs");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in brackets");
    rest.split(' ').nth(1).expect("a parent").parse().expect("a process id")
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill runs").success());
}

fn wait_for_health(agent: &Part, what: &str) {
    until(&format!("the health of the agent to say {what:?}"), || {
        let health = get(&agent.address, "/health");
        if health.contains(what) { Ok(()) } else { Err(health) }
    });
}

/// Restarts the agent while its supervisor is stopped; the agent reports that and no task is lost.
fn stop_supervisor(site: &Site, received: &StatusLog, master: &str, agent: Part) -> Part {
    let stopped = supervisor(site);
    signal(stopped, "-STOP");
    agent.kill();
    let agent = site.agent("agent", master, RESOURCES);
    wait_for_health(&agent, "does not answer");
    thread::sleep(SILENCE);
    assert!(is_alive(stopped), "silence is not death");
    signal(stopped, "-CONT");
    assert_all_alive(site, received, 0..GROUPS, "its supervisor was stopped");
    wait_for_health(&agent, r#""healthy":true"#);
    agent
}

/// An agent on a copy of the work directory does not start and does not touch the original.
fn start_on_copy(site: &Site, received: &StatusLog, master: &str) {
    let mut copy = Command::new("cp");
    copy.arg("-a").args(["agent", "copy"].map(|name| site.path().join(name)));
    // Files that change during the copy may be missing.
    drop(site.run(copy));
    let mut second = site.agent_command(env!("CARGO_BIN_EXE_divvy-agent"), "copy", master, RESOURCES);
    second.arg("--recover=cleanup");
    let output = site.run(second);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_all_alive(site, received, 0..GROUPS, "an agent was started on a copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_tasks_end_as_their_own_files_record_whatever_happens_to_their_host() {
    let site = Site::new();
    let small = SmallFileSystem::mounted(&site);
    let master = site.master();
    let agent = site.agent("agent", &master.address, RESOURCES);
    let (driver, received) = start(&master.address, "cpus:0.1;mem:32", commands(site.path()));
    until("all tasks to run", || match in_state(&received, TaskState::TaskRunning) {
        TASKS => Ok(()),
        count => Err(count),
    });
    let agent = stop_supervisor(&site, &received, &master.address, agent);
    start_on_copy(&site, &received, &master.address);

    fs::remove_dir_all(site.path().join("agent/runs")).expect("removed");
    let group = release_group(&site, 0);
    wait_for_group(&site, &received, 0);
    assert_true_ends(&site, &received, 0);
    drop(group);

    small.fill();
    wait_for_health(&agent, "is full");
    let group = release_group(&site, 1);
    wait_for_group(&site, &received, 1);
    assert_true_ends(&site, &received, 1);
    drop(group);
    small.empty();

    agent.kill();
    let group = release_group(&site, 2);
    let agent = site.agent("agent", &master.address, RESOURCES);
    wait_for_group(&site, &received, 2);
    assert_true_ends(&site, &received, 2);
    drop(group);

    // The agent cannot find these tasks again: it kills them and only then reports them lost.
    fs::remove_dir_all(site.path().join("agent/supervisors")).expect("removed");
    agent.kill();
    let _agent = site.agent("agent", &master.address, RESOURCES);
    wait_for_group(&site, &received, 3);
    for number in of_group(3) {
        assert!(!site.path().join(format!("ended.{number}")).exists(), "t{number} was never let go");
        assert_ne!(end_states(&received, number), [TaskState::TaskFinished], "t{number}");
    }
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

#[test]
fn a_supervisor_that_stops_under_a_running_agent_is_reported_and_new_tasks_start_under_another() {
    let site = Site::new();
    let master = site.master();
    let agent = site.agent("agent", &master.address, "cpus:4;mem:1024");
    assert!(Command::new("mkfifo").arg(site.path().join("go")).status().expect("mkfifo runs").success());
    let folder = site.path().display();
    let line = format!("echo $$ > {folder}/pid.0; read go < {folder}/go; exit 6");
    let first = site.divvy("first", &master.address, &["run", "--", "sh", "-c", &line]);
    until("the first task to run", || match fs::read_to_string(site.path().join("pid.0")) {
        Ok(text) if text.ends_with('\n') => Ok(()),
        other => Err(other),
    });
    let stopped = supervisor(&site);
    signal(stopped, "-STOP");
    // The stopped supervisor holds this launch and starts it later.
    let second = site.divvy("second", &master.address, &["run", "--", "sh", "-c", "exit 2"]);
    wait_for_health(&agent, "does not answer");
    let third = site.divvy("third", &master.address, &["run", "--", "sh", "-c", "exit 3"]);
    assert_eq!(third.wait().0.code(), Some(3), "it is started by another");
    signal(stopped, "-CONT");
    assert_eq!(second.wait().0.code(), Some(2));
    wait_for_health(&agent, r#""healthy":true"#);
    fs::write(site.path().join("go"), "\n").expect("the first task reads it");
    assert_eq!(first.wait().0.code(), Some(6));
}
