//! The oracle: what the tasks noted against what the scheduler heard.
//!
//! Promised is this. Each task that was launched has one end at the callback, and it is the true one. Within one life of
//! the scheduler the callback hears it once; a life that follows may hear it again, when the one before was killed
//! between the callback and the acknowledgement, and then it hears the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use divvy::proto::v1::TaskState;

use super::{
    diary::{Entry, over},
    framework::number,
    work::{Ending, Noted, Work, noted},
};

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) wrong: Vec<String>,
    pub(super) launched: usize,
    ends: BTreeMap<&'static str, usize>,
    lives: usize,
    repeats: usize,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { launched, ends, lives, repeats, .. } = self;
        write!(
            f,
            "{launched} tasks launched, ends {ends:?}, {lives} lives of the framework, {repeats} ends heard again"
        )
    }
}

/// By agent and port: from when to when each task held it.
type Held<'a> = BTreeMap<(&'a str, u64), Vec<(f64, f64, &'a str)>>;

#[derive(Debug)]
struct Story {
    agent: String,
    port: u64,
    kill_asked: bool,
    /// Life, state and uuid of each end the callback heard.
    ends: Vec<(usize, TaskState, String)>,
    /// All it heard, to be shown.
    lines: Vec<String>,
}

/// Compares everything.
pub(super) fn judge(folder: &Path, seed: u64, entries: &[Entry]) -> Verdict {
    let mut verdict = Verdict::default();
    let stories = verdict.read(entries);
    let mut held = Held::new();
    for (task, story) in &stories {
        let noted = noted(&folder.join("ledger").join(task));
        verdict.judge_task(task, story, &noted, Work::of(seed, number(task)));
        if let (Some(start), Some(end)) = (noted.starts.first(), noted.ends.first()) {
            held.entry((&story.agent, story.port)).or_default().push((*start, *end, task));
        }
    }
    verdict.judge_ports(held);
    verdict.launched = stories.len();
    verdict
}

impl Verdict {
    fn read(&mut self, entries: &[Entry]) -> BTreeMap<String, Story> {
        let mut stories: BTreeMap<String, Story> = BTreeMap::new();
        let mut frameworks = BTreeSet::new();
        for entry in entries {
            match entry {
                Entry::Life => self.lives += 1,
                Entry::Framework(id) => drop(frameworks.insert(id)),
                Entry::Launch { task, agent, port } => {
                    let story =
                        Story { agent: agent.clone(), port: *port, kill_asked: false, ends: vec![], lines: vec![] };
                    if stories.insert(task.clone(), story).is_some() {
                        self.wrong.push(format!("{task} was launched twice by the scheduler of the test"));
                    }
                }
                Entry::Kill(task) => stories.get_mut(task).expect("a task of ours").kill_asked = true,
                Entry::Status { task, state, uuid, text } => match stories.get_mut(task) {
                    Some(story) => {
                        if !over(*state) && story.ends.last().is_some_and(|(life, ..)| *life == self.lives) {
                            self.wrong.push(format!("{task}: {state} after its end: {:?} {text}", story.lines));
                        }
                        if over(*state) {
                            story.ends.push((self.lives, *state, uuid.clone()));
                        }
                        story.lines.push(format!("life {} {state} {uuid} {text}", self.lives));
                    }
                    None => self.wrong.push(format!("{task}: {state} {text}, and nobody launched it")),
                },
                Entry::Error(text) => self.wrong.push(format!("the master cut the scheduler off: {text}")),
                Entry::Settled | Entry::Note(_) => {}
            }
        }
        if frameworks.len() != 1 {
            self.wrong.push(format!("one framework throughout: {frameworks:?}"));
        }
        stories
    }

    fn judge_task(&mut self, task: &str, story: &Story, noted: &Noted, work: Work) {
        let Some((_, state, _)) = story.ends.first().cloned() else {
            return self.wrong.push(format!("{task}: no end was heard: {:?}, noted {noted:?}", story.lines));
        };
        *self.ends.entry(state.as_str_name()).or_default() += 1;
        self.repeats += story.ends.len() - 1;
        let mut wrong = |text: &str| self.wrong.push(format!("{task}: {text}: {:?}, noted {noted:?}", story.lines));
        if noted.starts.len() > 1 || noted.ends.len() > noted.starts.len() {
            wrong("it ran more than once");
        }
        if story.ends.iter().any(|(_, other, _)| *other != state) {
            wrong("different ends were heard");
        }
        if story.ends.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            wrong("one life heard the end twice");
        }
        let killed = state == TaskState::TaskKilled && story.kill_asked;
        let never_ran = [TaskState::TaskDropped, TaskState::TaskGone, TaskState::TaskUnknown].contains(&state);
        let truth = match (noted.starts.len(), noted.ends.len()) {
            (0, _) => never_ran || killed,
            (_, 0) => killed && matches!(work.ending, Ending::Killed(_)),
            (_, _) => state == work.own_end(),
        };
        if !truth {
            wrong("that is not what happened to it");
        }
    }

    /// No two tasks held one port of one agent at the same time: nothing was given away twice.
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

    /// A diary of one task on one agent, and what the oracle has against it.
    fn wrong(noted: &str, heard: &[(usize, TaskState)], kill: bool) -> Vec<String> {
        let task = format!("t{}", own_ending());
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("ledger")).expect("a folder");
        if !noted.is_empty() {
            fs::write(folder.path().join("ledger").join(&task), noted).expect("written");
        }
        let mut entries = vec![Entry::Life, Entry::Framework("f".into())];
        entries.push(Entry::Launch { task: task.clone(), agent: "a".into(), port: 1 });
        entries.extend(kill.then(|| Entry::Kill(task.clone())));
        let mut life = 1;
        for (heard_in, state) in heard {
            entries.extend((life..*heard_in).map(|_| Entry::Life));
            life = *heard_in;
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
    fn a_task_that_ran_once_and_was_told_truly_is_well() {
        assert_eq!(wrong(ONCE, &[RUNNING, FINISHED], false), Vec::<String>::new());
        assert_eq!(wrong(ONCE, &[RUNNING, FINISHED, (2, TaskState::TaskFinished)], false), Vec::<String>::new());
        assert_eq!(wrong("", &[(1, TaskState::TaskDropped)], false), Vec::<String>::new());
        assert_eq!(wrong("", &[(1, TaskState::TaskKilled)], true), Vec::<String>::new());
    }

    #[test]
    fn every_departure_from_what_is_promised_is_told() {
        let twice = "start 7 10.00\nend 7 11.00\nstart 9 12.00\nend 9 13.00\n";
        assert!(wrong(twice, &[RUNNING, FINISHED], false)[0].contains("more than once"));
        assert!(wrong(ONCE, &[RUNNING], false)[0].contains("no end was heard"));
        assert!(wrong(ONCE, &[FINISHED, FINISHED], false)[0].contains("heard the end twice"));
        assert!(wrong(ONCE, &[FINISHED, (2, TaskState::TaskFailed)], false)[0].contains("different ends"));
        assert!(wrong(ONCE, &[FINISHED, RUNNING], false)[0].contains("after its end"));
        for state in [TaskState::TaskFailed, TaskState::TaskDropped, TaskState::TaskLost, TaskState::TaskKilled] {
            assert!(wrong(ONCE, &[(1, state)], false)[0].contains("not what happened"), "{state}");
        }
        assert!(wrong("", &[FINISHED], false)[0].contains("not what happened"));
        assert!(wrong("start 7 10.00\n", &[FINISHED], false)[0].contains("not what happened"));
    }

    #[test]
    fn a_port_that_two_tasks_hold_at_a_time_is_told() {
        let mut verdict = Verdict::default();
        verdict.judge_ports(BTreeMap::from([(("a", 1), vec![(2.0, 3.0, "t1"), (0.0, 2.0, "t0")])]));
        assert_eq!(verdict.wrong, Vec::<String>::new());
        verdict.judge_ports(BTreeMap::from([(("a", 1), vec![(0.0, 2.0, "t0"), (1.0, 3.0, "t1")])]));
        assert!(verdict.wrong[0].contains("by two at a time"), "{:?}", verdict.wrong);
    }
}
