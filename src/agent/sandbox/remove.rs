//! Removing a sandbox with all that is in it.
//!
//! Every step is relative to a descriptor of the folder it happens in, which was opened without following a link or
//! entering a mount: a concurrent swap can only make a step fail. Folders nested deeper than a few levels are first
//! moved to the top, so that no depth exhausts descriptors or the stack. What appears meanwhile is removed too, up to a
//! bound.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, chmod, fchmod, openat, openat2, renameat, unlinkat},
    io::Errno,
    path::Arg,
};

use super::{SandboxError, Sandboxes};

/// Folders open at once.
const MAX_DEPTH: usize = 16;
/// The files that a supervisor opens for what a command prints.
const OUTPUT: [&str; 2] = ["stdout", "stderr"];
/// How often the sandbox is emptied before the removal fails because a process keeps adding files.
const MAX_ROUNDS: u32 = 1000;

impl Sandboxes {
    /// Removes a sandbox; a missing one is no error.
    ///
    /// Call it when the container has ended: it fails while a process keeps adding files.
    ///
    /// # Errors
    /// Something in it cannot be removed: it is a mount point, not ours, or is created again each time.
    pub fn remove(&self, container_id: &str) -> Result<(), SandboxError> {
        let path = self.path(container_id)?;
        let failed = |error: Errno| SandboxError::failed("remove the sandbox", &path, error);
        let top = match open_folder(CWD, &path, ResolveFlags::empty()) {
            Ok(top) => top,
            Err(Errno::NOENT) => return Ok(()),
            // It is no folder: the link or file itself goes.
            Err(Errno::NOTDIR | Errno::LOOP) => return unlinkat(CWD, &path, AtFlags::empty()).map_err(failed),
            Err(error) => return Err(failed(error)),
        };
        let mut removal = Removal { top, moved: 0 };
        removal.remove_output();
        for _ in 0..MAX_ROUNDS {
            match unlinkat(CWD, &path, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::NOTEMPTY | Errno::EXIST) => removal.empty().map_err(failed)?,
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(Errno::NOTEMPTY))
    }
}

/// A removal under way.
struct Removal {
    top: OwnedFd,
    /// Folders moved up so far, for their names.
    moved: u64,
}

impl Removal {
    /// Most sandboxes hold nothing else, so they need not be listed.
    fn remove_output(&self) {
        for name in OUTPUT {
            // What cannot be removed like that is handled when the sandbox is emptied.
            let _ = unlinkat(&self.top, name, AtFlags::empty());
        }
    }

    fn empty(&mut self) -> Result<(), Errno> {
        let top = self.top.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::MFILE))?;
        self.empty_folder(&top, 0)
    }

    fn empty_folder(&mut self, folder: &OwnedFd, depth: usize) -> Result<(), Errno> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if entry.file_type() != FileType::Directory {
                match unlink(folder, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    // It has become a folder, or the file system does not report file types.
                    Err(Errno::ISDIR) => {}
                    Err(error) => return Err(error),
                }
            }
            self.remove_folder(folder, name, depth)?;
        }
        Ok(())
    }

    fn remove_folder(&mut self, parent: &OwnedFd, name: &CStr, depth: usize) -> Result<(), Errno> {
        match unlink(parent, name, AtFlags::REMOVEDIR) {
            // What is no folder any more is handled in the next round.
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        if depth >= MAX_DEPTH {
            return self.move_up(parent, name);
        }
        match open_folder(parent, name, ResolveFlags::NO_XDEV) {
            Ok(folder) => {
                self.empty_folder(&folder, depth + 1)?;
                match unlink(parent, name, AtFlags::REMOVEDIR) {
                    // Something was created again, or swapped: the next round.
                    Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Renames a folder to a free name at the top; on a conflict the next round tries again.
    fn move_up(&mut self, parent: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        self.moved += 1;
        let target = format!(".removed-{}", self.moved);
        match renameat(parent, name, self.top.as_fd(), target) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Unlinks an entry; makes its folder writable first where that is needed.
fn unlink(folder: &OwnedFd, name: &CStr, flags: AtFlags) -> Result<(), Errno> {
    match unlinkat(folder, name, flags) {
        Err(Errno::ACCESS) => {
            fchmod(folder, Mode::RWXU)?;
            unlinkat(folder, name, flags)
        }
        outcome => outcome,
    }
}

/// Opens a folder itself, never through a link; without permission, its mode is changed first.
fn open_folder(parent: impl AsFd, name: impl Arg + Copy, confined: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat2(&parent, name, flags | OFlags::RDONLY, Mode::empty(), confined) {
        Err(Errno::ACCESS) => {
            let handle = openat2(&parent, name, flags | OFlags::PATH, Mode::empty(), confined)?;
            let itself = format!("/proc/self/fd/{}", handle.as_raw_fd());
            chmod(itself.as_str(), Mode::RWXU)?;
            openat(&handle, ".", flags | OFlags::RDONLY, Mode::empty())
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::{Path, PathBuf},
        sync::atomic::{AtomicBool, Ordering},
    };

    use rustix::fs::mkdirat;

    use super::*;

    fn sandbox() -> (tempfile::TempDir, Sandboxes, PathBuf) {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        let path = sandboxes.create("c").unwrap();
        (work, sandboxes, path)
    }

    #[test]
    fn a_sandbox_goes_with_all_that_is_in_it_and_nothing_else() {
        let (work, sandboxes, path) = sandbox();
        let outside = work.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::create_dir_all(path.join("a/b/c")).unwrap();
        for folder in ["", "a", "a/b"] {
            symlink(&outside, path.join(folder).join("link")).unwrap();
            fs::write(path.join(folder).join("file"), "x").unwrap();
            let pipe = path.join(folder).join("pipe");
            rustix::fs::mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        }
        sandboxes.remove("c").unwrap();
        assert!(!path.exists());
        assert!(outside.join("kept").exists());
        sandboxes.remove("c").unwrap();
        assert!(matches!(sandboxes.remove(".."), Err(SandboxError::BadId(_))));
    }

    #[test]
    fn a_sandbox_that_is_a_link_goes_without_what_it_points_to() {
        let (work, sandboxes, _) = sandbox();
        let outside = work.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        symlink(&outside, work.path().join("runs/link")).unwrap();
        sandboxes.remove("link").unwrap();
        assert!(outside.join("kept").exists());
        assert!(!work.path().join("runs/link").is_symlink());
    }

    #[test]
    fn folders_too_deep_for_any_path_are_removed() {
        let (_work, sandboxes, path) = sandbox();
        let mut folder = open_folder(CWD, &path, ResolveFlags::empty()).unwrap();
        for _ in 0..3000 {
            mkdirat(&folder, "deep", Mode::RWXU).unwrap();
            folder = open_folder(&folder, "deep", ResolveFlags::empty()).unwrap();
        }
        sandboxes.remove("c").unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_without_permissions_is_removed() {
        let (_work, sandboxes, path) = sandbox();
        fs::create_dir_all(path.join("closed/inner")).unwrap();
        fs::set_permissions(path.join("closed"), fs::Permissions::from_mode(0o0)).unwrap();
        sandboxes.remove("c").unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_swapped_for_a_link_during_the_removal_never_leads_outside() {
        let work = tempfile::tempdir().unwrap();
        let outside = work.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        for _ in 0..200 {
            let path = sandboxes.create("c").unwrap();
            fs::create_dir(path.join("a")).unwrap();
            fs::write(path.join("a/file"), "").unwrap();
            symlink(&outside, path.join("link")).unwrap();
            swap_while(&path, || sandboxes.remove("c").unwrap());
            assert!(outside.join("kept").exists());
        }
    }

    fn swap_while(path: &Path, work: impl FnOnce()) {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (a, link) = (path.join("a"), path.join("link"));
                    let _ = rustix::fs::renameat_with(CWD, a, CWD, link, rustix::fs::RenameFlags::EXCHANGE);
                }
            });
            work();
            done.store(true, Ordering::Relaxed);
        });
    }
}
