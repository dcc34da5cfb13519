//! The oracle: compares what the tasks recorded with what the scheduler received.
//!
//! The guarantee: the callback receives the true end of each launched task, once per process of the scheduler. A later
//! process may receive it again, if the earlier one was killed between the callback and the acknowledgement. Both ends
//! are the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use divvy::proto::v1::TaskState;

use super::{
    event_log::Entry,
    framework::number,
    work::{Ending, Noted, Work, noted},
};

/// The outcome of a run.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) wrong: Vec<String>,
    pub(super) launched: usize,
    ends: BTreeMap<&'static str, usize>,
    processes: usize,
    repeats: usize,
    /// How often a task was reported unreachable.
    unreachable: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { launched, ends, processes, repeats, unreachable, .. } = self;
        write!(f, "{launched} tasks launched, ends {ends:?}, {unreachable} times unreachable, ")?;
        write!(f, "{processes} processes of the framework, {repeats} ends received again")
    }
}

/// By agent and port: from when to when each task held it.
type Held<'a> = BTreeMap<(&'a str, u64), Vec<(f64, f64, &'a str)>>;

/// What the scheduler recorded of a task.
#[derive(Debug)]
struct TaskHistory {
    agent: String,
    port: u64,
    kill_sent: bool,
    /// The process that received each end, its state and its uuid.
    ends: Vec<(usize, TaskState, String)>,
    /// Every received status, for messages.
    lines: Vec<String>,
}

/// Compares everything.
pub(super) fn judge(folder: &Path, seed: u64, entries: &[Entry]) -> Verdict {
    let mut verdict = Verdict::default();
    let histories = verdict.read(entries);
    let mut held = Held::new();
    for (task, history) in &histories {
        let noted = noted(&folder.join("tasks").join(task));
        verdict.judge_task(task, history, &noted, Work::of(seed, number(task)));
        if let (Some(start), Some(end)) = (noted.starts.first(), noted.ends.first()) {
            held.entry((&history.agent, history.port)).or_default().push((*start, *end, task));
        }
    }
    verdict.judge_ports(held);
    verdict.launched = histories.len();
    verdict
}

impl Verdict {
    fn read(&mut self, entries: &[Entry]) -> BTreeMap<String, TaskHistory> {
        let mut histories: BTreeMap<String, TaskHistory> = BTreeMap::new();
        let mut frameworks = BTreeSet::new();
        for entry in entries {
            match entry {
                Entry::Start => self.processes += 1,
                Entry::Framework(id) => drop(frameworks.insert(id)),
                Entry::Launch { task, agent, port } => {
                    let history = TaskHistory {
                        agent: agent.clone(),
                        port: *port,
                        kill_sent: false,
                        ends: vec![],
                        lines: vec![],
                    };
                    if histories.insert(task.clone(), history).is_some() {
                        self.wrong.push(format!("{task} was launched twice by the scheduler of the test"));
                    }
                }
                Entry::Kill(task) => histories.get_mut(task).expect("a task of ours").kill_sent = true,
                Entry::Status { task, state, uuid, text } => match histories.get_mut(task) {
                    Some(history) => {
                        self.unreachable += usize::from(*state == TaskState::TaskUnreachable);
                        if !state.is_terminal()
                            && history.ends.last().is_some_and(|(process, ..)| *process == self.processes)
                        {
                            self.wrong.push(format!("{task}: {state} after its end: {:?} {text}", history.lines));
                        }
                        if state.is_terminal() {
                            history.ends.push((self.processes, *state, uuid.clone()));
                        }
                        history.lines.push(format!("process {} {state} {uuid} {text}", self.processes));
                    }
                    None => self.wrong.push(format!("{task}: {state} {text} of a task that was not launched")),
                },
                Entry::Error(text) => self.wrong.push(format!("the master ended the scheduler: {text}")),
                Entry::Drained | Entry::Note(_) => {}
            }
        }
        if frameworks.len() != 1 {
            self.wrong.push(format!("one framework throughout: {frameworks:?}"));
        }
        histories
    }

    fn judge_task(&mut self, task: &str, history: &TaskHistory, noted: &Noted, work: Work) {
        let Some((_, state, _)) = history.ends.first().cloned() else {
            return self.wrong.push(format!("{task}: no end was received: {:?}, noted {noted:?}", history.lines));
        };
        *self.ends.entry(state.as_str_name()).or_default() += 1;
        self.repeats += history.ends.len() - 1;
        let mut wrong = |text: &str| self.wrong.push(format!("{task}: {text}: {:?}, noted {noted:?}", history.lines));
        if noted.starts.len() > 1 || noted.ends.len() > noted.starts.len() {
            wrong("it ran more than once");
        }
        if history.ends.iter().any(|(_, other, _)| *other != state) {
            wrong("different ends were received");
        }
        if history.ends.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            wrong("one process received the end twice");
        }
        let killed = state == TaskState::TaskKilled && history.kill_sent;
        let never_ran = [TaskState::TaskDropped, TaskState::TaskGone].contains(&state);
        let truth = match (noted.starts.len(), noted.ends.len()) {
            (0, _) => never_ran || killed,
            (_, 0) => killed && matches!(work.ending, Ending::Killed(_)),
            (_, _) => state == work.own_end(),
        };
        if !truth {
            wrong("the reported end is not the true one");
        }
    }

    /// Checks that no two tasks held one port of one agent at the same time.
    fn judge_ports(&mut self, held: Held<'_>) {
        for ((agent, port), mut times) in held {
            times.sort_by(|a, b| a.0.total_cmp(&b.0));
            for pair in times.windows(2) {
                if pair[1].0 < pair[0].1 {
                    self.wrong.push(format!("port {port} of {agent} was held by two at a time: {pair:?}"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SEED: u64 = 1;

    /// Judges an event log of one task on one agent and returns what is wrong.
    fn wrong(noted: &str, received: &[(usize, TaskState)], kill: bool) -> Vec<String> {
        let task = format!("t{}", own_ending());
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("tasks")).expect("a folder");
        if !noted.is_empty() {
            fs::write(folder.path().join("tasks").join(&task), noted).expect("written");
        }
        let mut entries = vec![Entry::Start, Entry::Framework("f".into())];
        entries.push(Entry::Launch { task: task.clone(), agent: "a".into(), port: 1 });
        entries.extend(kill.then(|| Entry::Kill(task.clone())));
        let mut current = 1;
        for (process, state) in received {
            entries.extend((current..*process).map(|_| Entry::Start));
            current = *process;
            entries.push(Entry::Status { task: task.clone(), state: *state, uuid: String::new(), text: String::new() });
        }
        judge(folder.path(), SEED, &entries).wrong
    }

    /// The number of a task that ends by itself, with code 0.
    fn own_ending() -> u64 {
        (0..1_000).find(|number| Work::of(SEED, *number).ending == Ending::Code(0)).expect("half of them do")
    }

    const ONCE: &str = "start 7 10.00\nend 7 11.00\n";
    const RUNNING: (usize, TaskState) = (1, TaskState::TaskRunning);
    const FINISHED: (usize, TaskState) = (1, TaskState::TaskFinished);

    #[test]
    fn a_task_that_ran_once_and_was_reported_truthfully_passes() {
        assert_eq!(wrong(ONCE, &[RUNNING, FINISHED], false), Vec::<String>::new());
        assert_eq!(wrong(ONCE, &[RUNNING, FINISHED, (2, TaskState::TaskFinished)], false), Vec::<String>::new());
        assert_eq!(wrong("", &[(1, TaskState::TaskDropped)], false), Vec::<String>::new());
        assert_eq!(wrong("", &[(1, TaskState::TaskKilled)], true), Vec::<String>::new());
    }

    #[test]
    fn every_departure_from_the_guarantee_is_found() {
        let twice = "start 7 10.00\nend 7 11.00\nstart 9 12.00\nend 9 13.00\n";
        assert!(wrong(twice, &[RUNNING, FINISHED], false)[0].contains("more than once"));
        assert!(wrong(ONCE, &[RUNNING], false)[0].contains("no end was received"));
        assert!(wrong(ONCE, &[FINISHED, FINISHED], false)[0].contains("received the end twice"));
        assert!(wrong(ONCE, &[FINISHED, (2, TaskState::TaskFailed)], false)[0].contains("different ends"));
        assert!(wrong(ONCE, &[FINISHED, RUNNING], false)[0].contains("after its end"));
        for state in [TaskState::TaskFailed, TaskState::TaskDropped, TaskState::TaskLost, TaskState::TaskKilled] {
            assert!(wrong(ONCE, &[(1, state)], false)[0].contains("not the true one"), "{state}");
        }
        assert!(wrong("", &[FINISHED], false)[0].contains("not the true one"));
        assert!(wrong("start 7 10.00\n", &[FINISHED], false)[0].contains("not the true one"));
    }

    #[test]
    fn a_port_that_two_tasks_hold_at_a_time_is_found() {
        let mut verdict = Verdict::default();
        verdict.judge_ports(BTreeMap::from([(("a", 1), vec![(2.0, 3.0, "t1"), (0.0, 2.0, "t0")])]));
        assert_eq!(verdict.wrong, Vec::<String>::new());
        verdict.judge_ports(BTreeMap::from([(("a", 1), vec![(0.0, 2.0, "t0"), (1.0, 3.0, "t1")])]));
        assert!(verdict.wrong[0].contains("by two at a time"), "{:?}", verdict.wrong);
    }
}
