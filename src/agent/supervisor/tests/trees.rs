//! Every process of a container, wherever it went, ends with it.

use super::*;

/// Starts processes that are hard to find, each of which writes its id to a file and then to a pipe: one in a session
/// of its own that ignores SIGTERM, and one whose parents are gone. Then runs `then`.
const SCATTER: &str = "
    setsid sh -c 'trap \"\" TERM; echo $$ > leaver; echo > one; exec sleep 1000' &
    sh -c 'setsid sh -c \"echo \\$\\$ > orphan; echo > two; exec sleep 1000\" &'
    cat one two
";

async fn scatter(agent: &mut Agent, then: &str) -> [u32; 2] {
    pipe(agent, "one");
    pipe(agent, "two");
    let ready = pipe(agent, "ready");
    agent.shell("c", &format!("{SCATTER}{then}")).await;
    agent.started("c").await;
    read_pipe(ready).await;
    [agent.pid("leaver"), agent.pid("orphan")]
}

#[tokio::test]
async fn a_kill_of_the_tree_reaches_processes_that_left_the_group_the_session_and_the_parents() {
    for mode in BOTH {
        let mut agent = Agent::new(mode).await;
        let others = scatter(&mut agent, "echo > ready; exec sleep 1000").await;
        assert_eq!(others.map(is_alive), [true, true], "{mode:?}");
        agent.signal("c", 9, true).await;
        assert_eq!(agent.status("c").await, Status::Signal(9));
        assert_eq!(others.map(is_alive), [false, false], "{mode:?}");
    }
}

#[tokio::test]
async fn what_a_first_process_leaves_is_dead_before_its_exit_is_reported() {
    for mode in BOTH {
        let mut agent = Agent::new(mode).await;
        let others = scatter(&mut agent, "echo > ready; exit 5").await;
        assert_eq!(agent.status("c").await, Status::Code(5));
        assert_eq!(others.map(is_alive), [false, false], "{mode:?}");
    }
}

#[tokio::test]
async fn a_term_signal_to_the_tree_ends_all_processes_but_those_that_ignore_it() {
    for mode in BOTH {
        let mut agent = Agent::new(mode).await;
        pipe(&agent, "done");
        let others = scatter(&mut agent, "trap '' TERM; echo > ready; cat done").await;
        let first = agent.seen.len();
        agent.signal("c", 15, true).await;
        // The orphan does not ignore the signal.
        wait_for_end(others[1]).await;
        assert!(is_alive(others[0]), "a process that ignores the signal keeps running");
        assert_eq!(agent.seen.len(), first, "the container has not ended");
        fs::write(agent.path("done"), "").unwrap();
        agent.exited("c").await;
        assert!(!is_alive(others[0]));
    }
}

#[tokio::test]
async fn a_signal_to_the_group_alone_leaves_the_others() {
    let mut agent = Agent::new(Mode::Process).await;
    pipe(&agent, "signalled");
    pipe(&agent, "done");
    let others =
        scatter(&mut agent, "trap 'echo > signalled' TERM; echo > ready; while :; do cat done & wait; done").await;
    agent.signal("c", 15, false).await;
    read_pipe(agent.path("signalled")).await;
    assert_eq!(others.map(is_alive), [true, true]);
    agent.signal("c", 9, false).await;
    agent.exited("c").await;
    assert_eq!(others.map(is_alive), [false, false]);
}

#[tokio::test]
async fn an_orphan_that_wiped_its_environment_ends_with_the_last_container() {
    let mut agent = Agent::new(Mode::Process).await;
    let hold = pipe(&agent, "hold");
    agent.shell("other", "cat hold").await;
    agent.started("other").await;
    let wipe =
        "sh -c 'setsid env -i /bin/sh -c \"echo \\$\\$ > stray; echo > ready; exec /bin/sleep 1000\" &'; cat ready";
    pipe(&agent, "ready");
    agent.shell("c", wipe).await;
    assert_eq!(agent.status("c").await, Status::Code(0));
    assert!(is_alive(agent.pid("stray")), "it might be the other container's");
    fs::write(hold, "").unwrap();
    agent.exited("other").await;
    assert!(!is_alive(agent.pid("stray")));
}

/// A program that does nothing but start itself anew and end, every millisecond, in a session of its own. While any of
/// it lives it holds the pipe `alive` open.
fn chain(agent: &Agent) -> PathBuf {
    let script = "#!/bin/sh\nsleep 0.001\n./chain &\n";
    fs::write(agent.path("chain"), script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(agent.path("chain"), mode).unwrap();
    pipe(agent, "alive")
}

#[tokio::test]
async fn a_process_that_only_starts_itself_anew_ends_with_its_container() {
    const ROUNDS: u32 = 8;
    for mode in BOTH {
        let mut agent = Agent::new(mode).await;
        let alive = chain(&agent);
        agent.shell("other", "exec sleep 1000").await;
        for round in 0..ROUNDS {
            let container = format!("c{round}");
            let open = alive.clone();
            let held = tokio::task::spawn_blocking(move || fs::File::open(open).unwrap());
            agent.shell(&container, "exec 3>alive; setsid ./chain & sleep 0.02; exit 4").await;
            assert_eq!(agent.status(&container).await, Status::Code(4), "{mode:?} {round}");
            let mut held = held.await.unwrap();
            // The pipe ends when the last that has it open is dead.
            let left = spawn_thread(move || std::io::Read::read(&mut held, &mut [0; 8]).unwrap()).await;
            assert_eq!(left, 0, "{mode:?} {round}");
        }
    }
}

#[tokio::test]
async fn a_process_that_forges_its_marker_ends_with_its_container_though_others_run() {
    const ROUNDS: u32 = 8;
    let mut agent = Agent::new(Mode::Process).await;
    pipe(&agent, "ready");
    agent.shell("other", "exec sleep 1000").await;
    let other = agent.started("other").await;
    for round in 0..ROUNDS {
        let container = format!("c{round}");
        let forge = "DIVVY_MARKER=other DIVVY_CONTAINER_ID=other setsid sh -c \
            'sh -c \"echo \\$\\$ > forged; echo > ready; exec sleep 1000\" & exit' & cat ready; exit 4";
        agent.shell(&container, forge).await;
        assert_eq!(agent.status(&container).await, Status::Code(4));
        assert!(!is_alive(agent.pid("forged")), "round {round}");
        assert!(is_alive(other.pid));
    }
}

#[tokio::test]
async fn a_nested_container_ends_with_the_one_around_it() {
    let mut agent = Agent::new(Mode::Process).await;
    let hold = pipe(&agent, "hold");
    agent.shell("outer", "cat hold").await;
    agent.started("outer").await;
    let nested =
        Start { parent_id: Some("outer".to_owned()), ..shell(agent.folder.path(), "inner", "exec sleep 1000") };
    agent.start(nested).await;
    agent.started("inner").await;
    fs::write(hold, "").unwrap();
    assert_eq!(agent.status("outer").await, Status::Code(0));
    assert_eq!(agent.status("inner").await, Status::Signal(9));
}

/// Waits until a process that is no child of ours has ended.
async fn wait_for_end(pid: u32) {
    let Some(stat) = Stat::read(pid).unwrap() else { return };
    let Some(descriptor) = super::super::process::open(pid, stat.start_time).unwrap() else { return };
    let ended = spawn_thread(move || super::super::process::wait_all(&[descriptor], 30_000)).await;
    assert!(ended, "process {pid} did not end");
}
