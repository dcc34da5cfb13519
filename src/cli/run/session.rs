//! A run while it lasts: offers and statuses come in; tasks, output and words to people go out.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    follow::{self, AskMaster, File, TaskEnd},
    printer::{Channel, Ended as Printed, Finished, Printer, Target},
    state::{Answer, Change, Run},
};
use crate::{
    cli::{Failure, output, signals::Stop},
    framework::{DriverError, EventStream, SchedulerDriver, SchedulerEvent},
    proto::v1::{AgentId, Filters, Offer, TaskId, TaskStatus},
    transport::connect::{Address, Addresses},
};

/// How long offers may go on coming before what does not fit is told: those of several agents need not come together.
const QUIET: Duration = Duration::from_millis(300);
/// How long to wait for a first offer before that is told, or given up with `--best-effort`.
const NO_OFFERS: Duration = Duration::from_secs(5);
/// How long an agent may send nothing of the output of a task that has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(10);
/// How long offers on which not all fits are held before they are given back, all together.
const HOLD: Duration = Duration::from_secs(5);
/// How long an offer that nothing is launched on is refused for.
const REFUSE: Duration = Duration::from_secs(1);
/// The exit code of a program whose reader has gone, as shells give it: 128 and SIGPIPE.
const READER_GONE: u8 = 141;
/// The exit code when the output cannot be written.
const UNWRITTEN: u8 = 1;

/// Everything a run holds.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) run: Run,
    pub(super) driver: SchedulerDriver,
    pub(super) best_effort: bool,
    /// More than one instance writes, so lines say which.
    pub(super) marked: bool,
    pub(super) printer: Printer,
    masters: Addresses,
    agents: BTreeMap<AgentId, Address>,
    followers: JoinSet<()>,
    /// By task whose output is shown: where its end is announced.
    ends: BTreeMap<TaskId, watch::Sender<bool>>,
    notices: Notices,
    /// When the offers at hand are given back.
    give_back: Option<Instant>,
    interrupted: Option<u8>,
}

/// What does not fit, held back until the offers have come in and told once.
#[derive(Debug, Default)]
struct Notices {
    unplaced: Option<String>,
    told: Option<String>,
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
            marked: run.asked() > 1,
            run,
            driver,
            best_effort,
            printer,
            masters,
            agents: BTreeMap::new(),
            followers: JoinSet::new(),
            ends: BTreeMap::new(),
            notices: Notices { due: Some(Instant::now() + NO_OFFERS), ..Notices::default() },
            give_back: None,
            interrupted: None,
        }
    }

    /// Goes on until everything has ended and tells the exit code.
    pub(super) async fn serve(
        mut self,
        mut events: EventStream,
        mut stop: Stop,
        mut finished: Finished,
    ) -> Result<u8, Failure> {
        let mut printed = None;
        while !self.run.is_over() {
            let (due, give_back) = (self.notices.due, self.give_back);
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => self.heard(event).await?,
                    None => return Err(self.driver_ended().await),
                },
                code = stop.asked() => {
                    if self.interrupted.is_some() {
                        break;
                    }
                    self.interrupt(code).await?;
                }
                ended = &mut finished, if printed.is_none() => {
                    let code = exit_code(printed.insert(reported(ended.ok())));
                    self.interrupt(code.unwrap_or(UNWRITTEN)).await?;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.tell().await?,
                () = sleep_until(give_back.unwrap_or_else(Instant::now)), if give_back.is_some() => {
                    self.give_back().await?;
                }
            }
        }
        self.finish(printed, finished, events, stop).await
    }

    async fn heard(&mut self, event: SchedulerEvent) -> Result<(), Failure> {
        match event {
            SchedulerEvent::ResourceOffers(offers) => self.offered(offers).await?,
            SchedulerEvent::OfferRescinded(offer_id) => self.run.rescinded(&offer_id),
            SchedulerEvent::StatusUpdate(status) => self.reported(&status).await?,
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

    async fn offered(&mut self, offers: Vec<Offer>) -> Result<(), Failure> {
        let addresses = offers.iter().filter_map(|offer| Some((offer.agent_id.clone(), follow::address(offer)?)));
        self.agents.extend(addresses);
        let answer = self.run.offered(offers);
        if self.give_back.is_none() && answer.unplaced.is_some() {
            self.give_back = Some(Instant::now() + HOLD);
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
            self.give_back = None;
        }
        self.notices.placed(unplaced);
        if !self.run.wants_offers() {
            self.driver.suppress_offers(&[]).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Lets others have a go at the offers that were held; they are offered again soon, together.
    async fn give_back(&mut self) -> Result<(), Failure> {
        self.give_back = None;
        let filters = Filters::refuse_for(REFUSE);
        for offer_id in self.run.give_back() {
            let declined = self.driver.decline_offer(&offer_id, Some(filters)).await;
            DriverError::unless_disconnected(declined).map_err(failed)?;
        }
        Ok(())
    }

    async fn reported(&mut self, status: &TaskStatus) -> Result<(), Failure> {
        let task = &status.task_id;
        match self.run.status(status) {
            Some(Change::Started) => self.follow(status),
            Some(Change::Unreachable) => {
                output::note(format_args!("divvy: {task}: its agent cannot be reached; waiting for it to return"));
            }
            Some(Change::Again { text }) => {
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
                    // Its agent may have room for another now, whatever was refused before.
                    self.driver.revive_offers(&[]).await.map_err(failed)?;
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Begins to show what a task writes.
    fn follow(&mut self, status: &TaskStatus) {
        let container = status.container_status.as_ref().and_then(|status| status.container_id.as_ref());
        let agent = status.agent_id.as_ref().and_then(|id| self.agents.get_key_value(id));
        let (Some(container), Some((agent_id, agent))) = (container, agent) else {
            output::note(format_args!("divvy: {}: its agent does not say where its output is", status.task_id));
            return;
        };
        let (announce_end, ended) = watch::channel(false);
        let locator = AskMaster { masters: self.masters.clone(), agent_id: agent_id.clone() };
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

    /// Kills what runs and asks for nothing more.
    async fn interrupt(&mut self, code: u8) -> Result<(), Failure> {
        self.interrupted = Some(code);
        self.run.settle();
        self.notices = Notices::default();
        let live: Vec<_> = self.run.live().cloned().collect();
        for task_id in live {
            self.driver.kill_task(&task_id).await.map_err(failed)?;
        }
        Ok(())
    }

    /// The offers have come in: says what does not fit, and with best effort goes on without it.
    async fn tell(&mut self) -> Result<(), Failure> {
        self.notices.due = None;
        if self.best_effort {
            let answer = self.run.take_what_fits();
            let why = answer.unplaced.clone().unwrap_or_else(|| "nothing is offered".to_owned());
            let left_out = self.run.settle();
            if left_out > 0 {
                output::note(format_args!("divvy: left out {left_out} of {}: {why}", self.run.asked()));
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
        if self.notices.told.as_ref() != Some(&text) {
            output::note(format_args!("divvy: {text}; waiting"));
            self.notices.told = Some(text);
        }
        Ok(())
    }

    async fn driver_ended(&self) -> Failure {
        match self.driver.join().await {
            Ok(()) => anyhow::anyhow!("the connection to the cluster ended before the run did").into(),
            Err(error) => failed(error),
        }
    }

    /// Waits until the last output is printed, however long its reader takes, and leaves the cluster.
    async fn finish(
        self,
        mut printed: Option<Printed>,
        mut finished: Finished,
        mut events: EventStream,
        mut stop: Stop,
    ) -> Result<u8, Failure> {
        let Self { run, printer, mut followers, ends, mut interrupted, driver, .. } = self;
        // Once its senders have gone nothing can be printed any more, and no end of a task reported.
        drop((printer, ends));
        if !run.is_over() {
            followers.abort_all();
        }
        while printed.is_none() {
            tokio::select! {
                ended = &mut finished => printed = Some(reported(ended.ok())),
                code = stop.asked() => {
                    interrupted = Some(code);
                    break;
                }
                // Read on, so that the driver need not keep what comes.
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

/// How the printing ended; a reason that has to be named is named.
fn reported(ended: Option<Printed>) -> Printed {
    let ended = ended.unwrap_or(Printed::AllWritten);
    if let Printed::Failed(text) = &ended {
        output::note(format_args!("divvy: {text}; what still runs of the command is killed"));
    }
    ended
}

/// What that means for our exit code.
fn exit_code(printed: &Printed) -> Option<u8> {
    match printed {
        Printed::AllWritten => None,
        Printed::ReaderGone => Some(READER_GONE),
        Printed::Failed(_) => Some(UNWRITTEN),
    }
}

impl Notices {
    /// Offers were answered with this left over.
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
async fn show(file: File, locator: AskMaster, end: TaskEnd, mut channel: Channel) {
    let outcome = follow::follow(file, &locator, end, &mut channel).await;
    channel.finish().await;
    if let Err(cut_off) = outcome {
        output::note(format_args!("divvy: {cut_off}"));
    }
}

fn failed(error: DriverError) -> Failure {
    anyhow::Error::from(error).into()
}
