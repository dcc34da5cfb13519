//! Messages in both reservation formats, and invalid ones.

use super::*;
use crate::proto::v1;
use crate::proto::v1::resource::{DiskInfo, ReservationInfo, disk_info, reservation_info};
use crate::proto::v1::value;

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

fn message(text: &str) -> v1::Resource {
    resources(text).to_proto().remove(0)
}

fn entry(kind: reservation_info::Type, role: &str) -> ReservationInfo {
    ReservationInfo { r#type: Some(kind.into()), role: Some(role.to_owned()), ..ReservationInfo::default() }
}

fn stacked(stack: &[(reservation_info::Type, &str)]) -> v1::Resource {
    let reservations = stack.iter().map(|(kind, role)| entry(*kind, role)).collect();
    v1::Resource { reservations, ..message("cpus:1") }
}

#[expect(deprecated, reason = "the old format is what is tested")]
fn old(role: Option<&str>, reservation: Option<ReservationInfo>) -> v1::Resource {
    v1::Resource { role: role.map(str::to_owned), reservation: reservation.map(Box::new), ..message("cpus:1") }
}

fn with_role(role: &str, message: v1::Resource) -> v1::Resource {
    v1::Resource { reservations: message.reservations, ..old(Some(role), None) }
}

fn by(principal: &str) -> ReservationInfo {
    ReservationInfo { principal: Some(principal.to_owned()), ..ReservationInfo::default() }
}

fn read(message: v1::Resource) -> Result<String, String> {
    Resources::from_proto(&[message]).map(|read| read.to_string()).map_err(|error| error.to_string())
}

use reservation_info::Type::{Dynamic, Static, Unknown};

#[test]
fn the_old_format_becomes_a_stack() {
    assert_eq!(read(old(None, None)).unwrap(), "cpus:1");
    assert_eq!(read(old(Some("*"), None)).unwrap(), "cpus:1");
    assert_eq!(read(old(Some("a"), None)).unwrap(), "cpus(reservations: [(STATIC,a)]):1");
    assert_eq!(read(old(Some("a"), Some(by("ops")))).unwrap(), "cpus(reservations: [(DYNAMIC,a,ops)]):1");
    assert_eq!(
        read(stacked(&[(Static, "a"), (Dynamic, "a/b")])).unwrap(),
        "cpus(reservations: [(STATIC,a),(DYNAMIC,a/b)]):1"
    );
}

#[test]
fn invalid_stacks_are_refused() {
    for (message, problem) in [
        (old(Some("*"), Some(by("ops"))), "[0].reservation: needs a role other than `*` beside it"),
        (old(Some("a b"), None), "[0].role: role `a b` must not contain white space"),
        (stacked(&[(Dynamic, "a"), (Static, "a/b")]), "[0].reservations: only the first entry may be STATIC"),
        (stacked(&[(Dynamic, "a"), (Dynamic, "b")]), "[0].reservations: role `b` does not lie below role `a`"),
        (stacked(&[(Dynamic, "a"), (Dynamic, "a")]), "[0].reservations: role `a` does not lie below role `a`"),
        (stacked(&[(Dynamic, "a"), (Dynamic, "ab")]), "[0].reservations: role `ab` does not lie below role `a`"),
        (stacked(&[(Dynamic, "*")]), "[0].reservations: nothing is reserved to `*`; leave the entry out"),
        (stacked(&[(Unknown, "a")]), "[0].reservations: an entry has no type; say STATIC or DYNAMIC"),
    ] {
        assert_eq!(read(message).unwrap_err(), problem);
    }
    assert!(read(old(Some("a"), Some(entry(Dynamic, "a")))).is_err());
}

#[test]
fn both_formats_at_once_have_to_agree() {
    assert!(read(with_role("a", stacked(&[(Static, "a")]))).is_ok());
    for message in [
        with_role("b", stacked(&[(Static, "a")])),
        with_role("*", stacked(&[(Static, "a")])),
        with_role("a", stacked(&[(Dynamic, "a")])),
        with_role("a/b", stacked(&[(Static, "a"), (Dynamic, "a/b")])),
    ] {
        assert!(read(message).is_err());
    }
    let endpoint = |principal| {
        let stack = vec![ReservationInfo { principal: Some("ops".to_owned()), ..entry(Dynamic, "a") }];
        v1::Resource { reservations: stack, ..old(Some("a"), Some(by(principal))) }
    };
    assert!(read(endpoint("ops")).is_ok());
    assert!(read(endpoint("dev")).is_err());
}

#[test]
#[expect(deprecated, reason = "the old format is what is tested")]
fn a_framework_receives_the_format_and_the_role_it_supports() {
    let shown = |message: v1::Resource, refinement| {
        Resources::from_proto(&[message]).unwrap().to_proto_as(Some("a/b"), refinement).remove(0)
    };
    let plain = shown(message("cpus:1"), false);
    assert_eq!(plain.role.as_deref(), Some("*"));
    assert_eq!(plain.allocation_info.unwrap().role.as_deref(), Some("a/b"));
    assert_eq!(shown(message("cpus:1"), true).role, None);
    assert_eq!(shown(message("cpus(a):1"), false).role.as_deref(), Some("a"));
    let dynamic = shown(old(Some("a"), Some(by("ops"))), false);
    assert_eq!((dynamic.role.as_deref(), dynamic.reservations.len()), (Some("a"), 0));
    assert_eq!(dynamic.reservation.as_deref(), Some(&by("ops")));
    assert_eq!(shown(old(Some("a"), Some(by("ops"))), true).reservations.len(), 1);
    let refined = shown(stacked(&[(Static, "a"), (Dynamic, "a/b")]), false);
    assert_eq!((refined.role, refined.reservations.len()), (None, 2));
}

#[test]
fn the_role_of_an_allocation_is_not_kept() {
    let allocated = resources("cpus:1").to_proto_as(Some("eng"), true);
    assert_eq!(Resources::from_proto(&allocated), Ok(resources("cpus:1")));
    assert_eq!(resources("cpus:1").to_proto_as(None, true)[0].allocation_info, None);
}

#[test]
fn a_shared_item_is_shown_once_and_stored_as_often_as_it_is_held() {
    let kind = Kind::new("disk").with_shared(true);
    let one = Resource::new(kind, Amount::Scalar(Milli::from_units(5)));
    let held: Resources = [one.clone(), one].into_iter().collect();
    assert_eq!((held.to_proto().len(), held.to_proto_as(None, true).len()), (2, 1));
    assert_eq!(Resources::from_proto(&held.to_proto()), Ok(held));
}

#[test]
fn invalid_amounts_are_refused_with_their_path() {
    let scalar = |value| v1::Resource { scalar: Some(value::Scalar { value }), ..message("cpus:1") };
    for value in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 7.639_18e-313, 1e300] {
        assert!(read(scalar(value)).is_err(), "{value}");
    }
    let second = Resources::from_proto(&[message("mem:1"), scalar(-1.0)]).unwrap_err();
    assert_eq!(second.to_string(), "[1].scalar: -1 is negative");
    assert_eq!(Resources::from_proto(&[scalar(0.0), scalar(-0.0)]), Ok(Resources::new()));
    let backwards = value::Ranges { range: vec![value::Range { begin: 2, end: 1 }] };
    let both = value::Ranges { range: vec![value::Range { begin: 1, end: 5 }, value::Range { begin: 5, end: 9 }] };
    for ranges in [backwards, both] {
        assert!(read(v1::Resource { ranges: Some(ranges), ..message("ports:[1-2]") }).is_err());
    }
    let twice = value::Set { item: vec!["a".to_owned(), "a".to_owned()] };
    assert_eq!(read(v1::Resource { set: Some(twice), ..message("x:{a}") }).unwrap_err(), "[0].set: `a` is in it twice");
}

#[test]
fn a_shape_that_does_not_match_its_type_is_refused() {
    let bare = |kind: i32| v1::Resource { name: "x".to_owned(), r#type: kind, ..v1::Resource::default() };
    for kind in [0, 1, 2, 3, 4, -1] {
        assert!(read(bare(kind)).is_err(), "{kind}");
    }
    let set = message("x:{a}").set;
    let error = read(v1::Resource { set, ..message("x:1") }).unwrap_err();
    assert_eq!(error, "[0].set: must not be set in an item of type SCALAR");
    assert!(read(v1::Resource { name: String::new(), ..message("x:1") }).is_err());
    let gpus = v1::Resource { scalar: Some(value::Scalar { value: 1.5 }), ..message("gpus:1") };
    assert_eq!(read(gpus).unwrap_err(), "[0].scalar: 1.5 gpus; they come whole");
}

#[test]
fn disk_information_belongs_to_disks_of_a_known_source() {
    let of = |kind: i32, path: bool, mount: bool| {
        let source = disk_info::Source {
            r#type: kind,
            path: path.then(Default::default),
            mount: mount.then(Default::default),
            ..disk_info::Source::default()
        };
        DiskInfo { source: Some(Box::new(source)), ..DiskInfo::default() }
    };
    let on = |name: &str, info| read(v1::Resource { disk: Some(Box::new(info)), ..message(name) });
    assert!(on("cpus:1", DiskInfo::default()).is_err());
    assert!(on("disk:1", of(1, true, false)).is_ok() && on("disk:1", of(2, false, true)).is_ok());
    for (kind, path, mount) in
        [(0, false, false), (9, false, false), (1, false, true), (2, true, false), (3, true, false), (4, false, true)]
    {
        assert!(on("disk:1", of(kind, path, mount)).is_err(), "{kind}");
    }
}
