//! Role names: `*`, or a path such as `eng/web`.

use super::limits::{ROLE_BYTES, ROLE_DEPTH};
use super::quoted;

/// An error for an invalid role name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("role `{role}` {rule}")]
pub struct InvalidRole {
    /// The name, escaped and cut after a line.
    pub role: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Validates a role name: `*`, or at most 255 bytes and 16 components joined by single slashes. No component is `.`,
/// `..` or `*`, starts with `-`, or contains white space.
///
/// # Errors
/// The rule that it breaks.
pub fn validate_role(role: &str) -> Result<(), InvalidRole> {
    if role == "*" {
        return Ok(());
    }
    let broken = if role.is_empty() {
        Some("is empty; leave it out or say `*`")
    } else if role.len() > ROLE_BYTES {
        Some("must not be longer than 255 bytes")
    } else if role.split('/').count() > ROLE_DEPTH {
        Some("must not have more than 16 components")
    } else if role.starts_with('/') || role.ends_with('/') {
        Some("must not begin or end with a slash")
    } else {
        role.split('/').find_map(broken_component_rule)
    };
    broken.map_or(Ok(()), |rule| Err(InvalidRole { role: quoted(role), rule }))
}

fn broken_component_rule(component: &str) -> Option<&'static str> {
    const BLANKS: [char; 7] = ['\t', '\n', '\x0b', '\x0c', '\r', ' ', '\x7f'];
    match component {
        "" => Some("must not have two slashes in a row"),
        "." | ".." | "*" => Some("must not have `.`, `..` or `*` as a component"),
        _ if component.starts_with('-') => Some("must not have a component that starts with a dash"),
        _ if component.contains(BLANKS) => Some("must not contain white space"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_the_star_are_roles() {
        for role in ["*", "eng", "eng/web", "a/b/c", "ünïcode", "a-b", "..a", "a*"] {
            assert_eq!(validate_role(role), Ok(()), "{role}");
        }
    }

    #[test]
    fn what_could_not_be_a_directory_or_flag_is_no_role() {
        let long = ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "a/./b", "*/a", "a/*", "-a", "a/-b", "a b", "a\tb"];
        for role in long.into_iter().chain(["a\nb", "a\x0bb", "a\x0cb", "a\rb", "a\x7fb"]) {
            assert!(validate_role(role).is_err(), "{role:?}");
        }
    }

    #[test]
    fn a_role_has_at_most_255_bytes_and_16_components() {
        assert_eq!(validate_role(&"r".repeat(ROLE_BYTES)), Ok(()));
        let deep = |parts| vec!["a"; parts].join("/");
        assert_eq!(validate_role(&deep(ROLE_DEPTH)), Ok(()));
        let rule = |role: &str| validate_role(role).unwrap_err().rule;
        assert_eq!(rule(&"r".repeat(ROLE_BYTES + 1)), "must not be longer than 255 bytes");
        assert_eq!(rule(&deep(ROLE_DEPTH + 1)), "must not have more than 16 components");
        assert!(validate_role(&deep(100_000)).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn the_error_names_role_and_rule() {
        let error = validate_role("/eng").unwrap_err();
        assert_eq!(error.to_string(), "role `/eng` must not begin or end with a slash");
    }
}
