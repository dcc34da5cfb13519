//! Validation of commands: their environment and the secrets in it.

use super::sizes::{bounded, optional, text};
use super::{Invalid, each, ensure, inside};
use crate::proto::v1::{CommandInfo, Secret, command_info, environment, secret};
use crate::types::limits::{ARGUMENTS, COMMAND_BYTES, NAME_BYTES, URIS, URL_BYTES, VARIABLE_BYTES, VARIABLES};
use crate::types::quoted;

/// Rule: each variable has exactly what its type requires.
pub(super) fn command(command: &CommandInfo) -> Result<(), Invalid> {
    optional("value", command.value.as_ref(), COMMAND_BYTES)?;
    optional("user", command.user.as_ref(), NAME_BYTES)?;
    bounded("arguments", "arguments", command.arguments.len(), ARGUMENTS)?;
    each("arguments", &command.arguments, |argument| text("", argument, COMMAND_BYTES))?;
    bounded("uris", "entries", command.uris.len(), URIS)?;
    each("uris", &command.uris, uri)?;
    inside("environment", command.environment.as_ref(), |all| {
        bounded("variables", "variables", all.variables.len(), VARIABLES)?;
        each("variables", &all.variables, variable)
    })
}

fn uri(uri: &command_info::Uri) -> Result<(), Invalid> {
    text("value", &uri.value, URL_BYTES)?;
    optional("output_file", uri.output_file.as_ref(), NAME_BYTES)
}

fn variable(variable: &environment::Variable) -> Result<(), Invalid> {
    use environment::variable::Type;
    text("name", &variable.name, NAME_BYTES)?;
    optional("value", variable.value.as_ref(), VARIABLE_BYTES)?;
    let name = &quoted(&variable.name);
    let kind = variable.r#type.map_or(Ok(Type::Value), Type::try_from);
    match kind.unwrap_or(Type::Unknown) {
        Type::Unknown => Err(Invalid::new("type", format!("variable `{name}` must be of type VALUE or SECRET"))),
        Type::Value => {
            ensure(
                variable.value.is_some(),
                "value",
                format_args!("variable `{name}` of type VALUE must have a value"),
            )?;
            ensure(
                variable.secret.is_none(),
                "secret",
                format_args!("variable `{name}` of type VALUE must have no secret"),
            )
        }
        Type::Secret => {
            ensure(
                variable.value.is_none(),
                "value",
                format_args!("variable `{name}` of type SECRET must have no value"),
            )?;
            let missing = || Invalid::new("secret", format!("variable `{name}` of type SECRET must have a secret"));
            let secret = variable.secret.as_deref().ok_or_else(missing)?;
            self::secret(secret).map_err(|error| error.under("secret"))?;
            let nul = secret.value.as_ref().is_some_and(|value| value.data.contains(&0));
            ensure(
                !nul,
                "secret.value.data",
                format_args!("the secret of variable `{name}` must not contain null bytes"),
            )
        }
    }
}

/// Rule: a secret is a reference or a value, and has what its type requires.
pub(super) fn secret(secret: &Secret) -> Result<(), Invalid> {
    match secret::Type::try_from(secret.r#type.unwrap_or_default()).unwrap_or(secret::Type::Unknown) {
        secret::Type::Unknown => Err(Invalid::new("type", "must be REFERENCE or VALUE")),
        secret::Type::Reference => {
            ensure(secret.reference.is_some(), "reference", "must be set in a secret of type REFERENCE")?;
            ensure(secret.value.is_none(), "value", "must not be set in a secret of type REFERENCE")
        }
        secret::Type::Value => {
            ensure(secret.value.is_some(), "value", "must be set in a secret of type VALUE")?;
            ensure(secret.reference.is_none(), "reference", "must not be set in a secret of type VALUE")
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use environment::variable::Type;

    fn checked(kind: Option<i32>, value: Option<&str>, secret: Option<Secret>) -> Result<(), String> {
        let variable = environment::Variable {
            name: "V".to_owned(),
            r#type: kind,
            value: value.map(str::to_owned),
            secret: secret.map(Box::new),
        };
        let mut all = CommandInfo::in_shell("true").with_env("A", "1");
        all.environment.as_mut().unwrap().variables.push(variable);
        command(&all).map_err(|error| error.to_string())
    }

    fn valued(data: &'static [u8]) -> Secret {
        Secret {
            r#type: Some(secret::Type::Value.into()),
            reference: None,
            value: Some(secret::Value { data: Bytes::from_static(data) }),
        }
    }

    #[test]
    fn a_variable_has_what_its_type_requires() {
        assert_eq!(checked(None, Some(""), None), Ok(()));
        assert_eq!(checked(Some(Type::Secret.into()), None, Some(valued(b"x"))), Ok(()));
        assert_eq!(
            checked(Some(Type::Value.into()), None, None).unwrap_err(),
            "environment.variables[1].value: variable `V` of type VALUE must have a value"
        );
        assert!(checked(None, Some("x"), Some(valued(b"x"))).is_err());
        assert!(checked(Some(Type::Secret.into()), Some("x"), Some(valued(b"x"))).is_err());
        assert!(checked(Some(Type::Secret.into()), None, None).is_err());
        for unknown in [0, 3, -1] {
            assert!(checked(Some(unknown), Some("x"), None).is_err());
        }
    }

    #[test]
    fn a_secret_in_the_environment_has_no_null_bytes() {
        let error = checked(Some(Type::Secret.into()), None, Some(valued(b"a\0b"))).unwrap_err();
        assert!(error.starts_with("environment.variables[1].secret.value.data: "), "{error}");
    }

    #[test]
    fn a_secret_is_one_thing() {
        let reference = Some(secret::Reference::default());
        for (kind, reference, value, valid) in [
            (1, reference.clone(), None, true),
            (2, None, valued(b"").value, true),
            (1, None, None, false),
            (1, reference.clone(), valued(b"").value, false),
            (2, reference.clone(), valued(b"").value, false),
            (2, None, None, false),
            (0, reference, None, false),
        ] {
            assert_eq!(secret(&Secret { r#type: Some(kind), reference, value }).is_ok(), valid, "{kind}");
        }
        assert!(secret(&Secret::default()).is_err());
    }
}
