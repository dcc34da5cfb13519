//! The threads around the core, with a registry that does not answer.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};

use super::*;
use crate::{
    master::{
        core::Config,
        registry::{Memory, Position, RegistryError, State},
    },
    proto::internal::RegistryChange,
    transport::clock::Clock,
};

/// Appends changes only when the test allows it.
#[derive(Debug)]
struct Stuck {
    inner: Memory,
    asked: Sender<()>,
    allowed: Receiver<()>,
}

impl Registry for Stuck {
    fn load(&mut self) -> Result<(State, Fence), RegistryError> {
        self.inner.load()
    }

    fn append(&mut self, fence: Fence, changes: &[RegistryChange]) -> Result<Position, RegistryError> {
        if changes.is_empty() {
            return self.inner.append(fence, changes);
        }
        self.asked.send(()).expect("the test listens");
        self.allowed.recv().expect("the test allows it");
        self.inner.append(fence, changes)
    }
}

#[tokio::test]
async fn a_master_whose_registry_hangs_answers_queries_reports_its_lag_and_changes_nothing() {
    let ((asked, is_asked), (allow, allowed)) = (channel(), channel());
    let mut registry = Stuck { inner: Memory::default(), asked, allowed };
    let (state, fence) = registry.load().unwrap();
    let core = Master::new("m", 1, state, Config::default(), StdRng::seed_from_u64(1), Clock::system().now());
    let (handle, _ending) = start(core, Box::new(registry), fence, Budget::default()).unwrap();
    assert_eq!(handle.lag().waited(), Duration::ZERO);

    let question = Question::Weights { weights: vec![("dev".to_owned(), 2.0)] };
    let change = tokio::spawn({
        let handle = handle.clone();
        async move { handle.ask(question).await }
    });
    tokio::task::spawn_blocking(move || is_asked.recv().unwrap()).await.unwrap();
    assert!(matches!(handle.ask(Question::Alive).await, Ok(Answer::Alive)));
    assert!(matches!(handle.ask(Question::Snapshot).await, Ok(Answer::Snapshot(_))));
    assert!(handle.lag().waited() > Duration::ZERO);
    assert!(!change.is_finished(), "what is not durable is not answered");

    allow.send(()).unwrap();
    assert!(matches!(change.await.unwrap(), Ok(Answer::Done)));
    assert_eq!(handle.lag().waited(), Duration::ZERO);
}
