//! One process, identified uniquely: by its id together with its start time.
//!
//! Process ids are reused, on some hosts within seconds. A signal is therefore sent through a descriptor of the process
//! (pidfd): it is opened first, then the start time is compared, so it cannot refer to another process. When
//! descriptors or memory are exhausted, the result is an error and never "no such process".

use std::{io, os::fd::OwnedFd, sync::OnceLock, time::Duration};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::{Errno, read},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

/// The fields of `/proc/PID/stat` that are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    /// In clock ticks since boot.
    pub(super) start_time: u64,
    /// Whether any of its threads has not ended yet; what ended and waits for its parent does not count as alive.
    pub(super) alive: bool,
    /// Whether its first thread has ended, and perhaps not its others.
    pub(super) is_headless: bool,
    pub(super) environment: Environment,
}

/// Whether a process has an environment; `/proc/PID/environ` is empty without one and with an empty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Environment {
    /// During an exec there is none yet, and at the end of a process none any more. Kernel threads never have one, and
    /// that of another user's process looks the same.
    Missing,
    /// Without a variable.
    Empty,
    Some,
}

impl Stat {
    /// Reads it; nothing when there is no such process.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn read(pid: u32) -> io::Result<Option<Self>> {
        let line = none_unless_exhausted(read_start(&format!("/proc/{pid}/stat")))?;
        Ok(line.and_then(|line| Self::parse(&String::from_utf8_lossy(&line))))
    }

    /// The program's name stands in brackets and may itself contain any of them: what follows the last one counts.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let pid = line.split_once(' ')?.0.parse().ok()?;
        let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
        let is_headless = matches!(fields.next()?, "Z" | "X" | "x");
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let threads: u32 = fields.nth(13)?.parse().ok()?;
        let start_time = fields.nth(1)?.parse().ok()?;
        // Kernels of before 3.5 end the line here.
        let (start, end) = (fields.nth(27).unwrap_or("0"), fields.next().unwrap_or("0"));
        let environment = match end {
            "0" => Environment::Missing,
            end if end == start => Environment::Empty,
            _ => Environment::Some,
        };
        let alive = !is_headless || threads > 1;
        Some(Self { pid, parent, group, session, start_time, alive, is_headless, environment })
    }
}

/// A descriptor of the process `pid` if it is the one that started at `start_time` and has not ended.
///
/// # Errors
/// No descriptors or memory are left.
pub(super) fn open(pid: u32, start_time: u64) -> io::Result<Option<OwnedFd>> {
    let Some(number) = to_pid(pid) else { return Ok(None) };
    let Some(descriptor) = none_unless_exhausted(pidfd_open(number, PidfdFlags::empty()).map_err(io::Error::from))?
    else {
        return Ok(None);
    };
    let stat = Stat::read(pid)?;
    Ok(stat.filter(|stat| stat.alive && stat.start_time == start_time).map(|_| descriptor))
}

/// The parent of all threads of the kernel.
const KERNEL_THREADS: u32 = 2;

/// What one look at a process shows.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) stat: Stat,
    /// Its environment; that of another user shows nothing.
    pub(super) environment: Vec<u8>,
    /// Whether it lives and may have another environment, or have left another process, in a moment.
    pub(super) is_changing: bool,
}

/// Looks at a process; nothing when it is gone, or goes meanwhile: it may have started another before.
///
/// # Errors
/// No descriptors or memory are left.
pub(super) fn look(pid: u32) -> io::Result<Option<Looked>> {
    let Some(stat) = Stat::read(pid)? else { return Ok(None) };
    let Some(environment) = environment(&stat)? else {
        // Another user's is still there.
        let again = Stat::read(pid)?.filter(|again| again.start_time == stat.start_time);
        return Ok(again.map(|stat| Looked { stat, environment: Vec::new(), is_changing: false }));
    };
    let is_kernels = stat.pid == KERNEL_THREADS || stat.parent == KERNEL_THREADS;
    // What has some and shows none began an exec between the two looks.
    let is_changing = stat.alive && environment.is_empty() && stat.environment != Environment::Empty && !is_kernels;
    Ok(Some(Looked { stat, environment, is_changing }))
}

/// What one process has used, and the memory it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) cpu: Duration,
    pub(super) memory_bytes: u64,
}

impl Used {
    /// Reads it; nothing when there is no such process.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn read(stat: &Stat) -> io::Result<Option<Self>> {
        let read = |path: String| -> io::Result<Option<Self>> {
            let line = none_unless_exhausted(read_start(&path))?;
            Ok(line.and_then(|line| Self::parse(&String::from_utf8_lossy(&line))))
        };
        let Some(mut used) = read(format!("/proc/{}/stat", stat.pid))? else { return Ok(None) };
        if stat.is_headless {
            // The thread that ended has no memory any more; the others share theirs.
            for thread in other_threads(stat.pid)? {
                used.memory_bytes =
                    used.memory_bytes.max(read(format!("{thread}/stat"))?.map_or(0, |it| it.memory_bytes));
            }
        }
        Ok(Some(used))
    }

    fn parse(line: &str) -> Option<Self> {
        // Counted from the field behind the name: times of user and kernel, then the pages that are resident.
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let (ticks, per_second) = (number(11)? + number(12)?, rustix::param::clock_ticks_per_second());
        let page = u64::try_from(rustix::param::page_size()).ok()?;
        let cpu = Duration::from_millis(ticks * 1_000 / per_second.max(1));
        Some(Self { cpu, memory_bytes: number(21)? * page })
    }
}

/// The longest environment that an exec accepts, whatever limits there are: three quarters of 8 MiB
/// (`prepare_arg_pages` in the kernel's `fs/exec.c`).
const MAX_ENVIRONMENT_BYTES: usize = 6 << 20;
/// More than a line of `/proc/PID/stat` takes.
const LINE_BYTES: usize = 2048;

/// What is at the start of a file of the kernel's, with as few calls as it takes: three.
fn read_start(path: &str) -> io::Result<Vec<u8>> {
    let file = open_for_reading(path)?;
    let mut buffer = vec![0; LINE_BYTES];
    let length = rustix::io::retry_on_intr(|| read(&file, &mut buffer[..]))?;
    buffer.truncate(length);
    Ok(buffer)
}

/// The environment of a process: no more of it than an exec accepts, whatever the process has made of it since. Nothing
/// when there is no such process or it is not ours to look at.
fn environment(stat: &Stat) -> io::Result<Option<Vec<u8>>> {
    let read = |path: String| none_unless_exhausted(read_up_to(path, MAX_ENVIRONMENT_BYTES));
    if !stat.is_headless {
        return read(format!("/proc/{}/environ", stat.pid));
    }
    for thread in other_threads(stat.pid)? {
        if let Some(environment) = read(format!("{thread}/environ"))? {
            return Ok(Some(environment));
        }
    }
    Ok(None)
}

/// The folders of a process's threads but the first.
fn other_threads(pid: u32) -> io::Result<Vec<String>> {
    let folder = format!("/proc/{pid}/task");
    let names = none_unless_exhausted(std::fs::read_dir(&folder).and_then(|threads| {
        let names = threads.map(|thread| Ok(thread?.file_name().into_string().unwrap_or_default()));
        names.collect::<io::Result<Vec<String>>>()
    }))?;
    let others = names.unwrap_or_default().into_iter().filter(|name| *name != pid.to_string());
    Ok(others.map(|name| format!("{folder}/{name}")).collect())
}

/// What the process `pid` was started with: its program's name and arguments, each with a zero byte after it. Nothing
/// when there is no such process.
///
/// # Errors
/// No descriptors or memory are left.
pub(super) fn arguments(pid: u32) -> io::Result<Option<Vec<u8>>> {
    none_unless_exhausted(read_up_to(format!("/proc/{pid}/cmdline"), MAX_ENVIRONMENT_BYTES))
}

/// The first `limit` bytes of a file in `/proc`, which reports no size.
fn read_up_to(path: impl rustix::path::Arg, limit: usize) -> io::Result<Vec<u8>> {
    let file = open_for_reading(path)?;
    let mut buffer = vec![0; LINE_BYTES];
    let mut length = 0;
    loop {
        let more = rustix::io::retry_on_intr(|| read(&file, &mut buffer[length..]))?;
        length += more;
        if more == 0 || length == limit {
            buffer.truncate(length);
            return Ok(buffer);
        }
        if length == buffer.len() {
            buffer.resize((2 * length).min(limit), 0);
        }
    }
}

fn open_for_reading(path: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Turns an error into `None`: the process is gone or not ours to inspect.
///
/// # Errors
/// The error is a shortage: this process or the host has no descriptors or memory left.
pub(super) fn none_unless_exhausted<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_shortage(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether a failed call may succeed once descriptors, memory or threads are freed.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|errno| shortages.contains(&errno))
}

/// Whether this process is short of descriptors or memory; `EAGAIN` may also come from the other end.
pub(super) fn is_own_shortage(error: &io::Error) -> bool {
    is_shortage(error) && Errno::from_io_error(error) != Some(Errno::AGAIN)
}

/// Sends `signal` through a descriptor. A process that has ended already is no error.
///
/// # Errors
/// The signal may not be sent.
pub(super) fn signal(descriptor: &OwnedFd, signal: Signal) -> io::Result<()> {
    match pidfd_send_signal(descriptor, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until every one of `descriptors` has ended; false if one takes longer than `limit_ms`.
pub(super) fn wait_all(descriptors: &[OwnedFd], limit_ms: i64) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec { tv_sec: limit_ms / 1000, tv_nsec: (limit_ms % 1000) * 1_000_000 };
    descriptors.iter().all(|descriptor| {
        loop {
            match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], Some(&limit)) {
                Ok(ready) => return ready > 0,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    })
}

/// A process id as the system calls take it.
pub(super) fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Names this boot of the host; empty where the host does not report it.
///
/// # Errors
/// No descriptors or memory are left; once it was read it is cached.
pub(super) fn boot_id() -> io::Result<String> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let id = none_unless_exhausted(std::fs::read_to_string("/proc/sys/kernel/random/boot_id"))?.unwrap_or_default();
    Ok(KNOWN.get_or_init(|| id.trim().to_owned()).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_brackets_and_spaces_does_not_shift_the_fields() {
        assert_eq!(Stat::parse(&line("R", 1, (0, 0))), Some(stat(Environment::Missing)));
        assert_eq!(Stat::parse("42 (cut"), None);
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_lives_as_long_as_its_others() {
        let ended = Stat { alive: false, is_headless: true, ..stat(Environment::Missing) };
        assert_eq!(Stat::parse(&line("Z", 1, (0, 0))), Some(ended));
        assert_eq!(Stat::parse(&line("Z", 2, (0, 0))), Some(Stat { alive: true, ..ended }));
    }

    #[test]
    fn an_environment_that_is_not_there_is_not_one_without_variables() {
        let environment = |bounds| Stat::parse(&line("S", 1, bounds)).unwrap().environment;
        assert_eq!(environment((7, 9)), Environment::Some);
        assert_eq!(environment((7, 7)), Environment::Empty);
        assert_eq!(environment((7, 0)), Environment::Missing);
        assert_eq!(environment((0, 0)), Environment::Missing);
        assert_eq!(Stat::read(std::process::id()).unwrap().unwrap().environment, Environment::Some);
    }

    #[test]
    fn what_is_without_variables_is_sure_and_what_has_ended_is_not_alive() {
        let mut child = std::process::Command::new("sleep").arg("1000").env_clear().spawn().unwrap();
        let seen = loop {
            let seen = look(child.id()).unwrap().unwrap();
            if !seen.is_changing {
                break seen;
            }
        };
        assert_eq!((seen.stat.environment, seen.environment), (Environment::Empty, vec![]));
        child.kill().unwrap();
        while look(child.id()).unwrap().is_some_and(|seen| seen.stat.alive) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(look(child.id()).unwrap().is_none());
    }

    /// What the kernel shows of a process with brackets and spaces in its name.
    fn line(state: &str, threads: u32, (start, end): (u64, u64)) -> String {
        let rest = "0 ".repeat(27);
        format!(
            "42 (a) S 7 (b)) {state} 7 42 41 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 {threads} 0 123456 {rest}{start} {end} 0"
        )
    }

    fn stat(environment: Environment) -> Stat {
        let (alive, is_headless) = (true, false);
        Stat { pid: 42, parent: 7, group: 42, session: 41, start_time: 123_456, alive, is_headless, environment }
    }

    #[test]
    fn a_process_id_with_another_start_time_is_another_process() {
        let me = Stat::read(std::process::id()).unwrap().unwrap();
        assert!(me.alive);
        assert!(open(me.pid, me.start_time).unwrap().is_some());
        assert!(open(me.pid, me.start_time + 1).unwrap().is_none());
    }

    #[test]
    fn a_process_that_cannot_be_inspected_for_want_of_descriptors_does_not_count_as_gone() {
        let error = |errno: Errno| -> io::Result<()> { Err(errno.into()) };
        assert!(none_unless_exhausted(error(Errno::SRCH)).unwrap().is_none());
        assert!(none_unless_exhausted(error(Errno::ACCESS)).unwrap().is_none(), "another user's process is not ours");
        for shortage in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert_eq!(
                none_unless_exhausted(error(shortage)).unwrap_err().raw_os_error(),
                Some(shortage.raw_os_error())
            );
        }
    }
}
