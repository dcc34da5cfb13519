//! A supervisor with real processes, in a process of its own and in this one.

mod containers;
mod copies;
mod intruders;
mod lives;
mod replays;
mod shortages;
mod silence;
mod trees;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{
    Earlier, FromSupervisor, IDLE, Link, Settings, VERSIONS, directory::Directory, in_process, launch, process::Stat,
    reconnect, replay, service::run_with_versions,
};
use crate::proto::ext::VersionRange;
use crate::proto::internal::{
    EnvironmentVariable, Exited, Forget, Output, Retire, Signal, Start, StartFailed, Started, SupervisorEvent,
    SupervisorRequest, SupervisorWelcome, exited::Status, output, supervisor_event, supervisor_request::Kind,
};

/// More than any test needs, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Not a test: the body of the supervisor processes that the others start.
#[test]
#[ignore = "it is the body of the supervisor processes that other tests start"]
fn serves_as_a_supervisor() {
    let arguments: Vec<String> = std::env::args().collect();
    // A run of all ignored tests starts it without an agent.
    let Some(at) = arguments.iter().position(|it| it == "--directory") else { return };
    // As a supervisor built before version 2 of the protocol.
    let max = if arguments.iter().any(|it| it == "--version-1") { 1 } else { VERSIONS.max };
    let idle_ms = arguments.iter().position(|it| it == "--idle-ms").map(|at| arguments[at + 1].parse().unwrap());
    let idle = idle_ms.map_or(IDLE, Duration::from_millis);
    let _ = run_with_versions(Path::new(&arguments[at + 1]), idle, VersionRange { min: 1, max });
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Process,
    Threads,
}

const BOTH: [Mode; 2] = [Mode::Process, Mode::Threads];

/// An agent's folder. Dropping it kills the supervisors and containers that a test left.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for directory in Directory::list(self.path()).unwrap() {
            if directory.is_copy().unwrap() {
                continue;
            }
            if let Some(supervisor) = replay::open_live_process(&directory).unwrap() {
                super::process::signal(&supervisor, rustix::process::Signal::KILL).unwrap();
            }
            replay::kill_left(&directory, &[]).unwrap();
        }
    }
}

/// An agent with one supervisor and a folder.
struct Agent {
    folder: Folder,
    link: Link,
    events: mpsc::Receiver<FromSupervisor>,
    seen: Vec<FromSupervisor>,
}

/// The supervisors that an agent of the same build reconnects to.
async fn found(folder: &Folder, events: mpsc::Sender<FromSupervisor>) -> Vec<Link> {
    reconnect(folder.path(), &Earlier::default(), events).await.unwrap().links
}

fn settings(work_dir: &Path) -> Settings {
    let name = "agent::supervisor::tests::serves_as_a_supervisor";
    let arguments = ["--ignored", "--exact", name, "--nocapture", "--test-threads=2", "--"];
    Settings {
        program: std::env::current_exe().unwrap(),
        arguments: arguments.map(Into::into).to_vec(),
        work_dir: work_dir.to_owned(),
    }
}

impl Agent {
    async fn new(mode: Mode) -> Self {
        Self::within(Folder::new(), mode).await
    }

    /// An agent whose supervisor ends after a moment without an agent and without containers.
    async fn with_short_idle_timeout() -> Self {
        let folder = Folder::new();
        let (sender, events) = mpsc::channel(16);
        let settings = settings(folder.path()).ending_idle_after(Duration::from_millis(50));
        let link = launch(&settings, sender).await.unwrap();
        let mut agent = Self { folder, link, events, seen: Vec::new() };
        agent.welcome().await;
        agent
    }

    /// The agent is killed; returns its folder.
    fn killed(self) -> Folder {
        self.folder
    }

    async fn within(folder: Folder, mode: Mode) -> Self {
        let (sender, events) = mpsc::channel(16);
        let link = match mode {
            Mode::Process => launch(&settings(folder.path()), sender).await.unwrap(),
            Mode::Threads => in_process(folder.path(), sender).await.unwrap(),
        };
        let mut agent = Self { folder, link, events, seen: Vec::new() };
        agent.welcome().await;
        agent
    }

    /// The agent is killed and another reconnects.
    async fn replaced(self) -> Self {
        let Self { folder, link, events, .. } = self;
        drop((link, events));
        let (sender, events) = mpsc::channel(16);
        let mut links = found(&folder, sender).await;
        assert_eq!(links.len(), 1, "one supervisor was there");
        Self { folder, link: links.remove(0), events, seen: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The number that a container wrote to a file.
    fn pid(&self, name: &str) -> u32 {
        fs::read_to_string(self.path(name)).unwrap().trim().parse().unwrap()
    }

    async fn request(&self, kind: Kind) {
        self.link.send(vec![SupervisorRequest { kind: Some(kind) }]).await.unwrap();
    }

    async fn start(&self, start: Start) {
        self.request(Kind::Start(start)).await;
    }

    /// Runs a shell script in the agent's folder.
    async fn shell(&self, container_id: &str, script: &str) {
        self.start(shell(self.folder.path(), container_id, script)).await;
    }

    async fn signal(&self, container_id: &str, signal: i32, tree: bool) {
        self.request(Kind::Signal(Signal { container_id: container_id.to_owned(), signal, tree })).await;
    }

    async fn forget(&self, container_id: &str) {
        self.request(Kind::Forget(Forget { container_id: container_id.to_owned() })).await;
    }

    async fn retire(&self) {
        self.request(Kind::Retire(Retire {})).await;
    }

    /// The next event for which `pick` gives something; others are kept for later.
    async fn next<T>(&mut self, what: &str, pick: impl Fn(&FromSupervisor) -> Option<T>) -> T {
        if let Some((at, found)) = self.seen.iter().enumerate().find_map(|(at, event)| Some((at, pick(event)?))) {
            self.seen.remove(at);
            return found;
        }
        let found = tokio::time::timeout(LIMIT, async {
            while let Some(event) = self.events.recv().await {
                if let Some(found) = pick(&event) {
                    return Some(found);
                }
                self.seen.push(event);
            }
            None
        });
        found.await.ok().flatten().unwrap_or_else(|| panic!("waited for {what}; saw {:#?}", self.seen))
    }

    async fn welcome(&mut self) -> SupervisorWelcome {
        self.next("a welcome", |event| match event_kind(event)? {
            supervisor_event::Kind::Welcome(welcome) => Some(welcome.clone()),
            _ => None,
        })
        .await
    }

    async fn started(&mut self, container_id: &str) -> Started {
        self.next(&format!("{container_id} to start"), |event| match event_kind(event)? {
            supervisor_event::Kind::Started(started) if started.container_id == container_id => Some(started.clone()),
            _ => None,
        })
        .await
    }

    async fn start_failed(&mut self, container_id: &str) -> StartFailed {
        self.next(&format!("{container_id} to fail"), |event| match event_kind(event)? {
            supervisor_event::Kind::StartFailed(failed) if failed.container_id == container_id => Some(failed.clone()),
            _ => None,
        })
        .await
    }

    async fn exited(&mut self, container_id: &str) -> Exited {
        self.next(&format!("{container_id} to end"), |event| match event_kind(event)? {
            supervisor_event::Kind::Exited(exited) if exited.container_id == container_id => Some(exited.clone()),
            _ => None,
        })
        .await
    }

    async fn status(&mut self, container_id: &str) -> Status {
        self.exited(container_id).await.status.unwrap()
    }

    async fn lost(&mut self) -> String {
        self.next("the supervisor to be lost", |event| match event {
            FromSupervisor::Lost(_, reason) => Some(reason.clone()),
            FromSupervisor::Event(..) | FromSupervisor::Silent(..) => None,
        })
        .await
    }

    /// Waits until the link has ended.
    async fn ended(&mut self) {
        let ended = tokio::time::timeout(LIMIT, self.events.recv()).await;
        assert_eq!(ended.expect("the link to end"), None);
    }
}

fn event_kind(event: &FromSupervisor) -> Option<&supervisor_event::Kind> {
    match event {
        FromSupervisor::Event(_, SupervisorEvent { kind }) => kind.as_ref(),
        FromSupervisor::Lost(..) | FromSupervisor::Silent(..) => None,
    }
}

fn shell(folder: &Path, container_id: &str, script: &str) -> Start {
    Start {
        container_id: container_id.to_owned(),
        program: "sh".to_owned(),
        arguments: ["sh", "-c", script].map(str::to_owned).to_vec(),
        environment: vec![variable("PATH", "/usr/bin:/bin")],
        working_directory: folder.to_str().unwrap().to_owned(),
        ..Start::default()
    }
}

fn variable(name: &str, value: &str) -> EnvironmentVariable {
    EnvironmentVariable { name: name.to_owned(), value: value.to_owned() }
}

fn file(path: &Path) -> Output {
    Output { kind: Some(output::Kind::File(path.to_str().unwrap().to_owned())) }
}

/// A named pipe: `cat NAME` in a script waits for the test, `echo > NAME` has the test wait for the script.
fn pipe(agent: &Agent, name: &str) -> PathBuf {
    let path = agent.path(name);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    path
}

/// Waits until a container has written to the pipe and closed it.
async fn read_pipe(pipe: PathBuf) -> String {
    spawn_thread(move || fs::read_to_string(pipe).unwrap()).await
}

/// Runs blocking work on a thread that does not block the runtime if it never returns.
async fn spawn_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || drop(sender.send(work())));
    tokio::time::timeout(LIMIT, receiver).await.expect("what is waited for to happen").unwrap()
}

fn is_alive(pid: u32) -> bool {
    Stat::read(pid).unwrap().is_some_and(|stat| stat.alive)
}
