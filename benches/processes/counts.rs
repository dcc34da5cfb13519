//! What a task costs in system calls and context switches: of the supervisor, the agent's own threads, the master's,
//! and the workers that carry the connections of master, agent and framework, which share a process here.
//!
//! Processes that are started do not count beside them: what a child calls before its `exec` is counted apart, and not
//! at all after. Context switches are read from `/proc`. System calls are counted by `strace`, where there is one
//! (`apt-get install strace`), in a run of its own, which it slows down.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;

/// A part of the whole, and its threads.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// Process and thread.
    threads: Vec<(u32, u32)>,
}

/// What the names of threads begin with in the parts of this process.
const PARTS: [(&str, &str); 2] = [("agent-", "agent"), ("divvy-", "master")];
const WORKERS: &str = "workers";
const SUPERVISOR: &str = "supervisor";

/// The parts that this process and these supervisors have now.
pub(crate) fn parts(supervisors: &[u32]) -> Outcome<Vec<Part>> {
    let mut parts: BTreeMap<&'static str, Vec<(u32, u32)>> = BTreeMap::new();
    for (process, thread) in threads(std::process::id())? {
        let name = fs::read_to_string(format!("/proc/{process}/task/{thread}/comm")).unwrap_or_default();
        let part = PARTS.iter().find(|(start, _)| name.starts_with(start)).map_or(WORKERS, |(_, part)| part);
        parts.entry(part).or_default().push((process, thread));
    }
    for supervisor in supervisors {
        parts.entry(SUPERVISOR).or_default().extend(threads(*supervisor)?);
    }
    Ok(parts.into_iter().map(|(name, threads)| Part { name, threads }).collect())
}

fn threads(process: u32) -> Outcome<Vec<(u32, u32)>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        threads.extend(number.map(|thread| (process, thread)));
    }
    Ok(threads)
}

impl Part {
    /// How often its threads were switched away from, so far: because they waited, and because others were to run.
    pub(crate) fn context_switches(&self) -> [u64; 2] {
        let mut sums = [0, 0];
        for (process, thread) in &self.threads {
            // One that has ended counts no more.
            let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).unwrap_or_default();
            for (sum, name) in sums.iter_mut().zip(["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"]) {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                *sum += line.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0);
            }
        }
        sums
    }
}

/// A count, and the calls that were made most often.
pub(crate) type Counted = (u64, Vec<(String, u64)>);

/// A running `strace`.
#[derive(Debug)]
struct Strace {
    child: Child,
    folder: tempfile::TempDir,
}

impl Strace {
    /// Starts to trace these threads; `None` where there is no `strace`.
    fn begin(options: &[&str], followed: &[String], threads: &[u32]) -> Outcome<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("strace");
        command.args(options).arg("-o").arg(folder.path().join("counts")).args(followed);
        let Ok(child) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            return Ok(None);
        };
        let is_traced = |thread: &u32| {
            let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        };
        // `strace` may lack the permission; then nothing is counted.
        for _ in 0..200 {
            if threads.iter().all(is_traced) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(Some(Self { child, folder }))
    }

    fn end(mut self) -> Outcome<String> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        self.child.wait()?;
        Ok(fs::read_to_string(self.folder.path().join("counts"))?)
    }
}

/// A running count of the system calls of one part.
#[derive(Debug)]
pub(crate) struct Calls {
    strace: Strace,
}

impl Calls {
    /// Starts to count; `None` where there is no `strace`.
    pub(crate) fn begin(part: &Part) -> Outcome<Option<Self>> {
        let threads: Vec<u32> = part.threads.iter().map(|(_, thread)| *thread).collect();
        let followed: Vec<String> = threads.iter().flat_map(|thread| ["-p".to_owned(), thread.to_string()]).collect();
        Ok(Strace::begin(&["-c"], &followed, &threads)?.map(|strace| Self { strace }))
    }

    pub(crate) fn end(self) -> Outcome<Counted> {
        Ok(sum(self.strace.end()?.lines().filter_map(counted)))
    }
}

/// A line of `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn counted(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (name, count) = ((*words.last()?).to_owned(), words.get(3)?.parse().ok()?);
    (name != "total").then_some((name, count))
}

fn sum(calls: impl Iterator<Item = (String, u64)>) -> Counted {
    let mut calls: Vec<(String, u64)> = calls.collect();
    calls.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    (calls.iter().map(|(_, count)| count).sum(), calls)
}

/// A running count of what children call before their programs begin.
#[derive(Debug)]
pub(crate) struct ChildCalls {
    strace: Strace,
    known: BTreeSet<u32>,
}

impl ChildCalls {
    /// Starts to count; `None` where there is no `strace`.
    pub(crate) fn begin(supervisors: &[u32]) -> Outcome<Option<Self>> {
        let mut known = BTreeSet::new();
        for supervisor in supervisors {
            known.extend(threads(*supervisor)?.into_iter().map(|(_, thread)| thread));
        }
        let followed: Vec<String> = supervisors.iter().flat_map(|pid| ["-p".to_owned(), pid.to_string()]).collect();
        let traced: Vec<u32> = known.iter().copied().collect();
        Ok(Strace::begin(&["-f", "-qq"], &followed, &traced)?.map(|strace| Self { strace, known }))
    }

    /// Lines of `PID call(arguments...`.
    pub(crate) fn end(self) -> Outcome<Counted> {
        let text = self.strace.end()?;
        let (mut begun, mut calls) = (BTreeSet::new(), BTreeMap::<String, u64>::new());
        for line in text.lines() {
            let Some((pid, call)) = line.split_once(' ') else { continue };
            let (Ok(pid), Some((name, _))) = (pid.parse::<u32>(), call.trim_start().split_once('(')) else { continue };
            let is_call = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_call || self.known.contains(&pid) || begun.contains(&pid) {
                continue;
            }
            *calls.entry(name.to_owned()).or_default() += 1;
            if name.starts_with("execve") {
                begun.insert(pid);
            }
        }
        Ok(sum(calls.into_iter()))
    }
}
