//! The scheduler of a run, in a process of its own that can be killed: the test binary, started once more for this.
//!
//! It launches tasks on every offer until the file `stop` exists, kills the tasks that do not end by themselves, and
//! reconciles those for which its process has received no status. It records each launch and kill before it sends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use divvy::{
    framework::{Result, Scheduler, SchedulerDriver, UnknownTasks},
    proto::v1::{
        AgentId, Filters, FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus,
    },
    types::Resources,
};

use super::{
    event_log::{self, Entry, EventLog},
    work::{Ending, Work},
};

const FOLDER: &str = "DIVVY_FAULT_FOLDER";
const MASTER: &str = "DIVVY_FAULT_MASTER";
const SEED: &str = "DIVVY_FAULT_SEED";

/// A file with this name in the folder stops the launching.
pub(super) const STOP: &str = "stop";
/// A file with this name in the folder makes the scheduler tear its framework down.
pub(super) const LEAVE: &str = "leave";

/// Between two checks of its tasks.
const ROUND: Duration = Duration::from_millis(200);

/// The command that runs such a scheduler.
pub(super) fn command(folder: &Path, master: &str, seed: u64) -> Command {
    let mut command = Command::new(env::current_exe().expect("this test is a file"));
    command.args(["--exact", "faults::framework::the_scheduler_of_a_run", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).env(MASTER, master).env(SEED, seed.to_string());
    command.env("RUST_LOG", "info");
    command
}

#[test]
#[ignore = "no test but a process of the runs, which start it"]
fn the_scheduler_of_a_run() {
    let read = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is set by the run that starts this"));
    let (folder, master) = (PathBuf::from(read(FOLDER)), read(MASTER));
    let seed = read(SEED).parse().expect("a number");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(folder, &master, seed));
}

/// What the callbacks and the periodic checks share.
struct RunState {
    folder: PathBuf,
    log: EventLog,
    seed: u64,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    launched: u64,
    /// Where each open task is.
    open: BTreeMap<String, String>,
    /// Recorded tasks whose launch has not been passed to the driver. A reconciliation that overtook the launch would
    /// be answered that the agent does not know them.
    drafted: BTreeSet<String>,
    /// Tasks with a status that this process received.
    reported: BTreeSet<String>,
    /// When to kill each task that does not end by itself, by this process's clock.
    kill_at_ns: BTreeMap<String, u64>,
    killed: BTreeSet<String>,
}

async fn run(folder: PathBuf, master: &str, seed: u64) {
    let entries = event_log::read(&folder);
    let (open, launched) = event_log::open_tasks(&entries);
    let id = entries.iter().find_map(|entry| match entry {
        Entry::Framework(id) => Some(id.clone()),
        _ => None,
    });
    let kill_at_ns = open.keys().filter(|task| kill_after(seed, task).is_some()).map(|task| (task.clone(), 0));
    let mine =
        |(task, agent): (&String, &String)| (TaskId { value: task.clone() }, Some(AgentId { value: agent.clone() }));
    let known: Vec<_> = open.iter().map(mine).collect();
    let tasks = Tasks { launched, kill_at_ns: kill_at_ns.collect(), open, ..Tasks::default() };
    let run = Arc::new(RunState { log: EventLog::open(&folder), folder, seed, tasks: Mutex::new(tasks) });
    run.log.add(&Entry::Start);
    let mut info = FrameworkInfo::new("faults");
    info.id = id.map(|value| FrameworkId { value });
    // Adopt unknown tasks, so that unacknowledged ends reach the callback again.
    let builder = SchedulerDriver::builder(info).master(master).known_tasks(known).unknown_tasks(UnknownTasks::Adopt);
    let driver = builder.build(LoggingScheduler { run: run.clone() }).expect("a valid framework");
    driver.start().expect("starts");
    let (leave, mut drained, mut round) = (run.folder.join(LEAVE), false, 0_u32);
    while !leave.exists() {
        driver.sleep(ROUND).await;
        run.check_tasks(&driver, round.is_multiple_of(5)).await;
        round += 1;
        if !drained && run.is_drained() {
            drained = true;
            run.log.add(&Entry::Drained);
        }
    }
    driver.stop_teardown().await.expect("stops");
    driver.join().await.expect("joins");
}

/// When a task does not end by itself: how long after its launch it is to be killed.
fn kill_after(seed: u64, task: &str) -> Option<Duration> {
    match Work::of(seed, number(task)).ending {
        Ending::Killed(after) => Some(after),
        Ending::Code(_) | Ending::Signal => None,
    }
}

/// The number in a task's id.
pub(super) fn number(task: &str) -> u64 {
    task.strip_prefix('t').and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no task of a run: {task}"))
}

impl RunState {
    fn is_stopping(&self) -> bool {
        self.folder.join(STOP).exists()
    }

    fn is_drained(&self) -> bool {
        self.is_stopping() && self.tasks.lock().expect("not poisoned").open.is_empty()
    }

    /// Sends the kills that are due. With `repeat`, also repeats kills and reconciles tasks without a received status.
    async fn check_tasks(&self, driver: &SchedulerDriver, repeat: bool) {
        let now_ns = driver.now().mono_ns;
        let (first, again, silent) = {
            let mut tasks = self.tasks.lock().expect("not poisoned");
            let due: Vec<String> =
                tasks.kill_at_ns.iter().filter(|(_, at)| **at <= now_ns).map(|(task, _)| task.clone()).collect();
            let (again, first): (Vec<_>, Vec<_>) = due.into_iter().partition(|task| tasks.killed.contains(task));
            tasks.killed.extend(first.iter().cloned());
            let is_silent = |task: &String| !tasks.reported.contains(task) && !tasks.drafted.contains(task);
            let silent = tasks.open.iter().filter(|(task, _)| is_silent(task));
            let silent: Vec<_> = silent.map(|(task, agent)| (task.clone(), agent.clone())).collect();
            (first, again, silent)
        };
        for task in &first {
            self.log.add(&Entry::Kill(task.clone()));
        }
        for task in first.into_iter().chain(again.into_iter().filter(|_| repeat)) {
            driver.kill_task(&TaskId { value: task }).await.expect("a driver that runs");
        }
        if repeat && !silent.is_empty() {
            let named = silent.into_iter().map(|(task, value)| (TaskId { value: task }, Some(AgentId { value })));
            driver.reconcile_tasks(named).await.expect("a driver that runs");
        }
    }

    /// Records and returns the next task for this agent.
    fn next(&self, now_ns: u64, agent: &AgentId, port: u64) -> (String, Work) {
        let mut tasks = self.tasks.lock().expect("not poisoned");
        let number = tasks.launched;
        tasks.launched += 1;
        let task = format!("t{number}");
        let agent = agent.value.clone();
        self.log.add(&Entry::Launch { task: task.clone(), agent: agent.clone(), port });
        let work = Work::of(self.seed, number);
        if let Ending::Killed(after) = work.ending {
            let after_ns = u64::try_from(after.as_nanos()).expect("seconds");
            tasks.kill_at_ns.insert(task.clone(), now_ns + after_ns);
        }
        tasks.open.insert(task.clone(), agent);
        tasks.drafted.insert(task.clone());
        (task, work)
    }

    /// Marks every recorded launch as passed to the driver.
    fn clear_drafts(&self) {
        self.tasks.lock().expect("not poisoned").drafted.clear();
    }
}

struct LoggingScheduler {
    run: Arc<RunState>,
}

#[async_trait::async_trait]
impl Scheduler for LoggingScheduler {
    async fn registered(&mut self, _: &SchedulerDriver, id: FrameworkId, _: MasterInfo) -> Result<()> {
        self.run.log.add(&Entry::Framework(id.value));
        Ok(())
    }

    async fn reregistered(&mut self, _: &SchedulerDriver, master: MasterInfo) -> Result<()> {
        self.run.log.add(&Entry::Note(format!("reregistered with {}", master.id)));
        Ok(())
    }

    async fn disconnected(&mut self, _: &SchedulerDriver) -> Result<()> {
        self.run.log.add(&Entry::Note("disconnected".to_owned()));
        Ok(())
    }

    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        for offer in offers {
            if self.run.is_stopping() {
                driver.decline_offer(&offer.id, Some(Filters::refuse_for(Duration::from_hours(1)))).await?;
                continue;
            }
            let mut left = offer.resources()?;
            let mut tasks = Vec::new();
            let ports: Vec<u64> = left.ports().values().collect();
            for port in ports {
                let each: Resources = format!("cpus:1;mem:16;ports:[{port}-{port}]").parse()?;
                if !left.contains(&each) {
                    break;
                }
                left -= &each;
                let (task, work) = self.run.next(driver.now().mono_ns, &offer.agent_id, port);
                let file = self.run.folder.join("tasks").join(&task);
                let mut info = TaskInfo::shell(task.as_str(), work.command(&file));
                info.task_id = TaskId { value: task };
                info.agent_id = offer.agent_id.clone();
                info.resources = each.to_proto_as(Some(offer.role()), true);
                tasks.push(info);
            }
            let again = Some(Filters::refuse_for(Duration::ZERO));
            let launched = driver.launch_tasks(std::slice::from_ref(&offer.id), tasks, again).await;
            self.run.clear_drafts();
            launched?;
        }
        Ok(())
    }

    async fn status_update(&mut self, _: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.run.log.add(&Entry::status(&status));
        let task = status.task_id.value.clone();
        let mut tasks = self.run.tasks.lock().expect("not poisoned");
        if status.state().is_terminal() {
            tasks.open.remove(&task);
            tasks.kill_at_ns.remove(&task);
            tasks.reported.remove(&task);
        } else if status.state() == TaskState::TaskUnknown {
            // The answer to a kill that named no agent; the agent may re-register with the task.
            tasks.reported.remove(&task);
        } else {
            tasks.reported.insert(task);
        }
        Ok(())
    }

    async fn refused(&mut self, _: &SchedulerDriver, refusal: divvy::framework::Refusal) -> Result<()> {
        self.run.log.add(&Entry::Note(format!("refused {}: {}", refusal.field, refusal.text)));
        Ok(())
    }

    async fn agent_lost(&mut self, _: &SchedulerDriver, agent: AgentId) -> Result<()> {
        self.run.log.add(&Entry::Note(format!("lost agent {}", agent.value)));
        Ok(())
    }

    async fn error(&mut self, _: &SchedulerDriver, message: String) -> Result<()> {
        self.run.log.add(&Entry::Error(message));
        Ok(())
    }
}
