//! Following a file of a sandbox while its container writes to it.
//!
//! The kernel reports changes of the file (inotify). Some file systems do not support that, and the number of watches
//! is limited, so the file is also polled. The stream ends when the container has ended and all is read. If the agent
//! stops before that, the stream ends with an error, as the file may still grow.

use std::{fs::File, io, os::fd::AsRawFd as _, time::Duration};

use futures::{
    FutureExt as _, Stream,
    future::{BoxFuture, Shared},
    stream,
};
use rustix::fs::inotify;
use tokio::net::unix::pipe;

use super::{Part, SandboxError, Sandboxes, read::read_part};

/// The most that one part holds, in bytes.
const PART_BYTES: usize = 64 << 10;
/// How often a file is polled when its watch reports nothing.
const POLL: Duration = Duration::from_secs(1);
/// How often a file that does not exist yet is looked for.
const ABSENT_POLL: Duration = Duration::from_millis(100);

/// Why a stream does not wait for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMore {
    /// The container has ended, so that nothing is written any more.
    ContainerEnded,
    /// The agent stops; the container may still run.
    AgentStops,
}

impl Sandboxes {
    /// Streams the content of a file from `offset` on, as it grows.
    ///
    /// The stream ends when `ended` is ready and all is read: in order if the container has ended, with
    /// [`SandboxError::AgentStops`] if the agent stops. A file that is truncated below what was read is read from its
    /// beginning again; the offsets of the parts show that. The file need not exist yet.
    ///
    /// # Errors
    /// As for [`Self::open`], or the file cannot be read. An error is the last item.
    pub fn tail(
        &self,
        container_id: &str,
        path: &str,
        offset: u64,
        ended: impl Future<Output = NoMore> + Send + 'static,
    ) -> impl Stream<Item = Result<Part, SandboxError>> + Send + 'static {
        let follower = Follower {
            sandboxes: self.clone(),
            container_id: container_id.to_owned(),
            path: path.to_owned(),
            offset,
            has_reached_offset: false,
            ended: ended.boxed().shared(),
            open: None,
        };
        stream::try_unfold(follower, Follower::next)
    }
}

struct Follower {
    sandboxes: Sandboxes,
    container_id: String,
    path: String,
    offset: u64,
    /// Whether the file was ever as long as `offset`.
    has_reached_offset: bool,
    ended: Shared<BoxFuture<'static, NoMore>>,
    open: Option<OpenFile>,
}

struct OpenFile {
    file: File,
    watch: Option<Watch>,
}

impl Follower {
    async fn next(mut self) -> Result<Option<(Part, Self)>, SandboxError> {
        loop {
            // Checked before the file is read: so what was written before the end is still found.
            let no_more = self.ended.clone().now_or_never();
            let mut pause = POLL;
            match self.read().await {
                Ok(part) if part.data.is_empty() => {}
                Ok(part) => {
                    self.offset = part.offset + part.data.len() as u64;
                    self.has_reached_offset = true;
                    return Ok(Some((part, self)));
                }
                Err(SandboxError::NotFound(_)) if no_more != Some(NoMore::ContainerEnded) => pause = ABSENT_POLL,
                Err(error) => return Err(error),
            }
            match no_more {
                None => {}
                Some(NoMore::ContainerEnded) => return Ok(None),
                Some(NoMore::AgentStops) => return Err(SandboxError::AgentStops { offset: self.offset }),
            }
            let watch = self.open.as_mut().and_then(|open| open.watch.as_mut());
            tokio::select! {
                () = wait_for_change(watch) => {}
                _ = self.ended.clone() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Reads what there is, off the runtime's threads: the disk may be slow.
    async fn read(&mut self) -> Result<Part, SandboxError> {
        let (sandboxes, container_id, path) = (self.sandboxes.clone(), self.container_id.clone(), self.path.clone());
        let (open, offset, has_reached_offset) = (self.open.take(), self.offset, self.has_reached_offset);
        let reading = tokio::task::spawn_blocking(move || {
            let open = match open {
                Some(open) => open,
                None => OpenFile::new(sandboxes.open(&container_id, &path)?),
            };
            let part =
                open.read(offset, has_reached_offset).map_err(|error| SandboxError::failed("read", &path, error))?;
            Ok((open, part))
        });
        let read = reading.await;
        let (open, part) = read.map_err(|panic| SandboxError::failed("read", &self.path, panic))??;
        self.open = Some(open);
        Ok(part)
    }
}

impl OpenFile {
    /// The watch begins before the first read, so that no change between the two is missed.
    fn new(file: File) -> Self {
        let watch = Watch::new(&file).ok();
        Self { file, watch }
    }

    fn read(&self, offset: u64, has_reached_offset: bool) -> io::Result<Part> {
        let part = read_part(&self.file, offset, PART_BYTES)?;
        if has_reached_offset && part.file_bytes < offset { read_part(&self.file, 0, PART_BYTES) } else { Ok(part) }
    }
}

/// Notifies when a file is written to.
struct Watch(pipe::Receiver);

impl Watch {
    fn new(file: &File) -> io::Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        // The file that was opened, whatever its path names by now.
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        inotify::add_watch(&watch, itself, inotify::WatchFlags::MODIFY)?;
        // To the runtime it is a descriptor that becomes readable, as a pipe is.
        Ok(Self(pipe::Receiver::from_file_unchecked(File::from(watch))?))
    }
}

/// Waits for the next change; without a watch it never returns.
async fn wait_for_change(watch: Option<&mut Watch>) {
    let Some(Watch(watch)) = watch else { return std::future::pending().await };
    let mut events = [0; 4096];
    while watch.readable().await.is_ok() {
        match watch.try_read(&mut events) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, path::PathBuf, pin::Pin};

    use futures::StreamExt as _;
    use tokio::sync::oneshot;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn sandbox() -> (tempfile::TempDir, Sandboxes, PathBuf) {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        let path = sandboxes.create("c").unwrap();
        (work, sandboxes, path)
    }

    async fn part(stream: &mut Pin<Box<impl Stream<Item = Result<Part, SandboxError>>>>) -> Option<(u64, String)> {
        let item = tokio::time::timeout(LIMIT, stream.next()).await.expect("something to be read");
        item.map(|part| part.unwrap()).map(|part| (part.offset, String::from_utf8(part.data.to_vec()).unwrap()))
    }

    #[tokio::test]
    async fn what_is_written_is_streamed_until_the_container_has_ended_and_all_is_read() {
        let (_work, sandboxes, path) = sandbox();
        let mut file = File::create(path.join("out")).unwrap();
        file.write_all(b"one two").unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let mut stream = Box::pin(sandboxes.tail("c", "out", 4, ended.map(|_| NoMore::ContainerEnded)));
        assert_eq!(part(&mut stream).await, Some((4, "two".to_owned())));
        file.write_all(b" three").unwrap();
        assert_eq!(part(&mut stream).await, Some((7, " three".to_owned())));
        file.write_all(b" four").unwrap();
        drop(end);
        assert_eq!(part(&mut stream).await, Some((13, " four".to_owned())));
        assert_eq!(part(&mut stream).await, None);
    }

    #[tokio::test]
    async fn an_agent_that_stops_is_not_reported_as_the_end_of_the_file() {
        let (_work, sandboxes, path) = sandbox();
        fs::write(path.join("out"), "so far").unwrap();
        for (name, offset, rest) in [("out", 0, Some("so far")), ("out", 6, None), ("not yet", 0, None)] {
            let mut stream = Box::pin(sandboxes.tail("c", name, offset, std::future::ready(NoMore::AgentStops)));
            if let Some(rest) = rest {
                assert_eq!(part(&mut stream).await, Some((0, rest.to_owned())));
            }
            let reached = if name == "out" { 6 } else { 0 };
            let outcome = stream.next().await;
            assert!(
                matches!(outcome, Some(Err(SandboxError::AgentStops { offset })) if offset == reached),
                "{outcome:?}"
            );
            assert!(stream.next().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_change_is_reported_long_before_the_file_is_polled() {
        let (_work, sandboxes, path) = sandbox();
        let mut file = File::create(path.join("out")).unwrap();
        let mut open = OpenFile::new(sandboxes.open("c", "out").unwrap());
        file.write_all(b"x").unwrap();
        tokio::time::timeout(LIMIT, wait_for_change(open.watch.as_mut())).await.expect("the watch to report it");
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_yet_is_waited_for_and_one_that_never_comes_is_an_error() {
        let (_work, sandboxes, path) = sandbox();
        let mut stream = Box::pin(sandboxes.tail("c", "out", 0, std::future::pending()));
        assert!(futures::poll!(stream.next()).is_pending());
        fs::write(path.join("out"), "here").unwrap();
        assert_eq!(part(&mut stream).await, Some((0, "here".to_owned())));
        let mut stream = Box::pin(sandboxes.tail("c", "never", 0, std::future::ready(NoMore::ContainerEnded)));
        assert!(matches!(stream.next().await, Some(Err(SandboxError::NotFound(_)))));
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_file_that_was_cut_is_read_from_its_beginning() {
        let (_work, sandboxes, path) = sandbox();
        fs::write(path.join("out"), "a long line").unwrap();
        let mut stream = Box::pin(sandboxes.tail("c", "out", 0, std::future::pending()));
        assert_eq!(part(&mut stream).await, Some((0, "a long line".to_owned())));
        fs::write(path.join("out"), "short").unwrap();
        assert_eq!(part(&mut stream).await, Some((0, "short".to_owned())));
    }

    #[tokio::test]
    async fn a_large_file_comes_in_parts_that_fit_together() {
        let (_work, sandboxes, path) = sandbox();
        let content: Vec<u8> = (0..200_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
        fs::write(path.join("out"), &content).unwrap();
        let stream = sandboxes.tail("c", "out", 0, std::future::ready(NoMore::ContainerEnded));
        let parts: Vec<Part> = stream.map(Result::unwrap).collect().await;
        assert!(parts.iter().all(|part| part.data.len() <= PART_BYTES));
        assert_eq!(parts.iter().flat_map(|part| part.data.to_vec()).collect::<Vec<u8>>(), content);
    }
}
