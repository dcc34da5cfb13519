//! The rule of a constraint, without its weight: an attribute test, or a rule on how instances are distributed.

use super::version::{Bounds, Version};
use crate::types::quoted;

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    /// The agent's attribute passes a test.
    Attribute { name: String, test: Test },
    /// Limits the instances on all agents of one value together.
    PerValue { attribute: String, limit: u32 },
    /// Targets in percent of the instances for the named values; the rest is even over the other values.
    Spread { attribute: String, targets: Vec<(String, u32)> },
    /// Limits how many instances the most used value has more than the least used one.
    GroupBy { attribute: String, skew: u32 },
    /// Requires tasks with the label.
    With(Neighbours),
    /// Requires that no tasks with the label are there.
    Avoid(Neighbours),
    /// Requires that nothing else is on the agent.
    Exclusive,
}

/// A test of all values of one attribute of an agent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    OneOf(Vec<String>),
    NoneOf(Vec<String>),
    Order(Order, String),
    Matches(Pattern),
    Version(Bounds<Version>),
    Semver(Bounds<semver::Version>),
    ContainsAll(Vec<String>),
    ContainsAny(Vec<String>),
    Set,
    NotSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Tasks with a label, on the same agent or on agents of the same value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Neighbours {
    pub(super) key: String,
    /// Any value if `None`.
    pub(super) value: Option<String>,
    /// The attribute whose values define a place; the agent itself if `None`.
    pub(super) same: Option<String>,
}

/// A regular expression, compiled when it is created.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub(super) text: String,
    compiled: Result<regex::Regex, String>,
}

/// Limits on a pattern, in bytes of its text and of its compiled program.
const PATTERN_TEXT_BYTES: usize = 1024;
const PATTERN_PROGRAM_BYTES: usize = 256 * 1024;

impl Rule {
    /// Returns the attribute that the rule uses.
    pub(super) fn attribute(&self) -> Option<&str> {
        match self {
            Self::Attribute { name: attribute, .. }
            | Self::PerValue { attribute, .. }
            | Self::Spread { attribute, .. }
            | Self::GroupBy { attribute, .. } => Some(attribute),
            Self::With(neighbours) | Self::Avoid(neighbours) => neighbours.same.as_deref(),
            Self::Exclusive => None,
        }
    }

    /// Validates the rule.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.attribute().is_some_and(str::is_empty) {
            return Err("the attribute has no name".to_owned());
        }
        match self {
            Self::Attribute { test, .. } => test.check(),
            Self::PerValue { limit: 0, .. } => Err("at most 0 allows no instance anywhere".to_owned()),
            Self::GroupBy { skew: 0, .. } => Err("a skew of 0 allows no first instance; the least is 1".to_owned()),
            Self::Spread { targets, .. } => check_targets(targets),
            Self::With(label) | Self::Avoid(label) if label.key.is_empty() => Err("the label has no key".to_owned()),
            Self::PerValue { .. } | Self::GroupBy { .. } | Self::With(_) | Self::Avoid(_) | Self::Exclusive => Ok(()),
        }
    }
}

fn check_targets(targets: &[(String, u32)]) -> Result<(), String> {
    let sum = targets.iter().fold(0_u32, |sum, (_, percent)| sum.saturating_add(*percent));
    if sum > 100 {
        return Err(format!("the targets add up to {sum}%; at most 100% can be spread"));
    }
    let twice = targets.iter().enumerate().find(|(at, (value, _))| targets[..*at].iter().any(|(it, _)| it == value));
    twice.map_or(Ok(()), |(_, (value, _))| Err(format!("`{}` has two targets", quoted(value))))
}

impl Test {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Matches(pattern) => pattern.check(),
            Self::Version(bounds) => bounds.check(),
            Self::Semver(bounds) => bounds.check(),
            Self::OneOf(values) | Self::NoneOf(values) | Self::ContainsAll(values) | Self::ContainsAny(values)
                if values.is_empty() =>
            {
                Err("there are no values to look for".to_owned())
            }
            Self::OneOf(_)
            | Self::NoneOf(_)
            | Self::ContainsAll(_)
            | Self::ContainsAny(_)
            | Self::Order(..)
            | Self::Set
            | Self::NotSet => Ok(()),
        }
    }
}

impl Neighbours {
    /// Returns whether a task with these labels matches.
    pub(super) fn carried<'a>(&self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        let wanted = self.value.as_deref();
        labels.into_iter().any(|(key, value)| key == self.key && wanted.is_none_or(|wanted| wanted == value))
    }

    /// Formats `app=db`, or `app` for any value.
    pub(super) fn label(&self) -> String {
        self.value.as_ref().map_or_else(|| self.key.clone(), |value| format!("{}={value}", self.key))
    }
}

impl Pattern {
    pub(super) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { compiled: Self::compile(&text), text }
    }

    fn compile(text: &str) -> Result<regex::Regex, String> {
        if text.len() > PATTERN_TEXT_BYTES {
            return Err(format!("the pattern has {} bytes; at most {PATTERN_TEXT_BYTES} are read", text.len()));
        }
        let mut builder = regex::RegexBuilder::new(text);
        builder.size_limit(PATTERN_PROGRAM_BYTES).dfa_size_limit(PATTERN_PROGRAM_BYTES).nest_limit(50);
        builder.build().map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("/{}/ needs more than {limit} bytes when compiled", quoted(text))
            }
            // The last line is the message; those before it show the position.
            error => {
                format!("/{}/: {}", quoted(text), error.to_string().lines().last().unwrap_or("no regular expression"))
            }
        })
    }

    fn check(&self) -> Result<(), String> {
        self.compiled.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// Returns whether it matches anywhere in the text; one that could not be compiled matches nothing.
    pub(super) fn is_found_in(&self, text: &str) -> bool {
        self.compiled.as_ref().is_ok_and(|pattern| pattern.is_match(text))
    }
}

/// Patterns are equal if their texts are.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
