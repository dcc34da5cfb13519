//! A runtime without a supervisor around it.

use std::{sync::Mutex, thread};

use super::{
    super::process::{Stat, Used},
    *,
};
use crate::proto::internal::exited::Status;

fn spec(id: &str, folder: &std::path::Path, script: &str) -> ContainerSpec {
    let start = Start {
        container_id: id.to_owned(),
        program: "/bin/sh".to_owned(),
        arguments: ["sh", "-c", script].map(str::to_owned).to_vec(),
        working_directory: folder.to_str().unwrap().to_owned(),
        ..Start::default()
    };
    ContainerSpec { start, marker: format!("marker-of-{id}-{}", std::process::id()) }
}

/// Ends the thread that waits for exits, so that a failed assertion does not leave the scope waiting.
struct StopAtTheEnd<'a>(&'a SurveyRuntime);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Starts a container whose first process waits, and that leaves another running `left`; kills all of it once
/// `is_ready` says so of that one.
fn kill_all_of(folder: &std::path::Path, left: &str, is_ready: impl Fn(&Stat) -> bool) {
    let (runtime, exits) = (SurveyRuntime::new(false).unwrap(), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        scope.spawn(|| runtime.exits(None, &|ended| exits.lock().unwrap().extend(ended)).unwrap());
        let mut first = None;
        let _stop = StopAtTheEnd(&runtime);
        // Its parent ends at once: it is known by its marker only.
        let script = format!("(setsid sh -c 'echo $$ > left; exec {left}' &) ; exec sleep 1000");
        runtime.start(&[spec("c", folder, &script)], &mut |mut outcomes| first = outcomes.remove(0).ok());
        let left: u32 = loop {
            let written = std::fs::read_to_string(folder.join("left")).unwrap_or_default();
            if let Some(pid) = written.strip_suffix('\n') {
                break pid.parse().unwrap();
            }
            thread::yield_now();
        };
        while !is_ready(&Stat::read(left).unwrap().unwrap()) {
            thread::yield_now();
        }
        let usage = runtime.usage("c").unwrap();
        assert!(usage.processes == 2 && usage.memory_bytes > 0, "{usage:?}");
        assert_eq!(runtime.kill_all("c").unwrap(), Empty);
        let alive = Stat::read(left).unwrap().is_some_and(|stat| stat.alive);
        assert!(!alive && first.is_some_and(|first| first.pid != left));
        while exits.lock().unwrap().is_empty() {
            thread::yield_now();
        }
    });
    let exits = exits.into_inner().unwrap();
    assert_eq!((exits.len(), &exits[0].container_id, &exits[0].status), (1, &"c".to_owned(), &Some(Status::Signal(9))));
}

#[test]
fn all_of_a_container_can_be_killed_but_its_first_process_which_is_reported_by_its_number() {
    kill_all_of(tempfile::tempdir().unwrap().path(), "sleep 1000", |_| true);
}

/// The linker of every Rust toolchain compiles it too.
const ENDS_ITS_FIRST_THREAD: &str = "
    #include <pthread.h>
    #include <unistd.h>
    static void *rest(void *unused) { for (;;) pause(); }
    int main(void) { pthread_t thread; pthread_create(&thread, 0, rest, 0); pthread_exit(0); }
";

#[test]
fn a_process_whose_first_thread_has_ended_is_killed_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("headless.c"), ENDS_ITS_FIRST_THREAD).unwrap();
    let mut compiler = std::process::Command::new("cc");
    let compiler = compiler.args(["-pthread", "-o", "headless", "headless.c"]).current_dir(folder.path());
    assert!(compiler.status().unwrap().success());
    let has_memory = |stat: &Stat| Used::read(stat).unwrap().is_some_and(|used| used.memory_bytes > 0);
    kill_all_of(folder.path(), "./headless", |stat| stat.is_headless && has_memory(stat));
}
