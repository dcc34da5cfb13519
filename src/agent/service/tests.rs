//! A whole agent with real processes, against a test's master.

mod hardship;
mod reading;
mod recovery;
mod several_masters;

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{Agent, Ended, Options, SupervisorMode};
use crate::proto::ext::ReadRequest;
use crate::proto::ext::process_end::How;
use crate::proto::ext::sandbox_client::SandboxClient;
use crate::proto::internal::agent_session_server::{AgentSession, AgentSessionServer};
use crate::proto::internal::{self as wire, agent_message, master_message};
use crate::proto::v1::{self, TaskState};
use crate::transport::serve::{Limits, Listener, serve};

const TIMEOUT: Duration = Duration::from_secs(30);

/// One agent's stream, as the master sees it.
struct Attached {
    messages: mpsc::Receiver<wire::AgentMessage>,
    answers: mpsc::Sender<Result<wire::MasterFrame, Status>>,
}

#[derive(Clone)]
struct TestService {
    attached: mpsc::Sender<Attached>,
}

#[tonic::async_trait]
impl AgentSession for TestService {
    type AttachStream = std::pin::Pin<Box<dyn Stream<Item = Result<wire::MasterFrame, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<wire::AgentFrame>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let ((received, messages), (answers, sent)) = (mpsc::channel(64), mpsc::channel(64));
        let mut frames = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.next().await {
                for message in frame.messages {
                    let _ = received.send(message).await;
                }
            }
        });
        let _ = self.attached.send(Attached { messages, answers }).await;
        Ok(Response::new(Box::pin(ReceiverStream::new(sent))))
    }
}

/// A master that the test controls.
struct Master {
    address: String,
    attached: mpsc::Receiver<Attached>,
    _stop: tokio_util::sync::DropGuard,
}

impl Master {
    async fn start() -> Self {
        let (attach, attached) = mpsc::channel(8);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), false).await.unwrap();
        let address = listener.address().to_string();
        let service = AgentSessionServer::new(TestService { attached: attach });
        let router = tonic::service::Routes::new(service).into_axum_router();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, router, Limits::default(), stop.clone()));
        Self { address, attached, _stop: stop.drop_guard() }
    }

    /// Waits for an agent and registers it; returns its registration.
    async fn admit(&mut self) -> (Session, wire::Register) {
        self.admit_as(1).await
    }

    /// The same as a master of this epoch.
    async fn admit_as(&mut self, epoch: u64) -> (Session, wire::Register) {
        let attached = within(self.attached.recv()).await.expect("an agent attaches");
        let mut session = Session { attached };
        let agent_message::Kind::Register(register) = session.receive().await else { panic!("no registration") };
        let registered = wire::Registered {
            version: 1,
            agent_id: "S0".to_owned(),
            master_id: "M".to_owned(),
            epoch,
            ..Default::default()
        };
        session.send(master_message::Kind::Registered(Box::new(registered))).await;
        (session, *register)
    }
}

struct Session {
    attached: Attached,
}

impl Session {
    async fn receive(&mut self) -> agent_message::Kind {
        within(self.attached.messages.recv()).await.expect("the session goes on").kind.unwrap()
    }

    async fn send(&mut self, kind: master_message::Kind) {
        let messages = vec![wire::MasterMessage { kind: Some(kind) }];
        self.attached.answers.send(Ok(wire::MasterFrame { messages })).await.unwrap();
    }

    async fn run(&mut self, container: &str, command: &str) {
        let command = v1::CommandInfo { value: Some(command.to_owned()), ..Default::default() };
        let info = v1::TaskInfo {
            task_id: v1::TaskId { value: format!("task-{container}") },
            command: Some(Box::new(command)),
            ..Default::default()
        };
        self.send(master_message::Kind::RunTask(wire::RunTask {
            framework_id: "f".to_owned(),
            container_id: own(container),
            task_info: Bytes::from(info.encode_to_vec()),
        }))
        .await;
    }

    /// The next status, acknowledged.
    async fn status(&mut self) -> v1::TaskStatus {
        loop {
            let agent_message::Kind::Update(update) = self.receive().await else { continue };
            let status = update.status.unwrap();
            self.send(master_message::Kind::Acknowledge(wire::Acknowledge {
                framework_id: update.framework_id,
                task_id: status.task_id.value.clone(),
                uuid: status.uuid.clone().unwrap(),
            }))
            .await;
            return status;
        }
    }

    /// The next terminal status; one that was on its way when an agent stopped may come again before it.
    async fn last_status(&mut self) -> v1::TaskStatus {
        loop {
            let status = self.status().await;
            if status.state().is_terminal() {
                return status;
            }
        }
    }

    async fn states(&mut self, count: usize) -> Vec<TaskState> {
        let mut states = vec![];
        for _ in 0..count {
            states.push(self.status().await.state());
        }
        states
    }
}

/// A container's id that no other test has: what is left of a container is looked for on the whole host.
fn own(container: &str) -> String {
    format!("{container}-{}", std::process::id())
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(TIMEOUT, future).await.expect("it took too long")
}

/// Polls until the condition holds.
async fn until(so: impl Fn() -> bool) {
    within(async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn options(master: &Master, work_dir: &tempfile::TempDir) -> Options {
    let mut options = Options::new(&master.address, work_dir.path().join("work"), SupervisorMode::InProcess);
    options.resources = "cpus:2;mem:512".parse().unwrap();
    options.attributes = "rack:r1".parse().unwrap();
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_process_runs_is_reported_and_its_output_can_be_read() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, register) = master.admit().await;
    let info = register.info.unwrap();
    assert_eq!((info.port, info.attributes.len(), info.id), (Some(agent.address().port().into()), 1, None));
    assert_eq!(within(agent.id().wait_for(Option::is_some)).await.unwrap().as_deref(), Some("S0"));

    session.run("c1", "echo out; echo $MESOS_TASK_ID >&2; exit 3").await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    let last = session.status().await;
    assert_eq!(last.state(), TaskState::TaskFailed);
    assert_eq!(last.message.as_deref(), Some("command exited with status 3"));
    assert_eq!(last.process_end.and_then(|end| end.how), Some(How::ExitCode(3)));
    let read = async |path: &str| {
        let mut client = SandboxClient::connect(format!("http://{}", agent.address())).await.unwrap();
        let request = ReadRequest { container_id: own("c1"), path: path.to_owned(), offset: 1, follow: true };
        let mut text = vec![];
        let mut chunks = client.read(request).await?.into_inner();
        while let Some(chunk) = chunks.message().await? {
            text.extend_from_slice(&chunk.data);
        }
        Ok::<_, Status>(String::from_utf8(text).unwrap())
    };
    assert_eq!(within(read("stdout")).await.unwrap(), "ut\n");
    assert_eq!(within(read("stderr")).await.unwrap(), "ask-c1\n");
    assert_eq!(within(read("nothing")).await.unwrap_err().code(), tonic::Code::NotFound);
    assert_eq!(within(agent.stop()).await.unwrap(), Ended::Stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ignores_sigterm_dies_of_sigkill() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "trap '' TERM; echo > ready; while :; do sleep 1; done").await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    until(|| work_dir.path().join("work/runs").join(own("c1")).join("ready").exists()).await;
    let grace_period = Some(v1::DurationInfo { nanoseconds: 50_000_000 });
    session
        .send(master_message::Kind::KillTask(wire::KillTask {
            framework_id: "f".to_owned(),
            task_id: "task-c1".to_owned(),
            kill_policy: Some(v1::KillPolicy { grace_period }),
            container_id: own("c1"),
        }))
        .await;
    let last = session.status().await;
    assert_eq!(last.state(), TaskState::TaskKilled);
    assert_eq!(last.message.as_deref(), Some("killed: command ended by signal SIGKILL (9)"));
    within(agent.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_keeps_its_id_and_reports_what_ended_with_it() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "sleep 1000").await;
    session.run("c2", "true").await;
    let mut states = session.states(3).await;
    states.sort_unstable();
    assert_eq!(states, [TaskState::TaskRunning, TaskState::TaskRunning, TaskState::TaskFinished]);
    within(agent.stop()).await.unwrap();

    let again = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, register) = master.admit().await;
    assert_eq!(register.info.unwrap().id.unwrap().value, "S0");
    assert_eq!(register.epoch, 1);
    let task = &register.tasks[0];
    assert_eq!(task.container_id.as_str(), own("c1"));
    assert_eq!(task.state, TaskState::TaskFailed as i32);
    assert_eq!(session.last_status().await.message.as_deref(), Some("command ended by signal SIGKILL (9)"));
    within(again.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_session_is_reopened_and_nothing_is_lost() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "true").await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    drop(session);
    let (mut session, _) = master.admit().await;
    assert_eq!(session.status().await.state(), TaskState::TaskFinished);
    within(agent.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_shut_down_ends_its_tasks_and_unregisters() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "sleep 1000").await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    assert_eq!(within(agent.shutdown()).await.unwrap(), Ended::ShutDown);
    assert_eq!(session.receive().await, agent_message::Kind::Unregister(wire::Unregister {}));
    // Its work directory is free again.
    within(Agent::start(options(&master, &work_dir)).await.unwrap().stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_options_names_the_remedy() {
    let (work_dir, master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let wrong = async |change: &dyn Fn(&mut Options)| {
        let mut options = options(&master, &work_dir);
        change(&mut options);
        Agent::start(options).await.unwrap_err().to_string()
    };
    let address = wrong(&|options| options.master = "nowhere".to_owned()).await;
    assert!(address.contains("write HOST:PORT"), "{address}");
    let public = wrong(&|options| options.listen = "0.0.0.0:0".parse().unwrap()).await;
    assert!(public.contains("--insecure"), "{public}");
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let held = wrong(&|_| {}).await;
    assert!(held.contains("is in use by process"), "{held}");
    within(agent.stop()).await.unwrap();
}

/// Options for an agent whose supervisor is a process of its own: this test program, run as one.
fn options_of_process(master: &Master, work_dir: &tempfile::TempDir) -> Options {
    let program = work_dir.path().join("supervisor");
    let tests = std::env::current_exe().unwrap();
    let script = format!(
        "#!/bin/sh\nshift\nexec {} --ignored --exact agent::supervisor::tests::serves_as_a_supervisor \
         --nocapture --test-threads=2 -- \"$@\"\n",
        tests.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    Options { supervisor: SupervisorMode::Process { program }, ..options(master, work_dir) }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_outlive_an_agent_whose_supervisor_is_a_process() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let options = options_of_process(&master, &work_dir);
    let agent = Agent::start(options.clone()).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "while [ ! -e go ]; do sleep 0.05; done; exit 7").await;
    session.run("c2", "while [ ! -e go ]; do sleep 0.05; done; exit 8").await;
    assert_eq!(session.states(2).await, [TaskState::TaskRunning; 2]);
    assert_eq!(within(agent.stop()).await.unwrap(), Ended::Stopped);
    // One ends while no agent runs, the other afterwards.
    let runs = work_dir.path().join("work/runs");
    std::fs::write(runs.join(own("c1")).join("go"), "").unwrap();

    let again = Agent::start(options).await.unwrap();
    let (mut session, register) = master.admit().await;
    assert_eq!(register.tasks.len(), 2);
    assert_eq!(session.last_status().await.message.as_deref(), Some("command exited with status 7"));
    std::fs::write(runs.join(own("c2")).join("go"), "").unwrap();
    assert_eq!(session.last_status().await.message.as_deref(), Some("command exited with status 8"));
    assert_eq!(within(again.shutdown()).await.unwrap(), Ended::ShutDown);
    let supervisors = work_dir.path().join("work/supervisors");
    until(|| std::fs::read_dir(&supervisors).unwrap().next().is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_supervisor_dies_its_tasks_fail_with_that_reason_and_another_takes_over() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let agent = Agent::start(options_of_process(&master, &work_dir)).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "echo $PPID > parent; exec sleep 1000").await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    let parent = work_dir.path().join("work/runs").join(own("c1")).join("parent");
    let read = || std::fs::read_to_string(&parent).unwrap_or_default();
    until(|| read().ends_with('\n')).await;
    let supervisor = read().trim().parse().unwrap();
    let supervisor = rustix::process::Pid::from_raw(supervisor).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    let last = session.status().await;
    assert_eq!(last.state(), TaskState::TaskFailed);
    assert_eq!(last.reason, Some(v1::task_status::Reason::ExecutorTerminated as i32));
    session.run("c2", "true").await;
    assert_eq!(session.states(2).await, [TaskState::TaskRunning, TaskState::TaskFinished]);
    assert_eq!(within(agent.shutdown()).await.unwrap(), Ended::ShutDown);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_no_supervisor_can_be_started_ends_are_reported_and_the_agent_can_stop() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let options = options_of_process(&master, &work_dir);
    let agent = Agent::start(options.clone()).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "exec sleep 1000").await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    // As when the disk is full or the program was taken away.
    let SupervisorMode::Process { program } = &options.supervisor else { panic!("{options:?}") };
    let script = std::fs::read(program).unwrap();
    std::fs::write(program, "#!/bin/sh\nexit 1\n").unwrap();
    let supervisors = work_dir.path().join("work/supervisors");
    let pid = std::fs::read_to_string(supervisors.join("1/pid")).unwrap();
    let pid = pid.split_once(' ').unwrap().0.parse().unwrap();
    let supervisor = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    assert_eq!(session.last_status().await.state(), TaskState::TaskFailed);
    assert_eq!(within(agent.stop()).await.unwrap(), Ended::Stopped);
    // The work directory is free, and the agent works when a supervisor can be started again.
    std::fs::write(program, script).unwrap();
    let again = Agent::start(options).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c2", "true").await;
    let mut last = session.last_status().await;
    while last.task_id.value == "task-c1" {
        last = session.last_status().await;
    }
    assert_eq!(last.state(), TaskState::TaskFinished);
    assert_eq!(within(again.shutdown()).await.unwrap(), Ended::ShutDown);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_run_and_leave_nothing_behind() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let mut options = options(&master, &work_dir);
    options.retention.keep_at_most = 10;
    let agent = Agent::start(options).await.unwrap();
    let (mut session, _) = master.admit().await;
    for number in 0..200 {
        session.run(&format!("c{number}"), "exit 0").await;
    }
    let states = session.states(400).await;
    assert_eq!(states.iter().filter(|state| **state == TaskState::TaskFinished).count(), 200);
    let runs = work_dir.path().join("work/runs");
    until(|| std::fs::read_dir(&runs).unwrap().count() == 10).await;
    within(agent.stop()).await.unwrap();
}
