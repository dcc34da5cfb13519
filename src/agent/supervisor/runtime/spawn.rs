//! Starts one process.
//!
//! A process has a group of its own, its own environment and directory, three files, the default disposition of every
//! signal and none blocked. The program is searched here, in the PATH of that environment. Every error names the step
//! that failed and the error number.

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, CWD, Mode, OFlags, access, openat},
    io::{Errno, fcntl_dupfd_cloexec},
};

use super::{ContainerSpec, MARKER_VARIABLE};
use crate::{
    agent::isolation::vfork::{self, Command, Inheritance, Stdio, Step},
    proto::internal::{Output, Start, StartFailed, output},
};

/// Where programs are looked for when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A step that failed.
type Failure = (String, io::Error);

/// Starts processes; holds what all starts share.
#[derive(Debug)]
pub(super) struct Spawner {
    null: OwnedFd,
    inheritance: Inheritance,
}

impl Spawner {
    /// # Errors
    /// No descriptors are left.
    pub(super) fn new(inheritance: Inheritance) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = above_standard(openat(CWD, "/dev/null", flags, Mode::empty())?)?;
        Ok(Self { null, inheritance })
    }

    /// Starts the first process of `spec`: its number and a descriptor of it.
    ///
    /// # Errors
    /// The first step that failed. Nothing is left of the process.
    pub(super) fn spawn(&self, spec: &ContainerSpec) -> Result<(u32, OwnedFd), StartFailed> {
        self.try_spawn(spec).map_err(|(step, error)| failed(&spec.start, step, &error))
    }

    fn try_spawn(&self, spec: &ContainerSpec) -> Result<(u32, OwnedFd), Failure> {
        let start = &spec.start;
        let directory = Path::new(&start.working_directory);
        let outputs = [output_path(start.stdout.as_ref())?, output_path(start.stderr.as_ref())?];
        let [stdout, stderr] = outputs.each_ref().map(|path| self.output(path.as_deref()));
        let program = find(start, directory)?;
        let arguments = match start.arguments.as_slice() {
            [] => vec![text(program.as_os_str().as_bytes(), "the program")?],
            all => all.iter().map(|it| text(it.as_bytes(), "an argument")).collect::<Result<_, _>>()?,
        };
        let command = Command {
            program: &text(program.as_os_str().as_bytes(), "the program")?,
            arguments: &arguments,
            environment: &environment(spec)?,
            directory: &text(start.working_directory.as_bytes(), "the working directory")?,
            stdio: [Stdio::Open(self.null.as_fd()), stdout, stderr],
            inheritance: &self.inheritance,
        };
        vfork::spawn(&command).map_err(|(step, error)| {
            let text = match step {
                Step::Open(at) => cannot_open(at, &outputs),
                step => describe(step, &program, directory, &error),
            };
            (text, error)
        })
    }

    fn output<'a>(&'a self, path: Option<&'a CStr>) -> Stdio<'a> {
        // `/dev/null` is allowed although it is no regular file.
        path.filter(|path| *path != c"/dev/null").map_or_else(|| Stdio::Open(self.null.as_fd()), Stdio::Append)
    }
}

fn text(bytes: &[u8], what: &str) -> Result<CString, Failure> {
    CString::new(bytes).map_err(|_nul| (format!("use {what} with a zero byte in it"), Errno::INVAL.into()))
}

/// The container's own variables, the last of each name, and its marker.
fn environment(spec: &ContainerSpec) -> Result<Vec<CString>, Failure> {
    let own = spec.start.environment.iter().map(|it| (it.name.as_str(), it.value.as_str()));
    let marked = own.chain([(MARKER_VARIABLE, spec.marker.as_str())]);
    let variables: std::collections::BTreeMap<&str, &str> = marked.collect();
    let texts = variables.into_iter().map(|(name, value)| text(format!("{name}={value}").as_bytes(), "a variable"));
    texts.collect()
}

/// Moves a descriptor above the standard ones, which the child replaces.
fn above_standard(file: OwnedFd) -> io::Result<OwnedFd> {
    if file.as_raw_fd() > 2 { Ok(file) } else { Ok(fcntl_dupfd_cloexec(&file, 3)?) }
}

fn describe(step: Step, program: &Path, directory: &Path, error: &io::Error) -> String {
    match step {
        Step::Clone => "make a process".to_owned(),
        Step::Group => "make a process group".to_owned(),
        Step::Open(_) | Step::Stdio => "pass on standard input, output and error".to_owned(),
        Step::Limits => "set limits".to_owned(),
        Step::Directory if directory.exists() && !directory.is_dir() => {
            format!("enter {}, which is no directory,", directory.display())
        }
        Step::Directory => format!("enter the directory {}", directory.display()),
        Step::Execute if error.kind() == io::ErrorKind::NotFound && program.exists() => {
            format!("execute {}, whose interpreter is missing,", program.display())
        }
        Step::Execute => format!("execute {}", program.display()),
    }
}

/// The answer to a start that failed at `step`.
pub(super) fn failed(start: &Start, step: String, error: &io::Error) -> StartFailed {
    let errno = error.raw_os_error().unwrap_or_else(|| Errno::INVAL.raw_os_error());
    StartFailed { container_id: start.container_id.clone(), step, errno }
}

/// The file that the process appends an output to; `None` without one.
fn output_path(wanted: Option<&Output>) -> Result<Option<CString>, Failure> {
    let Some(output::Kind::File(path)) = wanted.and_then(|it| it.kind.as_ref()) else { return Ok(None) };
    text(path.as_bytes(), "a path for output").map(Some)
}

/// Describes that the child could not open its descriptor of this number.
fn cannot_open(number: usize, [stdout, stderr]: &[Option<CString>; 2]) -> String {
    let (name, path) = if number == 1 { ("stdout", stdout) } else { ("stderr", stderr) };
    format!("open {name} at {}", path.as_deref().unwrap_or_default().to_string_lossy())
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
