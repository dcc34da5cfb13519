//! Peers that are not served: processes of containers, and peers without the token.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use bytes::BytesMut;

use super::*;
use crate::{agent::supervisor::frame, proto::internal::SupervisorHello};

const KEEPS_OPEN: &str = "--keeps-open";

fn request(kind: Kind, buffer: &mut BytesMut) {
    frame::put(&SupervisorRequest { kind: Some(kind) }, buffer).unwrap();
}

fn hello(token: &str) -> Kind {
    Kind::Hello(SupervisorHello { versions: Some(VERSIONS), token: token.to_owned() })
}

fn kill(container_id: &str) -> Kind {
    Kind::Signal(Signal { container_id: container_id.to_owned(), signal: 9, tree: true })
}

/// What a supervisor answers until it closes the connection.
fn answers(mut stream: UnixStream, requests: &[Kind]) -> Vec<SupervisorEvent> {
    let mut buffer = BytesMut::new();
    for kind in requests {
        request(kind.clone(), &mut buffer);
    }
    // It may be closed already.
    let _ = stream.write_all(&buffer);
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answer = Vec::new();
    // What is not read when a socket is closed resets the connection.
    let _ = stream.read_to_end(&mut answer);
    let mut answer = BytesMut::from(&answer[..]);
    std::iter::from_fn(|| frame::take(&mut answer).unwrap()).collect()
}

/// Not a test: the program of a container that attacks another.
#[test]
#[ignore = "it is the body of a container that other tests start"]
fn intrudes() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|it| it == "--folder") else { return };
    let folder = PathBuf::from(&arguments[at + 1]);
    let stream = UnixStream::connect(folder.join("supervisors/1/socket")).unwrap();
    if arguments.iter().any(|it| it == KEEPS_OPEN) {
        fs::write(folder.join("open"), "").unwrap();
        let _ = answers(stream.try_clone().unwrap(), &[]);
        fs::write(folder.join("closed"), "").unwrap();
        std::thread::sleep(LIMIT);
        drop(stream);
        return;
    }
    let token = fs::read_to_string(folder.join("supervisors/1/token")).unwrap();
    let start = shell(&folder, "intruder", "echo > started");
    let count = answers(stream, &[hello(&token), kill("victim"), Kind::Start(start)]).len();
    // The test reads it as soon as it exists.
    fs::write(folder.join("draft"), count.to_string()).unwrap();
    fs::rename(folder.join("draft"), folder.join("answers")).unwrap();
}

fn intruder(agent: &Agent, more: &str) -> Start {
    let exe = std::env::current_exe().unwrap();
    let name = "agent::supervisor::tests::intruders::intrudes";
    let folder = agent.folder.path().display();
    let script = format!("exec {} --ignored --exact {name} --nocapture -- --folder {folder} {more}", exe.display());
    shell(agent.folder.path(), &format!("intruder{more}"), &script)
}

async fn appears(path: PathBuf) {
    let there = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, there).await.unwrap_or_else(|_| panic!("{} does not appear", path.display()));
}

#[tokio::test]
async fn a_process_of_a_container_is_not_served_even_with_the_token_while_the_agent_is_away() {
    let mut agent = Agent::new(Mode::Process).await;
    let go = pipe(&agent, "go");
    agent.shell("victim", "exec sleep 1000").await;
    let victim = agent.started("victim").await;
    let mut start = intruder(&agent, "");
    start.arguments[2] = format!("cat go; setsid {} & wait", start.arguments[2].strip_prefix("exec ").unwrap());
    agent.start(start).await;
    agent.started("intruder").await;
    let supervisor = agent.supervisor_pid();
    let folder = agent.killed();
    spawn_thread(move || fs::write(go, "").unwrap()).await;
    appears(folder.path().join("answers")).await;
    assert_eq!(fs::read_to_string(folder.path().join("answers")).unwrap(), "0");
    assert!(is_alive(victim.pid) && is_alive(supervisor) && !folder.path().join("started").exists());
    let (sender, events) = mpsc::channel(16);
    let link = found(&folder, sender).await.remove(0);
    let mut agent = Agent { folder, link, events, seen: Vec::new() };
    assert!(agent.welcome().await.running.contains(&victim));
}

#[tokio::test]
async fn a_container_that_holds_the_socket_open_does_not_block_an_agent() {
    let agent = Agent::new(Mode::Process).await;
    agent.start(intruder(&agent, KEEPS_OPEN)).await;
    appears(agent.path("open")).await;
    let mut agent = agent.replaced().await;
    assert_eq!(agent.welcome().await.running.len(), 1);
    appears(agent.path("closed")).await;
}

#[tokio::test]
async fn peers_that_send_nothing_do_not_block_an_agent() {
    let agent = Agent::new(Mode::Process).await;
    let socket = agent.path("supervisors/1/socket");
    let silent: Vec<UnixStream> = (0..8).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut agent = agent.replaced().await;
    assert_eq!(agent.welcome().await.running, []);
    drop(silent);
}

#[tokio::test]
async fn a_peer_that_does_not_know_the_token_is_not_served() {
    let mut agent = Agent::new(Mode::Process).await;
    agent.shell("victim", "exec sleep 1000").await;
    let victim = agent.started("victim").await;
    let connect = || UnixStream::connect(agent.path("supervisors/1/socket")).unwrap();
    let wrong = "0".repeat(32);
    let (first, second) = (connect(), connect());
    let answer = spawn_thread(move || answers(first, &[hello(&wrong), kill("victim")])).await;
    assert_eq!(answer, []);
    // A peer built before there were tokens receives a `Welcome` without a version.
    let none = spawn_thread(move || answers(second, &[hello(""), kill("victim")])).await;
    let too_old = supervisor_event::Kind::Welcome(SupervisorWelcome::default());
    assert_eq!(none, [SupervisorEvent { kind: Some(too_old) }]);
    assert!(is_alive(victim.pid));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(agent.path("supervisors/1/token")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
