//! Placement constraints: where the instances of a request may run, and where they should.
//!
//! A [`Constraint`] is hard (it must hold) or, with a weight, soft (it should). Some constraints test an agent's
//! attributes, others limit how instances and their neighbours are distributed over agents. [`ClusterView`] describes
//! the cluster beyond the current offers. `Rules` holds the compiled constraints of one placement, with counts that are
//! updated as instances are placed, so that no query walks over the agents. Invariant: everything placed after
//! `Rules::check` allowed it satisfies every hard constraint.

mod broken;
mod compare;
mod conflict;
mod parse;
mod rule;
mod rules;
#[cfg(test)]
mod tests;
mod text;
mod version;
mod view;

pub use self::broken::Broken;
pub(in crate::allocator) use self::broken::in_one_text;
pub(in crate::allocator) use self::conflict::conflict;
use self::rule::{Neighbours, Order, Pattern, Rule, Test};
pub(in crate::allocator) use self::rules::{Described, Rules};
use self::version::Bounds;
pub use self::view::{ClusterAgent, ClusterTasks, ClusterView};
use crate::types::Quoted;

/// The longest text that is parsed as one constraint.
const MAX_TEXT_BYTES: usize = 4096;

/// A constraint on the agents that instances of a request may run on.
///
/// The attributes `hostname` and `agent` (the agent's id) are always set. In text form:
///
/// | text | holds on an agent when |
/// |---|---|
/// | `zone = a`, `zone in a, b`, `zone != a`, `zone not in a, b` | its `zone` is, or is not, one of the values |
/// | `cores < 8`, `<=`, `>`, `>=` | it is ordered so: as numbers if both are, else byte by byte |
/// | `model ~ /xeon.*/`, `model regexp ^xeon` | the regular expression is found in it |
/// | `kernel version >= 5.10, < 7` | the version is within all bounds (`=`, `!=`, `<`, `<=`, `>`, `>=`, `~>`); prereleases only where a bound names one of the same release |
/// | `api semver >= 1.2.0` | the semantic version is within all bounds; prereleases count as any other |
/// | `tags contains all a, b`, `tags contains any a, b` | the comma-separated items in it include them |
/// | `zone is set`, `zone is not set` | it has the attribute, or not |
/// | `unique hostname`, `at most 2 per zone` | so many instances at most share the value |
/// | `spread zone`, `spread zone a 60% b 40%` | its value has not yet its share of the instances, rounded up; values not named share the rest evenly |
/// | `group by rack skew 1` | no value of those that can run the request then has more than 1 instance more than another |
/// | `with label app=db`, `with label app on same zone` | such a task runs there; on any agent with the same value |
/// | `avoid label app=db`, `avoid label app on same zone` | no such task runs there |
/// | `exclusive` | no other task is there, and none is put beside it |
/// | `prefer 50: ` and any rule, `prefer -50: ` and any rule | always; placing looks for agents where the rule holds, or does not hold |
///
/// Words with spaces, signs or commas are in double quotes, with `\"` and `\\` inside. A test of a missing attribute
/// fails, except `!=`, `not in` and `is not set`. If an agent has several values of one name, any may pass; rules on
/// distribution use the first. A set attribute is several values. Beware of versions of two parts in an agent's flags:
/// `5.10` is the number 5.1 there, `v5.10` is not.
///
/// ```
/// use divvy::allocator::{Constraint, TaskRequest};
///
/// let web = TaskRequest::command("web", "serve")
///     .cpus(1.0)
///     .constrained("zone in a, b")
///     .constraint(Constraint::unique("hostname"))
///     .constraint(Constraint::greater("cores", "8").soft(50));
/// assert_eq!(web.check(), Ok(()));
/// assert_eq!(web.constraints[2].to_string(), "prefer 50: cores > 8");
/// let wrong = "zone is a".parse::<Constraint>().unwrap_err();
/// assert_eq!(wrong.to_string(), "constraint `zone is a`: expected set at character 9");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    rule: Rule,
    /// The weight of a soft constraint.
    weight: Option<i32>,
}

/// An error for an invalid constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// The text does not follow the grammar.
    #[error("constraint `{}`: expected {expected} at character {character}", Quoted(text))]
    Syntax {
        /// The whole text.
        text: String,
        /// Where the text becomes invalid, counted from 1.
        character: usize,
        /// What is expected there.
        expected: &'static str,
    },
    /// The text can be parsed, but no agent could satisfy it.
    #[error("constraint `{}`: {problem}", Quoted(text))]
    Value {
        /// The whole text.
        text: String,
        /// What is wrong, and what is expected.
        problem: String,
    },
    /// The text is too long.
    #[error("a constraint of {bytes} bytes; at most {MAX_TEXT_BYTES} are read")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl Constraint {
    /// Creates `attribute = value`.
    #[must_use]
    pub fn equal(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self::one_of(attribute, [value])
    }

    /// Creates `attribute != value`, which also holds if the attribute is missing.
    #[must_use]
    pub fn not_equal(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self::none_of(attribute, [value])
    }

    /// Creates `attribute in a, b`.
    #[must_use]
    pub fn one_of<V: Into<String>>(attribute: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::test(attribute, Test::OneOf(owned(values)))
    }

    /// Creates `attribute not in a, b`, which also holds if the attribute is missing.
    #[must_use]
    pub fn none_of<V: Into<String>>(attribute: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::test(attribute, Test::NoneOf(owned(values)))
    }

    /// Creates `attribute < bound`: as numbers if both are, else byte by byte.
    #[must_use]
    pub fn less(attribute: impl Into<String>, bound: impl Into<String>) -> Self {
        Self::test(attribute, Test::Order(Order::Less, bound.into()))
    }

    /// Creates `attribute <= bound`, ordered as in [`less`](Self::less).
    #[must_use]
    pub fn less_or_equal(attribute: impl Into<String>, bound: impl Into<String>) -> Self {
        Self::test(attribute, Test::Order(Order::LessOrEqual, bound.into()))
    }

    /// Creates `attribute > bound`, ordered as in [`less`](Self::less).
    #[must_use]
    pub fn greater(attribute: impl Into<String>, bound: impl Into<String>) -> Self {
        Self::test(attribute, Test::Order(Order::Greater, bound.into()))
    }

    /// Creates `attribute >= bound`, ordered as in [`less`](Self::less).
    #[must_use]
    pub fn greater_or_equal(attribute: impl Into<String>, bound: impl Into<String>) -> Self {
        Self::test(attribute, Test::Order(Order::GreaterOrEqual, bound.into()))
    }

    /// Creates `attribute ~ /pattern/`, a regular expression in the syntax of the crate `regex`, unanchored.
    #[must_use]
    pub fn matches(attribute: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self::test(attribute, Test::Matches(Pattern::new(pattern)))
    }

    /// Creates `attribute version >= 5.10, < 7`, with any number of parts.
    #[must_use]
    pub fn version(attribute: impl Into<String>, bounds: &str) -> Self {
        Self::test(attribute, Test::Version(Bounds::lenient(bounds)))
    }

    /// Creates `attribute semver >= 1.2.3`, with exactly three parts, prereleases included.
    #[must_use]
    pub fn semver(attribute: impl Into<String>, bounds: &str) -> Self {
        Self::test(attribute, Test::Semver(Bounds::strict(bounds)))
    }

    /// Creates `attribute contains all a, b`.
    #[must_use]
    pub fn contains_all<V: Into<String>>(attribute: impl Into<String>, items: impl IntoIterator<Item = V>) -> Self {
        Self::test(attribute, Test::ContainsAll(owned(items)))
    }

    /// Creates `attribute contains any a, b`.
    #[must_use]
    pub fn contains_any<V: Into<String>>(attribute: impl Into<String>, items: impl IntoIterator<Item = V>) -> Self {
        Self::test(attribute, Test::ContainsAny(owned(items)))
    }

    /// Creates `attribute is set`.
    #[must_use]
    pub fn is_set(attribute: impl Into<String>) -> Self {
        Self::test(attribute, Test::Set)
    }

    /// Creates `attribute is not set`.
    #[must_use]
    pub fn is_not_set(attribute: impl Into<String>) -> Self {
        Self::test(attribute, Test::NotSet)
    }

    /// Creates `unique attribute`: one instance for each value.
    #[must_use]
    pub fn unique(attribute: impl Into<String>) -> Self {
        Self::max_per(attribute, 1)
    }

    /// Creates `at most limit per attribute`: so many instances for each value.
    #[must_use]
    pub fn max_per(attribute: impl Into<String>, limit: u32) -> Self {
        Self::hard(Rule::PerValue { attribute: attribute.into(), limit })
    }

    /// Creates `spread attribute a 60% b 40%`: shares of all instances by value, in percent.
    ///
    /// Values that are not named share evenly what is left of 100; without targets all values have the same share.
    #[must_use]
    pub fn spread<V: Into<String>>(attribute: impl Into<String>, targets: impl IntoIterator<Item = (V, u32)>) -> Self {
        let targets = targets.into_iter().map(|(value, percent)| (value.into(), percent)).collect();
        Self::hard(Rule::Spread { attribute: attribute.into(), targets })
    }

    /// Creates `group by attribute skew n`: even over the values, except for `skew` instances.
    #[must_use]
    pub fn group_by(attribute: impl Into<String>, skew: u32) -> Self {
        Self::hard(Rule::GroupBy { attribute: attribute.into(), skew })
    }

    /// Creates `with label key=value`: on agents where tasks with the label run.
    ///
    /// The first instance of a request that carries the label itself may be placed anywhere.
    #[must_use]
    pub fn with_label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::hard(Rule::With(Neighbours { key: key.into(), value: Some(value.into()), same: None }))
    }

    /// Creates `avoid label key=value`: on agents where no tasks with the label run. Such tasks are not placed beside
    /// it later either.
    #[must_use]
    pub fn avoid_label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::hard(Rule::Avoid(Neighbours { key: key.into(), value: Some(value.into()), same: None }))
    }

    /// Adds `on same attribute` to a rule on labels: all agents of one value count as one place. Other rules do not
    /// change.
    #[must_use]
    pub fn on_same(mut self, attribute: impl Into<String>) -> Self {
        if let Rule::With(neighbours) | Rule::Avoid(neighbours) = &mut self.rule {
            neighbours.same = Some(attribute.into());
        }
        self
    }

    /// Creates `exclusive`: no other task on the agent.
    #[must_use]
    pub fn exclusive() -> Self {
        Self::hard(Rule::Exclusive)
    }

    /// Makes the constraint soft: weights from 1 to 100 prefer that it holds, from -1 to -100 that it does not.
    #[must_use]
    pub fn soft(self, weight: i32) -> Self {
        Self { weight: Some(weight), ..self }
    }

    /// Returns the weight of a soft constraint, `None` for a hard one.
    #[must_use]
    pub fn weight(&self) -> Option<i32> {
        self.weight
    }

    /// Validates the constraint.
    ///
    /// # Errors
    ///
    /// The weight is 0 or beyond 100, a pattern or version is invalid, shares exceed 100 %, a limit allows nothing, or
    /// a name or list is empty.
    pub fn check(&self) -> Result<(), ConstraintError> {
        let weight = match self.weight {
            Some(weight) if weight == 0 || weight.unsigned_abs() > 100 => {
                Err(format!("the weight {weight} is not one of -100 to -1 and 1 to 100"))
            }
            _ => Ok(()),
        };
        let text = self.to_string();
        if text.len() > MAX_TEXT_BYTES {
            return Err(ConstraintError::TooLong { bytes: text.len() });
        }
        weight.and_then(|()| self.rule.check()).map_err(|problem| ConstraintError::Value { text, problem })
    }

    /// Returns whether it tests an attribute of each agent alone.
    pub(in crate::allocator) fn is_test(&self) -> bool {
        matches!(self.rule, Rule::Attribute { .. })
    }

    fn rule(&self) -> &Rule {
        &self.rule
    }

    fn is_hard(&self) -> bool {
        self.weight.is_none()
    }

    fn test(attribute: impl Into<String>, test: Test) -> Self {
        Self::hard(Rule::Attribute { name: attribute.into(), test })
    }

    fn hard(rule: Rule) -> Self {
        Self { rule, weight: None }
    }
}

fn owned<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Vec<String> {
    values.into_iter().map(Into::into).collect()
}
