//! Starts a program in a child that shares our memory until it executes: no copy of page tables, however large we are.
//!
//! `posix_spawn` does the same but reads and sets the disposition of every signal, 122 calls a start, and can set
//! neither limits nor a descriptor of the child. Between `clone` and `execve` the child runs on a stack of its own
//! while the calling thread is suspended. It makes system calls and nothing else: it takes no lock, allocates nothing,
//! and cannot panic. All signals are blocked meanwhile, so no handler of ours runs in it.

#![expect(unsafe_code, reason = "clone and execve are had in no other way")]

use std::{
    cell::Cell,
    ffi::{CStr, CString},
    io,
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    ptr,
};

use libc::{c_char, c_int, c_void};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Enough for a function that calls the kernel only.
const STACK_BYTES: usize = 32 << 10;
/// The kernel's set of signals has 64 bits.
const SIGNAL_SET_BYTES: usize = 8;
/// Of a file that is made for output.
const FILE_MODE: libc::mode_t = 0o644;
/// The highest signal.
const LAST_SIGNAL: c_int = 64;

/// What is to be executed, and how.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    pub(crate) program: &'a CStr,
    pub(crate) arguments: &'a [CString],
    pub(crate) environment: &'a [CString],
    pub(crate) directory: &'a CStr,
    /// Standard input, output and error.
    pub(crate) stdio: [Stdio<'a>; 3],
    pub(crate) inheritance: &'a Inheritance,
}

/// What a standard descriptor of the child is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stdio<'a> {
    /// The same as this one, which is none of the standard ones.
    Open(BorrowedFd<'a>),
    /// A regular file that the child opens, to append to it. It is made where it is not there. A link, or what is no
    /// regular file, is refused with EINVAL or ELOOP, so that nothing can lead the output astray or keep the child
    /// waiting.
    Append(&'a CStr),
}

/// What a child has from its parent unless it is set: dispositions of signals and limits.
#[derive(Clone, Debug)]
pub(crate) struct Inheritance {
    /// Signals whose disposition here is not the default.
    reset: Vec<c_int>,
    /// How many files the child may have open; where it is `None`, as many as its parent.
    files: Option<libc::rlimit>,
}

impl Inheritance {
    /// All signals are set to their default, and limits are this process's at the time of the start.
    pub(crate) fn any() -> Self {
        Self { reset: (1..=LAST_SIGNAL).collect(), files: None }
    }

    /// For a process whose dispositions do not change any more: those that are not the default are set to it. How many
    /// files may be open is as it is now, whatever becomes of our own limit.
    pub(crate) fn of_this_process() -> Self {
        let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the pointer is to a `rlimit` of our own.
        let known = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut files) } == 0;
        Self { reset: (1..=LAST_SIGNAL).filter(|signal| !is_default(*signal)).collect(), files: known.then_some(files) }
    }
}

fn is_default(signal: c_int) -> bool {
    let mut action = DEFAULT;
    // SAFETY: reads only; the action is our own, and as large as the kernel's.
    unsafe { set_action(signal, ptr::null(), &raw mut action) };
    action.handler == libc::SIG_DFL
}

/// What happens on a signal, as the kernel has it.
#[repr(C)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// The default disposition of every signal.
const DEFAULT: Action = Action { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };

/// Sets or reads the disposition of a signal. Unlike the C library's function it takes those too that the library itself
/// uses.
///
/// # Safety
/// The pointers are null or to an [`Action`] each.
unsafe fn set_action(signal: c_int, action: *const Action, before: *mut Action) {
    // SAFETY: as demanded of the caller.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, before, SIGNAL_SET_BYTES) };
}

/// Which step of a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is no child.
    Clone,
    Group,
    /// The descriptor of this number.
    Open(usize),
    Stdio,
    Limits,
    Directory,
    Execute,
}

/// What the child works with. It lies in the memory of the suspended thread.
struct Plan {
    program: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    directory: *const c_char,
    stdio: [Source; 3],
    reset: *const c_int,
    reset_count: usize,
    files: *const libc::rlimit,
    /// Written by the child when it fails.
    failed: Option<(Step, c_int)>,
}

/// Where a standard descriptor comes from.
#[derive(Clone, Copy)]
enum Source {
    Open(RawFd),
    Append(*const c_char),
}

/// Starts `command` in a process group of its own; the child's number and a descriptor of it. It is a child of the
/// calling thread, with no signal blocked.
///
/// # Errors
/// The first step that failed; nothing is left of the child.
pub(crate) fn spawn(command: &Command<'_>) -> Result<(u32, OwnedFd), (Step, io::Error)> {
    let arguments = pointers(command.arguments);
    let environment = pointers(command.environment);
    let Inheritance { reset, files } = command.inheritance;
    let mut plan = Plan {
        program: command.program.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        directory: command.directory.as_ptr(),
        stdio: command.stdio.map(|stdio| match stdio {
            Stdio::Open(descriptor) => Source::Open(descriptor.as_raw_fd()),
            Stdio::Append(path) => Source::Append(path.as_ptr()),
        }),
        reset: reset.as_ptr(),
        reset_count: reset.len(),
        files: files.as_ref().map_or(ptr::null(), ptr::from_ref),
        failed: None,
    };
    let (pid, descriptor) = clone(&mut plan).map_err(|error| (Step::Clone, error))?;
    match plan.failed {
        None => Ok((pid, descriptor)),
        Some((step, errno)) => {
            // It has ended; it is reaped before its number is returned.
            let _ = waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED);
            Err((step, io::Error::from_raw_os_error(errno)))
        }
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

fn clone(plan: &mut Plan) -> io::Result<(u32, OwnedFd)> {
    let mut stack = Vec::<MaybeUninit<u128>>::with_capacity(STACK_BYTES / size_of::<u128>());
    // SAFETY: elements that may be uninitialised need no initialising.
    unsafe { stack.set_len(stack.capacity()) };
    let top = stack.as_mut_ptr_range().end.cast::<c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut descriptor: RawFd = -1;
    let _blocked = BlockedSignals::hold();
    // SAFETY: `run` gets a `Plan` that outlives the child's use of it, since
    // CLONE_VFORK suspends this thread until the child has executed or ended, and a stack that nothing else uses and
    // whose end is aligned to 16 bytes. The child returns from `run` never. Nothing else may run in the child: signals
    // are blocked for this thread, so in the child too. The descriptor is written by the kernel before the child runs.
    let (pid, error) = unsafe {
        let pid = libc::clone(run, top, flags, ptr::from_mut(plan).cast(), &raw mut descriptor);
        (pid, io::Error::last_os_error())
    };
    drop(stack);
    let Ok(pid) = u32::try_from(pid) else { return Err(error) };
    // SAFETY: the call succeeded, so this is an open descriptor that nothing else owns.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

thread_local! {
    /// How many [`BlockedSignals`] there are on this thread.
    static HOLDERS: Cell<usize> = const { Cell::new(0) };
}

/// Blocks all signals on this thread while it exists. A thread that starts many processes holds one all the time.
#[derive(Debug)]
pub(crate) struct BlockedSignals {
    /// The signals blocked before, if this is the first on its thread.
    before: Option<u64>,
    /// It stays on its thread.
    _own: PhantomData<*const ()>,
}

impl BlockedSignals {
    pub(crate) fn hold() -> Self {
        let is_first = HOLDERS.replace(HOLDERS.get() + 1) == 0;
        let before = is_first.then(|| {
            let (all, mut before) = (u64::MAX, 0_u64);
            // SAFETY: both are 64 bits of our own.
            unsafe { block_signals(&raw const all, &raw mut before) };
            before
        });
        Self { before, _own: PhantomData }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        HOLDERS.set(HOLDERS.get() - 1);
        if let Some(before) = self.before {
            // SAFETY: the set is 64 bits of our own.
            unsafe { block_signals(&raw const before, ptr::null_mut()) };
        }
    }
}

/// Sets which signals are blocked. Unlike the C library's function it blocks those too that the library itself uses.
///
/// # Safety
/// The pointers are to 64 bits each; `before` may be null.
unsafe fn block_signals(set: *const u64, before: *mut u64) {
    // SAFETY: as demanded of the caller.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, set, before, SIGNAL_SET_BYTES) };
}

/// The child, from its first to its last moment before the program.
extern "C" fn run(plan: *mut c_void) -> c_int {
    let plan = plan.cast::<Plan>();
    // SAFETY: the suspended parent's plan, of which there is no other user. All pointers in it are to memory of the
    // parent that lives until it resumes. Only functions are called that are safe in a handler of a signal: each is one
    // call of the kernel. `_exit` runs nothing of the program's.
    unsafe {
        let step = prepare_and_execute(&raw const *plan);
        (*plan).failed = Some((step, *libc::__errno_location()));
        libc::_exit(127)
    }
}

/// Returns the step that failed, or never.
///
/// # Safety
/// As in [`run`].
unsafe fn prepare_and_execute(plan: *const Plan) -> Step {
    // SAFETY: as in `run`; `reset` has `reset_count` elements.
    unsafe {
        let plan = &*plan;
        if libc::setpgid(0, 0) != 0 {
            return Step::Group;
        }
        let default = DEFAULT;
        for at in 0..plan.reset_count {
            // Fails for SIGKILL and SIGSTOP, which have no other disposition.
            set_action(*plan.reset.add(at), &raw const default, ptr::null_mut());
        }
        // All are opened before the first `dup2`: `open` returns a standard descriptor that happens to be free.
        let mut opened = [-1; 3];
        for (at, source) in plan.stdio.iter().enumerate() {
            let descriptor = match *source {
                Source::Open(descriptor) => descriptor,
                Source::Append(path) => open_to_append(path),
            };
            if descriptor < 0 {
                return Step::Open(at);
            }
            opened[at] = descriptor;
        }
        let [stdin, stdout, stderr] = opened;
        if libc::dup2(stdin, 0) < 0 || libc::dup2(stdout, 1) < 0 || libc::dup2(stderr, 2) < 0 {
            return Step::Stdio;
        }
        // No other descriptor is passed on, even if the embedding program left it open for its children.
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if !plan.files.is_null() && libc::setrlimit(libc::RLIMIT_NOFILE, plan.files) != 0 {
            return Step::Limits;
        }
        if libc::chdir(plan.directory) != 0 {
            return Step::Directory;
        }
        let none = 0_u64;
        block_signals(&raw const none, ptr::null_mut());
        libc::execve(plan.program, plan.arguments, plan.environment);
        Step::Execute
    }
}

/// Opens a file as [`Stdio::Append`] says, above the standard descriptors; -1 and `errno` where it cannot be.
///
/// # Safety
/// As in [`run`]; `path` ends with a zero.
unsafe fn open_to_append(path: *const c_char) -> RawFd {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
    let careful = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    // SAFETY: as demanded of the caller; the `stat` is our own.
    unsafe {
        // What is made here is a regular file, which need not be checked.
        let mut descriptor = libc::open(path, flags | careful | libc::O_EXCL, FILE_MODE);
        if descriptor < 0 {
            if *libc::__errno_location() != libc::EEXIST {
                return -1;
            }
            descriptor = libc::open(path, flags | careful, FILE_MODE);
            let mut stat = MaybeUninit::<libc::stat>::uninit();
            if descriptor < 0 || libc::fstat(descriptor, stat.as_mut_ptr()) != 0 {
                return -1;
            }
            if (*stat.as_ptr()).st_mode & libc::S_IFMT != libc::S_IFREG {
                *libc::__errno_location() = libc::EINVAL;
                return -1;
            }
        }
        if descriptor > 2 { descriptor } else { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _, os::fd::AsFd as _};

    use super::*;

    fn spawned(program: &str, arguments: &[&str], directory: &str) -> Result<(String, i32), (Step, i32)> {
        let text = |text: &str| CString::new(text).unwrap();
        let (null, (mut read, write)) = (fs::File::open("/dev/null").unwrap(), io::pipe().unwrap());
        let arguments: Vec<CString> = [program].iter().chain(arguments).map(|it| text(it)).collect();
        let inheritance = Inheritance::any();
        let command = Command {
            program: &text(program),
            arguments: &arguments,
            environment: &[text("A=1")],
            directory: &text(directory),
            stdio: [null.as_fd(), write.as_fd(), null.as_fd()].map(Stdio::Open),
            inheritance: &inheritance,
        };
        let started = spawn(&command);
        drop(write);
        let (_, descriptor) = started.map_err(|(step, error)| (step, error.raw_os_error().unwrap()))?;
        let mut output = String::new();
        read.read_to_string(&mut output).unwrap();
        let status = waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
        Ok((output, status.exit_status().unwrap()))
    }

    #[test]
    fn a_program_runs_with_what_it_was_given_and_nothing_else() {
        assert_eq!(spawned("/bin/sh", &["-c", "echo $A; pwd; exit 7"], "/tmp"), Ok(("1\n/tmp\n".to_owned(), 7)));
        // The fourth is the folder that is listed.
        assert_eq!(spawned("/bin/ls", &["/proc/self/fd"], "/"), Ok(("0\n1\n2\n3\n".to_owned(), 0)));
    }

    #[test]
    fn a_program_has_the_default_dispositions_and_no_signal_is_blocked() {
        // As under nohup, and as a program may that the supervisor runs in.
        // SAFETY: nothing in this process depends on the disposition of SIGQUIT, and its mask is of this thread alone.
        unsafe {
            let all = u64::MAX;
            libc::signal(libc::SIGQUIT, libc::SIG_IGN);
            block_signals(&raw const all, ptr::null_mut());
        }
        let (status, _) = spawned("/bin/cat", &["/proc/self/status"], "/").unwrap();
        for field in ["SigBlk", "SigIgn", "SigCgt"] {
            assert!(status.contains(&format!("{field}:\t{}\n", "0".repeat(16))), "{status}");
        }
    }

    #[test]
    fn each_step_that_fails_is_named_and_leaves_no_child() {
        assert_eq!(spawned("/no/such", &[], "/"), Err((Step::Execute, libc::ENOENT)));
        assert_eq!(spawned("/etc/passwd", &[], "/"), Err((Step::Execute, libc::EACCES)));
        assert_eq!(spawned("/bin/true", &[], "/no/such"), Err((Step::Directory, libc::ENOENT)));
        let mut left = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        left |= WaitIdOptions::from_bits_retain(0x2000_0000);
        assert!(waitid(WaitId::All, left).is_err(), "this thread has no children");
    }

    /// Runs `echo` with its output appended to `path`.
    fn echoed(path: &std::path::Path) -> Result<(), (Step, i32)> {
        let text = |text: &str| CString::new(text).unwrap();
        let (null, path) = (fs::File::open("/dev/null").unwrap(), text(path.to_str().unwrap()));
        let inheritance = Inheritance::any();
        let command = Command {
            program: c"/bin/echo",
            arguments: &[text("echo"), text("said")],
            environment: &[],
            directory: c"/",
            stdio: [Stdio::Open(null.as_fd()), Stdio::Append(&path), Stdio::Open(null.as_fd())],
            inheritance: &inheritance,
        };
        let (_, descriptor) = spawn(&command).map_err(|(step, error)| (step, error.raw_os_error().unwrap()))?;
        waitid(WaitId::PidFd(descriptor.as_fd()), WaitIdOptions::EXITED).unwrap();
        Ok(())
    }

    #[test]
    fn output_is_appended_to_a_file_and_to_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link, pipe) = (folder.path().join("file"), folder.path().join("link"), folder.path().join("pipe"));
        assert_eq!((echoed(&file), echoed(&file)), (Ok(()), Ok(())));
        assert_eq!(fs::read_to_string(&file).unwrap(), "said\nsaid\n");
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert_eq!(echoed(&link), Err((Step::Open(1), libc::ELOOP)));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        // A pipe that nothing reads.
        assert_eq!(echoed(&pipe), Err((Step::Open(1), libc::ENXIO)));
        let _reads = fs::File::options().read(true).write(true).open(&pipe).unwrap();
        assert_eq!(echoed(&pipe), Err((Step::Open(1), libc::EINVAL)));
        assert_eq!(echoed(folder.path()), Err((Step::Open(1), libc::EISDIR)));
        assert_eq!(fs::read_to_string(&file).unwrap(), "said\nsaid\n");
    }

    #[test]
    fn signals_stay_blocked_until_the_last_holder_on_the_thread_is_gone() {
        let blocked = || {
            let mut set = 0_u64;
            // SAFETY: reads only, into 64 bits of our own.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigprocmask,
                    libc::SIG_SETMASK,
                    ptr::null::<u64>(),
                    &raw mut set,
                    SIGNAL_SET_BYTES,
                )
            };
            set & 1 << (libc::SIGTERM - 1) != 0
        };
        let outer = BlockedSignals::hold();
        drop(BlockedSignals::hold());
        assert!(blocked());
        drop(outer);
        assert!(!blocked());
    }

    #[test]
    fn many_threads_start_at_once() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..50 {
                        let code = number.to_string();
                        let exit = format!("exit {code}");
                        assert_eq!(spawned("/bin/sh", &["-c", &exit], "/"), Ok((String::new(), number)));
                    }
                });
            }
        });
    }
}
