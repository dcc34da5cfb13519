//! A supervisor's process between its start and the first connection to it.
//!
//! The caller may cancel the start at any moment: unless it is detached, the process is killed and its folder removed.
//! A thread waits for its exit, so that it never remains as a zombie.

use std::{
    fs::OpenOptions,
    io,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{PidfdFlags, Signal, pidfd_open};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::unix::pipe,
    sync::oneshot,
};

use super::{Settings, SupervisorError, directory::Directory, process};

/// Variables that a supervisor inherits: they control its log. Its containers get none of them.
const PASSED_VARIABLES: [&str; 2] = ["RUST_LOG", "RUST_BACKTRACE"];
/// How much of a log an error quotes, in lines.
const QUOTED_LINES: usize = 5;
/// How much output is read before the program is ready, in bytes.
const MAX_OUTPUT_BYTES: u64 = 64 << 10;
/// How long a killed process may take to end, in milliseconds.
const END_MS: i64 = 1_000;
const STACK_BYTES: usize = 64 << 10;

/// A process that was started and is not connected to yet.
#[derive(Debug)]
pub(super) struct StartingProcess {
    directory: Directory,
    /// `None` once it is detached.
    process: Option<OwnedFd>,
    stdout: Option<ChildStdout>,
    ended: oneshot::Receiver<ExitStatus>,
}

impl StartingProcess {
    /// Starts the process that is to serve `directory`. Blocks until the program is executed.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(settings: &Settings, directory: Directory) -> Result<Self, SupervisorError> {
        let not_started = |error: io::Error| SupervisorError::NotStarted {
            program: settings.program.clone(),
            text: error.to_string(),
        };
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(directory.log());
        let log = log.map_err(SupervisorError::directory("open", directory.log()))?;
        let mut command = Command::new(&settings.program);
        command.args(&settings.arguments).arg("--directory").arg(directory.path()).env_clear();
        command.envs(PASSED_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(not_started)?;
        let stdout = child.stdout.take();
        let (process, ended) = watch_exit(child).map_err(not_started)?;
        Ok(Self { directory, process: Some(process), stdout, ended })
    }

    /// Waits until the process reports that it accepts connections.
    ///
    /// # Errors
    /// It ended, or was not ready within `limit`; as a text.
    pub(super) async fn wait_until_ready(&mut self, limit: Duration) -> Result<(), String> {
        let outcome = tokio::time::timeout(limit, read_ready_line(self.stdout.take())).await;
        let verdict = match outcome {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => self.kill_and_describe().await,
            Ok(Err(error)) => error.to_string(),
            Err(_late) => format!("it was not ready within {limit:?}"),
        };
        let log = std::fs::read_to_string(self.directory.log()).unwrap_or_default();
        let quoted: Vec<&str> = log.lines().rev().take(QUOTED_LINES).collect();
        Err(if quoted.is_empty() { verdict } else { quoted.into_iter().rev().collect::<Vec<_>>().join("; ") })
    }

    /// Leaves the process running: from now on it ends by itself.
    pub(super) fn detach(mut self) {
        self.process = None;
    }

    /// Kills the process if it has not ended, and describes how it ended.
    async fn kill_and_describe(&mut self) -> String {
        if let Some(process) = &self.process {
            // One that has ended already keeps its own status.
            let _ = process::signal(process, Signal::KILL);
        }
        let limit = Duration::from_millis(END_MS.unsigned_abs());
        match tokio::time::timeout(limit, &mut self.ended).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(_)) | Err(_) => "it reported nothing and does not end".to_owned(),
        }
    }
}

impl Drop for StartingProcess {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        let _ = process::signal(&process, Signal::KILL);
        process::wait_all(&[process], END_MS);
        self.directory.remove();
    }
}

/// Waits for a child on a thread of its own, and returns a descriptor of it. If that fails, the child is killed.
fn watch_exit(mut child: Child) -> io::Result<(OwnedFd, oneshot::Receiver<ExitStatus>)> {
    let number = process::to_pid(child.id()).ok_or(rustix::io::Errno::SRCH)?;
    let (sender, ended) = oneshot::channel();
    let (hand_over, handed_over) = std::sync::mpsc::sync_channel::<Child>(1);
    let body = move || {
        if let Ok(status) = handed_over.recv().map_err(io::Error::other).and_then(|mut child| child.wait()) {
            // The receiver is gone once the process is detached.
            let _ = sender.send(status);
        }
    };
    let wait = thread::Builder::new().name("supervisor-wait".to_owned()).stack_size(STACK_BYTES);
    let watched = pidfd_open(number, PidfdFlags::empty()).map_err(io::Error::from);
    let watched = watched.and_then(|descriptor| wait.spawn(body).map(|_| descriptor));
    match watched {
        Ok(descriptor) => {
            // The thread waits for it.
            let _ = hand_over.send(child);
            Ok((descriptor, ended))
        }
        Err(error) => {
            let _ = child.kill().and_then(|()| child.wait());
            Err(error)
        }
    }
}

/// Reads lines until `ready`; false at the end of the output.
async fn read_ready_line(stdout: Option<ChildStdout>) -> io::Result<bool> {
    let Some(stdout) = stdout else { return Ok(false) };
    let stdout = pipe::Receiver::from_owned_fd(stdout.into())?;
    let mut lines = BufReader::new(stdout.take(MAX_OUTPUT_BYTES)).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "ready" {
            return Ok(true);
        }
    }
    Ok(false)
}
