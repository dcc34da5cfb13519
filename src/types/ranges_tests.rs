//! Tests of sets of ranges: content, union, difference, and invalid ones.

use proptest::prelude::*;

use super::*;

fn ranges(text: &str) -> Ranges {
    text.parse().unwrap()
}

fn sum(left: &str, right: &str) -> String {
    let mut sum = ranges(left);
    sum += &ranges(right);
    sum.to_string()
}

fn difference(left: &str, right: &str) -> String {
    let mut rest = ranges(left);
    rest -= &ranges(right);
    rest.to_string()
}

#[test]
fn text_is_sorted_and_coalesced() {
    for (text, shown) in [
        ("[20-30,31-39,40-40]", "[20-40]"),
        ("[4-6,6-8]", "[4-8]"),
        ("[1-4, 4-5, 7-8, 8-10]", "[1-5,7-10]"),
        ("[4-6,7-8]", "[4-8]"),
        ("[4-6,7-7,9-10,9-11]", "[4-7,9-11]"),
        ("[4-6,6-8,5-9,3-4,2-5,4-6,1-1,10-10,4-6]", "[1-10]"),
        ("[]", "[]"),
        ("[0-18446744073709551615,5-5]", "[0-18446744073709551615]"),
    ] {
        assert_eq!(ranges(text).to_string(), shown);
    }
}

#[test]
fn text_that_is_no_list_of_ranges_is_refused() {
    for text in [
        "",
        "[",
        "]",
        "[1-2]]",
        "[[1-2]",
        "[1-2b]",
        "[1]",
        "[1-]",
        "[-1-2]",
        "[1-2,]",
        "1-2",
        "[1-99999999999999999999]",
    ] {
        assert!(matches!(text.parse::<Ranges>(), Err(RangesError::Syntax(_))), "{text}");
    }
    assert_eq!("[5-4]".parse::<Ranges>(), Err(RangesError::Backwards(5, 4)));
}

#[test]
fn sums_are_unions() {
    assert_eq!(sum("[20000-40000]", "[30000-50000,10000-20000]"), "[10000-50000]");
    assert_eq!(sum("[1-10,5-30,50-60]", "[1-65,70-80]"), "[1-65,70-80]");
    assert_eq!(sum("[1-2]", "[3-4]"), "[1-4]");
    assert_eq!(sum("[7-8]", "[5-6]"), "[5-8]");
    assert_eq!(sum("[1-4,9-10,20-22,26-30]", "[5-8,23-25]"), "[1-10,20-30]");
}

#[test]
fn differences_leave_what_is_not_taken() {
    assert_eq!(difference("[20000-40000]", "[10000-20000,30000-50000]"), "[20001-29999]");
    assert_eq!(difference("[50000-60000]", "[50000-50001]"), "[50002-60000]");
    assert_eq!(difference("[1-10,20-30,40-50]", "[2-9,15-45,48-50]"), "[1-1,10-10,46-47]");
    assert_eq!(difference("[1-10]", "[11-20]"), "[1-10]");
    assert_eq!(difference("[1-10]", "[1-10]"), "[]");
    assert_eq!(
        difference("[0-18446744073709551615]", "[0-1,3-4,18446744073709551615-18446744073709551615]"),
        "[2-2,5-18446744073709551614]"
    );
}

#[test]
fn containment_is_of_every_member() {
    assert!(ranges("[1-10]").contains_all(&ranges("[2-2,4-5]")));
    assert!(ranges("[1-10]").contains_all(&ranges("[2-3]")));
    assert!(ranges("[1-10]").contains_all(&ranges("[1-2,4-6]")));
    assert!(!ranges("[2-3]").contains_all(&ranges("[2-2,4-5]")));
    assert!(ranges("[2-3]").contains_all(&ranges("[]")));
    assert!(ranges("[2-3,7-9]").contains(8));
    assert!(!ranges("[2-3,7-9]").contains(5));
}

#[test]
fn the_first_ports_can_be_taken() {
    let ports = ranges("[31000-31001,31005-31010]");
    assert_eq!(ports.take(3), Some(ranges("[31000-31001,31005-31005]")));
    assert_eq!(ports.take(8), Some(ports.clone()));
    assert_eq!(ports.take(9), None);
    assert_eq!(ports.take(0), Some(Ranges::new()));
    assert_eq!((ports.first(), ports.len()), (Some(31000), 8));
    assert_eq!(ranges("[0-18446744073709551615]").take(u64::MAX).map(|taken| taken.len()), Some(u64::MAX));
}

#[test]
fn a_message_with_overlapping_or_backward_ranges_is_refused() {
    let message = |pairs: &[(u64, u64)]| value::Ranges {
        range: pairs.iter().map(|&(begin, end)| value::Range { begin, end }).collect(),
    };
    assert_eq!(Ranges::from_proto(&message(&[(5, 9), (1, 5)])), Err(RangesError::Overlap(1, 5, 5, 9)));
    assert_eq!(Ranges::from_proto(&message(&[(5, 4)])), Err(RangesError::Backwards(5, 4)));
    assert_eq!(Ranges::from_proto(&message(&[(6, 9), (1, 5)])), Ok(ranges("[1-9]")));
}

/// Sets small enough that every pair of intervals meets somewhere, with the far end in it.
fn any_ranges() -> impl Strategy<Value = Ranges> {
    let near = (0_u64..60, 0_u64..12).prop_map(|(begin, len)| begin..=begin + len);
    let far = (0_u64..6).prop_map(|back| u64::MAX - back..=u64::MAX);
    prop::collection::vec(prop_oneof![9 => near, 1 => far], 0..8).prop_map(Ranges::from_iter)
}

fn members(ranges: &Ranges) -> std::collections::BTreeSet<u64> {
    ranges.values().collect()
}

proptest! {
    #[test]
    fn ranges_are_the_sets_of_their_members(a in any_ranges(), b in any_ranges()) {
        let (ours, theirs) = (members(&a), members(&b));
        let (mut union, mut rest) = (a.clone(), a.clone());
        union += &b;
        rest -= &b;
        prop_assert_eq!(members(&union), &ours | &theirs);
        prop_assert_eq!(members(&rest), &ours - &theirs);
        prop_assert_eq!(members(&a.intersection(&b)), &ours & &theirs);
        prop_assert_eq!(a.contains_all(&b), theirs.is_subset(&ours));
        prop_assert_eq!(a.len(), ours.len() as u64);
        prop_assert_eq!(a == b, ours == theirs);
    }

    #[test]
    fn intervals_stay_sorted_and_apart(a in any_ranges(), b in any_ranges()) {
        let mut mixed = a;
        mixed += &b;
        for pair in mixed.0.windows(2) {
            prop_assert!(pair[0].1 + 1 < pair[1].0);
        }
    }

    #[test]
    fn ranges_read_their_own_text_and_message(a in any_ranges()) {
        prop_assert_eq!(a.to_string().parse::<Ranges>(), Ok(a.clone()));
        prop_assert_eq!(Ranges::from_proto(&a.to_proto()), Ok(a));
    }
}
