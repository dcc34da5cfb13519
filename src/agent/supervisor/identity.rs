//! Who serves a folder: a process, named for ever, and which folder it took.
//!
//! What a file says of that may be a copy of what another folder's file says. So the file also names the folder it was
//! written in, by a random value and by device and inode: no copy has the same inode.

use std::{fmt, fs, io, os::unix::fs::MetadataExt as _, path::Path};

use super::process;

/// Says that a process owns its session.
const SESSION: &str = "session";
/// Says that it does not.
const NO_SESSION: &str = "-";

/// One folder, and no copy of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FolderName {
    /// Drawn by the process that took the folder.
    value: String,
    device: u64,
    inode: u64,
}

impl FolderName {
    /// The folder at `path`, taken by this process.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn draw(path: &Path) -> io::Result<Self> {
        let (device, inode) = inode(path)?;
        let value = format!("{:032x}", rand::random::<u128>());
        Ok(Self { value, device, inode })
    }

    /// Whether `path` is the folder itself.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        let found = process::none_unless_exhausted(inode(path))?;
        Ok(found == Some((self.device, self.inode)))
    }

    /// As [`fmt::Display`] writes it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let (value, place) = (words.next()?, words.next()?);
        let (device, inode) = place.split_once(':')?;
        Some(Self { value: value.to_owned(), device: device.parse().ok()?, inode: inode.parse().ok()? })
    }
}

impl fmt::Display for FolderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.value, self.device, self.inode)
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|folder| (folder.dev(), folder.ino()))
}

/// Which process serves a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: u32,
    pub(super) start_time: u64,
    pub(super) boot_id: String,
    /// Whether it leads a session in which there is nothing but itself and what it started.
    pub(super) owns_session: bool,
    /// The folder it took; supervisors before version 3 of the protocol do not name it.
    pub(super) folder: Option<FolderName>,
}

impl Identity {
    /// This process, which took `folder`.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn own(owns_session: bool, folder: FolderName) -> io::Result<Self> {
        let pid = std::process::id();
        let start_time = process::Stat::read(pid)?.map_or(0, |stat| stat.start_time);
        Ok(Self { pid, start_time, boot_id: process::boot_id()?, owns_session, folder: Some(folder) })
    }

    /// Whether it was of this boot of the host.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn is_of_this_boot(&self) -> io::Result<bool> {
        Ok(self.boot_id == process::boot_id()?)
    }

    /// A descriptor of the process, if it lives.
    ///
    /// # Errors
    /// No descriptors or memory are left.
    pub(super) fn open(&self) -> io::Result<Option<std::os::fd::OwnedFd>> {
        if !self.is_of_this_boot()? {
            return Ok(None);
        }
        process::open(self.pid, self.start_time)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (process, rest) = split_words(text, 3);
        let mut words = process.split_ascii_whitespace();
        let (pid, start_time) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let boot_id = words.next().unwrap_or_default().to_owned();
        let (session, folder) = split_words(rest, 1);
        Some(Self { pid, start_time, boot_id, owns_session: session == SESSION, folder: FolderName::parse(folder) })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let session = if self.owns_session { SESSION } else { NO_SESSION };
        write!(f, "{} {} {} {session}", self.pid, self.start_time, self.boot_id)?;
        self.folder.as_ref().map_or(Ok(()), |folder| write!(f, " {folder}"))
    }
}

/// The first words of `text`, and what follows them.
fn split_words(text: &str, count: usize) -> (&str, &str) {
    let text = text.trim();
    let mut ends = text.match_indices(' ').map(|(at, _)| at);
    let at = ends.nth(count - 1).unwrap_or(text.len());
    (&text[..at], text[at..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_who_serves_are_read() {
        let boot_id = "0f0e0d0c-0b0a-0908-0706-050403020100";
        let first =
            Identity { pid: 4321, start_time: 99, boot_id: boot_id.to_owned(), owns_session: false, folder: None };
        let folder = FolderName { value: "00ff".to_owned(), device: 7, inode: 8 };
        let second = Identity { owns_session: true, folder: Some(folder), ..first.clone() };
        let stored = |name: &str, identity: String| {
            String::from_utf8(crate::agent::ending::sample(name, || identity.into_bytes())).unwrap()
        };
        let text = stored("supervisor-pid-1", format!("4321 99 {boot_id}\n"));
        assert_eq!(Identity::parse(&text), Some(first));
        let text = stored("supervisor-pid-2", format!("{second}\n"));
        assert_eq!(Identity::parse(&text), Some(second));
    }

    #[test]
    fn a_folder_is_known_from_its_copies() {
        let work = tempfile::tempdir().unwrap();
        let (original, copy) = (work.path().join("a"), work.path().join("b"));
        fs::create_dir(&original).unwrap();
        fs::create_dir(&copy).unwrap();
        let name = FolderName::draw(&original).unwrap();
        assert!(name.is_at(&original).unwrap() && !name.is_at(&copy).unwrap());
        assert_ne!(FolderName::draw(&original).unwrap(), name, "each that takes it draws anew");
        let moved = work.path().join("c");
        fs::rename(&original, &moved).unwrap();
        assert!(name.is_at(&moved).unwrap() && !name.is_at(&original).unwrap());
        assert_eq!(FolderName::parse(&name.to_string()), Some(name));
    }
}
