//! Tests of an agent's attribute values.
//!
//! If an agent has several values of one name, any may pass. A range represents each of its numbers. Text counts as a
//! comma-separated set in `contains` tests. A test of a missing attribute fails, except `!=`, `not in` and `is not
//! set`. Order: integers as such, other numbers as doubles, anything else byte by byte.

use std::cmp::Ordering;

use super::rule::{Order, Test};
use crate::types::AttributeValue;

impl Test {
    /// Returns whether an attribute with these values passes; an empty list means that it is not set.
    pub(super) fn holds(&self, values: &[AttributeValue]) -> bool {
        let any_text = |passes: &dyn Fn(&str) -> bool| values.iter().any(|value| passes(&value.to_string()));
        match self {
            Self::OneOf(wanted) => wanted.iter().any(|wanted| values.iter().any(|value| equals(value, wanted))),
            Self::NoneOf(unwanted) => !unwanted.iter().any(|wanted| values.iter().any(|value| equals(value, wanted))),
            Self::Order(order, bound) => values.iter().any(|value| is_ordered(value, *order, bound)),
            Self::Matches(pattern) => any_text(&|text| pattern.is_found_in(text)),
            Self::Version(bounds) => any_text(&|text| bounds.hold(text)),
            Self::Semver(bounds) => any_text(&|text| bounds.hold(text)),
            Self::ContainsAll(items) => !values.is_empty() && items.iter().all(|item| contains(values, item)),
            Self::ContainsAny(items) => items.iter().any(|item| contains(values, item)),
            Self::Set => !values.is_empty(),
            Self::NotSet => values.is_empty(),
        }
    }
}

fn equals(value: &AttributeValue, wanted: &str) -> bool {
    match value {
        AttributeValue::Text(text) => text == wanted,
        AttributeValue::Scalar(amount) => compare(&amount.to_string(), wanted).is_eq(),
        AttributeValue::Ranges(ranges) => {
            ranges.to_string() == wanted || wanted.parse().is_ok_and(|number| ranges.contains(number))
        }
    }
}

fn is_ordered(value: &AttributeValue, order: Order, bound: &str) -> bool {
    let passes = |text: &str| order.admits(compare(text, bound));
    match value {
        AttributeValue::Text(text) => passes(text),
        AttributeValue::Scalar(amount) => passes(&amount.to_string()),
        // If any number passes, the smallest or the largest does.
        AttributeValue::Ranges(ranges) => {
            let last = ranges.iter().last().map(|range| *range.end());
            [ranges.first(), last].into_iter().flatten().any(|number| passes(&number.to_string()))
        }
    }
}

fn contains(values: &[AttributeValue], item: &str) -> bool {
    values.iter().any(|value| match value {
        AttributeValue::Text(text) => text.split(',').any(|one| one.trim() == item),
        AttributeValue::Scalar(_) | AttributeValue::Ranges(_) => equals(value, item),
    })
}

/// Compares numbers by value, everything else by bytes.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    if let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) {
        return left.cmp(&right);
    }
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    match (number(left), number(right)) {
        (Some(left), Some(right)) => left.partial_cmp(&right).expect("both are finite"),
        _ => left.as_bytes().cmp(right.as_bytes()),
    }
}

impl Order {
    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::allocator::Constraint;
    use crate::allocator::constraint::rule::Rule;
    use crate::types::Attributes;

    /// Returns whether an agent with these attributes passes the constraint.
    fn holds(constraint: &str, attributes: &str) -> bool {
        let constraint: Constraint = constraint.parse().unwrap();
        let attributes: Attributes = attributes.parse().unwrap();
        let Rule::Attribute { name, test } = constraint.rule() else { panic!("{constraint} tests no attribute") };
        test.holds(&attributes.all(name).cloned().collect::<Vec<_>>())
    }

    #[track_caller]
    fn all_hold(cases: &[(&str, &str)]) {
        for (constraint, attributes) in cases {
            assert!(holds(constraint, attributes), "{constraint}");
        }
    }

    #[track_caller]
    fn none_hold(cases: &[(&str, &str)]) {
        for (constraint, attributes) in cases {
            assert!(!holds(constraint, attributes), "{constraint}");
        }
    }

    #[test]
    fn a_test_of_a_missing_attribute_is_false_unless_it_denies() {
        all_hold(&[("zone != a", ""), ("zone not in a, b", ""), ("zone is not set", "")]);
        none_hold(&[("zone = a", ""), ("zone in a, b", ""), ("zone < 5", ""), ("zone > 5", ""), ("zone ~ /.*/", "")]);
        none_hold(&[("zone version > 0", ""), ("zone semver > 0.0.0", ""), ("zone is set", "")]);
        none_hold(&[("zone contains all a", ""), ("zone contains any a", "")]);
    }

    #[test]
    fn numbers_are_ordered_as_numbers_and_the_rest_by_bytes() {
        all_hold(&[("x < 10", "x:9"), ("x > 9.5", "x:10"), ("x <= 10", "x:10.0"), ("x = 8.0", "x:8")]);
        all_hold(&[("x < 9a", "x:10"), ("x >= b", "x:b"), ("x < 9223372036854775807", "x:-3")]);
        none_hold(&[("x < 9", "x:10"), ("x > 10", "x:9"), ("x > nan", "x:10"), ("x < a", "x:b")]);
    }

    #[test]
    fn codes_that_look_like_numbers_equal_themselves_and_no_other() {
        all_hold(&[("rev = 12345e67", "rev:12345e67"), ("id = 007", "id:007"), ("k = 1.10", "k:1.10")]);
        all_hold(&[("built = 1764496032123456", "built:1764496032123456"), ("k version = 1.10", "k:1.10")]);
        all_hold(&[("k version > 1.9", "k:1.10"), ("built > 1764496032123455", "built:1764496032123456")]);
        all_hold(&[("k != 1.1", "k:1.10"), ("id in 006, 007", "id:007"), ("c = 1.50151", "c:1.50151")]);
        none_hold(&[("k = 1.1", "k:1.10"), ("k version = 1.1", "k:1.10"), ("id = 7", "id:007")]);
        none_hold(&[("built = 1764496032123457", "built:1764496032123456"), ("c = 1.502", "c:1.50151")]);
    }

    #[test]
    fn any_of_several_values_may_pass_and_none_may_be_the_unwanted_one() {
        all_hold(&[("zone = b", "zone:a;zone:b"), ("zone in c, b", "zone:a;zone:b"), ("zone > a", "zone:a;zone:b")]);
        none_hold(&[("zone != b", "zone:a;zone:b"), ("zone not in c, b", "zone:a;zone:b"), ("zone = c", "zone:a")]);
    }

    #[test]
    fn a_range_stands_for_each_of_its_numbers() {
        let ports = "p:[10-20,30-40]";
        all_hold(&[("p = 15", ports), ("p = \"[10-20,30-40]\"", ports), ("p > 39", ports), ("p < 11", ports)]);
        all_hold(&[("p contains all 10, 40", ports), ("p contains any 25, 30", ports), ("p != 25", ports)]);
        none_hold(&[("p = 25", ports), ("p > 40", ports), ("p < 10", ports), ("p != 10", ports)]);
        none_hold(&[("p contains all 10, 25", ports), ("p = 1", "p:[]")]);
    }

    #[test]
    fn text_is_a_set_of_what_stands_between_its_commas() {
        all_hold(&[("tags contains all a, b", "tags:b, c,a"), ("tags contains any x, c", "tags:b, c,a")]);
        all_hold(&[("tags contains all a, b", "tags:a;tags:b")]);
        none_hold(&[("tags contains all a, x", "tags:b, c,a"), ("tags contains any x", "tags:b, c,a")]);
    }

    #[test]
    fn patterns_are_found_anywhere_and_versions_compared() {
        all_hold(&[("m ~ /xeon.*/", "m:intel xeon gold"), ("m regexp ^a", "m:ab"), ("m ~ /^5$/", "m:5")]);
        all_hold(&[("k version >= 5.10, < 7", "k:v5.15"), ("k semver > 1.0.0", "k:1.0.1-beta")]);
        none_hold(&[("m regexp ^b", "m:ab"), ("k version >= 5.10, < 7", "k:v7.1"), ("k version > 1", "k:new")]);
    }
}
