//! Formatting of constraints: [`parse`](super::parse) reads the output as the same constraint.

use std::fmt::{self, Display};

use super::rule::{Neighbours, Order, Rule, Test};
use super::{Constraint, parse};

impl Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(weight) = self.weight {
            write!(f, "prefer {weight}: ")?;
        }
        self.rule.fmt(f)
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute { name, test } => write!(f, "{} {test}", Name(name)),
            Self::PerValue { attribute, limit: 1 } => write!(f, "unique {}", Word(attribute)),
            Self::PerValue { attribute, limit } => write!(f, "at most {limit} per {}", Word(attribute)),
            Self::Spread { attribute, targets } => {
                write!(f, "spread {}", Word(attribute))?;
                targets.iter().try_for_each(|(value, percent)| write!(f, " {} {percent}%", Word(value)))
            }
            Self::GroupBy { attribute, skew } => write!(f, "group by {} skew {skew}", Word(attribute)),
            Self::With(neighbours) => write!(f, "with {neighbours}"),
            Self::Avoid(neighbours) => write!(f, "avoid {neighbours}"),
            Self::Exclusive => f.write_str("exclusive"),
        }
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneOf(values) if values.len() == 1 => write!(f, "= {}", List(values)),
            Self::OneOf(values) => write!(f, "in {}", List(values)),
            Self::NoneOf(values) if values.len() == 1 => write!(f, "!= {}", List(values)),
            Self::NoneOf(values) => write!(f, "not in {}", List(values)),
            Self::Order(order, bound) => write!(f, "{order} {}", Word(bound)),
            Self::Matches(pattern) => write!(f, "~ /{}/", pattern.text),
            Self::Version(bounds) => write!(f, "version {}", bounds.text),
            Self::Semver(bounds) => write!(f, "semver {}", bounds.text),
            Self::ContainsAll(items) => write!(f, "contains all {}", List(items)),
            Self::ContainsAny(items) => write!(f, "contains any {}", List(items)),
            Self::Set => f.write_str("is set"),
            Self::NotSet => f.write_str("is not set"),
        }
    }
}

impl Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

impl Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "label {}", Word(&self.key))?;
        if let Some(value) = &self.value {
            write!(f, "={}", Word(value))?;
        }
        self.same.as_ref().map_or(Ok(()), |attribute| write!(f, " on same {}", Word(attribute)))
    }
}

/// A word, in quotes where it could be parsed as anything else.
struct Word<'a>(&'a str);

impl Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_empty() && self.0.chars().all(parse::is_bare) {
            return f.write_str(self.0);
        }
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// An attribute at the beginning of a constraint: in quotes where it would be parsed as another rule.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if parse::RULE_WORDS.contains(&self.0) { write!(f, "\"{}\"", self.0) } else { Word(self.0).fmt(f) }
    }
}

struct List<'a>(&'a [String]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { ", " }, Word(value))?;
        }
        Ok(())
    }
}
