//! Values in flags: `3.5`, `[1-2,5-6]`, `{a,b}`; anything else is text.

use std::collections::BTreeSet;

use super::{Milli, QuantityError, Ranges, RangesError, quoted};

/// A value parsed from text, by its form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TextValue {
    Scalar(Milli),
    Ranges(Ranges),
    Set(BTreeSet<String>),
    Text(String),
}

/// An error for text that looks like a number, ranges or a set and is not.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ValueError {
    /// The value is missing.
    #[error("the value is missing")]
    Blank,
    /// The braces do not match.
    #[error("`{0}` is not a set; write it like {{a,b}}")]
    Set(String),
    /// A name is twice in one set.
    #[error("`{0}` is in the set twice")]
    Duplicate(String),
    /// The ranges are invalid.
    #[error(transparent)]
    Ranges(#[from] RangesError),
    /// The number is out of range.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
}

impl TextValue {
    /// Parses one value. Numbers that are negative or not finite are text, as in Mesos.
    pub(crate) fn parse(text: &str) -> Result<Self, ValueError> {
        let text = text.trim();
        match text.chars().next() {
            None => Err(ValueError::Blank),
            Some('[') => Ok(Self::Ranges(text.parse()?)),
            Some('{') => parse_set(text).map(Self::Set),
            Some(_) if text.contains(['[', ']', '{', '}']) => Err(ValueError::Set(quoted(text))),
            Some(_) => parse_scalar_or_text(text),
        }
    }
}

fn parse_set(text: &str) -> Result<BTreeSet<String>, ValueError> {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let inner = inner.filter(|inner| !inner.contains(['[', ']', '{', '}']));
    let inner = inner.ok_or_else(|| ValueError::Set(quoted(text)))?;
    let mut set = BTreeSet::new();
    for item in inner.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        if !set.insert(item.to_owned()) {
            return Err(ValueError::Duplicate(quoted(item)));
        }
    }
    Ok(set)
}

fn parse_scalar_or_text(text: &str) -> Result<TextValue, ValueError> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    match number {
        Some(number) if number.is_subnormal() => Err(QuantityError::Subnormal(number).into()),
        Some(number) if number >= 0.0 => {
            let amount = Milli::amount(number)?;
            if amount.is_zero() && number > 0.0 {
                return Err(QuantityError::RoundsToZero(number).into());
            }
            Ok(TextValue::Scalar(amount))
        }
        _ => Ok(TextValue::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> TextValue {
        TextValue::Scalar(text.parse().unwrap())
    }

    #[test]
    fn the_form_decides_what_a_value_is() {
        assert_eq!(TextValue::parse(" 45.55 "), Ok(scalar("45.55")));
        assert_eq!(TextValue::parse("[1-2]"), Ok(TextValue::Ranges((1..=2).into())));
        let set = ["a", "b c"].map(str::to_owned).into();
        assert_eq!(TextValue::parse("{ b c, a }"), Ok(TextValue::Set(set)));
    }

    #[test]
    fn what_is_no_amount_is_text() {
        for text in ["123abc,s", "inf", "-inf", "infinity", "nan", "-nan", "-5", "rack1,rack2", "foo:bar"] {
            assert_eq!(TextValue::parse(text), Ok(TextValue::Text(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn half_written_values_are_refused() {
        for text in ["{aa,b}}", "{{a}", "{a", "a}", "[1-2]]", "[1-2b]", "", "  ", "7.63918e-313", "-7.63918e-313"] {
            assert!(TextValue::parse(text).is_err(), "{text}");
        }
        assert_eq!(TextValue::parse("{a,a}"), Err(ValueError::Duplicate("a".to_owned())));
        assert_eq!(TextValue::parse("0.00001"), Err(QuantityError::RoundsToZero(0.00001).into()));
    }
}
