//! Cleans up after a process that runs tasks itself and is killed: a shell kills the tasks and removes the folder of
//! the cluster.
//!
//! The shell reads a pipe whose other end this process holds. The pipe is closed without a message when this process is
//! killed by any signal. The shell finds the tasks' processes by the prefix of their markers, and by their parents.

use std::{
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// `$1`: the prefix of the markers, `$2`: the folder; either may be empty. Stopped processes start no others. So the
/// script searches until all are stopped, kills them, and searches again.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM PIPE
read -r word
[ "$word" = stopped ] && exit 0
add() {
    case " $found " in *" $1 "*) ;; *) found="$found $1";; esac
}
look() {
    for environ in $(grep -lF "DIVVY_MARKER=$1" /proc/[0-9]*/environ 2>/dev/null); do
        pid=${environ#/proc/}
        add "${pid%/environ}"
    done
    for stat in /proc/[0-9]*/stat; do
        { read -r line < "$stat"; } 2>/dev/null || continue
        set -- ${line##*) }
        pid=${stat#/proc/}
        case " $found " in *" $2 "*) add "${pid%/stat}";; esac
    done
}
round=0
while [ -n "$1" ] && [ $round -lt 200 ]; do
    found=; seen=none
    while [ "$found" != "$seen" ]; do
        seen=$found
        look "$1"
        [ -z "$found" ] || kill -STOP $found 2>/dev/null
    done
    [ -n "$found" ] || break
    kill -KILL $found 2>/dev/null
    round=$((round + 1))
done
round=0
while [ -n "$2" ] && ! rm -rf "$2" 2>/dev/null && [ $round -lt 100 ]; do
    sleep 0.1
    round=$((round + 1))
done
"#;

/// A watcher that outlives this process. Dropped, it ends without doing anything.
#[derive(Debug)]
pub(crate) struct Watcher(Child);

impl Watcher {
    /// Kills all processes whose markers begin with `marker` when this process is killed.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub(crate) fn of_tasks(marker: &str) -> io::Result<Self> {
        Self::start(marker, Path::new(""))
    }

    /// Removes a folder when this process is killed: for a cluster within the process.
    ///
    /// # Errors
    /// The shell cannot be started.
    #[cfg(any(test, feature = "master"))]
    pub(crate) fn of_folder(folder: &Path) -> io::Result<Self> {
        Self::start("", folder)
    }

    fn start(marker: &str, folder: &Path) -> io::Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "divvy-watcher", marker]).arg(folder).current_dir("/").env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // A watcher that was killed needs no message.
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"stopped\n");
        }
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeping(marker: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "env -i /bin/sleep 1000 & exec sleep 1000"]).env("DIVVY_MARKER", marker);
        command.stdout(Stdio::piped()).spawn().unwrap()
    }

    /// As if this process had ended.
    fn abandon(mut watcher: Watcher) {
        drop(watcher.0.stdin.take());
        watcher.0.wait().unwrap();
    }

    #[test]
    fn tasks_and_what_they_started_are_killed_when_their_process_ends_and_others_are_not() {
        let own = format!("77{}", std::process::id());
        let (mut task, mut other) = (sleeping(&format!("{own}-1")), sleeping("78"));
        abandon(Watcher::of_tasks(&own).unwrap());
        assert!(!task.wait().unwrap().success());
        let mut rest = Vec::new();
        io::Read::read_to_end(&mut task.stdout.take().unwrap(), &mut rest).unwrap();
        assert_eq!(rest, b"", "the pipe ended, so nothing holds it");
        assert!(other.try_wait().unwrap().is_none());
        abandon(Watcher::of_tasks("78").unwrap());
        other.wait().unwrap();
    }

    #[test]
    fn a_folder_is_removed_when_its_process_ends_and_stays_when_that_stops_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster");
        std::fs::create_dir_all(path.join("a/b")).unwrap();
        drop(Watcher::of_folder(&path).unwrap());
        assert!(path.exists());
        abandon(Watcher::of_folder(&path).unwrap());
        assert!(!path.exists() && folder.path().exists());
    }
}
