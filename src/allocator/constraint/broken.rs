//! The constraint that excludes an instance from an agent, as data and as text.

use std::fmt;
use std::sync::Arc;

use super::rule::Test;

/// The constraint that failed, with the values found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// An attribute has another value than requested, or is not set.
    Attribute {
        /// The attribute's name.
        name: Arc<str>,
        /// Its values, with commas between them; `None` if it is not set.
        found: Option<Arc<str>>,
        /// The requested values: `a or c`, `version >= 5.10`.
        asked: Arc<str>,
    },
    /// The value has as many instances as allowed.
    PerValue {
        /// The attribute.
        attribute: Arc<str>,
        /// The agent's value of it.
        value: Arc<str>,
        /// The number of instances.
        there: u64,
        /// The allowed number.
        limit: u32,
    },
    /// The value has its full share of the instances.
    Spread {
        /// The attribute.
        attribute: Arc<str>,
        /// The agent's value of it.
        value: Arc<str>,
        /// The number of instances in its share.
        share: u64,
    },
    /// One more instance would exceed the allowed skew.
    GroupBy {
        /// The attribute.
        attribute: Arc<str>,
        /// The agent's value of it.
        value: Arc<str>,
        /// The number of instances it would have.
        would_have: u64,
        /// The number that the least used of the other values has.
        least: u64,
        /// The allowed difference.
        allowed: u32,
    },
    /// No task with the label runs there.
    Colocate {
        /// `app=db`, or `app` for any value.
        label: Arc<str>,
        /// The attribute and value that define the place, as `zone a`; `None` for the agent itself.
        same: Option<Arc<str>>,
    },
    /// A task with the label runs there.
    Avoid {
        /// `app=db`, or `app` for any value.
        label: Arc<str>,
        /// The attribute and value that define the place, as `zone a`; `None` for the agent itself.
        same: Option<Arc<str>>,
    },
    /// A task runs there whose request avoids this one's label.
    Avoided {
        /// `app=db`, or `app` for any value.
        label: Arc<str>,
        /// The name of the request that avoids it.
        by: Arc<str>,
    },
    /// Other tasks run on the agent.
    Exclusive {
        /// The name of one of them.
        task: Arc<str>,
    },
    /// An exclusive task runs on the agent.
    Taken {
        /// The name of that task.
        task: Arc<str>,
    },
}

impl Broken {
    /// Returns the kind of the constraint: `attribute`, `unique`, `max_per_value`, `spread`, `group_by`, `colocate`,
    /// `avoid` or `exclusive`.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Attribute { .. } => "attribute",
            Self::PerValue { limit: 1, .. } => "unique",
            Self::PerValue { .. } => "max_per_value",
            Self::Spread { .. } => "spread",
            Self::GroupBy { .. } => "group_by",
            Self::Colocate { .. } => "colocate",
            Self::Avoid { .. } | Self::Avoided { .. } => "avoid",
            Self::Exclusive { .. } | Self::Taken { .. } => "exclusive",
        }
    }

    /// Returns the attribute of the constraint.
    #[must_use]
    pub fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute { name: attribute, .. }
            | Self::PerValue { attribute, .. }
            | Self::Spread { attribute, .. }
            | Self::GroupBy { attribute, .. } => Some(attribute),
            Self::Colocate { .. }
            | Self::Avoid { .. }
            | Self::Avoided { .. }
            | Self::Exclusive { .. }
            | Self::Taken { .. } => None,
        }
    }
}

/// Summarizes the failures of several agents in one text: "zone is b or c, asked a".
pub(in crate::allocator) fn in_one_text<'a>(all: impl IntoIterator<Item = &'a Broken>) -> String {
    let mut distinct: Vec<&Broken> = Vec::new();
    for broken in all {
        if !distinct.contains(&broken) {
            distinct.push(broken);
        }
    }
    same_question(&distinct)
        .unwrap_or_else(|| some_of(&distinct.iter().map(ToString::to_string).collect::<Vec<_>>(), "; ", "; "))
}

/// Returns the text for values of which all were asked the same.
fn same_question(distinct: &[&Broken]) -> Option<String> {
    let mut values = Vec::new();
    for broken in distinct {
        let Broken::Attribute { name, found: Some(found), asked } = broken else { return None };
        values.push((name, asked, found.to_string()));
    }
    let (name, asked, _) = *values.first()?;
    let alike = values.iter().all(|one| (one.0, one.1) == (name, asked));
    let found: Vec<String> = values.into_iter().map(|(_, _, found)| found).collect();
    alike.then(|| format!("{name} is {}, asked {asked}", some_of(&found, ", ", " or ")))
}

/// Joins the first three texts, and how many others there are.
fn some_of(texts: &[String], between: &str, last: &str) -> String {
    let mut parts: Vec<String> = texts.iter().take(3).cloned().collect();
    if texts.len() > parts.len() {
        parts.push(format!("{} others", texts.len() - parts.len()));
    }
    match parts.split_last() {
        Some((end, first)) if !first.is_empty() => format!("{}{last}{end}", first.join(between)),
        _ => parts.concat(),
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute { name, found: Some(found), asked } => write!(f, "{name} is {found}, asked {asked}"),
            Self::Attribute { name, found: None, asked } => write!(f, "{name} is not set, asked {asked}"),
            Self::PerValue { attribute, value, there, limit } => {
                let noun = if *there == 1 { "instance" } else { "instances" };
                write!(f, "{there} {noun} with {attribute} {value}, at most {limit} there")
            }
            Self::Spread { attribute, value, share: 0 } => write!(f, "{attribute} {value} has no share"),
            Self::Spread { attribute, value, share } => write!(f, "{attribute} {value} has its share of {share}"),
            Self::GroupBy { attribute, value, would_have, least, allowed } => {
                let skew = would_have.saturating_sub(*least);
                write!(f, "{attribute} {value} would have {would_have}, others {least}: skew {skew}, allowed {allowed}")
            }
            Self::Colocate { label, same } => {
                write!(f, "{label} does not run {}, asked to be with it", Place(same.as_deref()))
            }
            Self::Avoid { label, same } => write!(f, "{label} runs {}, asked to avoid it", Place(same.as_deref())),
            Self::Avoided { label, by } => write!(f, "task {by} is there and avoids {label}"),
            Self::Exclusive { task } => write!(f, "exclusive: task {task} is there"),
            Self::Taken { task } => write!(f, "task {task} has the agent for itself"),
        }
    }
}

struct Place<'a>(Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("here"),
            Some(value) => write!(f, "in {value}"),
        }
    }
}

impl Test {
    /// Returns what the test requires, beside a value that was found or, without one, beside "is not set".
    pub(super) fn asked(&self, found: bool) -> String {
        match self {
            Self::OneOf(values) if found => values.join(" or "),
            Self::NoneOf(values) if found => format!("not {}", values.join(" or ")),
            Self::NotSet => "not set".to_owned(),
            Self::OneOf(_)
            | Self::NoneOf(_)
            | Self::Order(..)
            | Self::Matches(_)
            | Self::Version(_)
            | Self::Semver(_)
            | Self::ContainsAll(_)
            | Self::ContainsAny(_)
            | Self::Set => self.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(found: &str, asked: &str) -> Broken {
        Broken::Attribute { name: "zone".into(), found: Some(found.into()), asked: asked.into() }
    }

    fn full(value: &str) -> Broken {
        Broken::PerValue { attribute: "zone".into(), value: value.into(), there: 2, limit: 2 }
    }

    #[test]
    fn values_of_the_same_test_are_listed_together() {
        let together = |found: &[&str]| in_one_text(&found.iter().map(|found| zone(found, "a")).collect::<Vec<_>>());
        assert_eq!(together(&["b", "b"]), "zone is b, asked a");
        assert_eq!(together(&["b", "c", "b"]), "zone is b or c, asked a");
        assert_eq!(together(&["b", "c", "d"]), "zone is b, c or d, asked a");
        assert_eq!(together(&["b", "c", "d", "e", "f"]), "zone is b, c, d or 2 others, asked a");
    }

    #[test]
    fn different_tests_are_listed_one_after_the_other() {
        let text = "2 instances with zone a, at most 2 there; 2 instances with zone b, at most 2 there";
        assert_eq!(in_one_text(&[full("a"), full("b"), full("a")]), text);
        assert_eq!(in_one_text(&[zone("b", "a"), zone("b", "> c")]), "zone is b, asked a; zone is b, asked > c");
        let unset = Broken::Attribute { name: "zone".into(), found: None, asked: "= a".into() };
        assert_eq!(in_one_text(&[zone("b", "a"), unset]), "zone is b, asked a; zone is not set, asked = a");
    }
}
