//! The settings of `divvy-agent`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use serde::Deserialize;

use super::{SettingsError, duration, hostname, listen_address, master_addresses, parsed, read_file, resources};
use crate::{
    agent::{Recover, supervisor},
    cli::logging::LogFormat,
    transport::connect::Addresses,
    types::{Attributes, DeclaredResources},
};

/// The flags; each may also be an environment variable or, with underscores, in the file named by `--config`.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentArgs {
    /// The master, or all masters of which one leads, separated by commas [default: 127.0.0.1:5050]
    #[arg(long, env = "DIVVY_MASTER", value_name = "HOST:PORT")]
    pub master: Option<String>,
    /// Address and port to serve on; port 0 picks a free one [default: 127.0.0.1:5051]
    #[arg(long, env = "DIVVY_LISTEN", value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// The directory for records and sandboxes; created if it does not exist [default: ./divvy-agent]
    #[arg(long, env = "DIVVY_WORK_DIR", value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// What to offer, for example 'cpus:8;mem(web):8192;ports:[31000-32000]', as a JSON array of Mesos' resources, or
    /// the absolute path of a file with either. What is not named is detected, zero of a name means none [default: what
    /// this host has]
    #[arg(long, env = "DIVVY_RESOURCES", value_name = "TEXT|JSON|FILE")]
    pub resources: Option<String>,
    /// The role to which resources are reserved that name no role; `*` reserves them to none [default: *]
    #[arg(long, env = "DIVVY_DEFAULT_ROLE", value_name = "ROLE")]
    pub default_role: Option<String>,
    /// Attributes of this host, for example 'rack:r1;zone:a'
    #[arg(long, env = "DIVVY_ATTRIBUTES", value_name = "TEXT")]
    pub attributes: Option<String>,
    /// The name or number under which others reach this host [default: its host name]
    #[arg(long, env = "DIVVY_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,
    /// How to recover the tasks of an earlier agent: reconnect, cleanup (kill and report them) or strict (as reconnect,
    /// but exit with code 3 and change nothing when a record is damaged) [default: reconnect]
    #[arg(long, env = "DIVVY_RECOVER", value_name = "HOW")]
    pub recover: Option<String>,
    /// How long a supervisor runs without an agent and without containers [default: 10m]
    #[arg(long, env = "DIVVY_SUPERVISOR_IDLE", value_name = "TIME")]
    pub supervisor_idle: Option<String>,
    /// How long a peer may leave its messages unread before its session is closed [default: 75s]
    #[arg(long, env = "DIVVY_PEER_STALL_TIMEOUT", value_name = "TIME")]
    pub peer_stall_timeout: Option<String>,
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
pub struct AgentSettings {
    /// The masters.
    pub master: Addresses,
    /// Where to serve.
    pub listen: SocketAddr,
    /// The directory of records and sandboxes.
    pub work_dir: PathBuf,
    /// What to offer; what it does not mention is detected.
    pub resources: DeclaredResources,
    /// The attributes of the host.
    pub attributes: Attributes,
    /// The host name to report.
    pub hostname: Option<String>,
    /// How to recover the tasks of an earlier agent.
    pub recover: Recover,
    /// How long a supervisor runs without an agent and without containers.
    pub supervisor_idle: Duration,
    /// How long a peer may leave its messages unread; `None`: the agent's default.
    pub peer_stall_timeout: Option<Duration>,
    /// Whether an address that other hosts can reach is allowed.
    pub insecure: bool,
    /// What to log.
    pub log: Option<String>,
    /// The format of log lines.
    pub log_format: LogFormat,
}

impl AgentArgs {
    /// Adds the settings of the file and parses all of them.
    ///
    /// # Errors
    /// When the file or a value is invalid.
    pub fn resolve(self) -> Result<AgentSettings, SettingsError> {
        let file: Self = read_file(self.config.as_deref())?;
        let all = self.with_defaults(file);
        Ok(AgentSettings {
            master: master_addresses(all.master.as_deref())?,
            listen: listen_address(all.listen.as_deref(), SocketAddr::from(([127, 0, 0, 1], 5051)))?,
            work_dir: all.work_dir.unwrap_or_else(|| PathBuf::from("divvy-agent")),
            resources: resources(all.resources.as_deref(), all.default_role.as_deref())?,
            attributes: parsed("--attributes", all.attributes.as_deref(), "rack:r1;zone:a")?.unwrap_or_default(),
            hostname: hostname(all.hostname)?,
            recover: parsed("--recover", all.recover.as_deref(), "reconnect")?.unwrap_or_default(),
            supervisor_idle: duration("--supervisor-idle", all.supervisor_idle.as_deref())?.unwrap_or(supervisor::IDLE),
            peer_stall_timeout: duration("--peer-stall-timeout", all.peer_stall_timeout.as_deref())?,
            insecure: all.insecure.unwrap_or(false),
            log: all.log,
            log_format: all.log_format.unwrap_or_default(),
        })
    }

    fn with_defaults(self, file: Self) -> Self {
        Self {
            master: self.master.or(file.master),
            listen: self.listen.or(file.listen),
            work_dir: self.work_dir.or(file.work_dir),
            resources: self.resources.or(file.resources),
            default_role: self.default_role.or(file.default_role),
            attributes: self.attributes.or(file.attributes),
            hostname: self.hostname.or(file.hostname),
            recover: self.recover.or(file.recover),
            supervisor_idle: self.supervisor_idle.or(file.supervisor_idle),
            peer_stall_timeout: self.peer_stall_timeout.or(file.peer_stall_timeout),
            insecure: self.insecure.or(file.insecure),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            config: self.config,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_resources_has_an_example() {
        let args = AgentArgs { resources: Some("cpus:many".to_owned()), ..AgentArgs::default() };
        let error = args.resolve().expect_err("many is no number").to_string();
        assert!(error.starts_with("--resources \"cpus:many\": "), "{error}");
        assert!(error.ends_with("; for example 'cpus:8;mem(web):8192;ports:[31000-32000]'"), "{error}");
    }

    #[test]
    fn a_setting_has_the_same_meaning_as_a_flag_and_in_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        let text = "cpus:2;mem:0;disk:0;ports:[];gpus(web):1";
        std::fs::write(&path, format!("resources = \"{text}\"\nattributes = \"rev:1.10\"\ndefault_role = \"eng\"\n"))
            .expect("a file");
        let from_file = AgentArgs { config: Some(path), ..AgentArgs::default() }.resolve().expect("all is well");
        let owned = |text: &str| Some(text.to_owned());
        let flags = AgentArgs {
            resources: owned(text),
            attributes: owned("rev:1.10"),
            default_role: owned("eng"),
            ..AgentArgs::default()
        };
        let from_flags = flags.resolve().expect("all is well");
        assert_eq!((&from_file.resources, &from_file.attributes), (&from_flags.resources, &from_flags.attributes));
        let (resources, attributes) = (from_flags.resources, from_flags.attributes);
        let wanted = "cpus(reservations: [(STATIC,eng)]):2; gpus(reservations: [(STATIC,web)]):1";
        assert_eq!(resources.resources().to_string(), wanted);
        assert!(["mem", "disk", "ports"].iter().all(|name| resources.mentions(name)));
        assert_eq!(attributes.text("rev"), Some("1.10"));
    }

    #[test]
    fn an_error_in_recover_lists_the_valid_values() {
        let args = |how: &str| AgentArgs { recover: Some(how.to_owned()), ..AgentArgs::default() };
        assert_eq!(args("strict").resolve().expect("known").recover, Recover::Strict);
        let error = args("hope").resolve().expect_err("unknown").to_string();
        assert_eq!(error, "--recover \"hope\": it has to be reconnect, cleanup or strict; for example 'reconnect'");
    }

    #[test]
    fn several_masters_are_parsed_and_an_invalid_one_is_reported() {
        let args = |master: &str| AgentArgs { master: Some(master.to_owned()), ..AgentArgs::default() };
        assert_eq!(args("a:1,b:2").resolve().expect("two").master.to_string(), "a:1,b:2");
        let error = args("a:1,b").resolve().expect_err("no port").to_string();
        assert_eq!(error, "--master \"a:1,b\": there is no port; write HOST:PORT, for example 127.0.0.1:5050");
    }
}
