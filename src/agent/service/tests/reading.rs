//! Answers to readers of sandboxes.

use tonic::Code;

use super::*;

async fn client(agent: &Agent) -> SandboxClient<tonic::transport::Channel> {
    SandboxClient::connect(format!("http://{}", agent.address())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_of_a_reader_is_never_an_internal_error() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let agent = Agent::start(options(&master, &work_dir)).await.unwrap();
    let (mut session, _) = master.admit().await;
    session.run("c1", "mkdir folder; ln -s / root; mkfifo pipe; exit 0").await;
    session.states(2).await;
    let long = |text: &str, bytes: usize| text.repeat(bytes / text.len());
    let c1 = own("c1");
    let cases = [
        (&*c1, "stdout\0".to_owned(), Code::InvalidArgument),
        (&*c1, "\0".to_owned(), Code::InvalidArgument),
        (&*c1, long("x", 5_000), Code::NotFound),
        (&*c1, long("x", 256), Code::NotFound),
        (&*c1, long("a/", 5_000), Code::NotFound),
        (&*c1, long("../", 6_000), Code::NotFound),
        (&*c1, long("../", 3_000), Code::InvalidArgument),
        (&*c1, String::new(), Code::NotFound),
        (&*c1, "stdout/x".to_owned(), Code::NotFound),
        (&*c1, "folder".to_owned(), Code::InvalidArgument),
        (&*c1, "pipe".to_owned(), Code::InvalidArgument),
        (&*c1, "root/etc/passwd".to_owned(), Code::InvalidArgument),
        (&*c1, format!("../{c1}/stdout"), Code::InvalidArgument),
        ("other", "stdout".to_owned(), Code::NotFound),
        ("", "stdout".to_owned(), Code::InvalidArgument),
        ("..", "stdout".to_owned(), Code::InvalidArgument),
        ("c\0", "stdout".to_owned(), Code::InvalidArgument),
        ("a/b", "stdout".to_owned(), Code::InvalidArgument),
    ];
    for (container_id, path, wanted) in cases {
        for (offset, follow) in [(0, false), (0, true), (u64::MAX, true)] {
            let request = ReadRequest { container_id: container_id.to_owned(), path: path.clone(), offset, follow };
            let begin: String = path.chars().take(20).collect();
            let shown = format!("{container_id:?} {begin:?} from {offset}, following: {follow}");
            let status = match client(&agent).await.read(request).await {
                Ok(answer) => within(answer.into_inner().message()).await.expect_err(&shown),
                Err(status) => status,
            };
            assert_eq!(status.code(), wanted, "{shown}: {status}");
            assert!(status.message().len() < 300, "{shown}: {status}");
        }
    }
    within(agent.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_because_the_agent_stops_reports_that_and_continues_with_the_next_agent() {
    let (work_dir, mut master) = (tempfile::tempdir().unwrap(), Master::start().await);
    let agent = Agent::start(options_of_process(&master, &work_dir)).await.unwrap();
    let (mut session, _) = master.admit().await;
    let go = work_dir.path().join("go");
    session.run("c1", &format!("echo one; while [ ! -e {} ]; do sleep 0.02; done; echo two", go.display())).await;
    assert_eq!(session.status().await.state(), TaskState::TaskRunning);
    let request = |offset| ReadRequest { container_id: own("c1"), path: "stdout".to_owned(), offset, follow: true };
    let mut chunks = client(&agent).await.read(request(0)).await.unwrap().into_inner();
    let first = within(chunks.message()).await.unwrap().unwrap();
    assert_eq!((first.offset, &first.data[..]), (0, &b"one\n"[..]));
    within(agent.stop()).await.unwrap();
    let status = within(chunks.message()).await.expect_err("the task goes on");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(status.message().contains("byte 4"), "{status}");

    let again = Agent::start(options_of_process(&master, &work_dir)).await.unwrap();
    let (_session, _) = master.admit().await;
    let mut chunks = client(&again).await.read(request(4)).await.unwrap().into_inner();
    std::fs::write(&go, "").unwrap();
    let rest = within(chunks.message()).await.unwrap().unwrap();
    assert_eq!((rest.offset, &rest.data[..]), (4, &b"two\n"[..]));
    assert_eq!(within(chunks.message()).await.unwrap(), None);
    within(again.shutdown()).await.unwrap();
}
