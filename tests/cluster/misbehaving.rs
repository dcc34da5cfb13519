//! A host that misbehaves while two hundred tasks run: every end is what the process's own file says, nothing survives its
//! container, and nothing is said to have ended before it is dead.

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
    scheduler::{Heard, in_state, start, states},
};

const TASKS: usize = 200;
const GROUPS: usize = 4;
const RESOURCES: &str = "cpus:40;mem:8192";
/// Longer than a supervisor was once believed to live without a word.
const SILENCE: Duration = Duration::from_secs(20);

/// The work directory of the agent, on a small file system of its own where this may be mounted.
struct Small<'a>(&'a Site);

impl<'a> Small<'a> {
    fn mounted(site: &'a Site) -> Self {
        let folder = site.path().join("agent");
        fs::create_dir(&folder).expect("made");
        let mut mount = Command::new("mount");
        let status = mount.args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(&folder).status();
        assert!(status.expect("mount runs").success(), "these tests are run by root");
        Self(site)
    }

    /// Leaves no room at all.
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

impl Drop for Small<'_> {
    fn drop(&mut self) {
        for pid in processes_below(&self.0.path().join("agent")) {
            drop(Command::new("kill").args(["-9", &pid.to_string()]).status());
        }
        drop(Command::new("umount").arg("-l").arg(self.0.path().join("agent")).status());
    }
}

/// Tasks of four groups; those of a group wait for a line from a pipe, note that they end, and end with code 0, 3 or by a
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

/// Lets a group go on, those too that begin to read for as long as the answer is kept.
fn let_go(site: &Site, group: usize) -> File {
    let pipe = OpenOptions::new().write(true).open(site.path().join(format!("go.{group}")));
    let mut pipe = pipe.expect("a task reads it");
    pipe.write_all("\n".repeat(TASKS / GROUPS).as_bytes()).expect("there is room");
    pipe
}

fn pid_of(site: &Site, number: usize) -> u32 {
    let text = fs::read_to_string(site.path().join(format!("pid.{number}"))).expect("it ran");
    text.trim().parse().expect("a process id")
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn ends(received: &Heard, number: usize) -> Vec<TaskState> {
    states(received, &format!("t{number}")).into_iter().filter(|state| state.is_terminal()).collect()
}

/// Waits for an end of every task of the group, each dead by then.
fn all_ended(site: &Site, received: &Heard, group: usize) {
    until(&format!("group {group} to end"), || {
        let mut missing = of_group(group).filter(|number| ends(received, *number).is_empty());
        missing.next().map_or(Ok(()), Err)
    });
    for number in of_group(group) {
        assert!(!lives(pid_of(site, number)), "t{number} was said to have ended and lives");
    }
}

/// The group has ended as its processes did, each once.
fn assert_true_ends(site: &Site, received: &Heard, group: usize) {
    for number in of_group(group) {
        let state = if number.is_multiple_of(3) { TaskState::TaskFinished } else { TaskState::TaskFailed };
        let own = fs::read_to_string(site.path().join(format!("ended.{number}")));
        assert_eq!((ends(received, number), own.ok().as_deref()), (vec![state], Some("end\n")), "t{number}");
    }
}

fn assert_all_live(site: &Site, received: &Heard, groups: impl Iterator<Item = usize>, after: &str) {
    for number in groups.flat_map(of_group) {
        assert_eq!(ends(received, number), [], "t{number} after {after}");
        assert!(lives(pid_of(site, number)), "t{number} after {after}");
    }
}

/// The processes that hold the tasks, which are children of theirs.
fn supervisor(site: &Site) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid_of(site, 0))).expect("it lives");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in brackets");
    rest.split(' ').nth(1).expect("a parent").parse().expect("a process id")
}

fn signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().expect("kill runs").success());
}

fn until_health(agent: &Part, what: &str) {
    until(&format!("the health of the agent to say {what:?}"), || {
        let health = get(&agent.address, "/health");
        if health.contains(what) { Ok(()) } else { Err(health) }
    });
}

/// The agent comes back while its supervisor is stopped, which is reported and costs no task.
fn supervisor_stopped(site: &Site, received: &Heard, master: &str, agent: Part) -> Part {
    let stopped = supervisor(site);
    signal(stopped, "-STOP");
    agent.kill();
    let agent = site.agent("agent", master, RESOURCES);
    until_health(&agent, "does not answer");
    thread::sleep(SILENCE);
    assert!(lives(stopped), "silence is not death");
    signal(stopped, "-CONT");
    assert_all_live(site, received, 0..GROUPS, "its supervisor was stopped");
    until_health(&agent, r#""healthy":true"#);
    agent
}

/// A copy of the work directory is no second agent, and the original is not touched.
fn copied(site: &Site, received: &Heard, master: &str) {
    let mut copy = Command::new("cp");
    copy.arg("-a").args(["agent", "copy"].map(|name| site.path().join(name)));
    // What changes meanwhile may be missing.
    drop(site.run(copy));
    let mut second = site.agent_command(env!("CARGO_BIN_EXE_divvy-agent"), "copy", master, RESOURCES);
    second.arg("--recover=cleanup");
    let output = site.run(second);
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_all_live(site, received, 0..GROUPS, "an agent was started on a copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_tasks_end_as_their_own_files_say_whatever_becomes_of_their_host() {
    let site = Site::new();
    let small = Small::mounted(&site);
    let master = site.master();
    let agent = site.agent("agent", &master.address, RESOURCES);
    let (driver, received) = start(&master.address, "cpus:0.1;mem:32", commands(site.path()));
    until("all tasks to run", || match in_state(&received, TaskState::TaskRunning) {
        TASKS => Ok(()),
        count => Err(count),
    });
    let agent = supervisor_stopped(&site, &received, &master.address, agent);
    copied(&site, &received, &master.address);

    fs::remove_dir_all(site.path().join("agent/runs")).expect("removed");
    let group = let_go(&site, 0);
    all_ended(&site, &received, 0);
    assert_true_ends(&site, &received, 0);
    drop(group);

    small.fill();
    until_health(&agent, "is full");
    let group = let_go(&site, 1);
    all_ended(&site, &received, 1);
    assert_true_ends(&site, &received, 1);
    drop(group);
    small.empty();

    agent.kill();
    let group = let_go(&site, 2);
    let agent = site.agent("agent", &master.address, RESOURCES);
    all_ended(&site, &received, 2);
    assert_true_ends(&site, &received, 2);
    drop(group);

    // What no agent can find again is ended, and only then said to be lost.
    fs::remove_dir_all(site.path().join("agent/supervisors")).expect("removed");
    agent.kill();
    let _agent = site.agent("agent", &master.address, RESOURCES);
    all_ended(&site, &received, 3);
    for number in of_group(3) {
        assert!(!site.path().join(format!("ended.{number}")).exists(), "t{number} was never let go");
        assert_ne!(ends(&received, number), [TaskState::TaskFinished], "t{number}");
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
    // The supervisor it is given to cannot start it, and may yet.
    let second = site.divvy("second", &master.address, &["run", "--", "sh", "-c", "exit 2"]);
    until_health(&agent, "does not answer");
    let third = site.divvy("third", &master.address, &["run", "--", "sh", "-c", "exit 3"]);
    assert_eq!(third.wait().0.code(), Some(3), "it is started by another");
    signal(stopped, "-CONT");
    assert_eq!(second.wait().0.code(), Some(2));
    until_health(&agent, r#""healthy":true"#);
    fs::write(site.path().join("go"), "\n").expect("the first task reads it");
    assert_eq!(first.wait().0.code(), Some(6));
}
