//! Validation of checks and health checks: a type, its message, and times that are not negative.

use super::command::command;
use super::sizes::optional;
use super::{Invalid, ensure};
use crate::proto::v1::{CheckInfo, CommandInfo, HealthCheck, check_info, health_check};
use crate::types::limits::URL_BYTES;
use crate::types::quoted;

/// Rule: a check has a type, and what that type needs.
pub(super) fn check(check: &CheckInfo) -> Result<(), Invalid> {
    use check_info::Type;
    match Type::try_from(check.r#type.unwrap_or_default()).unwrap_or(Type::Unknown) {
        Type::Unknown => return Err(Invalid::new("type", "must be COMMAND, HTTP or TCP")),
        Type::Command => {
            let body = check.command.as_deref().ok_or_else(|| Invalid::missing("command"))?;
            checked_command(&body.command).map_err(|error| error.under("command.command"))?;
        }
        Type::Http => {
            let http = check.http.as_ref().ok_or_else(|| Invalid::missing("http"))?;
            optional("http.path", http.path.as_ref(), URL_BYTES)?;
            absolute_path(http.path.as_deref())?;
        }
        Type::Tcp => ensure(check.tcp.is_some(), "tcp", "is missing")?,
    }
    seconds("delay_seconds", check.delay_seconds)?;
    seconds("interval_seconds", check.interval_seconds)?;
    seconds("timeout_seconds", check.timeout_seconds)
}

/// Rule: a health check has what its type needs; the type may be left out where the body implies it.
pub(super) fn health_check(check: &HealthCheck) -> Result<(), Invalid> {
    use health_check::Type;
    match health_check_type(check) {
        Type::Unknown => return Err(Invalid::new("type", "must be COMMAND, HTTP or TCP")),
        Type::Command => {
            let body = check.command.as_deref().ok_or_else(|| Invalid::missing("command"))?;
            checked_command(body).map_err(|error| error.under("command"))?;
        }
        Type::Http => {
            let http = check.http.as_deref().ok_or_else(|| Invalid::missing("http"))?;
            let known = http.scheme.as_deref().is_none_or(|scheme| scheme == "http" || scheme == "https");
            ensure(known, "http.scheme", format_args!("`{}` is neither http nor https", quoted(http.scheme())))?;
            optional("http.path", http.path.as_ref(), URL_BYTES)?;
            absolute_path(http.path.as_deref())?;
        }
        Type::Tcp => ensure(check.tcp.is_some(), "tcp", "is missing")?,
    }
    seconds("delay_seconds", check.delay_seconds)?;
    seconds("interval_seconds", check.interval_seconds)?;
    seconds("timeout_seconds", check.timeout_seconds)?;
    seconds("grace_period_seconds", check.grace_period_seconds)
}

/// Old clients leave the type out; a command or http body implies it.
fn health_check_type(check: &HealthCheck) -> health_check::Type {
    match check.r#type {
        Some(number) => health_check::Type::try_from(number).unwrap_or(health_check::Type::Unknown),
        None if check.command.is_some() => health_check::Type::Command,
        None if check.http.is_some() => health_check::Type::Http,
        None => health_check::Type::Unknown,
    }
}

fn checked_command(body: &CommandInfo) -> Result<(), Invalid> {
    ensure(body.value.is_some(), "value", "is missing; say what to run")?;
    command(body)
}

fn absolute_path(path: Option<&str>) -> Result<(), Invalid> {
    match path {
        Some(path) if !path.starts_with('/') => {
            Err(Invalid::new("http.path", format!("`{}` must start with a slash", quoted(path))))
        }
        Some(_) | None => Ok(()),
    }
}

fn seconds(field: &str, given: Option<f64>) -> Result<(), Invalid> {
    let valid = given.is_none_or(|seconds| seconds.is_finite() && seconds >= 0.0);
    ensure(valid, field, format_args!("{} must be a number of seconds, not negative", given.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_check(command: CommandInfo) -> CheckInfo {
        let command = check_info::Command { command };
        CheckInfo { r#type: Some(1), command: Some(Box::new(command)), ..CheckInfo::default() }
    }

    fn http_health(scheme: Option<&str>, path: Option<&str>) -> HealthCheck {
        let http = health_check::HttpCheckInfo {
            scheme: scheme.map(str::to_owned),
            path: path.map(str::to_owned),
            port: 80,
            ..health_check::HttpCheckInfo::default()
        };
        HealthCheck { r#type: Some(2), http: Some(Box::new(http)), ..HealthCheck::default() }
    }

    fn text(result: Result<(), Invalid>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_check_has_what_its_type_needs() {
        assert_eq!(check(&command_check(CommandInfo::in_shell("true"))), Ok(()));
        let tcp = CheckInfo { r#type: Some(3), tcp: Some(check_info::Tcp { port: 1 }), ..CheckInfo::default() };
        assert_eq!(check(&tcp), Ok(()));
        assert_eq!(
            text(check(&command_check(CommandInfo::default()))),
            "command.command.value: is missing; say what to run"
        );
        for kind in [None, Some(0), Some(1), Some(2), Some(3), Some(4)] {
            assert!(check(&CheckInfo { r#type: kind, ..CheckInfo::default() }).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn an_http_check_has_an_absolute_path_and_a_known_scheme() {
        let http = |path: &str| check_info::Http { port: 80, path: Some(path.to_owned()) };
        let of = |path| check(&CheckInfo { r#type: Some(2), http: Some(http(path)), ..CheckInfo::default() });
        assert_eq!(of("/up"), Ok(()));
        assert_eq!(text(of("up")), "http.path: `up` must start with a slash");
        assert_eq!(health_check(&http_health(Some("https"), Some("/"))), Ok(()));
        assert_eq!(health_check(&http_health(None, None)), Ok(()));
        assert_eq!(text(health_check(&http_health(Some("ftp"), None))), "http.scheme: `ftp` is neither http nor https");
        assert!(health_check(&http_health(None, Some("up"))).is_err());
    }

    #[test]
    fn times_do_not_run_backwards() {
        let all = command_check(CommandInfo::in_shell("true"));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(check(&CheckInfo { delay_seconds: Some(bad), ..all.clone() }).is_err());
            assert!(check(&CheckInfo { interval_seconds: Some(bad), ..all.clone() }).is_err());
            assert!(check(&CheckInfo { timeout_seconds: Some(bad), ..all.clone() }).is_err());
            let health = HealthCheck { grace_period_seconds: Some(bad), ..http_health(None, None) };
            assert!(text(health_check(&health)).starts_with("grace_period_seconds: "));
        }
        assert_eq!(check(&CheckInfo { timeout_seconds: Some(0.0), ..all }), Ok(()));
    }

    #[test]
    fn the_body_of_a_health_check_may_imply_its_type() {
        let command = Some(Box::new(CommandInfo::in_shell("true")));
        assert_eq!(health_check(&HealthCheck { command: command.clone(), ..HealthCheck::default() }), Ok(()));
        assert_eq!(health_check(&HealthCheck { r#type: None, ..http_health(None, None) }), Ok(()));
        assert!(health_check(&HealthCheck { r#type: Some(3), command, ..HealthCheck::default() }).is_err());
        assert!(health_check(&HealthCheck::default()).is_err());
    }
}
