//! The registry's thread with registries that fail in every possible way.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use super::*;
use crate::master::registry::{Memory, State, conformance::admitted};

/// What an append does.
#[derive(Clone, Copy, Debug)]
enum Try {
    Succeeds,
    /// Fails after it has appended this many of the changes.
    FailsAfter(usize),
    IsFenced,
    IsCorrupt,
    IsIndeterminate,
}

/// A registry whose first appends follow a script; later ones succeed.
#[derive(Clone, Debug)]
struct Scripted {
    inner: Memory,
    tries: Arc<Mutex<VecDeque<Try>>>,
}

impl Registry for Scripted {
    fn load(&mut self) -> Result<(State, Fence), RegistryError> {
        self.inner.load()
    }

    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError> {
        let next = self.tries.lock().expect("no test panics with it").pop_front().unwrap_or(Try::Succeeds);
        let text = || "as written".to_owned();
        match next {
            Try::Succeeds => self.inner.append(fence, changes),
            Try::FailsAfter(count) => {
                self.inner.append(fence, &changes[..count.min(changes.len())])?;
                Err(RegistryError::Unavailable { text: text() })
            }
            Try::IsFenced => Err(RegistryError::Fenced { mine: fence.epoch(), current: 9 }),
            Try::IsCorrupt => Err(RegistryError::Corrupt { text: text() }),
            Try::IsIndeterminate => Err(RegistryError::Indeterminate { text: text() }),
        }
    }
}

/// The thread's work as a task, with a paused clock.
struct Running {
    stores: mpsc::Sender<Store>,
    progress: watch::Receiver<Progress>,
    task: tokio::task::JoinHandle<()>,
    inner: Memory,
    stored: u64,
}

impl Running {
    fn new(tries: impl IntoIterator<Item = Try>) -> Self {
        let mut registry =
            Scripted { inner: Memory::default(), tries: Arc::new(Mutex::new(tries.into_iter().collect())) };
        let (_, fence) = registry.load().expect("loads");
        let inner = registry.inner.clone();
        let (stores, received) = mpsc::channel(64);
        let (progress, seen) = watch::channel(Ok(0));
        let rng = StdRng::seed_from_u64(1);
        let task = tokio::spawn(run_registry(Box::new(registry), fence, received, progress, rng));
        Self { stores, progress: seen, task, inner, stored: 0 }
    }

    async fn store(&mut self, agents: &[&str]) {
        self.stored += 1;
        let changes = agents.iter().map(|id| admitted(id)).collect();
        self.stores.send((self.stored, changes)).await.expect("the thread runs");
    }

    /// Waits until everything is stored or the thread has ended.
    async fn finished(&mut self) -> Progress {
        let all = self.stored;
        let seen = self.progress.wait_for(|progress| progress.as_ref().map_or(true, |number| *number == all)).await;
        seen.expect("the thread reports").clone()
    }

    /// The agents that are stored, and the position.
    fn held(mut self) -> (Vec<String>, u64) {
        let (state, fence) = self.inner.load().expect("loads");
        let position = self.inner.append(fence, &[]).expect("appends");
        (state.agents.into_keys().collect(), position.0)
    }
}

#[tokio::test(start_paused = true)]
async fn changes_for_an_unavailable_registry_are_appended_once_it_is_available() {
    let mut thread = Running::new([Try::Succeeds, Try::FailsAfter(0), Try::FailsAfter(0), Try::FailsAfter(0)]);
    thread.store(&["a", "b"]).await;
    assert_eq!(thread.finished().await, Ok(1));
    thread.store(&["c"]).await;
    assert_eq!(thread.finished().await, Ok(2));
    assert_eq!(thread.held(), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], 3));
}

#[tokio::test(start_paused = true)]
async fn changes_that_a_failed_append_stored_are_not_appended_again() {
    for done in 0..=3 {
        let mut thread =
            Running::new([Try::Succeeds, Try::FailsAfter(done), Try::FailsAfter(0), Try::Succeeds, Try::FailsAfter(1)]);
        thread.store(&["a", "b", "c"]).await;
        assert_eq!(thread.finished().await, Ok(1), "{done} were appended");
        thread.store(&["d"]).await;
        assert_eq!(thread.finished().await, Ok(2), "{done} were appended");
        let (agents, position) = thread.held();
        assert_eq!((agents.join(""), position), ("abcd".to_owned(), 4), "{done} were appended");
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_waits_for_a_registry_that_is_unavailable_from_the_start() {
    let mut thread = Running::new([Try::FailsAfter(0); 40]);
    thread.store(&["a"]).await;
    assert_eq!(thread.finished().await, Ok(1));
    assert_eq!(thread.held(), (vec!["a".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_ends_the_thread_with_its_reason_also_between_retries() {
    let ends = [
        (Try::IsFenced, "epoch 1 is over: a master of epoch 9 has taken the registry over"),
        (Try::IsCorrupt, "the registry is damaged: as written"),
        (Try::IsIndeterminate, "the registry's disk failed: as written"),
    ];
    for (end, text) in ends {
        for before in
            [&[][..], &[Try::Succeeds], &[Try::Succeeds, Try::FailsAfter(0)], &[Try::Succeeds, Try::FailsAfter(1)]]
        {
            let mut thread = Running::new(before.iter().copied().chain([end]));
            thread.store(&["a", "b"]).await;
            let reason = thread.finished().await.expect_err("it cannot go on");
            assert!(reason.starts_with(text), "after {before:?}: {reason}");
            thread.task.await.expect("the thread ends");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_something_else_writes_to_ends_the_thread() {
    let mut thread = Running::new([Try::Succeeds, Try::FailsAfter(0)]);
    thread.store(&["a"]).await;
    // The first append fails; before the retry another master appends under the same epoch.
    while thread.stores.capacity() < thread.stores.max_capacity() {
        tokio::task::yield_now().await;
    }
    thread.inner.append(Fence::new(1), &[admitted("x"), admitted("y")]).expect("appended");
    let reason = thread.finished().await.expect_err("it cannot go on");
    assert!(reason.contains("holds 2 changes, but 0 to 1 are expected"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_master_that_stops_does_not_wait_for_its_registry() {
    let thread = Running::new(std::iter::repeat_n(Try::FailsAfter(0), 1_000));
    let Running { stores, progress, task, inner, .. } = thread;
    stores.send((1, vec![admitted("a")])).await.expect("the thread runs");
    drop((stores, progress));
    task.await.expect("the thread ends");
    drop(inner);
}

#[tokio::test(start_paused = true)]
async fn a_registry_is_checked_without_changes_and_one_taken_over_by_another_master_ends_the_thread() {
    let mut thread = Running::new([Try::FailsAfter(0), Try::Succeeds, Try::IsFenced]);
    let reason = thread.progress.wait_for(Result::is_err).await.expect("the thread reports").clone();
    let text = "epoch 1 is over: a master of epoch 9 has taken the registry over";
    assert_eq!(reason, Err(text.to_owned()));
    thread.task.await.expect("the thread ends");
}

#[tokio::test(start_paused = true)]
async fn a_registry_with_an_unexpected_position_ends_the_thread_while_there_are_no_changes() {
    let mut thread = Running::new([]);
    thread.store(&["a"]).await;
    assert_eq!(thread.finished().await, Ok(1));
    thread.inner.append(Fence::new(1), &[admitted("x")]).expect("appended");
    let reason = thread.progress.wait_for(Result::is_err).await.expect("the thread reports").clone();
    assert_eq!(reason, Err("the registry holds 2 changes, but this master appended up to 1".to_owned()));
}
