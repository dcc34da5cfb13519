//! Writes to standard output and standard error, to the last byte.
//!
//! Writing waits for a slow reader, also on a non-blocking pipe. A closed pipe ends printing without an error; any
//! other error is returned. All of `cli` prints through this module: the standard macros panic or lose text.

use std::{
    fmt::Display,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::Failure;

/// Why text was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The other end of the pipe is closed.
    ReaderGone,
    /// The system returned an error, for example because the disk is full.
    Failed(Errno),
}

impl WriteError {
    /// Describes the error in one line; `output` names the stream.
    pub(crate) fn describe(self, output: &str) -> String {
        match self {
            Self::ReaderGone => format!("{output} was closed by its reader"),
            Self::Failed(error) => format!("cannot write to {output}: {}", io::Error::from(error)),
        }
    }
}

/// Writes all of `bytes` to standard output.
pub(crate) fn write_out(bytes: &[u8]) -> Result<(), WriteError> {
    // The lock keeps the texts of two threads apart; nothing is ever left in its buffer.
    let lock = io::stdout().lock();
    write_all(lock.as_fd(), bytes)
}

/// Writes all of `bytes` to standard error.
pub(crate) fn write_err(bytes: &[u8]) -> Result<(), WriteError> {
    let lock = io::stderr().lock();
    write_all(lock.as_fd(), bytes)
}

/// Prints a text and a line end on standard output.
///
/// # Errors
/// When the text cannot be written. A closed pipe is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match write_out(format!("{text}\n").as_bytes()) {
        Ok(()) | Err(WriteError::ReaderGone) => Ok(()),
        Err(refused) => Err(Failure::Failed(anyhow::anyhow!(refused.describe("standard output")))),
    }
}

/// Prints a line on standard error; a failure is ignored, because there is no other place to report it.
pub(crate) fn note(text: impl Display) {
    let _ = write_err(format!("{text}\n").as_bytes());
}

/// Standard error for the log. A line that cannot be written is dropped without an error.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LogOutput;

impl Write for LogOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = write_err(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), WriteError> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(WriteError::Failed(Errno::IO)),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait_for_room(to)?,
            Err(Errno::PIPE) => return Err(WriteError::ReaderGone),
            Err(error) => return Err(WriteError::Failed(error)),
        }
    }
    Ok(())
}

fn wait_for_room(to: BorrowedFd<'_>) -> Result<(), WriteError> {
    match poll(&mut [PollFd::new(&to, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(WriteError::Failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, thread};

    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    #[test]
    fn a_slow_reader_of_a_non_blocking_pipe_gets_every_byte() {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe");
        let text: Vec<u8> = (0..2_000_000_u32).map(|number| u8::try_from(number % 251).expect("small")).collect();
        let sent = text.clone();
        let writing = thread::spawn(move || write_all(writer.as_fd(), &sent));
        let mut received = Vec::new();
        let mut piece = [0; 4_000];
        loop {
            poll(&mut [PollFd::new(&reader, PollFlags::IN)], None).expect("a poll");
            match rustix::io::read(&reader, &mut piece) {
                Ok(0) => break,
                Ok(length) => received.extend_from_slice(&piece[..length]),
                Err(Errno::AGAIN) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(writing.join().expect("no panic"), Ok(()));
        assert!(received == text, "{} of {} bytes", received.len(), text.len());
    }

    #[test]
    fn a_closed_pipe_is_reported_as_such() {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).expect("a pipe");
        // The pipe is full, so that the writer waits when the reader closes it.
        while rustix::io::write(&writer, &[0; 4_096]).is_ok() {}
        let writing = thread::spawn(move || write_all(writer.as_fd(), b"x"));
        drop(reader);
        assert_eq!(writing.join().expect("no panic"), Err(WriteError::ReaderGone));
    }

    #[test]
    fn a_full_disk_is_named() {
        let full = File::options().write(true).open("/dev/full").expect("it is there");
        let unwritten = write_all(full.as_fd(), b"x").expect_err("no room");
        let wanted = "cannot write to standard output: No space left on device (os error 28)";
        assert_eq!(unwritten.describe("standard output"), wanted);
        let read_only = File::open("/dev/null").expect("it is there");
        assert_eq!(write_all(read_only.as_fd(), b"x"), Err(WriteError::Failed(Errno::BADF)));
        assert_eq!(write_all(full.as_fd(), b""), Ok(()));
    }
}
