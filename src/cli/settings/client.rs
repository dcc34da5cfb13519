//! The settings of `divvy` that all its commands share.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::{SettingsError, master_addresses, read_file};
use crate::{cli::logging::LogFormat, transport::connect::Addresses};

/// The flags; each may also be an environment variable or, with underscores, in the file named by `--config`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientArgs {
    /// The master, or all masters of which one leads, separated by commas [default: 127.0.0.1:5050]
    #[arg(long, global = true, env = "DIVVY_MASTER", value_name = "HOST:PORT")]
    pub master: Option<String>,
    /// What to log: error, warn, info, debug, trace, or by part: info,divvy=debug [default: warn]
    #[arg(long, global = true, env = "DIVVY_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// The format of log lines [default: text]
    #[arg(long, global = true, env = "DIVVY_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// A TOML file with any of these settings
    #[arg(long, global = true, env = "DIVVY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// The parsed settings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientSettings {
    /// The masters.
    pub master: Addresses,
    /// What to log.
    pub log: Option<String>,
    /// The format of log lines.
    pub log_format: LogFormat,
}

impl ClientArgs {
    /// Adds the settings of the file and parses all of them.
    ///
    /// # Errors
    /// When the file or a value is invalid.
    pub fn resolve(self) -> Result<ClientSettings, SettingsError> {
        let file: Self = read_file(self.config.as_deref())?;
        Ok(ClientSettings {
            master: master_addresses(self.master.or(file.master).as_deref())?,
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format).unwrap_or_default(),
        })
    }
}
