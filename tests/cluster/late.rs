//! A link with a second of latency: ends of tasks that race with the requests and decisions of a restarted master.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use divvy::transport::clock::Clock;

use super::part::{Site, until};

/// The latency of a link, in each direction.
const LATENCY: Duration = Duration::from_secs(1);

/// Forwards every connection to `to`, each byte delayed, until the test's process ends; returns its own address.
fn late_link(to: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let (address, to) = (listener.local_addr().expect("bound"), to.to_owned());
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            // The target does not listen: drop the connection, so that the other end sees it closed.
            let Ok(far) = TcpStream::connect(&to) else { continue };
            forward(near.try_clone().expect("descriptors"), far.try_clone().expect("descriptors"));
            forward(far, near);
        }
    });
    address
}

/// Forwards one direction of a connection.
fn forward(mut from: TcpStream, mut to: TcpStream) {
    let (sender, receiver) = mpsc::channel::<(u64, Vec<u8>)>();
    let (came, leaves) = (Clock::system(), Clock::system());
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if sender.send((came.now().mono_ns, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        while let Ok((came_ns, bytes)) = receiver.recv() {
            thread::sleep(LATENCY.saturating_sub(leaves.now().since(came_ns)));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
    });
}

#[test]
fn an_end_that_arrives_late_is_reported_with_its_exit_code_though_the_master_was_restarted() {
    const TASKS: u32 = 14;
    let site = Site::new();
    let master = site.master();
    let _agent = site.agent("agent", &late_link(&master.address).to_string(), "cpus:14;mem:1024");
    let folder = site.path().display();
    let run = |number: u32| {
        // They end one after the other, within the five seconds in which the agent reconnects.
        let line = format!("echo $$ > {folder}/pid.{number}; sleep {}; exit 6", 3.0 + 0.4 * f64::from(number));
        let arguments = ["run", "--cpus", "1", "--mem", "32", "--", "sh", "-c", &line];
        site.divvy(&format!("run.{number}"), &master.address, &arguments)
    };
    let runs: Vec<_> = (0..TASKS).map(run).collect();
    until("all tasks to run", || {
        let began = |number: &u32| fs::read_to_string(site.path().join(format!("pid.{number}"))).is_ok();
        let waiting: Vec<u32> = (0..TASKS).filter(|number| !began(number)).collect();
        if waiting.is_empty() { Ok(()) } else { Err(waiting) }
    });
    let address = master.kill();
    let _master = site.master_on(&address);
    for (number, run) in runs.into_iter().enumerate() {
        let (status, out, err) = run.wait();
        assert_eq!(status.code(), Some(6), "run {number}: {out}{err}");
    }
}
