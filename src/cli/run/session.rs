//! A run while it lasts: offers and statuses come in; tasks, output and words to people go out.

use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    follow::{self, File},
    printer::{Channel, Ended, Finished, Printer, Target},
    state::{Answer, Change, Run},
};
use crate::{
    cli::{Failure, signals::Stop},
    framework::{DriverError, EventStream, SchedulerDriver, SchedulerEvent},
    proto::v1::{AgentId, Filters, Offer, TaskStatus},
    transport::connect::Address,
};

/// How long offers may go on coming before what does not fit is told: those of several agents need not come together.
const QUIET: Duration = Duration::from_millis(300);
/// How long to wait for a first offer before that is told, or given up with `--best-effort`.
const NO_OFFERS: Duration = Duration::from_secs(5);
/// How long the last output may take to arrive after its task's end.
const LAST_OUTPUT: Duration = Duration::from_secs(10);
/// How long offers on which not all fits are held before they are given back, all together.
const HOLD: Duration = Duration::from_secs(5);
/// How long an offer that nothing is launched on is refused for.
const REFUSE: Duration = Duration::from_secs(1);
/// What a shell says of a program whose reader has gone: 128 and SIGPIPE.
const NOBODY_READS: u8 = 141;

/// Everything a run holds.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) run: Run,
    pub(super) driver: SchedulerDriver,
    pub(super) best_effort: bool,
    /// More than one instance writes, so lines say which.
    pub(super) marked: bool,
    pub(super) printer: Printer,
    agents: BTreeMap<AgentId, Address>,
    followers: JoinSet<()>,
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
    pub(super) fn new(run: Run, driver: SchedulerDriver, best_effort: bool, printer: Printer) -> Self {
        let marked = run.asked() > 1;
        let notices = Notices { due: Some(Instant::now() + NO_OFFERS), ..Notices::default() };
        let (agents, followers) = (BTreeMap::new(), JoinSet::new());
        let (give_back, interrupted) = (None, None);
        Self { run, driver, best_effort, marked, printer, agents, followers, notices, give_back, interrupted }
    }

    /// Goes on until everything has ended and tells the exit code.
    pub(super) async fn serve(
        mut self,
        mut events: EventStream,
        mut stop: Stop,
        mut finished: Finished,
    ) -> Result<u8, Failure> {
        let mut reader_left = false;
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
                _ = &mut finished, if !reader_left => {
                    reader_left = true;
                    self.interrupt(NOBODY_READS).await?;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.tell().await?,
                () = sleep_until(give_back.unwrap_or_else(Instant::now)), if give_back.is_some() => {
                    self.give_back().await?;
                }
            }
        }
        self.finish((!reader_left).then_some(finished)).await
    }

    async fn heard(&mut self, event: SchedulerEvent) -> Result<(), Failure> {
        match event {
            SchedulerEvent::ResourceOffers(offers) => self.offered(offers).await?,
            SchedulerEvent::OfferRescinded(offer_id) => self.run.rescinded(&offer_id),
            SchedulerEvent::StatusUpdate(status) => self.reported(&status).await?,
            SchedulerEvent::Disconnected => eprintln!("divvy: lost the master; looking for it again"),
            SchedulerEvent::Reregistered { .. } => eprintln!("divvy: connected to the master again"),
            SchedulerEvent::AgentLost(agent_id) => eprintln!("divvy: agent {agent_id} is lost"),
            SchedulerEvent::Refused(refusal) => {
                eprintln!("divvy: the master refused {}: {}", refusal.field, refusal.text);
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
                eprintln!("divvy: {task}: its agent cannot be reached; waiting for it to return");
            }
            Some(Change::Again { text }) => {
                eprintln!("divvy: {task} did not start: {text}; trying again");
                self.driver.revive_offers(&[]).await.map_err(failed)?;
            }
            Some(Change::Ended { code, text }) => {
                if code != 0 && self.interrupted.is_none() {
                    eprintln!("divvy: {task}: {text}");
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
        let agent = status.agent_id.as_ref().and_then(|id| self.agents.get(id));
        let (Some(container), Some(agent)) = (container, agent) else {
            eprintln!("divvy: {}: its agent does not say where its output is", status.task_id);
            return;
        };
        for (path, target) in [("stdout", Target::Out), ("stderr", Target::Err)] {
            let file = File { agent: agent.clone(), container_id: container.value.clone(), path };
            let name = self.marked.then_some(status.task_id.value.as_str());
            let channel = Channel::new(self.printer.clone(), target, name);
            self.followers.spawn(show(file, channel));
        }
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
                eprintln!("divvy: left out {left_out} of {}: {why}", self.run.asked());
            }
            self.answer(Answer { unplaced: None, ..answer }).await?;
            return Ok(());
        }
        let Some(text) = self.notices.unplaced.take() else {
            if self.run.wants_offers() {
                eprintln!("divvy: nothing is offered yet; waiting (`divvy agents` shows what there is)");
            }
            return Ok(());
        };
        if self.notices.told.as_ref() != Some(&text) {
            eprintln!("divvy: {text}; waiting");
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

    /// Waits for the last output and leaves the cluster.
    async fn finish(self, finished: Option<Finished>) -> Result<u8, Failure> {
        let Self { run, printer, mut followers, interrupted, driver, .. } = self;
        drop(printer);
        let drained = async {
            while followers.join_next().await.is_some() {}
            match finished {
                Some(finished) => finished.await.is_ok_and(|ended| ended == Ended::AllWritten),
                None => true,
            }
        };
        if timeout(LAST_OUTPUT, drained).await.is_err() {
            eprintln!("divvy: some output did not arrive within {} s of the end", LAST_OUTPUT.as_secs());
        }
        driver.stop_teardown().await.map_err(failed)?;
        match driver.join().await {
            Ok(()) | Err(DriverError::TeardownUnconfirmed) => Ok(interrupted.unwrap_or_else(|| run.code())),
            Err(error) => Err(failed(error)),
        }
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
async fn show(file: File, mut channel: Channel) {
    let outcome = follow::follow(&file, &mut channel).await;
    channel.finish().await;
    if let Err(cut_off) = outcome {
        eprintln!("divvy: {cut_off}");
    }
}

fn failed(error: DriverError) -> Failure {
    anyhow::Error::from(error).into()
}
