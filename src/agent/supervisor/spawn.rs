//! Starts one process.
//!
//! Only what the vfork path of the standard library can do: a group of its own, environment, directory, files. The
//! program is looked up here, since a lookup in another PATH than our own would leave that path. Every failure says
//! which step failed and with which error number.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::{
    fs::{Access, CWD, FileType, Mode, OFlags, access, fstat, openat},
    io::Errno,
};

use super::{CONTAINER_VARIABLE, SUPERVISOR_VARIABLE};
use crate::proto::internal::{Output, Start, StartFailed, output};

/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A step that failed.
type Failure = (String, io::Error);

/// Starts the process that `start` describes, marked as one of `supervisor`'s.
///
/// # Errors
/// The first step that failed. Nothing is left of the process.
pub(super) fn spawn(start: &Start, supervisor: &OsStr) -> Result<Child, StartFailed> {
    try_spawn(start, supervisor).map_err(|(step, error)| failed(start, step, &error))
}

/// The answer to a start that failed at `step`.
pub(super) fn failed(start: &Start, step: String, error: &io::Error) -> StartFailed {
    let errno = error.raw_os_error().unwrap_or_else(|| Errno::INVAL.raw_os_error());
    StartFailed { container_id: start.container_id.clone(), step, errno }
}

fn try_spawn(start: &Start, supervisor: &OsStr) -> Result<Child, Failure> {
    let directory = Path::new(&start.working_directory);
    let stdout = open_output("stdout", start.stdout.as_ref())?;
    let stderr = open_output("stderr", start.stderr.as_ref())?;
    let program = find(start, directory)?;
    let mut command = Command::new(&program);
    if let Some((name, arguments)) = start.arguments.split_first() {
        command.arg0(name).args(arguments);
    }
    command.env_clear().envs(start.environment.iter().map(|it| (&it.name, &it.value)));
    command.env(CONTAINER_VARIABLE, &start.container_id).env(SUPERVISOR_VARIABLE, supervisor);
    command.current_dir(directory).process_group(0).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    command.spawn().map_err(|error| (blame(&program, directory, &error), error))
}

/// Opens a file for the process to append to: never through a link and never anything but a file, so that what an
/// earlier process left there cannot lead the output astray or make us wait.
fn open_output(name: &str, wanted: Option<&Output>) -> Result<Stdio, Failure> {
    let Some(output::Kind::File(path)) = wanted.and_then(|it| it.kind.as_ref()) else {
        return Ok(Stdio::null());
    };
    let open = || -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
        let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = openat(CWD, path.as_str(), flags | careful, Mode::from_raw_mode(0o644))?;
        let is_file = FileType::from_raw_mode(fstat(&file)?.st_mode) == FileType::RegularFile;
        if is_file || path == "/dev/null" { Ok(file.into()) } else { Err(Errno::INVAL.into()) }
    };
    open().map(Stdio::from).map_err(|error| (format!("open {name} at {path}"), error))
}

fn find(start: &Start, directory: &Path) -> Result<PathBuf, Failure> {
    if start.program.contains('/') {
        return Ok(directory.join(&start.program));
    }
    let path = start.environment.iter().rfind(|it| it.name == "PATH").map_or(DEFAULT_PATH, |it| &it.value);
    let mut verdict = Errno::NOENT;
    for folder in std::env::split_paths(path) {
        let candidate = directory.join(folder).join(&start.program);
        if candidate.is_file() {
            match access(&candidate, Access::EXEC_OK) {
                Ok(()) => return Ok(candidate),
                Err(error) => verdict = error,
            }
        }
    }
    Err((format!("find {:?} in the PATH {path:?}", start.program), verdict.into()))
}

/// The same error number comes for a directory that cannot be entered, a program that is not there and a script whose
/// interpreter is not there.
fn blame(program: &Path, directory: &Path, error: &io::Error) -> String {
    if let Err(cause) = access(directory, Access::EXEC_OK)
        && error.raw_os_error() == Some(cause.raw_os_error())
    {
        return format!("enter the directory {}", directory.display());
    }
    if !directory.is_dir() {
        return format!("enter {}, which is no directory,", directory.display());
    }
    if error.kind() == io::ErrorKind::NotFound && program.exists() {
        return format!("execute {}, whose interpreter is missing,", program.display());
    }
    format!("execute {}", program.display())
}
