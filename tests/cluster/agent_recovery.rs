//! An agent and its supervisor, killed, replaced and started on damaged records: what happened to each task is
//! reported once.

#![expect(clippy::disallowed_methods, reason = "how long real processes take is measured in real time")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};

use divvy::proto::v1::{TaskState, TaskStatus, task_status::Reason};

use super::{
    part::{Part, Site, processes_below, until},
    scheduler::{StatusLog, ended, in_state, start, states},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_divvy-agent");
const RESOURCES: &str = "cpus:200;mem:20000";
const EACH: &str = "cpus:1;mem:8";

fn terminal(received: &StatusLog, task: &str) -> Vec<TaskState> {
    states(received, task).into_iter().filter(|state| state.is_terminal()).collect()
}

fn last(received: &StatusLog, task: &str) -> TaskStatus {
    received.lock().expect("not poisoned").get(task).and_then(|all| all.last().cloned()).expect("a status was received")
}

/// What a task wrote to its own file: its start and, once it ended, its end.
fn ran(site: &Site, number: usize) -> String {
    fs::read_to_string(site.path().join(format!("ran.{number}"))).unwrap_or_default()
}

fn wait_for_ended(received: &StatusLog, count: usize) {
    until(&format!("{count} tasks to end"), || match ended(received) {
        (ended, _) if ended >= count => Ok(()),
        other => Err(other),
    });
}

fn wait_for_running(received: &StatusLog, count: usize) {
    until(&format!("{count} tasks to run"), || match in_state(received, TaskState::TaskRunning) {
        running if running >= count => Ok(()),
        other => Err(other),
    });
}

/// Tasks that record their start and end; each runs for its own time of up to `spread_tenths` tenths of a second.
fn spread(site: &Site, count: usize, spread_tenths: usize) -> Vec<(String, String)> {
    let folder = site.path().display();
    let one = |number: usize| {
        let end = ["exit 0", "exit 3", "kill -9 $$"][number % 3];
        let tenths = number * 37 % spread_tenths;
        let file = format!("{folder}/ran.{number}");
        let (seconds, tenths) = (tenths / 10, tenths % 10);
        let script = format!("echo start >> {file}; sleep {seconds}.{tenths}; echo end >> {file}; {end}");
        (format!("t{number}"), script)
    };
    (0..count).map(one).collect()
}

fn true_end(number: usize) -> TaskState {
    if number.is_multiple_of(3) { TaskState::TaskFinished } else { TaskState::TaskFailed }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hundred_tasks_none_is_lost_or_run_twice_though_their_agent_is_killed_ten_times() {
    const TASKS: usize = 200;
    let (site, first_of_all) = (Site::new(), Instant::now());
    let master = site.master();
    let mut agent = site.agent("agent", &master.address, RESOURCES);
    let (driver, received) = start(&master.address, EACH, spread(&site, TASKS, 120));
    until("all tasks to have begun", || {
        let begun = (0..TASKS).filter(|number| !ran(&site, *number).is_empty()).count();
        if begun == TASKS { Ok(()) } else { Err((begun, ended(&received))) }
    });
    let has_ended = || (0..TASKS).filter(|number| ran(&site, *number).contains("end")).count();
    let mut ended_meanwhile = BTreeSet::new();
    for _ in 0..10 {
        agent.kill();
        let before = has_ended();
        // At least one ends, or all have, while no agent runs.
        until("a task to end", || if has_ended() > before || before == TASKS { Ok(()) } else { Err(before) });
        ended_meanwhile.insert(has_ended());
        agent = site.agent("agent", &master.address, RESOURCES);
    }
    wait_for_ended(&received, TASKS);
    assert!(ended_meanwhile.len() > 2, "tasks ended while the agent was away: {ended_meanwhile:?}");
    for number in 0..TASKS {
        assert_eq!(ran(&site, number), "start\nend\n", "t{number} ran once");
        let task = format!("t{number}");
        assert_eq!(terminal(&received, &task), [true_end(number)], "{task}: {:?}", states(&received, &task));
    }
    println!("{TASKS} tasks, 10 kills of the agent: {:?}", first_of_all.elapsed());
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_cut_off_by_kills_of_the_agent_either_ran_to_its_end_or_never_began() {
    const TASKS: usize = 150;
    let (site, first_of_all) = (Site::new(), Instant::now());
    let master = site.master();
    let mut agent = site.agent("agent", &master.address, "cpus:20;mem:2000");
    let (driver, received) = start(&master.address, EACH, spread(&site, TASKS, 3));
    // With room for a part of the tasks only, launches go on all the time.
    for wanted in [5, 25, 50, 75, 100, 125] {
        until(&format!("{wanted} tasks to begin"), || {
            let begun = (0..TASKS).filter(|number| !ran(&site, *number).is_empty()).count();
            if begun >= wanted { Ok(()) } else { Err((begun, ended(&received))) }
        });
        agent.kill();
        agent = site.agent("agent", &master.address, "cpus:20;mem:2000");
    }
    wait_for_ended(&received, TASKS);
    let mut never = 0;
    for number in 0..TASKS {
        let task = format!("t{number}");
        match (terminal(&received, &task).as_slice(), ran(&site, number).as_str()) {
            ([TaskState::TaskDropped | TaskState::TaskLost], "") => never += 1,
            ([state], "start\nend\n") if *state == true_end(number) => {}
            other => panic!("{task}: {other:?} of {:?}", states(&received, &task)),
        }
    }
    println!("{TASKS} tasks, 6 kills during launches, {never} never began: {:?}", first_of_all.elapsed());
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

/// The process id of the supervisor with this number.
fn supervisor(site: &Site, number: u32) -> u32 {
    let file = site.path().join(format!("agent/supervisors/{number}/pid"));
    let text = fs::read_to_string(file).expect("it serves");
    text.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a number")
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn kill_9(pid: u32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
    assert!(killed.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_supervisor_ends_its_tasks_and_the_agent_continues_with_another() {
    const TASKS: usize = 20;
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("agent", &master.address, RESOURCES);
    let folder = site.path().display();
    let sleeps = |number: usize| (format!("t{number}"), format!("echo $$ > {folder}/pid.{number}; exec sleep 1000"));
    let (driver, received) = start(&master.address, EACH, (0..TASKS).map(sleeps).collect());
    wait_for_running(&received, TASKS);
    let pid = |number: usize| {
        until("a task to write its process id", || {
            fs::read_to_string(site.path().join(format!("pid.{number}"))).unwrap_or_default().trim().parse::<u32>()
        })
    };
    let pids: Vec<u32> = (0..TASKS).map(pid).collect();
    let killed = Instant::now();
    kill_9(supervisor(&site, 1));
    wait_for_ended(&received, 1);
    let first = killed.elapsed();
    wait_for_ended(&received, TASKS);
    println!(
        "kill -9 of the supervisor: first of {TASKS} tasks reported after {first:?}, last after {:?}",
        killed.elapsed()
    );
    for number in 0..TASKS {
        let status = last(&received, &format!("t{number}"));
        assert_eq!(status.state(), TaskState::TaskFailed);
        assert_eq!(status.reason(), Reason::ExecutorTerminated);
        assert!(status.message().contains("its supervisor died"), "{status:?}");
    }
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "nothing of it runs");
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");

    let (driver, received) = start(&master.address, EACH, vec![("next".to_owned(), "exit 0".to_owned())]);
    wait_for_ended(&received, 1);
    println!("and another task has run after {:?}", killed.elapsed());
    assert_eq!(terminal(&received, "next"), [TaskState::TaskFinished]);
    assert!(is_alive(supervisor(&site, 2)));
    until("the first one's folder to be gone", || {
        if site.path().join("agent/supervisors/1").exists() { Err("it is there") } else { Ok(()) }
    });
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

/// Another file with the same program in it, as an upgrade puts one in place.
struct Upgraded(PathBuf);

impl Upgraded {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("divvy-agent-{}", std::process::id()));
        fs::copy(PROGRAM, &path).expect("copied");
        Self(path)
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_upgrade_new_tasks_go_to_a_new_supervisor_and_the_old_one_ends_with_its_last() {
    let (site, upgraded) = (Site::new(), Upgraded::new());
    let master = site.master();
    let agent = site.agent("agent", &master.address, RESOURCES);
    let folder = site.path().display();
    let script = format!("while [ ! -e {folder}/go ]; do sleep 0.05; done; exit 3");
    let (old_driver, old) = start(&master.address, EACH, vec![("old".to_owned(), script)]);
    wait_for_running(&old, 1);
    let first = supervisor(&site, 1);
    assert!(agent.stop().success());
    let command = site.agent_command(&upgraded.0, "agent", &master.address, RESOURCES);
    let _agent = Part::start(&site, "agent", command);
    let (driver, new) = start(&master.address, EACH, vec![("new".to_owned(), "exit 0".to_owned())]);
    wait_for_ended(&new, 1);
    assert_eq!(terminal(&new, "new"), [TaskState::TaskFinished]);
    assert!(is_alive(first) && is_alive(supervisor(&site, 2)), "both serve");
    fs::write(site.path().join("go"), "").expect("written");
    wait_for_ended(&old, 1);
    assert_eq!(last(&old, "old").message(), "command exited with status 3");
    until("the old supervisor to end", || if is_alive(first) { Err("it runs") } else { Ok(()) });
    for driver in [old_driver, driver] {
        driver.stop_teardown().await.expect("stops");
        driver.join().await.expect("joins");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_tasks_that_is_stopped_leaves_no_process() {
    let site = Site::new();
    let master = site.master();
    let agent = site.agent("agent", &master.address, RESOURCES);
    let (driver, received) = start(&master.address, EACH, vec![("t".to_owned(), "exit 0".to_owned())]);
    wait_for_ended(&received, 1);
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
    assert!(agent.stop().success());
    until("every process of the agent to be gone", || {
        let left = processes_below(&site.path().join("agent"));
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

/// Kills an agent with one task running; also returns the agent's id.
fn killed_with_a_task(site: &Site, master: &Part) -> (divvy::framework::SchedulerDriver, StatusLog, String) {
    let agent = site.agent("agent", &master.address, RESOURCES);
    let (driver, received) = start(&master.address, EACH, vec![("t".to_owned(), "exec sleep 1000".to_owned())]);
    wait_for_running(&received, 1);
    agent.kill();
    let id = last(&received, "t").agent_id.expect("an agent ran it").value;
    (driver, received, id)
}

/// The output of an agent that is expected not to start.
fn refused(site: &Site, master: &Part, arguments: &[&str]) -> Output {
    let mut command = site.agent_command(PROGRAM, "agent", &master.address, RESOURCES);
    command.args(arguments);
    site.run(command)
}

fn damaged_copies(site: &Site) -> Vec<PathBuf> {
    let files = fs::read_dir(site.path().join("agent")).expect("a work directory").flatten();
    let is_copy = |path: &PathBuf| path.to_string_lossy().contains(".damaged-20");
    files.map(|file| file.path()).filter(is_copy).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_handled_as_the_recover_flag_says() {
    for (how, extra) in [("reconnect", None), ("cleanup", None), ("reconnect", Some("strict first"))] {
        let site = Site::new();
        let master = site.master();
        let (driver, received, id) = killed_with_a_task(&site, &master);
        let log = site.path().join("agent/log");
        let mut bytes = fs::read(&log).expect("a log");
        // In the record of the launch, so that the agent loses all it knew of the task.
        let place = bytes.windows(10).position(|ten| ten == b"sleep 1000").expect("the task");
        bytes[place] ^= 1;
        fs::write(&log, &bytes).expect("damaged");
        if extra.is_some() {
            let Output { status, stderr, .. } = refused(&site, &master, &["--recover=strict"]);
            let stderr = String::from_utf8_lossy(&stderr);
            assert_eq!(status.code(), Some(3), "{stderr}");
            assert!(stderr.contains("agent/log is damaged at byte ") && stderr.contains("--recover="), "{stderr}");
            assert_eq!(fs::read(&log).expect("a log"), bytes, "strict touches nothing");
            assert!(damaged_copies(&site).is_empty());
        }
        let mut command = site.agent_command(PROGRAM, "agent", &master.address, RESOURCES);
        command.arg(format!("--recover={how}"));
        let _agent = Part::start(&site, "agent", command);
        wait_for_ended(&received, 1);
        let status = last(&received, "t");
        assert!(matches!(status.state(), TaskState::TaskGone | TaskState::TaskLost), "{how}: {status:?}");
        let reason = if how == "cleanup" { "--recover=cleanup" } else { "the agent's log was damaged" };
        assert!(status.message().contains(reason), "{how}: {status:?}");
        assert_eq!(status.agent_id.expect("an agent").value, id, "it is the same agent");
        assert_eq!(terminal(&received, "t").len(), 1);
        let kept = damaged_copies(&site);
        assert_eq!(kept.len(), 1);
        assert_eq!(fs::read(&kept[0]).expect("kept"), bytes);
        until("the task to be gone", || {
            let left = processes_below(&site.path().join("agent/runs"));
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        driver.stop_teardown().await.expect("stops");
        driver.join().await.expect("joins");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_start_kills_what_ran_and_reports_it_under_the_old_agent_id() {
    let site = Site::new();
    let master = site.master();
    let (driver, received, id) = killed_with_a_task(&site, &master);
    let first = supervisor(&site, 1);
    let mut command = site.agent_command(PROGRAM, "agent", &master.address, RESOURCES);
    command.arg("--recover=cleanup");
    let _agent = Part::start(&site, "agent", command);
    wait_for_ended(&received, 1);
    let status = last(&received, "t");
    assert_eq!(status.reason(), Reason::AgentRestarted, "{status:?}");
    assert_eq!(status.message(), "ended when the agent was started with --recover=cleanup");
    assert_eq!(status.agent_id.expect("an agent").value, id);
    assert!(!is_alive(first) && damaged_copies(&site).is_empty());
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

#[test]
fn a_second_agent_on_one_work_directory_is_refused() {
    let site = Site::new();
    let master = site.master();
    let agent = site.agent("agent", &master.address, RESOURCES);
    let Output { status, stderr, .. } = refused(&site, &master, &[]);
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(1), "{stderr}");
    let holder = format!("is in use by process {}: stop it or give another --work-dir", agent.pid());
    assert!(stderr.contains(&holder), "{stderr}");
}

/// Runs the agent where its work directory is a file system of its own, prepared by `script`.
fn on_a_file_system(site: &Site, master: &Part, script: &str) -> Output {
    let agent = site.agent_command(PROGRAM, "agent", &master.address, RESOURCES);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec"]);
    command.arg(format!(
        "mount -t tmpfs -o size=256k tmpfs agent; cp earlier agent/log; {script}; exec timeout 20 \"$@\""
    ));
    command.arg("sh").arg(agent.get_program()).args(agent.get_args());
    site.run(command)
}

#[test]
fn an_agent_on_a_file_system_that_rejects_writes_does_not_start_and_names_the_reason() {
    let site = Site::new();
    let master = site.master();
    fs::create_dir(site.path().join("agent")).expect("a work directory");
    // A whole record behind a damaged one: to recover, the agent must rewrite the log.
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/formats/agent-log-1");
    let mut bytes = fs::read(sample).expect("a sample");
    bytes[30] ^= 1;
    fs::write(site.path().join("earlier"), &bytes).expect("written");
    for (script, action, cause) in [
        ("mount -o remount,ro agent", "cannot lock work directory", "Read-only file system"),
        ("cat /dev/zero > agent/zeros || true", "cannot write", "No space left on device"),
    ] {
        let Output { status, stderr, .. } = on_a_file_system(&site, &master, script);
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "this test needs user namespaces (unshare) and tmpfs: {stderr}");
        assert!(stderr.contains(action) && stderr.contains(cause), "{script}: {stderr}");
    }
}
