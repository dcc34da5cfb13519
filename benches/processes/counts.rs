//! What a task costs in system calls and context switches, of all threads of master, agent, framework and supervisor.
//!
//! Processes that are started do not count, before their `exec` or after. Context switches stand in `/proc`. System calls
//! are counted by `strace`, where there is one (`apt-get install strace`), in a run of its own, which it slows down.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::Outcome;

/// The threads of these processes.
fn threads(processes: &[u32]) -> Outcome<Vec<u32>> {
    let mut threads = Vec::new();
    for process in processes {
        for entry in fs::read_dir(format!("/proc/{process}/task"))? {
            threads.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
    }
    Ok(threads)
}

/// How often threads of these processes were switched away from, so far.
pub(crate) fn context_switches(processes: &[u32]) -> Outcome<u64> {
    let mut sum = 0;
    for process in processes {
        for thread in threads(&[*process])? {
            // One that has just ended counts no more.
            let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status")).unwrap_or_default();
            let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            sum += counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum::<u64>();
        }
    }
    Ok(sum)
}

/// A running count of system calls.
#[derive(Debug)]
pub(crate) struct Calls {
    strace: Child,
    folder: tempfile::TempDir,
}

impl Calls {
    /// Begins to count; nothing where there is no `strace`.
    pub(crate) fn begin(processes: &[u32]) -> Outcome<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("strace");
        command.args(["-c", "-o"]).arg(folder.path().join("counts"));
        let threads = threads(processes)?;
        for thread in &threads {
            command.args(["-p", &thread.to_string()]);
        }
        let Ok(strace) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
            return Ok(None);
        };
        let is_traced = |thread: &u32| {
            let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
            !status.contains("TracerPid:\t0\n")
        };
        // It may not be allowed to; then there is nothing to count.
        for _ in 0..200 {
            if threads.iter().all(is_traced) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Ok(Some(Self { strace, folder }))
    }

    /// The count, and the calls made most often.
    pub(crate) fn end(mut self) -> Outcome<(u64, Vec<(String, u64)>)> {
        let pid = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        self.strace.wait()?;
        read(&self.folder.path().join("counts"))
    }
}

/// Lines of `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn read(path: &Path) -> Outcome<(u64, Vec<(String, u64)>)> {
    let text = fs::read_to_string(path)?;
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(((*words.last()?).to_owned(), words.get(3)?.parse::<u64>().ok()?))
    };
    let mut calls: Vec<(String, u64)> = text.lines().filter_map(line).filter(|(name, _)| name != "total").collect();
    calls.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok((calls.iter().map(|(_, count)| count).sum(), calls))
}
