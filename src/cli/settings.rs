//! Settings of the programs: from flags, environment variables and a file, in this order of precedence.
//!
//! Each program has one struct of optional values. clap fills it from flags and environment, serde from the file. The
//! two are merged before they are parsed, so a wrong value returns the same error from each source.

mod agent;
mod client;
mod master;
mod resources;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

pub use agent::{AgentArgs, AgentSettings};
pub use client::{ClientArgs, ClientSettings};
pub use master::{MasterArgs, MasterSettings};
pub(crate) use resources::resources;
use serde::de::DeserializeOwned;

use crate::transport::connect::{Addresses, InvalidAddress};

/// The master's address unless set.
pub const DEFAULT_MASTER: &str = "127.0.0.1:5050";

/// An invalid setting, in one line that names it.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value is invalid.
    #[error("{name} {value:?}: {problem}")]
    Invalid {
        /// The flag.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong, and an example of a valid value.
        problem: String,
    },
    /// The settings file cannot be read.
    #[error("cannot read {}: {source}; name another file with --config or DIVVY_CONFIG", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The settings file is invalid.
    #[error("{}:{line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
}

impl SettingsError {
    pub(crate) fn invalid(name: &'static str, value: &str, problem: &str) -> Self {
        Self::Invalid { name, value: value.to_owned(), problem: problem.to_owned() }
    }
}

/// Reads the settings of a file; the default without a file.
fn read_file<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, SettingsError> {
    let Some(path) = path else { return Ok(T::default()) };
    let text =
        std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, SettingsError> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start).min(text.len());
        let line = 1 + text.get(..before).map_or(0, |before| before.matches('\n').count());
        SettingsError::Syntax { path: path.to_owned(), line, message: error.message().replace('\n', " ") }
    })
}

/// Parses a text as the settings file of each program and returns the errors, for the fuzzer.
#[cfg(feature = "fuzz")]
pub(crate) fn check(text: &str) -> Vec<SettingsError> {
    let path = Path::new("settings.toml");
    let master = parse::<MasterArgs>(path, text).and_then(MasterArgs::resolve).err();
    let agent = parse::<AgentArgs>(path, text).and_then(AgentArgs::resolve).err();
    let client = parse::<ClientArgs>(path, text).and_then(ClientArgs::resolve).err();
    [master, agent, client].into_iter().flatten().collect()
}

pub(crate) fn listen_address(text: Option<&str>, default: SocketAddr) -> Result<SocketAddr, SettingsError> {
    let Some(text) = text else { return Ok(default) };
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(text).parse().map_err(|_not_numbers| {
        SettingsError::invalid("--listen", text, "write ADDR:PORT with numbers, for example 127.0.0.1:5050")
    })
}

/// Parses `host:port[,host:port]`; the default master without a text.
pub(crate) fn master_addresses(text: Option<&str>) -> Result<Addresses, SettingsError> {
    let text = text.unwrap_or(DEFAULT_MASTER);
    text.parse().map_err(|error: InvalidAddress| SettingsError::invalid("--master", text, &error.way_out()))
}

/// The shortest time span allowed: a shorter one would cause a busy loop.
const SHORTEST: Duration = Duration::from_millis(1);

/// Parses a time span such as `90s`, `2m` or `1h 30m`.
fn duration(name: &'static str, text: Option<&str>) -> Result<Option<Duration>, SettingsError> {
    let read = |text: &str| match humantime::parse_duration(text) {
        Ok(span) if span < SHORTEST => Err(SettingsError::invalid(name, text, "it has to be at least 1ms")),
        Ok(span) => Ok(span),
        Err(error) => Err(SettingsError::invalid(name, text, &format!("{error}; for example 90s, 2m or 1h"))),
    };
    text.map(read).transpose()
}

/// Parses a time span, or `none` for no limit; the default if not set.
fn limit(name: &'static str, text: Option<&str>, default: Option<Duration>) -> Result<Option<Duration>, SettingsError> {
    match text {
        None => Ok(default),
        Some("none") => Ok(None),
        Some(text) => duration(name, Some(text)),
    }
}

/// Checks a host name, which others print and connect to.
fn hostname(text: Option<String>) -> Result<Option<String>, SettingsError> {
    let Some(name) = text else { return Ok(None) };
    let is_part = |c: char| !c.is_control() && !c.is_whitespace() && !"/@?#".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_part) {
        let problem = "give a host's name or number without blanks, at most 255 bytes of it";
        return Err(SettingsError::invalid("--hostname", &name, problem));
    }
    Ok(Some(name))
}

/// Parses a setting with a format of its own, such as attributes.
pub(crate) fn parsed<T>(name: &'static str, text: Option<&str>, example: &str) -> Result<Option<T>, SettingsError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let read = |text: &str| {
        text.parse().map_err(|error| SettingsError::invalid(name, text, &format!("{error}; for example '{example}'")))
    };
    text.map(read).transpose()
}
