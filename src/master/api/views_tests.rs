//! Snapshots and their readers, with a paused clock.

use futures::{StreamExt as _, future::poll_immediate, stream::BoxStream};

use super::*;
use crate::master::core::tests::scenes;

type State = BoxStream<'static, Result<bytes::Bytes, Status>>;

fn master() -> Arc<MasterFacts> {
    let (id, hostname) = ("m".to_owned(), "h".to_owned());
    Arc::new(MasterFacts { id, hostname, address: ([127, 0, 0, 1], 5050).into(), started: 1.5 })
}

fn views(bounds: Bounds, snapshot: Snapshot) -> Views {
    Views::new(Source::Fixed(Arc::new(snapshot)), bounds)
}

async fn state(views: &Views) -> State {
    views.reader().await.expect("a snapshot").state(master()).boxed()
}

async fn whole(mut state: State) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(chunk) = state.next().await {
        whole.extend(chunk.expect("not cut off"));
    }
    whole
}

/// Advances the clock and runs the tasks that wait for a lock or a count.
async fn advance(time: Duration) {
    tokio::time::advance(time).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn fifty_concurrent_readers_share_one_snapshot_and_its_chunks() {
    let views = views(PAGES, scenes::crowded(6_000));
    let mut readers = Vec::new();
    for _ in 0..50 {
        readers.push(state(&views).await);
    }
    assert_eq!(views.count().await, 1);
    let mut chunks = 0;
    loop {
        let mut same = Vec::new();
        for reader in &mut readers {
            same.extend(reader.next().await.map(|chunk| chunk.expect("not cut off")));
        }
        let Some(first) = same.first() else { break };
        assert_eq!(same.len(), 50, "all end together");
        assert!(same.iter().all(|chunk| chunk.as_ptr() == first.as_ptr()), "chunk {chunks} is in memory once");
        assert!(first.len() < super::super::document::CHUNK_BYTES + 4_096, "{} bytes", first.len());
        chunks += 1;
    }
    assert!(chunks > 2 * WINDOW, "{chunks} chunks");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_gets_the_same_bytes_and_delays_no_other_reader() {
    let views = views(PAGES, scenes::crowded(6_000));
    let (mut slow, fast) = (state(&views).await, state(&views).await);
    let first = slow.next().await.expect("a chunk").expect("not cut off");
    let fast = whole(fast).await;
    let mut slow = whole(slow).await;
    slow.splice(0..0, first);
    assert!(slow == fast, "{} bytes and {}", slow.len(), fast.len());
    serde_json::from_slice::<serde_json::Value>(&slow).expect("a document");
}

#[tokio::test(start_paused = true)]
async fn a_late_caller_gets_a_new_snapshot_and_one_without_readers_is_dropped() {
    let views = views(PAGES, scenes::mixed());
    let first = state(&views).await;
    advance(Duration::from_millis(999)).await;
    let second = state(&views).await;
    assert_eq!(views.count().await, 1, "within the second");
    advance(Duration::from_millis(1)).await;
    let third = state(&views).await;
    assert_eq!(views.count().await, 2);
    drop(first);
    advance(Duration::ZERO).await;
    assert_eq!(views.count().await, 2, "another reads it");
    drop(second);
    advance(Duration::ZERO).await;
    assert_eq!(views.count().await, 1);
    drop(whole(third).await);
    advance(Duration::from_secs(1)).await;
    assert_eq!(views.count().await, 0);
    assert_eq!(views.permits.available_permits(), PAGES.readers);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_longer_than_a_minute_gets_an_error_and_releases_its_permit() {
    let views = views(PAGES, scenes::crowded(1_000));
    let mut slow = state(&views).await;
    assert!(slow.next().await.expect("a chunk").is_ok());
    advance(LONGEST.saturating_sub(Duration::from_millis(1))).await;
    assert!(slow.next().await.expect("a chunk").is_ok());
    advance(Duration::from_millis(1)).await;
    assert_eq!((views.count().await, views.permits.available_permits()), (0, PAGES.readers));
    let cut_off = slow.next().await.expect("an end").expect_err("cut off");
    assert_eq!((cut_off.code(), cut_off.message()), (tonic::Code::DeadlineExceeded, CUT_OFF));
    assert!(slow.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn of_too_many_snapshots_the_oldest_is_dropped_and_its_readers_get_an_error() {
    let views = views(PAGES, scenes::mixed());
    let mut readers = Vec::new();
    for _ in 0..=PAGES.views {
        readers.push(state(&views).await);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(views.count().await, PAGES.views);
    let mut ends = Vec::new();
    for reader in &mut readers {
        ends.push(reader.next().await.expect("a chunk or an end").is_ok());
    }
    assert_eq!(ends, [false, true, true, true, true]);
}

#[tokio::test(start_paused = true)]
async fn readers_above_the_limit_wait_for_a_permit() {
    let views = views(Bounds { readers: 2, ..PAGES }, scenes::mixed());
    let (first, second) = (state(&views).await, state(&views).await);
    let mut third = Box::pin(state(&views));
    assert!(poll_immediate(&mut third).await.is_none());
    drop(first);
    assert!(!whole(third.await).await.is_empty());
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn each_operator_call_is_answered_from_a_snapshot_of_its_own() {
    let views = views(CALLS, scenes::mixed());
    let (first, second) = (views.reader().await.expect("a snapshot"), views.reader().await.expect("a snapshot"));
    advance(Duration::ZERO).await;
    assert!(first.view().is_ok() && second.view().is_ok() && views.count().await == 2);
    drop((first, second));
    advance(Duration::ZERO).await;
    assert_eq!(views.count().await, 0, "it is gone as soon as it is read");
}
