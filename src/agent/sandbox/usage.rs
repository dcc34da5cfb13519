//! Disk usage of a sandbox.

use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat2, statat},
    io::Errno,
};

use super::{SandboxError, Sandboxes};

/// Files looked at before the answer is "at least".
const MAX_FILES: usize = 1_000_000;
/// The size of a block in `st_blocks`, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

impl Sandboxes {
    /// The disk space used by the files of a sandbox, in bytes.
    ///
    /// Holes and mounts are not counted, hard-linked files once. Concurrent changes may or may not be counted; of more
    /// than a million files only so many are.
    ///
    /// # Errors
    /// There is no such sandbox, or it cannot be read.
    pub fn used_bytes(&self, container_id: &str) -> Result<u64, SandboxError> {
        let root = self.open_root(container_id)?;
        let (mut folders, mut used, mut files) = (vec![PathBuf::from(".")], 0_u64, 0_usize);
        let mut linked = BTreeSet::new();
        while let Some(folder) = folders.pop() {
            let listed = list(&root, &folder).map_err(|error| SandboxError::failed("list", &folder, error))?;
            for (name, stat) in listed {
                let is_linked = stat.st_nlink > 1 && !is_folder(&stat);
                if !is_linked || linked.insert((stat.st_dev, stat.st_ino)) {
                    used += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK_BYTES;
                }
                if is_folder(&stat) {
                    folders.push(name);
                }
                files += 1;
            }
            if files >= MAX_FILES {
                break;
            }
        }
        Ok(used)
    }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// What is in a folder. One that is gone, a mount, closed to us or too deep for a path has nothing.
fn list(root: &std::fs::File, folder: &Path) -> Result<Vec<(PathBuf, Stat)>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let opened = match openat2(root, folder, flags, Mode::empty(), confined) {
        Ok(opened) => opened,
        Err(
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::LOOP
            | Errno::XDEV
            | Errno::ACCESS
            | Errno::NAMETOOLONG
            | Errno::AGAIN,
        ) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"."
            && name != c".."
            && let Ok(stat) = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)
        {
            found.push((folder.join(std::ffi::OsStr::from_bytes(name.to_bytes())), stat));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_out_count_nothing_and_files_linked_twice_count_once() {
        let work = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::new(work.path()).unwrap();
        let path = sandboxes.create("c").unwrap();
        fs::write(work.path().join("large"), vec![1; 1 << 20]).unwrap();
        fs::create_dir(path.join("a")).unwrap();
        let empty = sandboxes.used_bytes("c").unwrap();
        symlink(work.path(), path.join("a/link")).unwrap();
        fs::write(path.join("a/file"), vec![1; 64 << 10]).unwrap();
        fs::hard_link(path.join("a/file"), path.join("again")).unwrap();
        fs::File::create(path.join("hole")).unwrap().set_len(1 << 30).unwrap();
        fs::File::open(path.join("a/file")).unwrap().sync_all().unwrap();
        let used = sandboxes.used_bytes("c").unwrap() - empty;
        assert!((64 << 10..128 << 10).contains(&used), "{used}");
        assert!(matches!(sandboxes.used_bytes("d"), Err(SandboxError::NoSandbox(_))));
    }
}
