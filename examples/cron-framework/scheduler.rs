//! Which job is due, which is in flight, and what an offer is used for.
//!
//! Holds no clock and no connection: instants, offers and statuses go in; tasks to launch and lines for the log come
//! out. Rule: a job is in flight from the launch request on until its last status, and a tick that finds it so is
//! skipped.

use std::collections::BTreeMap;

use divvy::{
    allocator::{self, TaskRequest},
    proto::v1::{Offer, OfferId, TaskId, TaskInfo, TaskState, TaskStatus},
};
use jiff::Timestamp;

use crate::jobs::Job;

/// All jobs and the state of each.
#[derive(Debug)]
pub(crate) struct Cron {
    entries: Vec<Entry>,
    /// How often the wall clock was set.
    steps: u32,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    /// The next instant it is due; `None` when it never is again.
    next: Option<Timestamp>,
    /// The latest instant in the id of a task.
    latest: Option<Timestamp>,
    run: Run,
}

/// The state of a job's latest run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Run {
    None,
    /// Waits for an offer that fits.
    Wanted {
        due: Timestamp,
    },
    InFlight {
        task_id: TaskId,
    },
}

/// Tasks to launch on offers of one agent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    pub(crate) offer_ids: Vec<OfferId>,
    pub(crate) tasks: Vec<TaskInfo>,
    pub(crate) hostname: String,
}

/// What to do with offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) launches: Vec<Launch>,
    pub(crate) decline: Vec<OfferId>,
    /// One line for each job that fits nowhere yet.
    pub(crate) waiting: Vec<String>,
}

/// What a tick did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// The job waits for an offer from now on.
    Wanted { job: String },
    /// The previous run has not ended.
    StillInFlight { job: String, task_id: TaskId },
    /// The previous run has not found an offer; one run serves both ticks.
    StillWaiting { job: String },
}

/// What a status means for its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Running { job: String },
    Ended { job: String, state: TaskState, text: String },
}

impl Cron {
    /// Jobs whose first ticks lie after `now`.
    pub(crate) fn new(jobs: Vec<Job>, now: Timestamp) -> Self {
        let entry = |job: Job| Entry { next: job.schedule.next_after(now), job, latest: None, run: Run::None };
        Self { entries: jobs.into_iter().map(entry).collect(), steps: 0 }
    }

    /// When the next job is due.
    pub(crate) fn next_tick(&self) -> Option<Timestamp> {
        self.entries.iter().filter_map(|entry| entry.next).min()
    }

    /// Whether a job waits for an offer.
    pub(crate) fn wants_offers(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.run, Run::Wanted { .. }))
    }

    /// Everything that is due. Several missed ticks, as after a suspension of the machine, count as one.
    pub(crate) fn tick(&mut self, now: Timestamp) -> Vec<Tick> {
        let due = self.entries.iter_mut().filter(|entry| entry.next.is_some_and(|next| next <= now));
        due.map(|entry| entry.tick(now)).collect()
    }

    /// Recomputes the next run of every job that is not due, as if the cron had started at `now`. Runs that a step
    /// ahead skipped count as one. An instant that occurs again after a step back runs again.
    pub(crate) fn reset_clock(&mut self, now: Timestamp) {
        self.steps += 1;
        for entry in &mut self.entries {
            if entry.next.is_none_or(|next| next > now) {
                entry.next = entry.job.schedule.next_after(now);
            }
        }
    }

    /// Places the jobs that wait for an offer.
    pub(crate) fn offered(&mut self, offers: &[Offer]) -> Answer {
        let wanted: Vec<TaskRequest> = self.entries.iter().filter_map(Entry::request).collect();
        let plan = allocator::place(offers, &wanted);
        let waiting = plan.unplaced.iter().map(|unplaced| format!("{}: {unplaced}", unplaced.task)).collect();
        let launches = plan.launches.iter().map(|launch| Launch {
            offer_ids: launch.offer_ids.clone(),
            tasks: launch.tasks().into_iter().filter_map(|task| self.launch(task)).collect(),
            hostname: launch.host.hostname.clone(),
        });
        Answer { launches: launches.collect(), decline: plan.unused, waiting }
    }

    /// Gives a placed task its id and marks its job as in flight.
    fn launch(&mut self, mut task: TaskInfo) -> Option<TaskInfo> {
        let entry = self.entries.iter_mut().find(|entry| entry.job.name == task.name)?;
        let Run::Wanted { due } = entry.run else { return None };
        // The job and the instant it was due for: no two runs can have both, unless the clock was set back.
        let mut value = format!("{}.{}", entry.job.name, due.strftime("%Y%m%dT%H%M%SZ"));
        if entry.latest.is_some_and(|latest| due <= latest) {
            value = format!("{value}.{}", self.steps);
        }
        entry.latest = entry.latest.max(Some(due));
        task.task_id = TaskId { value };
        entry.run = Run::InFlight { task_id: task.task_id.clone() };
        Some(task)
    }

    /// Applies a status; `None` for one that changes nothing here.
    pub(crate) fn status(&mut self, status: &TaskStatus) -> Option<Progress> {
        let entry = self.entries.iter_mut().find(|entry| entry.is_in_flight_as(&status.task_id))?;
        let job = entry.job.name.clone();
        match TaskState::try_from(status.state).ok()? {
            TaskState::TaskRunning => Some(Progress::Running { job }),
            state @ (TaskState::TaskFinished
            | TaskState::TaskFailed
            | TaskState::TaskKilled
            | TaskState::TaskError
            | TaskState::TaskLost
            | TaskState::TaskDropped
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator) => {
                entry.run = Run::None;
                Some(Progress::Ended { job, state, text: status.message().to_owned() })
            }
            TaskState::TaskStaging
            | TaskState::TaskStarting
            | TaskState::TaskKilling
            | TaskState::TaskUnreachable
            | TaskState::TaskUnknown => None,
        }
    }

    /// The tasks in flight, by job.
    pub(crate) fn in_flight(&self) -> BTreeMap<&str, &TaskId> {
        let running = self.entries.iter().filter_map(|entry| match &entry.run {
            Run::InFlight { task_id } => Some((entry.job.name.as_str(), task_id)),
            Run::None | Run::Wanted { .. } => None,
        });
        running.collect()
    }
}

impl Entry {
    fn tick(&mut self, now: Timestamp) -> Tick {
        let due = self.next.unwrap_or(now);
        self.next = self.job.schedule.next_after(now);
        let job = self.job.name.clone();
        match &self.run {
            Run::None => {
                self.run = Run::Wanted { due };
                Tick::Wanted { job }
            }
            Run::Wanted { .. } => Tick::StillWaiting { job },
            Run::InFlight { task_id } => Tick::StillInFlight { job, task_id: task_id.clone() },
        }
    }

    fn request(&self) -> Option<TaskRequest> {
        let Run::Wanted { .. } = self.run else { return None };
        let Job { name, command, cpus, mem_mib, env, .. } = &self.job;
        let request = TaskRequest::command(name, command).cpus(*cpus).mem_mib(*mem_mib);
        Some(env.iter().fold(request, |request, (name, value)| request.env(name, value)))
    }

    fn is_in_flight_as(&self, id: &TaskId) -> bool {
        matches!(&self.run, Run::InFlight { task_id } if task_id == id)
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
