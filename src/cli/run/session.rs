//! Executes a run: receives offers and statuses, launches tasks, and prints output and notices.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    follow::{self, File, MasterLocator, TaskEnd},
    printer::{Channel, Ended as Printed, Finished, Printer, Target},
    state::{Answer, Change, Run},
};
use crate::{
    cli::{Failure, output, signals::Stop},
    framework::{DriverError, EventStream, SchedulerDriver, SchedulerEvent},
    proto::v1::{AgentId, Filters, Offer, TaskId, TaskStatus},
    transport::connect::{Address, Addresses},
};

/// How long to wait for further offers before reporting what does not fit: agents may be offered one by one.
const QUIET: Duration = Duration::from_millis(300);
/// How long to wait for a first offer before that is reported, or with `--best-effort` the run ends.
const NO_OFFERS: Duration = Duration::from_secs(5);
/// How long an agent may send nothing of the output of a task that has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(10);
/// How long offers that do not fit everything are held before all are declined together.
const HOLD: Duration = Duration::from_secs(5);
/// The refusal time of an unused offer.
const REFUSE: Duration = Duration::from_secs(1);
/// The exit code when the reader closed the output, as in shells: 128 plus SIGPIPE.
const READER_GONE: u8 = 141;
/// The exit code when the output cannot be written.
const UNWRITTEN: u8 = 1;

/// A run with its connections.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) run: Run,
    pub(super) driver: SchedulerDriver,
    pub(super) best_effort: bool,
    /// Whether lines are prefixed with the task's name, because there are several instances.
    pub(super) marked: bool,
    pub(super) printer: Printer,
    masters: Addresses,
    agents: BTreeMap<AgentId, Address>,
    followers: JoinSet<()>,
    /// For each task whose output is shown: reports its end.
    ends: BTreeMap<TaskId, watch::Sender<bool>>,
    notices: Notices,
    /// When the pooled offers are declined.
    decline_at: Option<Instant>,
    interrupted: Option<u8>,
}

/// What does not fit: reported once, after a pause in the offers.
#[derive(Debug, Default)]
struct Notices {
    unplaced: Option<String>,
    reported: Option<String>,
    due: Option<Instant>,
}

impl Session {
    pub(super) fn new(
        run: Run,
        driver: SchedulerDriver,
        best_effort: bool,
        printer: Printer,
        masters: Addresses,
    ) -> Self {
        Self {
            marked: run.requested() > 1,
            run,
            driver,
            best_effort,
            printer,
            masters,
            agents: BTreeMap::new(),
            followers: JoinSet::new(),
            ends: BTreeMap::new(),
            notices: Notices { due: Some(Instant::now() + NO_OFFERS), ..Notices::default() },
            decline_at: None,
            interrupted: None,
        }
    }

    /// Runs until everything has ended and returns the exit code.
    pub(super) async fn serve(
        mut self,
        mut events: EventStream,
        mut stop: Stop,
        mut finished: Finished,
    ) -> Result<u8, Failure> {
        let mut printed = None;
        while !self.run.is_over() {
            let (due, decline_at) = (self.notices.due, self.decline_at);
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.on_event(event).await?,
                    None => return Err(self.driver_ended().await),
                },
                code = stop.requested() => {
                    if self.interrupted.is_some() {
                        break;
                    }
                    self.interrupt(code).await?;
                }
                ended = &mut finished, if printed.is_none() => {
                    let code = exit_code(printed.insert(report_printed(ended.ok())));
                    self.interrupt(code.unwrap_or(UNWRITTEN)).await?;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.report().await?,
                () = sleep_until(decline_at.unwrap_or_else(Instant::now)), if decline_at.is_some() => {
                    self.decline_pool().await?;
                }
            }
        }
        self.finish(printed, finished, events, stop).await
    }

    async fn on_event(&mut self, event: SchedulerEvent) -> Result<(), Failure> {
        match event {
            SchedulerEvent::ResourceOffers(offers) => self.on_offers(offers).await?,
            SchedulerEvent::OfferRescinded(offer_id) => self.run.rescinded(&offer_id),
            SchedulerEvent::StatusUpdate(status) => self.on_status(&status).await?,
            SchedulerEvent::Disconnected => output::note("divvy: lost the master; looking for it again"),
            SchedulerEvent::Reregistered { .. } => output::note("divvy: connected to the master again"),
            SchedulerEvent::AgentLost(agent_id) => output::note(format_args!("divvy: agent {agent_id} is lost")),
            SchedulerEvent::Refused(refusal) => {
                output::note(format_args!("divvy: the master refused {}: {}", refusal.field, refusal.text));
            }
            SchedulerEvent::Error(text) => return Err(anyhow::anyhow!("the master ended the run: {text}").into()),
            SchedulerEvent::Registered { .. }
            | SchedulerEvent::UnknownTask(_)
            | SchedulerEvent::InDoubt(_)
            | SchedulerEvent::FrameworkMessage { .. }
            | SchedulerEvent::ExecutorLost { .. } => {}
        }
        Ok(())
    }

    async fn on_offers(&mut self, offers: Vec<Offer>) -> Result<(), Failure> {
        let addresses = offers.iter().filter_map(|offer| Some((offer.agent_id.clone(), follow::address(offer)?)));
        self.agents.extend(addresses);
        let answer = self.run.offered(offers);
        if self.decline_at.is_none() && answer.unplaced.is_some() {
            self.decline_at = Some(Instant::now() + HOLD);
        }
        self.answer(answer).await
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), Failure> {
        let Answer { launches, decline, unplaced, hopeless } = answer;
        let filters = Filters::refuse_for(REFUSE);
        for launch in launches {
            let launched = self.driver.launch_tasks(&launch.offer_ids, launch.tasks, Some(filters)).await;
            DriverError::unless_disconnected(launched).map_err(failed)?;
        }
        for offer_id in &decline {
            let declined = self.driver.decline_offer(offer_id, Some(filters)).await;
            DriverError::unless_disconnected(declined).map_err(failed)?;
        }
        if let Some(text) = unplaced.as_ref().filter(|_| hopeless) {
            return Err(anyhow::anyhow!("{text}").into());
        }
        if unplaced.is_none() {
            self.decline_at = None;
        }
        self.notices.placed(unplaced);
        if !self.run.wants_offers() {
            self.driver.suppress_offers(&[]).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Declines the pooled offers for a short time, so that other frameworks can use them.
    async fn decline_pool(&mut self) -> Result<(), Failure> {
        self.decline_at = None;
        let filters = Filters::refuse_for(REFUSE);
        for offer_id in self.run.take_offers() {
            let declined = self.driver.decline_offer(&offer_id, Some(filters)).await;
            DriverError::unless_disconnected(declined).map_err(failed)?;
        }
        Ok(())
    }

    async fn on_status(&mut self, status: &TaskStatus) -> Result<(), Failure> {
        let task = &status.task_id;
        match self.run.status(status) {
            Some(Change::Started) => self.follow(status),
            Some(Change::Unreachable) => {
                output::note(format_args!("divvy: {task}: its agent cannot be reached; waiting for it to reconnect"));
            }
            Some(Change::Retry { text }) => {
                output::note(format_args!("divvy: {task} did not start: {text}; trying again"));
                self.driver.revive_offers(&[]).await.map_err(failed)?;
            }
            Some(Change::Ended { code, text }) => {
                if let Some(end) = self.ends.remove(task) {
                    end.send_replace(true);
                }
                if code != 0 && self.interrupted.is_none() {
                    output::note(format_args!("divvy: {task}: {text}"));
                }
                if self.run.wants_offers() {
                    // Its agent may have room for another now, so earlier refusals are cleared.
                    self.driver.revive_offers(&[]).await.map_err(failed)?;
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Starts to show a task's output.
    fn follow(&mut self, status: &TaskStatus) {
        let container = status.container_status.as_ref().and_then(|status| status.container_id.as_ref());
        let agent = status.agent_id.as_ref().and_then(|id| self.agents.get_key_value(id));
        let (Some(container), Some((agent_id, agent))) = (container, agent) else {
            output::note(format_args!(
                "divvy: {}: its status does not name the container or its agent is unknown; cannot show its output",
                status.task_id
            ));
            return;
        };
        let (announce_end, ended) = watch::channel(false);
        let locator = MasterLocator { masters: self.masters.clone(), agent_id: agent_id.clone() };
        for (path, target) in [("stdout", Target::Out), ("stderr", Target::Err)] {
            let task = status.task_id.value.as_str();
            let name = format!("{task}: {path}");
            let file = File { name, agent: agent.clone(), container_id: container.value.clone(), path };
            let channel = Channel::new(self.printer.clone(), target, self.marked.then_some(task));
            let end = TaskEnd::new(ended.clone(), LAST_OUTPUT);
            self.followers.spawn(show(file, locator.clone(), end, channel));
        }
        self.ends.insert(status.task_id.clone(), announce_end);
    }

    /// Kills what runs and stops placing.
    async fn interrupt(&mut self, code: u8) -> Result<(), Failure> {
        self.interrupted = Some(code);
        self.run.stop_placing();
        self.notices = Notices::default();
        let live: Vec<_> = self.run.live().cloned().collect();
        for task_id in live {
            self.driver.kill_task(&task_id).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Reports what does not fit; with best effort launches the rest.
    async fn report(&mut self) -> Result<(), Failure> {
        self.notices.due = None;
        if self.best_effort {
            let answer = self.run.launch_what_fits();
            let why = answer.unplaced.clone().unwrap_or_else(|| "nothing is offered".to_owned());
            let left_out = self.run.stop_placing();
            if left_out > 0 {
                output::note(format_args!("divvy: left out {left_out} of {}: {why}", self.run.requested()));
            }
            self.answer(Answer { unplaced: None, ..answer }).await?;
            return Ok(());
        }
        let Some(text) = self.notices.unplaced.take() else {
            if self.run.wants_offers() {
                output::note("divvy: nothing is offered yet; waiting (`divvy agents` shows what there is)");
            }
            return Ok(());
        };
        if self.notices.reported.as_ref() != Some(&text) {
            output::note(format_args!("divvy: {text}; waiting"));
            self.notices.reported = Some(text);
        }
        Ok(())
    }

    async fn driver_ended(&self) -> Failure {
        match self.driver.join().await {
            Ok(()) => anyhow::anyhow!("the connection to the cluster ended before the run did").into(),
            Err(error) => failed(error),
        }
    }

    /// Waits until all output is printed, tears the framework down, and returns the exit code.
    async fn finish(
        self,
        mut printed: Option<Printed>,
        mut finished: Finished,
        mut events: EventStream,
        mut stop: Stop,
    ) -> Result<u8, Failure> {
        let Self { run, printer, mut followers, ends, mut interrupted, driver, .. } = self;
        // Printing ends once its senders are dropped; no end of a task is reported any more.
        drop((printer, ends));
        if !run.is_over() {
            followers.abort_all();
        }
        while printed.is_none() {
            tokio::select! {
                ended = &mut finished => printed = Some(report_printed(ended.ok())),
                code = stop.requested() => {
                    interrupted = Some(code);
                    break;
                }
                // Events are read so that they do not pile up in the driver.
                Some(_) = events.next() => {}
            }
        }
        followers.abort_all();
        let code = printed.as_ref().and_then(exit_code);
        driver.stop_teardown().await.map_err(failed)?;
        match driver.join().await {
            Ok(()) | Err(DriverError::TeardownUnconfirmed) => Ok(interrupted.or(code).unwrap_or_else(|| run.code())),
            Err(error) => Err(failed(error)),
        }
    }
}

/// How printing ended; a failure is reported.
fn report_printed(ended: Option<Printed>) -> Printed {
    let ended = ended.unwrap_or(Printed::AllWritten);
    if let Printed::Failed(text) = &ended {
        output::note(format_args!("divvy: {text}; every running instance is killed"));
    }
    ended
}

/// The exit code for the end of printing.
fn exit_code(printed: &Printed) -> Option<u8> {
    match printed {
        Printed::AllWritten => None,
        Printed::ReaderGone => Some(READER_GONE),
        Printed::Failed(_) => Some(UNWRITTEN),
    }
}

impl Notices {
    /// Records what an answer to offers left unplaced.
    fn placed(&mut self, unplaced: Option<String>) {
        if unplaced.is_none() {
            *self = Self::default();
            return;
        }
        self.unplaced = unplaced;
        self.due = Some(Instant::now() + QUIET);
    }
}

/// Shows a file of a sandbox to its end.
async fn show(file: File, locator: MasterLocator, end: TaskEnd, mut channel: Channel) {
    let outcome = follow::follow(file, &locator, end, &mut channel).await;
    channel.finish().await;
    if let Err(cut_off) = outcome {
        output::note(format_args!("divvy: {cut_off}"));
    }
}

fn failed(error: DriverError) -> Failure {
    anyhow::Error::from(error).into()
}
