//! What a program is told: by flags, by environment variables, by a file, in this order of weight.
//!
//! Each program has one struct of optional values that clap fills from flags and environment and serde from the file;
//! the two are laid over each other and only then read for their meaning, so a wrong value gets the same error wherever
//! it came from.

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

/// Where a master is looked for when nothing is said.
pub const DEFAULT_MASTER: &str = "127.0.0.1:5050";

/// A setting that does not make sense, in one line that names it.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value that cannot be understood.
    #[error("{name} {value:?}: {problem}")]
    Invalid {
        /// The flag.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The settings file is not there or not readable.
    #[error("cannot read {}: {source}; name another file with --config or DIVVY_CONFIG", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The settings file says something it should not.
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

/// The settings of a file, or none without one.
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

/// What is wrong with a text as the settings file of each program, for the fuzzer.
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

/// `host:port[,host:port]`, or where a master is unless told otherwise.
pub(crate) fn master_addresses(text: Option<&str>) -> Result<Addresses, SettingsError> {
    let text = text.unwrap_or(DEFAULT_MASTER);
    text.parse().map_err(|error: InvalidAddress| SettingsError::invalid("--master", text, &error.way_out()))
}

/// The shortest time span that makes sense: with less, something would be done all the time.
const SHORTEST: Duration = Duration::from_millis(1);

/// A time span such as `90s`, `2m` or `1h 30m`.
fn duration(name: &'static str, text: Option<&str>) -> Result<Option<Duration>, SettingsError> {
    let read = |text: &str| match humantime::parse_duration(text) {
        Ok(span) if span < SHORTEST => Err(SettingsError::invalid(name, text, "it has to be at least 1ms")),
        Ok(span) => Ok(span),
        Err(error) => Err(SettingsError::invalid(name, text, &format!("{error}; for example 90s, 2m or 1h"))),
    };
    text.map(read).transpose()
}

/// A time span, or `none` for no limit; unless set what is the default.
fn limit(name: &'static str, text: Option<&str>, default: Option<Duration>) -> Result<Option<Duration>, SettingsError> {
    match text {
        None => Ok(default),
        Some("none") => Ok(None),
        Some(text) => duration(name, Some(text)),
    }
}

/// The name of a host, which others print and connect to.
fn hostname(text: Option<String>) -> Result<Option<String>, SettingsError> {
    let Some(name) = text else { return Ok(None) };
    let is_part = |c: char| !c.is_control() && !c.is_whitespace() && !"/@?#".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(is_part) {
        let problem = "give a host's name or number without blanks, at most 255 bytes of it";
        return Err(SettingsError::invalid("--hostname", &name, problem));
    }
    Ok(Some(name))
}

/// Text with a meaning of its own, such as resources.
pub(crate) fn meaning<T>(name: &'static str, text: Option<&str>, example: &str) -> Result<Option<T>, SettingsError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let read = |text: &str| {
        text.parse().map_err(|error| SettingsError::invalid(name, text, &format!("{error}; for example '{example}'")))
    };
    text.map(read).transpose()
}
