//! A supervisor's process between its start and the first connection to it.
//!
//! Whoever starts one may give up or be given up at any moment: unless it is kept, the process is killed and its folder
//! removed. A thread takes its exit status whenever it ends, so that it is never left behind as a zombie.

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

/// Of our own environment, what a supervisor gets: how much it logs. Its containers get none of it.
const PASSED_ON: [&str; 2] = ["RUST_LOG", "RUST_BACKTRACE"];
/// How much of a log an error quotes, in lines.
const QUOTED_LINES: usize = 5;
/// How much is read of what a program says before it is ready, in bytes.
const MAX_SAID: u64 = 64 << 10;
/// How long one that was killed may take to be gone, in milliseconds.
const END_MS: i64 = 1_000;
const STACK_BYTES: usize = 64 << 10;

/// A process that was started and is not connected to yet.
#[derive(Debug)]
pub(super) struct Fresh {
    directory: Directory,
    /// There until it is kept.
    process: Option<OwnedFd>,
    stdout: Option<ChildStdout>,
    ended: oneshot::Receiver<ExitStatus>,
}

impl Fresh {
    /// Starts the process that is to serve `directory`. It blocks until the program is being executed.
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
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(not_started)?;
        let stdout = child.stdout.take();
        let (process, ended) = watch(child).map_err(not_started)?;
        Ok(Self { directory, process: Some(process), stdout, ended })
    }

    /// Returns when it says that it can be connected to.
    ///
    /// # Errors
    /// It ended, or did not say so within `limit`; what is known of it in words.
    pub(super) async fn ready(&mut self, limit: Duration) -> Result<(), String> {
        let said = tokio::time::timeout(limit, say_ready(self.stdout.take())).await;
        let verdict = match said {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => self.end().await,
            Ok(Err(error)) => error.to_string(),
            Err(_late) => format!("it was not ready within {limit:?}"),
        };
        let log = std::fs::read_to_string(self.directory.log()).unwrap_or_default();
        let quoted: Vec<&str> = log.lines().rev().take(QUOTED_LINES).collect();
        Err(if quoted.is_empty() { verdict } else { quoted.into_iter().rev().collect::<Vec<_>>().join("; ") })
    }

    /// It is connected to: from now on it ends by itself.
    pub(super) fn keep(mut self) {
        self.process = None;
    }

    /// How it ended, which it is made to if it has not.
    async fn end(&mut self) -> String {
        if let Some(process) = &self.process {
            // One that has ended already keeps its own status.
            let _ = process::signal(process, Signal::KILL);
        }
        let limit = Duration::from_millis(END_MS.unsigned_abs());
        match tokio::time::timeout(limit, &mut self.ended).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(_)) | Err(_) => "it said nothing and does not end".to_owned(),
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        let _ = process::signal(&process, Signal::KILL);
        process::wait_all(&[process], END_MS);
        self.directory.remove();
    }
}

/// A descriptor of a child, whose exit status is taken when it ends. A child for which that cannot be done is ended.
fn watch(mut child: Child) -> io::Result<(OwnedFd, oneshot::Receiver<ExitStatus>)> {
    let number = process::to_pid(child.id()).ok_or(rustix::io::Errno::SRCH)?;
    let (tell, ended) = oneshot::channel();
    let (hand_over, handed_over) = std::sync::mpsc::sync_channel::<Child>(1);
    let body = move || {
        if let Ok(status) = handed_over.recv().map_err(io::Error::other).and_then(|mut child| child.wait()) {
            // Nobody waits for it once it is kept.
            let _ = tell.send(status);
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

/// Whether a line says so, before there are no more.
async fn say_ready(stdout: Option<ChildStdout>) -> io::Result<bool> {
    let Some(stdout) = stdout else { return Ok(false) };
    let stdout = pipe::Receiver::from_owned_fd(stdout.into())?;
    let mut lines = BufReader::new(stdout.take(MAX_SAID)).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "ready" {
            return Ok(true);
        }
    }
    Ok(false)
}
