//! Pairs of hard constraints that no agent can satisfy.
//!
//! Only conflicts that hold for every cluster are detected here; others appear during placement. `zone = a` beside
//! `zone = b` counts as a conflict, although an agent with two zones would satisfy both: it is far more often a
//! mistake.

use super::Constraint;
use super::compare::compare;
use super::rule::{Order, Rule, Test};

/// Returns the first two constraints that contradict each other.
pub(in crate::allocator) fn conflict(constraints: &[Constraint]) -> Option<(&Constraint, &Constraint)> {
    let hard: Vec<&Constraint> = constraints.iter().filter(|constraint| constraint.is_hard()).collect();
    let with_later = |(at, first): (usize, &&'_ Constraint)| {
        let second = hard[at + 1..].iter().find(|second| contradict(&first.rule, &second.rule))?;
        Some((at, *second))
    };
    let (at, second) = hard.iter().enumerate().find_map(with_later)?;
    Some((hard[at], second))
}

fn contradict(first: &Rule, second: &Rule) -> bool {
    one_way(first, second) || one_way(second, first)
}

fn one_way(first: &Rule, second: &Rule) -> bool {
    if let (Rule::With(wanted), Rule::Avoid(unwanted)) = (first, second) {
        return wanted == unwanted;
    }
    if let (Rule::With(wanted), Rule::Exclusive) = (first, second) {
        return wanted.same.is_none();
    }
    let Rule::Attribute { name, test } = first else { return false };
    if second.attribute() != Some(name) {
        return false;
    }
    match second {
        Rule::Attribute { test: against, .. } => tests_contradict(test, against),
        Rule::PerValue { .. } | Rule::Spread { .. } | Rule::GroupBy { .. } | Rule::With(_) => *test == Test::NotSet,
        Rule::Avoid(_) | Rule::Exclusive => false,
    }
}

fn tests_contradict(first: &Test, second: &Test) -> bool {
    if *first == Test::NotSet {
        return !matches!(second, Test::NotSet | Test::NoneOf(_));
    }
    if let (Test::OneOf(wanted), Test::OneOf(others)) = (first, second) {
        let is_shared = |one: &String| others.iter().any(|other| compare(one, other).is_eq());
        return !wanted.iter().any(is_shared);
    }
    if let (Test::OneOf(wanted), Test::NoneOf(unwanted)) = (first, second) {
        return wanted.iter().all(|one| unwanted.contains(one));
    }
    if let (Test::Order(upper, most), Test::Order(lower, least)) = (first, second) {
        let is_upper = matches!(upper, Order::Less | Order::LessOrEqual);
        let is_lower = matches!(lower, Order::Greater | Order::GreaterOrEqual);
        let both_inclusive = (*upper, *lower) == (Order::LessOrEqual, Order::GreaterOrEqual);
        let order = compare(most, least);
        return is_upper && is_lower && (order.is_lt() || (order.is_eq() && !both_inclusive));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflicts(texts: &[&str]) -> Option<String> {
        let constraints: Vec<Constraint> = texts.iter().map(|text| text.parse().unwrap()).collect();
        conflict(&constraints).map(|(first, second)| format!("{first} / {second}"))
    }

    #[test]
    fn rules_that_no_agent_can_satisfy_together_are_found_in_either_order() {
        for [first, second] in [
            ["zone = a", "zone = b"],
            ["zone in a, b", "zone in c, d"],
            ["zone in a, b", "zone not in c, b, a"],
            ["zone is set", "zone is not set"],
            ["unique zone", "zone is not set"],
            ["zone > 3", "zone is not set"],
            ["x < 3", "x >= 3"],
            ["x <= 3", "x > 3.0"],
            ["x <= 3", "x >= 10"],
            ["with label app=db", "avoid label app=db"],
            ["with label app=db", "exclusive"],
            ["with label app=db on same zone", "zone is not set"],
        ] {
            assert_eq!(conflicts(&["a = 1", first, second]), Some(format!("{first} / {second}")));
            assert_eq!(conflicts(&[second, "a = 1", first]), Some(format!("{second} / {first}")));
        }
    }

    #[test]
    fn rules_that_some_agent_may_satisfy_together_are_accepted() {
        for [first, second] in [
            ["zone = a", "rack = b"],
            ["zone in a, b", "zone in b, c"],
            ["zone = 8", "zone = 8.0"],
            ["zone = a", "zone != b"],
            ["zone != a", "zone is not set"],
            ["x <= 3", "x >= 3"],
            ["x < 10", "x > 9"],
            ["with label app=db", "avoid label app=web"],
            ["with label app=db on same zone", "avoid label app=db"],
            ["with label app=db on same zone", "exclusive"],
            ["avoid label app=db on same zone", "zone is not set"],
            ["zone = a", "prefer 50: zone = b"],
        ] {
            assert_eq!(conflicts(&[first, second]), None);
        }
    }
}
