//! Laws that hold for all resources of any kind.

use proptest::prelude::*;

use super::*;
use crate::proto::v1::resource::{DiskInfo, disk_info};

/// Few names, roles, disks and ports, so that items often meet.
fn any_amount(name: &'static str) -> BoxedStrategy<Amount> {
    match name {
        "ports" => prop::collection::vec((0_u64..40, 0_u64..8), 0..4)
            .prop_map(|spans| Amount::Ranges(spans.into_iter().map(|(begin, len)| begin..=begin + len).collect()))
            .boxed(),
        "disks" => prop::collection::btree_set("[a-d]", 0..4).prop_map(Amount::Set).boxed(),
        _ => (0_i64..5_000).prop_map(|raw| Amount::Scalar(Milli::from_raw(raw))).boxed(),
    }
}

fn any_stack() -> impl Strategy<Value = Vec<Reservation>> {
    let principal = prop_oneof![Just(None), Just(Some("ops"))];
    prop_oneof![
        4 => Just(Vec::new()),
        1 => Just(vec![Reservation::fixed("a")]),
        1 => principal.prop_map(|principal| vec![Reservation::fixed("a"), Reservation::dynamic("a/b", principal)]),
    ]
}

fn any_disk() -> impl Strategy<Value = Option<DiskInfo>> {
    let volume = |id: &str| DiskInfo {
        persistence: Some(disk_info::Persistence { id: id.to_owned(), principal: None }),
        ..DiskInfo::default()
    };
    let mount = disk_info::Source { r#type: disk_info::source::Type::Mount.into(), ..Default::default() };
    let mount = DiskInfo { source: Some(Box::new(mount)), ..DiskInfo::default() };
    prop_oneof![3 => Just(None), 1 => Just(Some(volume("v1"))), 1 => Just(Some(volume("v2"))), 1 => Just(Some(mount))]
}

fn any_item() -> impl Strategy<Value = Resource> {
    let name = prop_oneof![Just("cpus"), Just("mem"), Just("disk"), Just("ports"), Just("disks"), Just("bandwidth")];
    let traits = (any_stack(), any_disk(), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    (name, traits).prop_flat_map(|(name, (stack, disk, revocable, shared))| {
        let on_disk = name == "disk";
        let kind = Kind::new(name)
            .with_reservations(stack)
            .with_disk(disk.filter(|_| on_disk))
            .with_revocable(revocable)
            .with_shared(shared && on_disk);
        any_amount(name).prop_map(move |amount| Resource::new(kind.clone(), amount))
    })
}

fn any_items() -> impl Strategy<Value = Vec<Resource>> {
    prop::collection::vec(any_item(), 0..8)
}

fn any_resources() -> impl Strategy<Value = Resources> {
    any_items().prop_map(Resources::from_iter)
}

/// Resources that text can represent: unreserved and plain.
fn any_plain() -> impl Strategy<Value = Resources> {
    any_resources().prop_map(|all| all.filter(|item| item.kind.is_plain()))
}

/// Ranges and sets are not numbers: a member of both sides is in the sum once, so adding and taking need not be
/// inverse.
fn apart(left: &Resources, right: &Resources) -> Resources {
    let overlap = |item: &Resource| match &item.amount {
        Amount::Scalar(_) => false,
        Amount::Ranges(_) | Amount::Set(_) => left.items.iter().any(|own| own.cmp_place(item).is_eq()),
    };
    right.filter(|item| !overlap(item))
}

proptest! {
    #[test]
    fn taking_what_was_added_gives_back_the_start(a in any_resources(), b in any_resources()) {
        let b = apart(&a, &b);
        prop_assert_eq!(a.clone() + &b - &b, a);
    }

    #[test]
    fn a_sum_contains_both_parts(a in any_resources(), b in any_resources()) {
        let sum = a.clone() + &b;
        prop_assert!(sum.contains(&a) && sum.contains(&b));
    }

    #[test]
    fn adding_what_was_taken_gives_back_the_start(a in any_resources(), b in any_resources()) {
        let all = a + &b;
        let rest = all.checked_sub(&b);
        prop_assert_eq!(rest.map(|rest| rest + &b), Some(all));
    }

    #[test]
    fn taking_fails_exactly_if_not_all_is_there(a in any_resources(), b in any_resources()) {
        prop_assert_eq!(a.checked_sub(&b).is_some(), a.contains(&b));
    }

    #[test]
    fn a_difference_has_no_empty_items_and_is_part_of_the_start(a in any_resources(), b in any_resources()) {
        let rest = a.clone() - &b;
        prop_assert!(rest.iter().all(|item| !item.amount().is_empty() && item.copies() > 0));
        prop_assert!(a.contains(&rest));
    }

    #[test]
    fn the_order_of_addition_does_not_matter(items in any_items(), seed in any::<prop::sample::Index>()) {
        let mut turned = items.clone();
        if !turned.is_empty() {
            let by = seed.index(turned.len());
            turned.rotate_left(by);
            turned.reverse();
        }
        prop_assert_eq!(Resources::from_iter(items), Resources::from_iter(turned));
    }

    #[test]
    fn adding_all_at_once_is_adding_one_by_one(a in any_resources(), items in any_items()) {
        let at_once = a.clone() + &Resources::from_iter(items.clone());
        let one_by_one = items.iter().fold(a, |mut sum, item| { sum.add(item); sum });
        prop_assert_eq!(at_once, one_by_one);
    }

    #[test]
    fn containing_each_other_is_being_equal(a in any_resources(), b in any_resources()) {
        prop_assert_eq!(a.contains(&b) && b.contains(&a), a == b);
        prop_assert!(a.contains(&Resources::new()));
    }

    #[test]
    fn items_stay_sorted_by_place(a in any_resources(), b in any_resources()) {
        let mixed = a.clone() + &b - &a;
        prop_assert!(mixed.items.is_sorted_by(|left, right| left.cmp_place(right).is_le()));
    }

    #[test]
    fn messages_read_back_the_same(a in any_resources()) {
        prop_assert_eq!(Resources::from_proto(&a.to_proto()), Ok(a));
    }

    #[test]
    fn the_old_format_reads_back_the_same(a in any_resources()) {
        let a = a.without_shared();
        prop_assert_eq!(Resources::from_proto(&a.to_proto_as(Some("a"), false)), Ok(a));
    }

    #[test]
    fn plain_text_reads_back_the_same(a in any_plain()) {
        let text = if a.is_empty() { String::new() } else { a.to_string() };
        prop_assert_eq!(text.parse(), Ok(a));
    }

    #[test]
    fn parts_by_role_make_up_the_whole(a in any_resources()) {
        let parts = a.reservations().into_values().fold(a.unreserved(), |sum, part| sum + &part);
        prop_assert_eq!(&parts, &a);
        prop_assert_eq!(a.revocable() + &a.non_revocable(), a);
    }

    #[test]
    fn shrinking_never_goes_over_the_target(a in any_resources(), limit in 0_i64..9_000) {
        let shrunk = a.shrink_to(&[("disk".into(), Milli::from_raw(limit))]);
        prop_assert!(shrunk.disk_mib() <= Milli::from_raw(limit));
        prop_assert!(shrunk.cpus().is_zero());
    }
}
