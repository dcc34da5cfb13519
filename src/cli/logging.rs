//! Logs are written to standard error; standard output is for results.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::{output::LogOutput, settings::SettingsError};

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging with `filter`, or `RUST_LOG`, or `fallback`.
///
/// # Errors
/// When the filter is invalid.
pub fn start(filter: Option<&str>, fallback: &str, format: LogFormat) -> Result<(), SettingsError> {
    let from_environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = filter.filter(|text| !text.trim().is_empty());
    let text = filter.map(str::to_owned).or(from_environment).unwrap_or_else(|| fallback.to_owned());
    let filter = EnvFilter::builder()
        .parse(&text)
        .map_err(|error| SettingsError::invalid("--log", &text, &format!("{error}; for example info,divvy=debug")))?;
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogOutput::default).with_ansi(colours);
    let started = match format {
        LogFormat::Text => logs.with_target(false).try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    // A second start in one process (tests) keeps the first.
    drop(started);
    Ok(())
}
