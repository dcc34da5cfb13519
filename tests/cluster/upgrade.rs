//! An upgrade of a whole cluster from the binaries of an earlier commit, with tasks that run throughout.
//!
//! `cargo xtask upgrade --from COMMIT` builds those binaries and starts these tests with `DIVVY_UPGRADE_FROM`, the
//! folder that holds them. Each test begins with an old master, two old agents and 40 tasks and more, and replaces part
//! after part. Some tasks end in every step, others run throughout; each records its own end in a file. A framework
//! that stays connected compares the statuses it receives with these files.

mod cluster;
mod framework;
mod task;

use std::{collections::BTreeMap, fs};

use divvy::{
    framework::{SchedulerDriver, SchedulerEvent},
    proto::v1::{FrameworkInfo, TaskState},
};
use futures::StreamExt as _;
use serde_json::Value;

use self::{
    cluster::{AGENTS, Cluster, End, Version},
    framework::Framework,
    task::{Ending, Noted, Step, Task, gate},
};
use crate::part::{LIMIT, Running, Site, processes_below, until};

const OWN: [Ending; 4] = [Ending::Code(0), Ending::Code(3), Ending::Code(200), Ending::OwnSignal];
const KILLED: [Ending; 3] = [Ending::Killed, Ending::KilledWithCode(9), Ending::KilledAtLast];
const OLD_SHELL: &str = "old-run";
const NEW_SHELL: &str = "new-run";
/// What a `divvy run` prints after the numbers from 1 on.
const LAST_LINE: usize = 1_000_000;

#[derive(Clone, Copy, Debug)]
enum Part {
    Master,
    Agent(usize),
}

const AGENTS_FIRST: [&[Part]; 3] = [&[Part::Agent(0)], &[Part::Agent(1)], &[Part::Master]];
const MASTER_FIRST: [&[Part]; 3] = [&[Part::Master], &[Part::Agent(0)], &[Part::Agent(1)]];
const ALL_AT_ONCE: [&[Part]; 1] = [&[Part::Agent(0), Part::Master, Part::Agent(1)]];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binaries of an earlier commit: cargo xtask upgrade --from COMMIT"]
async fn agents_that_are_stopped_and_upgraded_first_lose_nothing() {
    upgrade("agents first, stopped", &AGENTS_FIRST, End::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binaries of an earlier commit: cargo xtask upgrade --from COMMIT"]
async fn agents_that_are_killed_and_upgraded_first_lose_nothing() {
    upgrade("agents first, killed", &AGENTS_FIRST, End::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binaries of an earlier commit: cargo xtask upgrade --from COMMIT"]
async fn a_master_that_is_stopped_and_upgraded_first_loses_nothing() {
    upgrade("master first, stopped", &MASTER_FIRST, End::Stopped).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binaries of an earlier commit: cargo xtask upgrade --from COMMIT"]
async fn a_master_that_is_killed_and_upgraded_first_loses_nothing() {
    upgrade("master first, killed", &MASTER_FIRST, End::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the binaries of an earlier commit: cargo xtask upgrade --from COMMIT"]
async fn a_cluster_that_is_killed_and_upgraded_at_once_loses_nothing() {
    upgrade("all at once, killed", &ALL_AT_ONCE, End::Killed).await;
}

async fn upgrade(name: &str, order: &[&[Part]], how: End) {
    let site = Site::new();
    fs::create_dir(site.path().join("notes")).expect("a folder");
    let mut run = Run::start(&site).await;
    run.end_tasks(Step::Before, &AGENTS).await;
    for (number, parts) in order.iter().enumerate() {
        run.replace(parts, how, number == 0).await;
    }
    run.check_what_runs();
    run.launch_beside().await;
    let (weights, quotas) = run.cluster.weight_and_quota().await;
    assert_eq!((weights.len(), weights[0].weight, quotas.len()), (1, 2.5, 1), "{weights:?} {quotas:?}");
    assert_eq!(quotas[0].limits["cpus"].value.to_string(), "3");
    run.end_tasks(Step::After, &AGENTS).await;
    run.finish(name).await;
}

/// A cluster on its way from old to new.
struct Run<'a> {
    site: &'a Site,
    cluster: Cluster<'a>,
    framework: Framework,
    driver: SchedulerDriver,
    agent_ids: Vec<String>,
    /// A framework that is torn down while the first part is away, with tasks that ignore SIGTERM.
    leaving: SchedulerDriver,
    /// `divvy run` of both versions, connected from the first step to the last.
    shells: Vec<(&'static str, Running)>,
    /// Tasks whose statuses the framework refuses until the upgrade is over.
    unacknowledged: Vec<String>,
}

fn all_tasks() -> Vec<Task> {
    let mut tasks = Vec::new();
    for agent in AGENTS {
        for step in [Step::Before, Step::AgentAway, Step::MasterAway, Step::After] {
            tasks.extend(OWN.iter().chain(&KILLED).map(|ending| Task { agent, step, ending: *ending }));
        }
    }
    tasks
}

fn of_step(step: Step, agents: &[&'static str]) -> Vec<Task> {
    all_tasks().into_iter().filter(|task| task.step == step && agents.contains(&task.agent)).collect()
}

impl<'a> Run<'a> {
    async fn start(site: &'a Site) -> Self {
        let cluster = Cluster::start(site);
        let agent_ids = cluster.agent_ids();
        cluster.set_weight_and_quota().await;
        let tasks = all_tasks();
        let (framework, driver) = Framework::start(site.path().to_owned(), &cluster.address, "over-it", tasks.clone());
        let unacknowledged: Vec<String> =
            AGENTS.iter().map(|agent| Task { agent, step: Step::After, ending: Ending::Code(3) }.id()).collect();
        framework.progress().refused.extend(unacknowledged.iter().cloned());
        let stay = AGENTS.map(|agent| Task { agent, step: Step::Beside, ending: Ending::KilledAtLast });
        let (left, leaving) = Framework::start(site.path().to_owned(), &cluster.address, "leaving", stay.to_vec());
        let tasks = tasks.len();
        let mut run = Self { site, cluster, framework, driver, agent_ids, leaving, shells: Vec::new(), unacknowledged };
        run.wait_until("all tasks to run", |run| {
            let running = run.framework.progress().in_state(|state| state == TaskState::TaskRunning).len();
            let noted =
                all_tasks().iter().chain(&stay).filter(|task| Noted::read(site.path(), &task.id()).runs()).count();
            let left = left.progress().in_state(|state| state == TaskState::TaskRunning).len();
            let is_ready = running + run.unacknowledged.len() == tasks && left == stay.len() && noted == tasks + left;
            if is_ready { Ok(()) } else { Err((running, noted, left)) }
        });
        run.start_shells();
        run
    }

    /// One of each version prints lines, and ends with a code of its own when the file of its name is there.
    fn start_shells(&mut self) {
        for (version, name) in [(Version::Old, OLD_SHELL), (Version::New, NEW_SHELL)] {
            let go = self.site.path().join(format!("{name}.go"));
            let script = format!(
                "n=0; while [ ! -e '{}' ]; do n=$((n+1)); echo $n; sleep 0.25; done; echo {LAST_LINE}; exit 42",
                go.display()
            );
            let arguments = ["run", "--name", name, "--cpus", "0.1", "--mem", "16", "--", "sh", "-c", &script];
            self.shells.push((name, self.cluster.divvy(version, name, &arguments)));
        }
        until("the runs at a shell to print", || {
            let lines: Vec<usize> = self.shells.iter().map(|(_, running)| running.out().lines().count()).collect();
            if lines.iter().all(|count| *count > 0) { Ok(()) } else { Err(lines) }
        });
    }

    /// Waits, and fails at once when something that was received is wrong.
    fn wait_until<E: std::fmt::Debug>(&self, what: &str, mut condition: impl FnMut(&Self) -> Result<(), E>) {
        until(what, || {
            let wrong = self.framework.progress().wrong.clone();
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
            condition(self)
        });
    }

    /// Lets the tasks of a step end by themselves, and kills those that do not.
    async fn begin_ends(&self, step: Step, agents: &[&'static str]) {
        for agent in agents {
            fs::write(gate(self.site.path(), agent, step), "").expect("written");
        }
        for task in of_step(step, agents).into_iter().filter(|task| task.ending.is_kill()) {
            self.framework.kill(&self.driver, task).await;
        }
    }

    fn wait_for(&self, wanted: &[Task]) {
        self.wait_until("tasks to end", |run| {
            let ended = run.framework.progress().in_state(TaskState::is_terminal);
            let open: Vec<String> = wanted.iter().filter(|task| !ended.contains(task)).map(|task| task.id()).collect();
            if open.is_empty() { Ok(()) } else { Err(open) }
        });
    }

    /// Does both; in the last step it first lets the framework take the statuses that it refused so far.
    async fn end_tasks(&self, step: Step, agents: &[&'static str]) {
        if step == Step::After {
            self.framework.progress().refused.clear();
        }
        self.begin_ends(step, agents).await;
        self.wait_for(&of_step(step, agents));
    }

    /// Replaces these parts, while their tasks end and are killed, and checks that all else runs on.
    async fn replace(&mut self, parts: &[Part], how: End, tears_down: bool) {
        let mut steps = Vec::new();
        for part in parts {
            match *part {
                // Those that ignore SIGTERM are between the two signals when the agent ends.
                Part::Agent(number) => {
                    let task = Task { agent: AGENTS[number], step: Step::AgentAway, ending: Ending::KilledAtLast };
                    self.framework.kill(&self.driver, task).await;
                    self.cluster.end_agent(number, how);
                    steps.push((Step::AgentAway, vec![AGENTS[number]]));
                }
                Part::Master => {
                    self.cluster.end_master(how);
                    steps.push((Step::MasterAway, AGENTS.to_vec()));
                }
            }
        }
        for (step, agents) in &steps {
            self.begin_ends(*step, agents).await;
            self.wait_until("the tasks of the step to note their ends", |run| {
                let own = of_step(*step, agents).into_iter().filter(|task| !task.ending.is_kill());
                let open: Vec<String> =
                    own.map(Task::id).filter(|id| Noted::read(run.site.path(), id).runs()).collect();
                if open.is_empty() { Ok(()) } else { Err(open) }
            });
        }
        if tears_down {
            self.leaving.stop_teardown().await.expect("takes calls");
        }
        for part in parts {
            match *part {
                Part::Agent(number) => self.cluster.start_agent(number, Version::New),
                Part::Master => self.cluster.start_master(Version::New),
            }
        }
        assert_eq!(self.cluster.agent_ids(), self.agent_ids, "agents keep their ids");
        for (step, agents) in &steps {
            self.wait_for(&of_step(*step, agents));
        }
        self.check_what_runs();
    }

    /// Asserts that every task that has not ended runs, and that every list shows exactly these.
    fn check_what_runs(&self) {
        let ended = self.framework.progress().in_state(TaskState::is_terminal);
        let mut open: Vec<String> =
            all_tasks().into_iter().filter(|task| !ended.contains(task)).map(Task::id).collect();
        let gone: Vec<&String> = open.iter().filter(|id| !Noted::read(self.site.path(), id).runs()).collect();
        assert!(gone.is_empty(), "these have ended and were not to: {gone:?}");
        open.extend(self.shells.iter().map(|(name, _)| format!("{name}.0")));
        open.sort();
        for version in [Version::Old, Version::New] {
            self.wait_until(&format!("`divvy tasks` of the {version:?} version to list what runs"), |run| {
                let listed = run.cluster.list(version, "tasks");
                let mut ids: Vec<&str> = listed.iter().filter_map(|task| task["id"].as_str()).collect();
                ids.sort_unstable();
                if ids == open { Ok(()) } else { Err(format!("{ids:?} instead of {open:?}")) }
            });
            assert_eq!(self.cluster.list(version, "agents").len(), AGENTS.len());
        }
    }

    /// Launches new tasks, which run under new supervisors while the old ones keep theirs.
    async fn launch_beside(&self) {
        for agent in AGENTS {
            let programs: Vec<bool> = self.cluster.supervisors(agent).into_iter().map(Cluster::runs_new).collect();
            assert!(programs.contains(&false), "an old supervisor holds tasks of {agent}: {programs:?}");
        }
        let tasks: Vec<Task> = AGENTS.into_iter().flat_map(beside).collect();
        self.framework.launch(&self.driver, &tasks).await;
        self.wait_until("the new tasks to run", |run| {
            let open: Vec<String> =
                tasks.iter().map(|task| task.id()).filter(|id| !Noted::read(run.site.path(), id).runs()).collect();
            if open.is_empty() { Ok(()) } else { Err(open) }
        });
        for agent in AGENTS {
            let programs: Vec<bool> = self.cluster.supervisors(agent).into_iter().map(Cluster::runs_new).collect();
            assert!(programs.contains(&false) && programs.contains(&true), "both serve {agent}: {programs:?}");
            fs::write(gate(self.site.path(), agent, Step::Beside), "").expect("written");
        }
        for task in tasks.iter().filter(|task| task.ending.is_kill()) {
            self.framework.kill(&self.driver, *task).await;
        }
        self.wait_for(&tasks);
    }

    /// Asserts that a removed framework stays removed, also if an old master removed it.
    async fn check_that_the_removed_stays_removed(&self) {
        let id = self.leaving.framework_id();
        assert!(id.is_some(), "it was registered");
        let info = FrameworkInfo { id, ..FrameworkInfo::new("leaving") };
        let (driver, mut events) =
            SchedulerDriver::builder(info).master(&self.cluster.address).stream().expect("valid");
        driver.start().expect("starts");
        let first = tokio::time::timeout(LIMIT, events.next()).await.expect("an answer");
        assert!(matches!(&first, Some(SchedulerEvent::Error(text)) if text.contains("removed")), "{first:?}");
    }

    /// Ends the runs at a shell; asserts that all resources are released and no old process is left.
    async fn finish(mut self, name: &str) {
        for (shell, running) in std::mem::take(&mut self.shells) {
            fs::write(self.site.path().join(format!("{shell}.go")), "").expect("written");
            let (status, out, err) = running.wait();
            assert_eq!(status.code(), Some(42), "{shell}: {out}{err}");
            if shell == NEW_SHELL {
                let numbers: Vec<usize> = out.lines().map(|line| line.parse().expect("a number")).collect();
                let (last, counted) = numbers.split_last().expect("lines");
                assert!(counted.iter().copied().eq(1..=counted.len()) && *last == LAST_LINE, "{shell}: {out}{err}");
            }
        }
        self.leaving.join().await.expect("its teardown was confirmed");
        self.check_that_the_removed_stays_removed().await;
        self.wait_until("all resources to be released, and every old supervisor to end", |run| {
            let left: Vec<u32> =
                AGENTS.iter().flat_map(|agent| processes_below(&run.site.path().join(agent).join("runs"))).collect();
            let old =
                AGENTS.iter().flat_map(|agent| run.cluster.supervisors(agent)).filter(|pid| !Cluster::runs_new(*pid));
            let (old, state) = (old.count(), run.cluster.state());
            let used: Vec<&Value> =
                state["slaves"].as_array().into_iter().flatten().map(|agent| &agent["used_resources"]).collect();
            let is_over = left.is_empty() && old == 0 && used.iter().all(|used| used["cpus"] == 0 && used["mem"] == 0);
            if is_over { Ok(()) } else { Err(format!("processes {left:?}, {old} old supervisors, used {used:?}")) }
        });
        self.driver.stop_teardown().await.expect("takes calls");
        self.driver.join().await.expect("joins");
        let progress = self.framework.progress();
        assert!(progress.wrong.is_empty(), "{}", progress.wrong.join("\n"));
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        for task in progress.in_state(TaskState::is_terminal) {
            *ends.entry(task.true_state().as_str_name()).or_default() += 1;
        }
        let (statuses, refusals) = (progress.statuses, progress.refusals);
        eprintln!(
            "{name}: {} tasks ended as their files say: {ends:?}; {statuses} statuses received, {refusals} not taken at first",
            ends.values().sum::<usize>()
        );
    }
}

/// What is launched on an agent once all is new.
fn beside(agent: &'static str) -> Vec<Task> {
    let endings = OWN.iter().chain(&[Ending::Killed, Ending::KilledWithCode(9)]);
    endings.map(|ending| Task { agent, step: Step::Beside, ending: *ending }).collect()
}
