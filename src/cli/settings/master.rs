//! The settings of `divvy-master`.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::Args;
use serde::Deserialize;

use super::{SettingsError, duration, hostname, limit, listen_address, read_file};
use crate::{
    cli::logging::LogFormat,
    master::{Options, RemovalRate},
};

/// The flags; each may also be an environment variable or, with underscores, in the file named by `--config`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MasterArgs {
    /// Address and port to serve on; port 0 picks a free one [default: 127.0.0.1:5050]
    #[arg(long, env = "DIVVY_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// The directory of the registry; created if it does not exist [default: ./divvy-master]
    #[arg(long, env = "DIVVY_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// The name or number under which others reach this host [default: the address listened on]
    #[arg(long, env = "DIVVY_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,
    /// How long a framework may hold an offer that no other framework wants, or `none` for no limit [default: 2m]
    #[arg(long, env = "DIVVY_OFFER_TIMEOUT", value_name = "TIME")]
    pub offer_timeout: Option<String>,
    /// How long an agent may be silent before its tasks are reported unreachable [default: 75s]
    #[arg(long, env = "DIVVY_AGENT_PING_TIMEOUT", value_name = "TIME")]
    pub agent_ping_timeout: Option<String>,
    /// How long agents may take to re-register after a change of master [default: 10m]
    #[arg(long, env = "DIVVY_AGENT_REREGISTER_TIMEOUT", value_name = "TIME")]
    pub agent_reregister_timeout: Option<String>,
    /// Mark agents unreachable no faster than this, for example 1/20m; no limit unless set
    #[arg(long, env = "DIVVY_AGENT_REMOVAL_RATE_LIMIT", value_name = "N/TIME")]
    pub agent_removal_rate_limit: Option<String>,
    /// How often to search the registry for agents to remove [default: 15m]
    #[arg(long, env = "DIVVY_REGISTRY_GC_INTERVAL", value_name = "TIME")]
    pub registry_gc_interval: Option<String>,
    /// Remove agents from the registry that were unreachable or gone for longer than this [default: 2w]
    #[arg(long, env = "DIVVY_REGISTRY_MAX_AGENT_AGE", value_name = "TIME")]
    pub registry_max_agent_age: Option<String>,
    /// How many unreachable agents, and how many gone ones, the registry holds [default: 102400]
    #[arg(long, env = "DIVVY_REGISTRY_MAX_AGENT_COUNT", value_name = "N")]
    pub registry_max_agent_count: Option<usize>,
    /// How long a peer may leave its messages unread before its session is closed [default: 75s]
    #[arg(long, env = "DIVVY_PEER_STALL_TIMEOUT", value_name = "TIME")]
    pub peer_stall_timeout: Option<String>,
    /// How many removed frameworks to keep for queries [default: 50]
    #[arg(long, env = "DIVVY_MAX_COMPLETED_FRAMEWORKS", value_name = "N")]
    pub max_completed_frameworks: Option<usize>,
    /// How many ended tasks of each framework to keep for queries [default: 1000]
    #[arg(long, env = "DIVVY_MAX_COMPLETED_TASKS_PER_FRAMEWORK", value_name = "N")]
    pub max_completed_tasks_per_framework: Option<usize>,
    /// Serve on an address that other hosts can reach although there is no authentication yet
    #[arg(long, env = "DIVVY_INSECURE", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub insecure: Option<bool>,
    /// What to log: error, warn, info, debug, trace, or by part: info,divvy=debug [default: info]
    #[arg(long, env = "DIVVY_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// The format of log lines [default: text]
    #[arg(long, env = "DIVVY_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
    /// A TOML file with any of these settings
    #[arg(long, env = "DIVVY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

/// The parsed settings.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MasterSettings {
    /// Where to serve.
    pub listen: SocketAddr,
    /// The directory of the registry.
    pub work_dir: PathBuf,
    /// The host name to report.
    pub hostname: Option<String>,
    /// How long an offer stays valid; `None`: without limit.
    pub offer_timeout: Option<Duration>,
    /// How long an agent may be silent; `None`: the master's default.
    pub agent_ping_timeout: Option<Duration>,
    /// How long agents may take to re-register; `None` here and below: the master's default.
    pub agent_reregister_timeout: Option<Duration>,
    /// How fast agents are marked unreachable.
    pub agent_removal_rate: Option<RemovalRate>,
    /// How often to search the registry for agents to remove.
    pub registry_gc_interval: Option<Duration>,
    /// How long unreachable and gone agents are recorded.
    pub registry_max_agent_age: Option<Duration>,
    /// How many unreachable agents, and how many gone ones, are recorded.
    pub registry_max_agents: Option<usize>,
    /// How long a peer may leave its messages unread.
    pub peer_stall_timeout: Option<Duration>,
    /// How many removed frameworks are kept.
    pub max_completed_frameworks: Option<usize>,
    /// How many ended tasks of a framework are kept.
    pub max_completed_tasks_per_framework: Option<usize>,
    /// Whether an address that other hosts can reach is allowed.
    pub insecure: bool,
    /// What to log.
    pub log: Option<String>,
    /// The format of log lines.
    pub log_format: LogFormat,
}

impl MasterArgs {
    /// Adds the settings of the file and parses all of them.
    ///
    /// # Errors
    /// When the file or a value is invalid.
    pub fn resolve(self) -> Result<MasterSettings, SettingsError> {
        let file: Self = read_file(self.config.as_deref())?;
        let all = self.with_defaults(file);
        Ok(MasterSettings {
            listen: listen_address(all.listen.as_deref(), SocketAddr::from(([127, 0, 0, 1], 5050)))?,
            work_dir: all.work_dir.unwrap_or_else(|| PathBuf::from("divvy-master")),
            hostname: hostname(all.hostname)?,
            offer_timeout: limit("--offer-timeout", all.offer_timeout.as_deref(), Options::default().offer_timeout)?,
            agent_ping_timeout: duration("--agent-ping-timeout", all.agent_ping_timeout.as_deref())?,
            agent_reregister_timeout: duration("--agent-reregister-timeout", all.agent_reregister_timeout.as_deref())?,
            agent_removal_rate: removal_rate(all.agent_removal_rate_limit.as_deref())?,
            registry_gc_interval: duration("--registry-gc-interval", all.registry_gc_interval.as_deref())?,
            registry_max_agent_age: duration("--registry-max-agent-age", all.registry_max_agent_age.as_deref())?,
            registry_max_agents: all.registry_max_agent_count,
            peer_stall_timeout: duration("--peer-stall-timeout", all.peer_stall_timeout.as_deref())?,
            max_completed_frameworks: all.max_completed_frameworks,
            max_completed_tasks_per_framework: all.max_completed_tasks_per_framework,
            insecure: all.insecure.unwrap_or(false),
            log: all.log,
            log_format: all.log_format.unwrap_or_default(),
        })
    }

    fn with_defaults(self, file: Self) -> Self {
        Self {
            listen: self.listen.or(file.listen),
            work_dir: self.work_dir.or(file.work_dir),
            hostname: self.hostname.or(file.hostname),
            offer_timeout: self.offer_timeout.or(file.offer_timeout),
            agent_ping_timeout: self.agent_ping_timeout.or(file.agent_ping_timeout),
            agent_reregister_timeout: self.agent_reregister_timeout.or(file.agent_reregister_timeout),
            agent_removal_rate_limit: self.agent_removal_rate_limit.or(file.agent_removal_rate_limit),
            registry_gc_interval: self.registry_gc_interval.or(file.registry_gc_interval),
            registry_max_agent_age: self.registry_max_agent_age.or(file.registry_max_agent_age),
            registry_max_agent_count: self.registry_max_agent_count.or(file.registry_max_agent_count),
            peer_stall_timeout: self.peer_stall_timeout.or(file.peer_stall_timeout),
            max_completed_frameworks: self.max_completed_frameworks.or(file.max_completed_frameworks),
            max_completed_tasks_per_framework: self
                .max_completed_tasks_per_framework
                .or(file.max_completed_tasks_per_framework),
            insecure: self.insecure.or(file.insecure),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            config: self.config,
        }
    }
}

/// Parses `N/TIME`: at most N agents in that time.
fn removal_rate(text: Option<&str>) -> Result<Option<RemovalRate>, SettingsError> {
    const NAME: &str = "--agent-removal-rate-limit";
    let Some(text) = text else { return Ok(None) };
    let wrong = || SettingsError::invalid(NAME, text, "write N/TIME with N over 0, for example 1/20m");
    let (count, time) = text.split_once('/').ok_or_else(wrong)?;
    let count: NonZeroU32 = count.trim().parse().map_err(|_not_a_number| wrong())?;
    let time = duration(NAME, Some(time.trim()))?;
    Ok(time.map(|time| RemovalRate::new(count, time)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn with_file(text: &str, args: MasterArgs) -> Result<MasterSettings, SettingsError> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("master.toml");
        std::fs::write(&path, text).expect("a file");
        MasterArgs { config: Some(path), ..args }.resolve()
    }

    #[test]
    fn a_flag_overrides_the_file_and_the_file_overrides_the_default() {
        let args = MasterArgs { listen: Some("127.0.0.1:7".to_owned()), ..MasterArgs::default() };
        let file =
            "listen = \"127.0.0.1:8\"\nwork_dir = \"/data\"\noffer_timeout = \"1m 30s\"\nlog_format = \"json\"\n";
        let settings = with_file(file, args).expect("all is well");
        assert_eq!(settings.listen, SocketAddr::from(([127, 0, 0, 1], 7)));
        assert_eq!(settings.work_dir, Path::new("/data"));
        assert_eq!(settings.offer_timeout, Some(Duration::from_secs(90)));
        assert_eq!(settings.log_format, LogFormat::Json);
        let settings = MasterArgs::default().resolve().expect("defaults");
        assert_eq!(settings.listen, SocketAddr::from(([127, 0, 0, 1], 5050)));
        assert!(!settings.insecure && settings.agent_ping_timeout.is_none());
    }

    #[test]
    fn an_offer_timeout_can_be_turned_off() {
        let args = MasterArgs { offer_timeout: Some("none".to_owned()), ..MasterArgs::default() };
        assert_eq!(args.resolve().expect("all is well").offer_timeout, None);
        let preset = MasterArgs::default().resolve().expect("defaults").offer_timeout;
        assert_eq!(preset, Some(Duration::from_mins(2)));
    }

    #[test]
    fn a_rate_is_parsed_as_a_number_in_a_time() {
        for (text, seconds) in [("1/20mins", 1_200), ("4 / 20m", 300), ("2/1s", 0)] {
            let args = MasterArgs { agent_removal_rate_limit: Some(text.to_owned()), ..MasterArgs::default() };
            let rate = args.resolve().expect("all is well").agent_removal_rate.expect("set");
            assert_eq!(rate.interval().as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn an_unknown_name_in_the_file_is_reported_with_its_line_and_the_known_names() {
        let error =
            with_file("insecure = true\nlisen = \"x\"\n", MasterArgs::default()).expect_err("lisen").to_string();
        assert!(
            error.contains("master.toml:2: unknown field `lisen`, expected one of `listen`, `work_dir`"),
            "{error}"
        );
    }

    #[test]
    fn an_invalid_value_is_reported_with_an_example() {
        for (file, wanted) in [
            ("listen = \"5050\"", "--listen \"5050\": write ADDR:PORT with numbers, for example 127.0.0.1:5050"),
            ("offer_timeout = \"soon\"", "--offer-timeout \"soon\": expected number at 0; for example 90s, 2m or 1h"),
            (
                "agent_removal_rate_limit = \"0/1m\"",
                "--agent-removal-rate-limit \"0/1m\": write N/TIME with N over 0, for example 1/20m",
            ),
            ("offer_timeout = \"0s\"", "--offer-timeout \"0s\": it has to be at least 1ms"),
            ("agent_ping_timeout = \"3ns\"", "--agent-ping-timeout \"3ns\": it has to be at least 1ms"),
            (
                "hostname = \"\"",
                "--hostname \"\": give a host's name or number without blanks, at most 255 bytes of it",
            ),
        ] {
            assert_eq!(with_file(file, MasterArgs::default()).expect_err(file).to_string(), wanted);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let args = MasterArgs { config: Some(PathBuf::from("/nowhere/x.toml")), ..MasterArgs::default() };
        let error = args.resolve().expect_err("it is not there").to_string();
        assert!(error.starts_with("cannot read /nowhere/x.toml: "), "{error}");
    }
}
