//! Unchanged schedulers in a simulated cluster, and what fails there.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use rand::Rng as _;

use crate::{
    allocator::{self, TaskRequest},
    framework::{Result, Scheduler, SchedulerDriver, SchedulerEvent, async_trait},
    proto::v1::{FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskId, TaskInfo, TaskState, TaskStatus},
    sim::{Failure, Fault, Faults, Run, SimCluster, TaskRun},
    types::Resources,
};

/// Runs so many tasks and then ends.
struct Batch {
    wanted: TaskRequest,
    left: u32,
}

impl Batch {
    fn of(count: u32) -> Self {
        let wanted = TaskRequest::command("batch", "true").cpus(0.5).mem_mib(64).count(count);
        Self { wanted, left: count }
    }
}

#[async_trait]
impl Scheduler for Batch {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        let plan = allocator::place(&offers, std::slice::from_ref(&self.wanted));
        self.wanted.count -= plan.placed();
        driver.apply(plan).await
    }

    async fn status_update(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.left -= u32::from(status.state().is_terminal());
        if self.left == 0 {
            driver.stop_teardown().await?;
        }
        Ok(())
    }
}

const HOUR: Duration = Duration::from_hours(1);

#[test]
fn an_unchanged_scheduler_completes_its_tasks_and_ends() {
    let run = SimCluster::new(1).agents(5).run(Batch::of(100), HOUR).expect("nothing breaks");
    assert_eq!(run.count(TaskState::TaskFinished), 100, "{run}");
    assert_eq!(run.most_running(), 40, "five agents of four CPUs, half a CPU each");
    assert_eq!(run.driver_ended(0), Some(Ok(())));
    assert!(run.elapsed() < Duration::from_mins(10), "{run}");
    assert!(run.tasks().all(|task| task.launched.len() == 1 && task.processes.len() == 1), "{run}");
    assert_eq!(run.running_at(run.elapsed()).len(), 0);
    assert!(run.counts().offers >= 5);
}

#[test]
fn a_thousand_agents_fit_into_a_test() {
    let run = SimCluster::new(2).agents(1_000).run(Batch::of(5_000), HOUR).expect("nothing breaks");
    assert_eq!(run.count(TaskState::TaskFinished), 5_000, "{run}");
    println!("{run}");
}

/// Keeps so many instances running.
struct Service {
    instance: TaskRequest,
    wanted: u32,
}

#[async_trait]
impl Scheduler for Service {
    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        let plan = allocator::place(&offers, &[self.instance.clone().count(self.wanted)]);
        self.wanted -= plan.placed();
        driver.apply(plan).await?;
        if self.wanted == 0 {
            driver.suppress_offers(&[]).await?;
        }
        Ok(())
    }

    async fn status_update(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        if status.state().is_terminal() {
            self.wanted += 1;
            driver.revive_offers(&[]).await?;
        }
        Ok(())
    }
}

#[test]
fn a_service_on_a_thousand_agents_for_an_hour_fits_into_a_test() {
    let instance = TaskRequest::command("service", "serve").cpus(0.5).mem_mib(64).max_per_agent(4);
    let run = SimCluster::new(12)
        .agents(1_000)
        .tasks(|_task, _chance| TaskRun::forever())
        .faults(Faults::mild().without(Fault::FrameworkCrash).with(Fault::HostCrash))
        .run(Service { instance, wanted: 2_000 }, HOUR)
        .expect("nothing breaks");
    let running = run.running_at(Duration::from_mins(59)).len();
    assert!((1_950..=2_000).contains(&running), "{running} of 2,000 run, some are being replaced: {run}");
    assert!(run.tasks().count() > 2_000, "some were lost with their hosts and replaced: {run}");
    println!("{run}");
}

fn lines(run: &Run) -> Vec<String> {
    run.history().map(str::to_owned).collect()
}

#[test]
fn one_seed_gives_an_author_one_history_and_another_seed_another() {
    let run = |seed| {
        let cluster = SimCluster::new(seed).faults(Faults::wild().without(Fault::FrameworkCrash));
        lines(&cluster.run(Batch::of(50), HOUR).expect("nothing breaks"))
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn the_author_decides_what_tasks_do() {
    let cluster = SimCluster::new(5).agents(1).resources(Resources::cpus_mem(1.0, 128.0)).tasks(|task, chance| {
        assert_eq!(task.name, "batch");
        if chance.random() { TaskRun::exits(3) } else { TaskRun::exits(0).after(Duration::from_mins(1)) }
    });
    let run = cluster.run(Batch::of(20), HOUR).expect("nothing breaks");
    let (failed, finished) = (run.count(TaskState::TaskFailed), run.count(TaskState::TaskFinished));
    assert_eq!(failed + finished, 20, "{run}");
    assert!(failed > 3 && finished > 3, "{run}");
    for task in run.tasks() {
        let [process] = task.processes.as_slice() else { panic!("{task:?}") };
        let (ran, status) = (process.ran_for().expect("it ended"), process.exit_status);
        let for_framework = [(Some(3), Duration::ZERO), (Some(0), Duration::from_mins(1))];
        assert!(for_framework.contains(&(status, ran)), "{task:?}");
    }
}

/// The disk of a framework.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    lives: u32,
    /// Tasks stored before their launch that have not ended.
    open: BTreeSet<String>,
    tried: usize,
    finished: usize,
}

impl Store {
    fn with<T>(&self, change: impl FnOnce(&mut Kept) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs twenty tasks to their end across crashes.
struct Careful {
    store: Store,
}

impl Careful {
    fn store_task(&self) -> Option<String> {
        self.store.with(|kept| {
            let wanted = kept.finished + kept.open.len() < 20;
            wanted.then(|| {
                kept.tried += 1;
                let id = format!("careful-{}", kept.tried);
                kept.open.insert(id.clone());
                id
            })
        })
    }
}

#[async_trait]
impl Scheduler for Careful {
    async fn registered(&mut self, driver: &SchedulerDriver, _id: FrameworkId, _master: MasterInfo) -> Result<()> {
        let open = self.store.with(|kept| {
            kept.lives += 1;
            kept.open.clone()
        });
        if !open.is_empty() {
            driver.reconcile_tasks(open.into_iter().map(|value| (TaskId { value }, None))).await?;
        }
        Ok(())
    }

    async fn resource_offers(&mut self, driver: &SchedulerDriver, offers: Vec<Offer>) -> Result<()> {
        for offer in offers {
            let Some(id) = self.store_task() else {
                driver.decline_offer(&offer.id, None).await?;
                continue;
            };
            let mut task = TaskInfo::shell("careful", "true").with_id(id);
            task.resources = Resources::cpus_mem(1.0, 32.0).to_proto();
            driver.launch_tasks(&[offer.id], vec![task], None).await?;
        }
        Ok(())
    }

    /// The driver of a second life does not know the first one's tasks until they are reconciled.
    async fn unknown_task(&mut self, driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        self.status_update(driver, status).await
    }

    async fn status_update(&mut self, _driver: &SchedulerDriver, status: TaskStatus) -> Result<()> {
        // After a crash between storing a task and launching it, the master answers TASK_UNKNOWN.
        if status.state().is_terminal() || status.state() == TaskState::TaskUnknown {
            self.store.with(|kept| {
                let was_open = kept.open.remove(&status.task_id.value);
                kept.finished += usize::from(was_open && status.state() == TaskState::TaskFinished);
            });
        }
        Ok(())
    }
}

#[test]
fn a_framework_that_crashes_reregisters_with_its_id_and_its_stored_tasks() {
    for seed in 0..20 {
        let store = Store::default();
        let made = store.clone();
        let cluster = SimCluster::new(seed)
            .at(Duration::from_millis(500), Fault::FrameworkCrash)
            .at(Duration::from_secs(3), Fault::FrameworkCrash)
            .at(Duration::from_secs(20), Fault::MasterCrash);
        let run = cluster.run_with(move || Careful { store: made.clone() }, HOUR / 2).expect("nothing breaks");
        let (lives, tried, finished) = store.with(|kept| (kept.lives, kept.tried, kept.finished));
        assert!(lives >= 2 && run.faults()["FrameworkCrash"] == 2, "{lives} lives, {run}");
        assert_eq!((finished, run.count(TaskState::TaskFinished)), (20, 20), "{tried} tried, {run}");
    }
}

#[test]
fn an_event_loop_runs_as_well_as_callbacks() {
    let run = SimCluster::new(7).run_events(
        |driver, mut events| async move {
            let mut wanted = TaskRequest::command("loop", "true").cpus(1.0).mem_mib(32).count(12);
            let mut ended = 0;
            while let Some(event) = events.next().await {
                match event {
                    SchedulerEvent::ResourceOffers(offers) => {
                        let plan = allocator::place(&offers, std::slice::from_ref(&wanted));
                        wanted.count -= plan.placed();
                        driver.apply(plan).await?;
                    }
                    SchedulerEvent::StatusUpdate(status) => ended += u32::from(status.state().is_terminal()),
                    _ => {}
                }
                if ended == 12 {
                    driver.stop_teardown().await?;
                }
            }
            Ok(driver.join().await?)
        },
        HOUR,
    );
    let run = run.expect("nothing breaks");
    assert_eq!((run.count(TaskState::TaskFinished), run.driver_ended(0)), (12, Some(Ok(()))), "{run}");
}

#[test]
fn frameworks_share_the_cluster() {
    let second = || Batch { wanted: TaskRequest::command("second", "true").cpus(1.0).mem_mib(64).count(30), left: 30 };
    let cluster = SimCluster::new(8).agents(4).beside(FrameworkInfo::new("second"), second);
    let run = cluster.run(Batch::of(60), HOUR).expect("nothing breaks");
    let of = |framework| run.tasks().filter(|task| task.framework == framework).count();
    assert_eq!((of(0), of(1), run.count(TaskState::TaskFinished)), (60, 30, 90), "{run}");
}

#[test]
fn the_tasks_of_a_lost_host_are_reported_as_ended() {
    let lost = Duration::from_secs(10);
    let cluster =
        SimCluster::new(9).agents(2).tasks(|_task, _chance| TaskRun::forever()).at_agent(lost, Fault::HostCrash, 1);
    let run = cluster.run(Batch::of(16), Duration::from_mins(20)).expect("nothing breaks");
    assert_eq!(run.running_at(Duration::from_secs(9)).len(), 16, "{run}");
    let on_lost = run.tasks().filter(|task| task.processes.iter().any(|process| process.agent == 1));
    for task in on_lost {
        let state = task.state().expect("a status was received");
        assert!(state.is_terminal() && state != TaskState::TaskFinished, "{task:?}");
    }
    assert_eq!(run.count(TaskState::TaskRunning), 8, "those of the other agent: {run}");
}

/// Does one thing when it is registered.
struct Does<F>(Option<F>);

#[async_trait]
impl<F, W> Scheduler for Does<F>
where
    F: FnOnce(SchedulerDriver) -> W + Send,
    W: Future<Output = ()> + Send,
{
    async fn resource_offers(&mut self, _driver: &SchedulerDriver, _offers: Vec<Offer>) -> Result<()> {
        Ok(())
    }

    async fn registered(&mut self, driver: &SchedulerDriver, _id: FrameworkId, _master: MasterInfo) -> Result<()> {
        if let Some(does) = self.0.take() {
            does(driver.clone()).await;
        }
        Ok(())
    }
}

fn fails<W: Future<Output = ()> + Send + 'static>(does: impl FnOnce(SchedulerDriver) -> W + Send + 'static) -> Failure {
    fails_in(SimCluster::new(10), does)
}

fn fails_in<W: Future<Output = ()> + Send + 'static>(
    cluster: SimCluster,
    does: impl FnOnce(SchedulerDriver) -> W + Send + 'static,
) -> Failure {
    let failure = cluster.run(Does(Some(does)), HOUR).expect_err("it is not simulated");
    assert_eq!(failure.rule(), "framework", "{failure}");
    let again = failure.to_string().lines().last().unwrap_or_default().to_owned();
    assert!(again.starts_with("again: cargo test sim::tests::authors::a_"), "{failure}");
    assert!(again.ends_with(", with SimCluster::new(10)"), "{failure}");
    failure
}

#[test]
fn a_callback_that_waits_for_what_is_not_simulated_is_named() {
    let failure = fails(|_driver| std::future::pending());
    let text = failure.text();
    assert!(text.starts_with("the callback registered of framework simulated waits for something other"), "{text}");
    assert!(failure.history().any(|line| line.ends_with("framework 0 starts")), "{failure}");
}

#[test]
fn a_timer_of_tokios_is_named_with_the_way_out() {
    let text = fails(|_driver| tokio::time::sleep(Duration::from_secs(1))).text().to_owned();
    assert!(text.contains("the callback registered") && text.contains("driver.sleep()"), "{text}");
}

#[test]
fn a_panic_in_a_callback_fails_the_run() {
    let text = fails(|_driver| async { panic!("no such job: {}", 7) }).text().to_owned();
    assert_eq!(text, "the callback registered of framework simulated panicked: no such job: 7");
}

#[test]
fn a_panic_beside_the_callbacks_fails_the_run() {
    let text = fails(|driver| async move { driver.spawn(async { panic!("beside") }) }).text().to_owned();
    assert_eq!(text, "a task beside the callbacks panicked: beside");
}

#[test]
fn a_callback_that_blocks_the_thread_is_named_and_does_not_hang_the_test() {
    let (_keep, never) = std::sync::mpsc::channel::<()>();
    let never = Mutex::new(never);
    let cluster = SimCluster::new(10).blocked_after(Duration::from_millis(500));
    let failure = fails_in(cluster, move |_driver| async move {
        let _ = never.lock().map(|never| never.recv_timeout(Duration::from_secs(5)));
    });
    assert!(failure.text().starts_with("the callback registered of framework simulated blocks"), "{failure}");
}

#[test]
fn a_wake_up_from_another_thread_is_noticed() {
    let failure = fails(|driver| async move {
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut send = Some(send);
        let mut receive = std::pin::pin!(receive);
        std::future::poll_fn(|cx| {
            let polled = receive.as_mut().poll(cx).map(|_sent| ());
            if let Some(send) = send.take() {
                let other = std::thread::spawn(move || send.send(()));
                other.join().expect("it does not panic").expect("the receiver is there");
            }
            polled
        })
        .await;
        driver.sleep(Duration::from_secs(1)).await;
    });
    assert!(failure.text().ends_with("was woken by another thread"), "{failure}");
}

#[test]
fn a_callback_that_never_lets_time_go_on_is_named() {
    let failure = fails(|driver| async move {
        loop {
            driver.sleep(Duration::ZERO).await;
        }
    });
    assert!(failure.text().contains("does not come to rest"), "{failure}");
}

#[test]
fn time_timers_tasks_and_chance_of_the_driver_are_simulated() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let does = move |driver: SchedulerDriver| async move {
        let (start, drawn): (_, u32) = (driver.now(), driver.rng().random());
        let (beside, record) = (driver.clone(), Arc::clone(&record));
        driver.spawn(async move {
            beside.sleep(Duration::from_mins(30)).await;
            record.lock().expect("no thread panics").push((beside.now().since(start.mono_ns), drawn));
        });
        driver.sleep(Duration::from_mins(10)).await;
    };
    let run = SimCluster::new(11).run(Does(Some(does)), HOUR).expect("nothing breaks");
    assert_eq!(run.elapsed(), HOUR);
    let seen = seen.lock().expect("no thread panics").clone();
    let [(passed, _)] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(*passed, Duration::from_mins(30));
}
