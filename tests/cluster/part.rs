//! Starting, watching and killing the parts of a cluster.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// The longest any wait may take before the test fails.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// The folder of one test; what it started is killed when it ends.
pub(crate) struct Site {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("divvy-test-").tempdir().expect("a temporary folder");
        let path = folder.path().to_owned();
        Self { folder: Some(folder), path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn master(&self) -> Part {
        self.master_on("127.0.0.1:0")
    }

    pub(crate) fn master_on(&self, address: &str) -> Part {
        self.master_with(address, &[])
    }

    /// A master on that address with more flags.
    pub(crate) fn master_with(&self, address: &str, flags: &[&str]) -> Part {
        let work_dir = self.path.join("master");
        let mut command = Command::new(env!("CARGO_BIN_EXE_divvy-master"));
        command.args(["--listen", address]).args(flags).arg("--work-dir").arg(work_dir);
        Part::start(self, "master", command)
    }

    /// An agent of that name, with these resources, for the master at that address.
    pub(crate) fn agent(&self, name: &str, master: &str, resources: &str) -> Part {
        Part::start(self, name, self.agent_command(env!("CARGO_BIN_EXE_divvy-agent"), name, master, resources))
    }

    /// The command that starts this program as an agent.
    pub(crate) fn agent_command(
        &self,
        program: impl AsRef<OsStr>,
        name: &str,
        master: &str,
        resources: &str,
    ) -> Command {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--master", master, "--resources", resources, "--work-dir"]);
        command.arg(self.path.join(name));
        command
    }

    /// A server that this command runs.
    pub(crate) fn start(&self, name: &str, command: Command) -> Part {
        Part::start(self, name, command)
    }

    /// `divvy` with these arguments, not waited for.
    pub(crate) fn divvy(&self, name: &str, master: &str, arguments: &[&str]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_divvy"));
        command.args(["--master", master]).args(arguments);
        Running::start(self, name, command)
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, mut command: Command) -> Output {
        let running =
            command.current_dir(&self.path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = running.spawn().expect("starts");
        let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            out.read_to_end(&mut text).expect("readable");
            text
        });
        let mut errors = Vec::new();
        err.read_to_end(&mut errors).expect("readable");
        let status = wait(&mut child, "the command");
        Output { status, stdout: reader.join().expect("joined"), stderr: errors }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        kill_everything_below(&self.path);
        if thread::panicking() {
            let kept = self.folder.take().map(TempDir::keep);
            eprintln!("logs and work directories are kept in {kept:?}");
        }
    }
}

/// Kills supervisors and tasks that a test left: every process that works below the test's folder.
fn kill_everything_below(folder: &Path) {
    for pid in processes_below(folder) {
        drop(Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status());
    }
}

/// Every process whose command line or working directory lies in the folder.
pub(crate) fn processes_below(folder: &Path) -> Vec<u32> {
    let named = |pid: u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let in_line = String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy());
        in_line || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
    };
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id() && named(*pid)).collect()
}

/// The supervisors of an agent whose work directory this is.
pub(crate) fn supervisors_of(work_dir: &Path) -> Vec<u32> {
    let mut found = processes_below(&work_dir.join("supervisors"));
    found.retain(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("\0supervise\0")
    });
    // A child that a supervisor just forked shows the same command line until its exec.
    let parent = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)?.parse::<u32>().ok())
    };
    let all = found.clone();
    found.retain(|pid| parent(pid).is_some_and(|parent| !all.contains(&parent)));
    found
}

/// A process whose output goes to files of the site.
pub(crate) struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn start(site: &Site, name: &str, mut command: Command) -> Self {
        let log = |kind: &str| site.path.join(format!("{name}.{kind}"));
        let file = |kind: &str| File::options().create(true).append(true).open(log(kind)).expect("a log file");
        let command = command.current_dir(site.path()).stdin(Stdio::null());
        let child = command.stdout(file("out")).stderr(file("err")).spawn().expect("starts");
        Self { name: name.to_owned(), child, log: site.path.join(name) }
    }

    pub(crate) fn out(&self) -> String {
        fs::read_to_string(self.log.with_extension("out")).unwrap_or_default()
    }

    pub(crate) fn err(&self) -> String {
        fs::read_to_string(self.log.with_extension("err")).unwrap_or_default()
    }

    pub(crate) fn wait(mut self) -> (ExitStatus, String, String) {
        let name = self.name.clone();
        let status = wait(&mut self.child, &name);
        (status, self.out(), self.err())
    }

    pub(crate) fn signal(&self, signal: &str) {
        send(self.child.id(), signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A running server, which has printed the address it serves on.
pub(crate) struct Part {
    child: Child,
    pub(crate) address: String,
}

impl Part {
    pub(crate) fn start(site: &Site, name: &str, mut command: Command) -> Self {
        let err = File::options().create(true).append(true).open(site.path.join(format!("{name}.err")));
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(err.expect("a log file"));
        let mut child = command.env("DIVVY_LOG", "debug,h2=info,hyper=info,tower=info").spawn().expect("starts");
        let out = child.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let line =
            lines.recv_timeout(LIMIT).unwrap_or_else(|error| panic!("{name} printed nothing on its output: {error}"));
        let address = line.rsplit(' ').next().unwrap_or_default().to_owned();
        assert!(address.parse::<std::net::SocketAddr>().is_ok(), "{name} names its address last: {line}");
        Self { child, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        send(self.child.id(), signal);
    }

    /// Sends SIGTERM and waits until it has ended.
    pub(crate) fn stop(mut self) -> ExitStatus {
        send(self.child.id(), "TERM");
        wait(&mut self.child, "the part")
    }

    /// Sends SIGKILL, reaps the process and returns its address.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
        self.address.clone()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A server's response to a GET, head and body; a chunked body is joined.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).expect("connects");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.to_ascii_lowercase().contains("transfer-encoding: chunked") => {
            format!("{head}\r\n\r\n{}", unchunked(body))
        }
        _ => text,
    }
}

/// The `/state` of the master at that address.
pub(crate) fn state(master: &str) -> Value {
    let answer = get(master, "/state");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("/state is JSON: {error}: {answer}"))
}

/// The ids of the master's agents; waits until there are so many, all connected.
pub(crate) fn connected_agents(master: &str, count: usize) -> Vec<String> {
    until("all agents to be connected", || {
        let state = state(master);
        let agents = state["slaves"].as_array().cloned().unwrap_or_default();
        let active = agents.iter().filter(|agent| agent["active"] == Value::Bool(true));
        let mut ids: Vec<String> = active.filter_map(|agent| agent["id"].as_str().map(str::to_owned)).collect();
        ids.sort();
        if ids.len() == count && agents.len() == count { Ok(ids) } else { Err(state["slaves"].to_string()) }
    })
}

/// The content of a chunked body, which must be complete.
fn unchunked(mut body: &str) -> String {
    let mut content = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").expect("the size of a chunk");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let Some(chunk) = rest.get(..size) else { panic!("the body was cut off in a chunk of {size} bytes") };
        if size == 0 {
            return content;
        }
        content.push_str(chunk);
        body = rest[size..].strip_prefix("\r\n").expect("the end of a chunk");
    }
}

fn send(pid: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "kill -{signal} {pid}");
}

fn wait(child: &mut Child, name: &str) -> ExitStatus {
    until(&format!("{name} to end"), || child.try_wait().expect("a child of ours").ok_or("it runs"))
}

/// Repeats the attempt until it succeeds; after [`LIMIT`] it panics with the last error.
pub(crate) fn until<T, E: std::fmt::Debug>(what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let pause = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(last) if waited >= LIMIT => panic!("waited {LIMIT:?} for {what}; last saw: {last:?}"),
            Err(_) => {
                thread::sleep(pause);
                waited += pause;
            }
        }
    }
}
