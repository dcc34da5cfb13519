//! Snapshots that readers share.
//!
//! Callers within one second of each other read the same snapshot; a later one gets a new one. Memory is bounded: the
//! numbers of concurrent readers and of snapshots are limited, and a snapshot is dropped after [`LONGEST`]. A reader
//! that has not finished by then gets an error instead of the rest.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use tonic::Status;

use super::{
    super::{
        core::{Answer, Question, Snapshot},
        service::Handle,
    },
    MasterFacts,
    by_framework::FrameworkIndex,
    document::{Cursor, Document},
    metrics::{self, Measured},
};
use crate::{transport::clock::Clock, types::Now};

/// How long a snapshot may be read.
const LONGEST: Duration = Duration::from_mins(1);
/// How many rendered chunks are kept for slower readers.
const WINDOW: usize = 16;

/// The error for a reader that is too slow.
pub(super) const CUT_OFF: &str =
    "the state was read too slowly: a snapshot is kept for 60 s; request it again and read faster";

/// How snapshots are shared, and how many may be read at once.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// How long new readers get an existing snapshot.
    shared: Duration,
    /// How many snapshots are held: a further one replaces the oldest.
    views: usize,
    /// How many may read at once.
    readers: usize,
}

/// For pages: many clients may request the same page at once.
const PAGES: Bounds = Bounds { shared: Duration::from_secs(1), views: 4, readers: 64 };
/// For operator calls: the answer is never older than the call.
const CALLS: Bounds = Bounds { shared: Duration::ZERO, views: 4, readers: 4 };

/// A cache of snapshots; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Views {
    source: Source,
    clock: Clock,
    bounds: Bounds,
    held: Held,
    permits: Arc<Semaphore>,
}

/// Where snapshots come from.
#[derive(Clone, Debug)]
enum Source {
    Core(Handle),
    #[cfg(test)]
    Fixed(Arc<Snapshot>),
}

impl Source {
    async fn snapshot(&self) -> Result<Arc<Snapshot>, Status> {
        match self {
            Self::Core(core) => {
                match core.ask(Question::Snapshot).await.map_err(|error| Status::unavailable(error.to_string()))? {
                    Answer::Snapshot(snapshot) => Ok(snapshot),
                    _ => Err(Status::internal("the core returned no snapshot")),
                }
            }
            #[cfg(test)]
            Self::Fixed(snapshot) => Ok(snapshot.clone()),
        }
    }
}

/// The snapshots that are held, the oldest first.
type Held = Arc<Mutex<VecDeque<Arc<View>>>>;

/// A snapshot, with what was rendered from it.
#[derive(Debug)]
pub(super) struct View {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) by_framework: FrameworkIndex,
    taken: Now,
    readers: Readers,
    window: Mutex<Window>,
    metrics: OnceCell<Arc<str>>,
}

/// The readers of a snapshot. Their permits are released with it, so that slow readers do not block others.
#[derive(Debug)]
struct Readers {
    permits: SyncMutex<HashMap<u64, OwnedSemaphorePermit>>,
    count: watch::Sender<usize>,
    last: std::sync::atomic::AtomicU64,
}

/// The latest rendered chunks of `/state`.
#[derive(Debug, Default)]
struct Window {
    /// The number of the first chunk.
    first: usize,
    chunks: VecDeque<(bytes::Bytes, Cursor)>,
}

/// A reader of a snapshot.
#[derive(Debug)]
pub(super) struct Reader {
    view: Weak<View>,
    number: u64,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(view) = self.view.upgrade() {
            view.readers.remove(self.number);
        }
    }
}

impl Readers {
    fn new() -> Self {
        let (count, _) = watch::channel(0);
        Self { permits: SyncMutex::default(), count, last: 0.into() }
    }

    fn permits(&self) -> MutexGuard<'_, HashMap<u64, OwnedSemaphorePermit>> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, permit: OwnedSemaphorePermit) -> u64 {
        let number = self.last.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut permits = self.permits();
        permits.insert(number, permit);
        self.count.send_replace(permits.len());
        number
    }

    fn remove(&self, number: u64) {
        let mut permits = self.permits();
        permits.remove(&number);
        self.count.send_replace(permits.len());
    }
}

impl Views {
    /// Snapshots for pages.
    pub(crate) fn for_pages(core: Handle) -> Self {
        Self::new(Source::Core(core), PAGES)
    }

    /// Snapshots for operator calls.
    pub(crate) fn for_calls(core: Handle) -> Self {
        Self::new(Source::Core(core), CALLS)
    }

    fn new(source: Source, bounds: Bounds) -> Self {
        let permits = Arc::new(Semaphore::new(bounds.readers));
        Self { source, clock: Clock::system(), bounds, held: Arc::default(), permits }
    }

    /// Waits for a permit and returns a reader of the current snapshot.
    pub(super) async fn reader(&self) -> Result<Reader, Status> {
        let closed = |_| Status::unavailable("the master has stopped");
        let permit = self.permits.clone().acquire_owned().await.map_err(closed)?;
        // Callers that arrive while a snapshot is taken wait here, and share it.
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        let present = held.back().filter(|view| now.since(view.taken.mono_ns) < self.bounds.shared).cloned();
        let view = match present {
            Some(view) => view,
            None => self.take_snapshot(now, &mut held).await?,
        };
        Ok(Reader { view: Arc::downgrade(&view), number: view.readers.add(permit) })
    }

    async fn take_snapshot(&self, taken: Now, held: &mut VecDeque<Arc<View>>) -> Result<Arc<View>, Status> {
        let snapshot = self.source.snapshot().await?;
        let made = tokio::task::spawn_blocking(move || View::new(snapshot, taken));
        let view = made.await.map_err(|error| Status::internal(format!("a snapshot cannot be indexed: {error}")))?;
        let view = Arc::new(view);
        held.push_back(view.clone());
        while held.len() > self.bounds.views {
            if let Some(oldest) = held.pop_front() {
                oldest.report_cut_off();
            }
        }
        // The task has no handle of the core: readers must not keep the core's thread running.
        let shared_until_ns = taken.mono_after(self.bounds.shared);
        tokio::spawn(drop_when_read(self.held.clone(), self.clock, Arc::downgrade(&view), shared_until_ns));
        Ok(view)
    }

    /// How many snapshots are held.
    #[cfg(test)]
    pub(super) async fn count(&self) -> usize {
        self.held.lock().await.len()
    }
}

/// Drops a view once it gets no new readers and the present ones have finished or exceeded their time.
async fn drop_when_read(held: Held, clock: Clock, view: Weak<View>, shared_until_ns: u64) {
    clock.sleep_until(shared_until_ns).await;
    loop {
        let Some((mut readers, until_ns)) = view.upgrade().map(|view| view.lifetime()) else { return };
        let late = tokio::select! {
            biased;
            _ = readers.wait_for(|count| *count == 0) => false,
            () = clock.sleep_until(until_ns) => true,
        };
        let mut held = held.lock().await;
        let Some(view) = view.upgrade() else { return };
        // A reader may have arrived while this waited for the lock.
        if late || *view.readers.count.borrow() == 0 {
            held.retain(|other| !Arc::ptr_eq(other, &view));
            view.report_cut_off();
            return;
        }
    }
}

impl View {
    pub(super) fn new(snapshot: impl Into<Arc<Snapshot>>, taken: Now) -> Self {
        let snapshot = snapshot.into();
        let by_framework = FrameworkIndex::new(&snapshot);
        Self {
            snapshot,
            by_framework,
            taken,
            readers: Readers::new(),
            window: Mutex::default(),
            metrics: OnceCell::new(),
        }
    }

    /// The number of readers, and until when the view may be read.
    fn lifetime(&self) -> (watch::Receiver<usize>, u64) {
        (self.readers.count.subscribe(), self.taken.mono_after(LONGEST))
    }

    fn report_cut_off(&self) {
        let readers = *self.readers.count.borrow();
        if readers > 0 {
            tracing::warn!(readers, "dropping a snapshot of the state: its readers are too slow and get an error");
        }
    }

    /// The chunk of `/state` that begins at the cursor: from the window, or rendered now.
    async fn chunk(&self, master: &MasterFacts, number: usize, cursor: Cursor) -> Option<(bytes::Bytes, Cursor)> {
        let document = Document { master, snapshot: &self.snapshot, by_framework: &self.by_framework };
        let write = || document.chunk(cursor).map(|(bytes, next)| (bytes::Bytes::from(bytes), next));
        let mut window = self.window.lock().await;
        let Some(at) = number.checked_sub(window.first) else {
            drop(window);
            return write();
        };
        if let Some(chunk) = window.chunks.get(at) {
            return Some(chunk.clone());
        }
        let chunk = write()?;
        window.chunks.push_back(chunk.clone());
        if window.chunks.len() > WINDOW {
            window.chunks.pop_front();
            window.first += 1;
        }
        Some(chunk)
    }
}

impl Reader {
    /// The snapshot, unless it was dropped because this reader took too long.
    pub(super) fn view(&self) -> Result<Arc<View>, Status> {
        self.view.upgrade().ok_or_else(|| Status::deadline_exceeded(CUT_OFF))
    }

    /// The text of `/metrics`; the first reader renders it.
    pub(super) async fn metrics(&self, measured: Measured) -> Result<Arc<str>, Status> {
        let view = self.view()?;
        let written = view.clone();
        let write = || async move {
            let text = tokio::task::spawn_blocking(move || metrics::render(&written.snapshot, &measured).into());
            text.await.map_err(|error| Status::internal(format!("the metrics cannot be rendered: {error}")))
        };
        view.metrics.get_or_try_init(write).await.cloned()
    }

    /// The chunks of `/state`, each rendered when it is polled.
    pub(super) fn state(self, master: Arc<MasterFacts>) -> impl futures::Stream<Item = Result<bytes::Bytes, Status>> {
        let start = Some((self, 0_usize, Cursor::default()));
        futures::stream::unfold(start, move |at| {
            let master = master.clone();
            async move {
                let (reader, number, cursor) = at?;
                let view = match reader.view() {
                    Ok(view) => view,
                    Err(cut_off) => return Some((Err(cut_off), None)),
                };
                let (bytes, next) = view.chunk(&master, number, cursor).await?;
                Some((Ok(bytes), Some((reader, number + 1, next))))
            }
        })
    }
}

#[cfg(test)]
#[path = "views_tests.rs"]
mod tests;
