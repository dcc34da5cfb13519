//! Constraints: where the instances of a request may run, and where they had better.
//!
//! A [`Constraint`] is a rule that must hold, or with a weight one that should. Some rules look at an agent's attributes,
//! others at how instances and their neighbours are distributed over agents. [`ClusterView`] tells what the cluster looks
//! like beyond the offers at hand. `Rules` holds those of one placement, compiled, with counts that follow what is
//! placed, so that no answer costs a walk over the agents. The one invariant: whatever was placed with `Rules::check`
//! granting it keeps every hard rule of everything placed.

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

/// How much text is read as one constraint.
const MAX_TEXT_BYTES: usize = 4096;

/// A rule on where instances of a request may run.
///
/// The attributes `hostname` and `agent` (its id) are always known. As text:
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
/// Words with spaces, signs or commas stand in double quotes, with `\"` and `\\` inside. An attribute that is missing fails
/// every test but `!=`, `not in` and `is not set`. Of several values of one name any may pass; rules on distribution look
/// at the first. A set attribute is several values. Beware of versions of two parts in an agent's flags: `5.10` is the
/// number 5.1 there, `v5.10` is not.
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
    /// How much the rule matters, if it need not hold.
    weight: Option<i32>,
}

/// A constraint that makes no sense, or text that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// Text that does not follow the grammar.
    #[error("constraint `{}`: expected {expected} at character {character}", Quoted(text))]
    Syntax {
        /// The whole text.
        text: String,
        /// Where it stops making sense, counted from 1.
        character: usize,
        /// What would have made sense there.
        expected: &'static str,
    },
    /// A rule that can be read and not be kept.
    #[error("constraint `{}`: {problem}", Quoted(text))]
    Value {
        /// The whole text.
        text: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// More text than is read.
    #[error("a constraint of {bytes} bytes; at most {MAX_TEXT_BYTES} are read")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
}

impl Constraint {
    /// `attribute = value`.
    #[must_use]
    pub fn equal(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self::one_of(attribute, [value])
    }

    /// `attribute != value`: holds too where the attribute is missing.
    #[must_use]
    pub fn not_equal(attribute: impl Into<String>, value: impl Into<String>) -> Self {
        Self::none_of(attribute, [value])
    }

    /// `attribute in a, b`.
    #[must_use]
    pub fn one_of<V: Into<String>>(attribute: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::test(attribute, Test::OneOf(owned(values)))
    }

    /// `attribute not in a, b`: holds too where the attribute is missing.
    #[must_use]
    pub fn none_of<V: Into<String>>(attribute: impl Into<String>, values: impl IntoIterator<Item = V>) -> Self {
        Self::test(attribute, Test::NoneOf(owned(values)))
    }

    /// `attribute < bound`, as numbers if both are, else byte by byte.
    #[must_use]
    pub fn less(attribute: impl Into<String>, bound: impl Into<String>) -> Self {
        Self::test(attribute, Test::Order(Order::Less, bound.into()))
    }

    /// `attribute <= bound`, ordered as in [`less`](Self::less).
    #[must_use]
    pub fn less_or_equal(attribute: impl Into<String>, bound: impl Into<String>) -> Self {
        Self::test(attribute, Test::Order(Order::LessOrEqual, bound.into()))
    }

    /// `attribute > bound`, ordered as in [`less`](Self::less).
    #[must_use]
    pub fn greater(attribute: impl Into<String>, bound: impl Into<String>) -> Self {
        Self::test(attribute, Test::Order(Order::Greater, bound.into()))
    }

    /// `attribute >= bound`, ordered as in [`less`](Self::less).
    #[must_use]
    pub fn greater_or_equal(attribute: impl Into<String>, bound: impl Into<String>) -> Self {
        Self::test(attribute, Test::Order(Order::GreaterOrEqual, bound.into()))
    }

    /// `attribute ~ /pattern/`: the regular expression, in the syntax of the crate `regex`, is found anywhere in it.
    #[must_use]
    pub fn matches(attribute: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self::test(attribute, Test::Matches(Pattern::new(pattern)))
    }

    /// `attribute version >= 5.10, < 7`, of as many parts as there are.
    #[must_use]
    pub fn version(attribute: impl Into<String>, bounds: &str) -> Self {
        Self::test(attribute, Test::Version(Bounds::lenient(bounds)))
    }

    /// `attribute semver >= 1.2.3`, of exactly three parts, prereleases included.
    #[must_use]
    pub fn semver(attribute: impl Into<String>, bounds: &str) -> Self {
        Self::test(attribute, Test::Semver(Bounds::strict(bounds)))
    }

    /// `attribute contains all a, b`.
    #[must_use]
    pub fn contains_all<V: Into<String>>(attribute: impl Into<String>, items: impl IntoIterator<Item = V>) -> Self {
        Self::test(attribute, Test::ContainsAll(owned(items)))
    }

    /// `attribute contains any a, b`.
    #[must_use]
    pub fn contains_any<V: Into<String>>(attribute: impl Into<String>, items: impl IntoIterator<Item = V>) -> Self {
        Self::test(attribute, Test::ContainsAny(owned(items)))
    }

    /// `attribute is set`.
    #[must_use]
    pub fn is_set(attribute: impl Into<String>) -> Self {
        Self::test(attribute, Test::Set)
    }

    /// `attribute is not set`.
    #[must_use]
    pub fn is_not_set(attribute: impl Into<String>) -> Self {
        Self::test(attribute, Test::NotSet)
    }

    /// `unique attribute`: one instance for each value.
    #[must_use]
    pub fn unique(attribute: impl Into<String>) -> Self {
        Self::max_per(attribute, 1)
    }

    /// `at most limit per attribute`: so many instances for each value.
    #[must_use]
    pub fn max_per(attribute: impl Into<String>, limit: u32) -> Self {
        Self::hard(Rule::PerValue { attribute: attribute.into(), limit })
    }

    /// `spread attribute a 60% b 40%`: shares of all instances by value, in percent. Values that are not named share evenly
    /// what is left of 100; without targets all values have the same share.
    #[must_use]
    pub fn spread<V: Into<String>>(attribute: impl Into<String>, targets: impl IntoIterator<Item = (V, u32)>) -> Self {
        let targets = targets.into_iter().map(|(value, percent)| (value.into(), percent)).collect();
        Self::hard(Rule::Spread { attribute: attribute.into(), targets })
    }

    /// `group by attribute skew n`: as even over the values as can be, give or take `skew` instances.
    #[must_use]
    pub fn group_by(attribute: impl Into<String>, skew: u32) -> Self {
        Self::hard(Rule::GroupBy { attribute: attribute.into(), skew })
    }

    /// `with label key=value`: on agents where tasks with the label run. The first instance of a request that carries the
    /// label itself may go anywhere.
    #[must_use]
    pub fn with_label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::hard(Rule::With(Neighbours { key: key.into(), value: Some(value.into()), same: None }))
    }

    /// `avoid label key=value`: on agents where no tasks with the label run; such tasks are not put beside it either.
    #[must_use]
    pub fn avoid_label(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::hard(Rule::Avoid(Neighbours { key: key.into(), value: Some(value.into()), same: None }))
    }

    /// For rules on labels `on same attribute`: all agents of one value count as one place. Others stay as they are.
    #[must_use]
    pub fn on_same(mut self, attribute: impl Into<String>) -> Self {
        if let Rule::With(neighbours) | Rule::Avoid(neighbours) = &mut self.rule {
            neighbours.same = Some(attribute.into());
        }
        self
    }

    /// `exclusive`: alone on the agent.
    #[must_use]
    pub fn exclusive() -> Self {
        Self::hard(Rule::Exclusive)
    }

    /// The same rule as a wish: from 1 (hardly) to 100 that it holds, from -1 to -100 that it does not.
    #[must_use]
    pub fn soft(self, weight: i32) -> Self {
        Self { weight: Some(weight), ..self }
    }

    /// The weight of a wish, `None` for a rule that must hold.
    #[must_use]
    pub fn weight(&self) -> Option<i32> {
        self.weight
    }

    /// Whether it can be kept at all.
    ///
    /// # Errors
    ///
    /// A weight that is 0 or beyond 100, a pattern or version that is none, shares of more than 100 %, limits that allow
    /// nothing, empty names and lists.
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

    /// Whether it tests an attribute of each agent alone.
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
