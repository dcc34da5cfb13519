//! Ids: conversions from and to text, and the rule that every id has to meet.

use std::fmt;

use super::limits::ID_BYTES;
use super::quoted;
use crate::proto::v1;

/// An error for text that is not a valid id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} `{id}` {rule}")]
pub struct InvalidId {
    /// The kind of id, e.g. `task id`.
    pub kind: &'static str,
    /// The text, escaped and cut after a line.
    pub id: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Validates an id: 1 to 255 bytes, not `.` or `..`, no control characters, slashes or backslashes. Spaces and any
/// script are allowed.
///
/// # Errors
/// The rule that it breaks; `kind` names the kind of id in the error.
pub fn validate_id(kind: &'static str, id: &str) -> Result<(), InvalidId> {
    let rule = if id.is_empty() {
        "must not be empty"
    } else if id.len() > ID_BYTES {
        "must not be longer than 255 bytes"
    } else if id == "." || id == ".." {
        "must not be a relative directory"
    } else if id.contains(|c: char| c.is_ascii_control() || matches!(c, '/' | '\\')) {
        "must not contain slashes, backslashes or control characters"
    } else {
        return Ok(());
    };
    Err(InvalidId { kind, id: quoted(id), rule })
}

macro_rules! text_ids {
    ($($id:ident),* $(,)?) => {$(
        impl v1::$id {
            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.value
            }
        }

        impl From<&str> for v1::$id {
            fn from(id: &str) -> Self {
                Self { value: id.to_owned() }
            }
        }

        impl From<String> for v1::$id {
            fn from(value: String) -> Self {
                Self { value }
            }
        }

        impl AsRef<str> for v1::$id {
            fn as_ref(&self) -> &str {
                &self.value
            }
        }

        impl fmt::Display for v1::$id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.value)
            }
        }
    )*};
}

text_ids!(FrameworkId, OfferId, AgentId, TaskId, ExecutorId, ResourceProviderId, OperationId);

impl From<&str> for v1::ContainerId {
    fn from(id: &str) -> Self {
        Self { value: id.to_owned(), parent: None }
    }
}

impl v1::ContainerId {
    /// Returns the id of a container nested in this one.
    #[must_use]
    pub fn child(&self, id: &str) -> Self {
        Self { value: id.to_owned(), parent: Some(Box::new(self.clone())) }
    }
}

/// Formats `parent.child`.
impl fmt::Display for v1::ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = vec![self.value.as_str()];
        let mut above = self.parent.as_deref();
        while let Some(container) = above {
            path.push(&container.value);
            above = container.parent.as_deref();
        }
        path.reverse();
        f.write_str(&path.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: &str) -> Option<&'static str> {
        validate_id("task id", id).err().map(|error| error.rule)
    }

    #[test]
    fn what_can_name_a_directory_is_an_id() {
        for id in ["a", "...", "a b", "zähler", "任务", "a:b", &"x".repeat(255)] {
            assert_eq!(rule(id), None, "{id}");
        }
    }

    #[test]
    fn each_rule_is_named() {
        assert_eq!(rule(""), Some("must not be empty"));
        assert_eq!(rule(&"x".repeat(256)), Some("must not be longer than 255 bytes"));
        assert_eq!(rule(&"ä".repeat(128)), Some("must not be longer than 255 bytes"));
        assert_eq!(rule("."), Some("must not be a relative directory"));
        assert_eq!(rule(".."), Some("must not be a relative directory"));
        for id in ["a/b", "a\\b", "a\nb", "a\0b", "\x7f", "a\tb"] {
            assert_eq!(rule(id), Some("must not contain slashes, backslashes or control characters"), "{id:?}");
        }
    }

    #[test]
    fn the_error_shows_a_hostile_id_harmlessly() {
        let error = validate_id("task id", "a\nINFO fine/").unwrap_err();
        assert_eq!(
            error.to_string(),
            "task id `a\\nINFO fine/` must not contain slashes, backslashes or control characters"
        );
        assert!(validate_id("task id", &"x".repeat(100_000)).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn ids_are_text_and_back() {
        let id = v1::TaskId::from("web-1");
        assert_eq!(
            (id.as_str(), id.to_string(), format!("{id:>6}|")),
            ("web-1", "web-1".to_owned(), " web-1|".to_owned())
        );
        assert_eq!(id, String::from("web-1").into());
        assert_eq!(v1::ContainerId::from("a").child("b").child("c").to_string(), "a.b.c");
    }
}
