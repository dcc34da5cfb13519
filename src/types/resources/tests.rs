//! Examples: text, arithmetic, roles, volumes. Formats are in `format_tests`, laws in `laws`.

use super::*;
use crate::proto::v1;
use crate::proto::v1::resource::{DiskInfo, disk_info};

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

fn milli(text: &str) -> Milli {
    text.parse().unwrap()
}

fn error(text: &str) -> String {
    text.parse::<Resources>().unwrap_err().to_string()
}

fn target(text: &str) -> Vec<(Arc<str>, Milli)> {
    resources(text).quantities()
}

fn disk(mib: i64, role: Option<&str>, info: DiskInfo) -> Resource {
    let stack = role.map(Reservation::fixed).into_iter().collect();
    let kind = Kind::new("disk").with_reservations(stack).with_disk(Some(info));
    Resource::new(kind, Amount::Scalar(Milli::from_units(mib)))
}

fn source(kind: disk_info::source::Type, id: Option<&str>) -> DiskInfo {
    let source = disk_info::Source { r#type: kind.into(), id: id.map(str::to_owned), ..Default::default() };
    DiskInfo { source: Some(Box::new(source)), ..DiskInfo::default() }
}

fn mount(mib: i64) -> Resource {
    disk(mib, None, source(disk_info::source::Type::Mount, None))
}

fn volume(mib: i64, id: &str) -> Resource {
    let persistence = disk_info::Persistence { id: id.to_owned(), principal: None };
    let at = v1::Volume { container_path: "data".to_owned(), ..v1::Volume::default() };
    let info = DiskInfo { persistence: Some(persistence), volume: Some(Box::new(at)), source: None };
    disk(mib, Some("role"), info)
}

fn shared_volume(mib: i64, id: &str) -> Resource {
    let plain = volume(mib, id);
    Resource::new(Kind::clone(plain.kind()).with_shared(true), plain.amount().clone())
}

fn sum(items: impl IntoIterator<Item = Resource>) -> Resources {
    items.into_iter().collect()
}

#[test]
fn text_becomes_items_by_form() {
    let all = resources("cpus:45.55;mem:1024;ports:[10000-20000, 30000-50000];disks:{sda1}");
    assert_eq!((all.cpus(), all.mem_mib()), (milli("45.55"), milli("1024")));
    assert_eq!(all.ports().iter().count(), 2);
    assert_eq!(all.total_ports(), 30_002);
    assert_eq!(all.set("disks").into_iter().collect::<Vec<_>>(), ["sda1"]);
    assert_eq!(all.to_string(), "cpus:45.55; mem:1024; ports:[10000-20000,30000-50000]; disks:{sda1}");
    assert_eq!(resources("cpus(role1):2").to_string(), "cpus(reservations: [(STATIC,role1)]):2");
    assert_eq!(Resources::new().to_string(), "{}");
    assert_eq!(resources(" ; ;"), Resources::new());
}

#[test]
fn invalid_text_is_quoted_with_what_is_expected() {
    assert_eq!(error("mem:1;cpus"), "`cpus`: has no `:`; write it like cpus:4, ports:[31000-32000] or mem(role):512");
    assert_eq!(error("cpus:lots"), "`cpus:lots`: `lots` is not an amount; give a number from 0 up, [1-2] or {a,b}");
    assert_eq!(error("ports:[9-1]"), "`ports:[9-1]`: range 9-1 begins after its end");
    for text in ["cpus(role1", "cpus(role1:1", "cpus)(role1:1", ":1", "(role):1", "cpus:", "cpus:-1", "cpus:nan"] {
        assert!(text.parse::<Resources>().is_err(), "{text}");
    }
    for text in ["cpus:0.00001", "cpus:1e300", "cpus(/a):1", "cpus():1", "cpus(a)(b):1", "gpus:0.5", "x:{a,a}"] {
        assert!(text.parse::<Resources>().is_err(), "{text}");
    }
}

#[test]
fn three_decimals_survive_any_number_of_rounds() {
    let step = resources("cpus:1.001");
    let mut total = step.clone();
    for _ in 0..2_500 {
        total = total + &step + &step - &step - &step;
    }
    assert_eq!(total, step);
    for _ in 0..100_000 {
        total += &step;
    }
    for _ in 0..100_000 {
        total -= &step;
    }
    assert_eq!(total, step);
    assert_eq!(resources("cpus:1.5011"), resources("cpus:1.501"));
    assert_eq!(resources("cpus:1.5015"), resources("cpus:1.502"));
}

#[test]
fn equal_kinds_merge_and_different_roles_do_not() {
    assert_eq!(resources("cpus:1") + &resources("cpus:2"), resources("cpus:3"));
    assert_eq!(resources("mem:5;cpus:1") + &resources("mem:10"), resources("mem:15;cpus:1"));
    let roles = resources("cpus(role1):1;cpus(role2):3;cpus(role1):5");
    assert_eq!((roles.len(), roles.cpus()), (2, milli("9")));
    let less = resources("cpus(role1):5;cpus(role2):3") - &resources("cpus(role1):1");
    assert_eq!(less.cpus(), milli("7"));
    assert_eq!(resources("cpus:50;mem:4096") - &resources("cpus:0.5;mem:1024"), resources("cpus:49.5;mem:3072"));
}

#[test]
fn taking_more_than_is_there_leaves_nothing_and_is_detected() {
    let (some, more) = (resources("cpus:1;ports:[1-5]"), resources("cpus:2;ports:[4-9];mem:1"));
    assert_eq!(some.clone() - &more, resources("ports:[1-3]"));
    assert_eq!(some.checked_sub(&more), None);
    let mut kept = some.clone();
    assert!(!kept.take(&more));
    assert_eq!(kept, some);
    assert!(kept.take(&resources("ports:[2-2]")));
    assert_eq!(kept, resources("cpus:1;ports:[1-1,3-5]"));
}

#[test]
fn sets_unite_and_differ() {
    let (three, four) = (resources("disks:{sda1,sda2,sda3}"), resources("disks:{sda1,sda2,sda3,sda4}"));
    assert_eq!((three.clone() + &four).set("disks").len(), 4);
    assert_eq!(four - &resources("disks:{sda2,sda3,sda4}"), resources("disks:{sda1}"));
    assert!(resources("disks:{sda1,sda3,sda4,sda2}").contains(&resources("disks:{sda1,sda2}")));
    assert!(!three.contains(&resources("disks:{sda4}")));
}

#[test]
fn a_name_may_have_items_of_different_shape() {
    let mixed = resources("things:2;things:{a};things:[1-2]");
    assert_eq!(mixed.len(), 3);
    assert!(mixed.contains(&resources("things:{a}")));
    assert_eq!(mixed.checked_sub(&resources("things:{a};things:[1-2]")), Some(resources("things:2")));
}

#[test]
fn a_role_may_use_its_own_its_ancestors_and_the_unreserved() {
    let all = resources("cpus:1;cpus(a):2;cpus(a/b):4;cpus(a/b/c):8;cpus(ab):16");
    assert_eq!(all.allocatable_to("*"), resources("cpus:1"));
    assert_eq!(all.allocatable_to("a"), resources("cpus:1;cpus(a):2"));
    assert_eq!(all.allocatable_to("a/b"), resources("cpus:1;cpus(a):2;cpus(a/b):4"));
    assert_eq!(all.allocatable_to("a/b/c"), resources("cpus:1;cpus(a):2;cpus(a/b):4;cpus(a/b/c):8"));
    assert_eq!(all.reserved_to("a/b"), resources("cpus(a/b):4"));
    assert_eq!(all.reservations().len(), 4);
}

#[test]
fn taking_all_reservations_off_merges_what_they_held_apart() {
    let reserved = resources("cpus(role1):1;cpus(role2):2;mem(role1):5");
    assert_eq!(reserved.to_unreserved(), resources("cpus:3;mem:5"));
    assert_eq!(reserved.unreserved(), Resources::new());
}

#[test]
fn a_pushed_reservation_comes_off_again() {
    let plain = resources("cpus:1;cpus(a):2");
    let pushed = resources("cpus(a):2").push_reservation(&Reservation::dynamic("a/b", Some("ops")));
    assert_eq!(pushed.to_string(), "cpus(reservations: [(STATIC,a),(DYNAMIC,a/b,ops)]):2");
    assert_eq!(pushed.pop_reservation(), resources("cpus(a):2"));
    assert_eq!(pushed.without_refined(), Resources::new());
    assert_eq!(plain.pop_reservation(), resources("cpus:3"));
}

#[test]
fn shrinking_keeps_what_the_target_names() {
    assert_eq!(resources("cpus:1").shrink_to(&[]), Resources::new());
    assert_eq!(resources("cpus:2;mem:20").shrink_to(&target("cpus:1;mem:10")), resources("cpus:1;mem:10"));
    assert_eq!(resources("cpus:2;mem:20").shrink_to(&target("cpus:1")), resources("cpus:1"));
    assert_eq!(resources("cpus:2;mem:20").shrink_within(&target("cpus:1")), resources("cpus:1;mem:20"));
    assert_eq!(resources("ports:[1-9]").shrink_to(&target("cpus:1")), resources("ports:[1-9]"));
    let two = resources("cpus(a):3;cpus(b):3").shrink_to(&target("cpus:4"));
    assert_eq!((two.cpus(), two.len()), (milli("4"), 2));
}

#[test]
fn shrinking_leaves_out_what_cannot_be_cut() {
    assert_eq!(sum([mount(20)]).shrink_to(&target("disk:10")), Resources::new());
    assert_eq!(sum([mount(10)]).shrink_to(&target("disk:10")), sum([mount(10)]));
    let one_of_two = (resources("disk:10") + &sum([mount(10)])).shrink_to(&target("disk:10"));
    assert_eq!((one_of_two.len(), one_of_two.disk_mib()), (1, milli("10")));
}

#[test]
fn principal_and_labels_distinguish_reservations() {
    let with = |principal, label: &str, cpus| {
        let labels = vec![("key".to_owned(), Some(label.to_owned()))];
        let stack = vec![Reservation { labels, ..Reservation::dynamic("role", Some(principal)) }];
        Resource::new(Kind::new("cpus").with_reservations(stack), Amount::Scalar(Milli::from_units(cpus)))
    };
    let merged = sum([with("ops", "a", 8), with("ops", "a", 4)]);
    assert_eq!((merged.len(), merged.cpus()), (1, milli("12")));
    assert_eq!(sum([with("ops", "a", 8), with("ops", "b", 4)]).len(), 2);
    assert_eq!(sum([with("ops", "a", 8), with("dev", "a", 4)]).len(), 2);
    assert_eq!(merged.to_string(), "cpus(reservations: [(DYNAMIC,role,ops,{key: a})]):12");
}

#[test]
fn volumes_are_never_merged_and_only_taken_whole() {
    assert_ne!(sum([volume(10, "v1")]), resources("disk(role):10"));
    let two = sum([volume(10, "v1"), volume(20, "v2")]);
    assert_eq!(two.len(), 2);
    assert!(two.contains(&sum([volume(10, "v1")])) && two.contains(&sum([volume(20, "v2")])));
    assert!(!two.contains(&sum([volume(5, "v1")])));
    assert_eq!(two.checked_sub(&sum([volume(5, "v1")])), None);
    assert_eq!(two.clone() - &sum([volume(5, "v1")]), two);
    assert_eq!(two.checked_sub(&sum([volume(10, "v1")])), Some(sum([volume(20, "v2")])));
    assert_eq!(
        two.to_string(),
        "disk(reservations: [(STATIC,role)])[v1:data]:10; disk(reservations: [(STATIC,role)])[v2:data]:20"
    );
}

#[test]
fn a_volume_is_cut_from_reserved_disk_space() {
    let space = resources("disk(role):1000");
    let left = space.checked_sub(&resources("disk(role):200")).unwrap() + &sum([volume(200, "v")]);
    assert_eq!((left.len(), left.disk_mib()), (2, milli("1000")));
    assert!(left.contains(&resources("disk(role):800")) && !left.contains(&resources("disk(role):801")));
    assert_eq!(space.checked_sub(&resources("disk(role):2000")), None);
}

#[test]
fn disks_that_are_devices_stand_side_by_side() {
    let twice = sum([mount(10), mount(10)]);
    assert_eq!((twice.len(), twice.disk_mib()), (2, milli("20")));
    assert!(twice.contains(&twice) && !sum([mount(10)]).contains(&twice));
    assert!(!twice.contains(&sum([mount(20)])));
    assert_eq!(twice.clone() - &sum([mount(10)]), sum([mount(10)]));
    assert_eq!(sum([mount(20), mount(10)]), sum([mount(10), mount(20)]));
    let raw = |id| disk(10, None, source(disk_info::source::Type::Raw, id));
    assert_eq!(sum([raw(Some("a")), raw(Some("a"))]).len(), 2);
    assert_eq!(sum([raw(None), raw(None)]).len(), 1);
    let path = || disk(10, None, source(disk_info::source::Type::Path, None));
    assert_eq!(sum([path(), path()]).len(), 1);
    assert_eq!(sum([mount(1)]).to_string(), "disk[MOUNT]:1");
}

#[test]
fn copies_of_a_shared_volume_are_counted() {
    let mut held = sum([shared_volume(50, "v"), shared_volume(50, "v")]);
    assert_eq!((held.len(), held.disk_mib()), (1, milli("50")));
    assert_eq!(held.iter().map(Resource::copies).collect::<Vec<_>>(), [2]);
    let one = sum([shared_volume(50, "v")]);
    assert!(held.contains(&held.clone()) && !one.contains(&held));
    held -= &one;
    assert_eq!(held, one);
    assert_eq!(held.checked_sub(&one), Some(Resources::new()));
    assert_eq!(sum([shared_volume(50, "v"), shared_volume(60, "v")]).len(), 2);
    assert_eq!((one.without_shared(), one.shared()), (Resources::new(), one.clone()));
    assert!(!one.contains(&sum([volume(50, "v")])));
}

#[test]
fn what_may_be_taken_back_never_mixes_with_what_is_kept() {
    let revocable =
        |cpus| Resource::new(Kind::new("cpus").with_revocable(true), Amount::Scalar(Milli::from_units(cpus)));
    let three = sum([revocable(1), revocable(2)]);
    assert_eq!(three, sum([revocable(3)]));
    let mixed = three.clone() + &resources("cpus:3");
    assert_eq!((mixed.len(), mixed.cpus()), (2, milli("6")));
    assert!(!three.contains(&resources("cpus:1")) && !resources("cpus:3").contains(&three));
    assert_eq!((mixed.revocable(), mixed.non_revocable()), (three, resources("cpus:3")));
    assert_eq!(mixed.to_string(), "cpus:3; cpus{REV}:3");
}

#[test]
fn quantities_are_summed_by_name_in_order() {
    let all = resources("zeta:1;cpus:1;cpus(a):2;mem:8;ports:[1-9];alpha:3");
    let shown: Vec<String> = all.quantities().iter().map(|(name, sum)| format!("{name}={sum}")).collect();
    assert_eq!(shown, ["alpha=3", "cpus=3", "mem=8", "zeta=1"]);
}

#[test]
fn an_empty_amount_is_no_item() {
    let nothing = Resources::from_scalars(&[("cpus", Milli::ZERO), ("mem", Milli::from_raw(-5))]);
    assert!(nothing.is_empty() && Resources::new().contains(&nothing));
    assert_eq!(
        Resources::cpus_mem(0.5, 64.0).with_ports(31000..=31001).to_string(),
        "cpus:0.5; mem:64; ports:[31000-31001]"
    );
}

#[test]
fn what_an_item_names_and_holds_has_limits() {
    use crate::types::limits::{
        LIST_RANGES, RANGES, RESERVATIONS, RESOURCE_NAME_BYTES, RESOURCES, SET_ITEM_BYTES, SET_ITEMS,
    };
    let problem = |list: &[v1::Resource]| Resources::from_proto(list).unwrap_err().to_string();
    let of = |text: &str| text.parse::<Resources>().unwrap().to_proto().remove(0);
    let ports = |from: u64, count: usize| {
        let mut item = of("ports:[1-2]");
        let range = |at: u64| v1::value::Range { begin: 2 * at, end: 2 * at };
        item.ranges = Some(v1::value::Ranges { range: (from..).take(count).map(range).collect() });
        item
    };
    assert!(Resources::from_proto(&[ports(0, RANGES)]).is_ok());
    assert_eq!(problem(&[ports(0, RANGES + 1)]), "[0].ranges: 32769 ranges, where at most 32768 are accepted");
    let half = u64::try_from(RANGES).unwrap();
    let both = Resources::from_proto(&[ports(half, RANGES), ports(0, RANGES)]).unwrap();
    assert_eq!(both.ports().iter().count(), LIST_RANGES);
    assert!(problem(&[ports(0, RANGES), ports(half, RANGES), ports(2 * half, 1)]).contains("65537 ranges in all"));
    let set = |items: usize, bytes: usize| {
        let item = (0..items).map(|number| format!("{number:0bytes$}")).collect();
        v1::Resource { set: Some(v1::value::Set { item }), ..of("disks:{a}") }
    };
    assert!(Resources::from_proto(&[set(SET_ITEMS, SET_ITEM_BYTES)]).is_ok());
    assert!(problem(&[set(SET_ITEMS + 1, 1)]).starts_with("[0].set: has 4097 items"));
    assert!(problem(&[set(1, SET_ITEM_BYTES + 1)]).starts_with("[0].set: has 256 bytes in an item"));
    let named = v1::Resource { name: "n".repeat(RESOURCE_NAME_BYTES + 1), ..of("cpus:1") };
    assert!(problem(&[named]).starts_with("[0].name: has 256 bytes"));
    let in_text = |text: String| text.parse::<Resources>().unwrap_err().to_string();
    assert!(
        in_text(format!("{}:1", "n".repeat(RESOURCE_NAME_BYTES + 1)))
            .ends_with("name: has 256 bytes; at most 255 are accepted")
    );
    let half =
        |from: usize| (from..from + 20_000).map(|n| format!("{}-{}", 2 * n, 2 * n)).collect::<Vec<_>>().join(",");
    let together = in_text(format!("x:[{}];x:[{}]", half(0), half(20_000)));
    assert!(together.contains("40000 ranges, where at most 32768 are accepted"), "{together}");
    let many = (0..=RESOURCES).map(|n| format!("r{n}:1")).collect::<Vec<_>>().join(";");
    let declared = many.parse::<DeclaredResources>();
    assert!(in_text(many).contains("4097 items"));
    assert!(declared.unwrap_err().to_string().contains("4097 items"));
    let entry = v1::resource::ReservationInfo::default();
    let stacked = v1::Resource { reservations: vec![entry; RESERVATIONS + 1], ..of("cpus:1") };
    assert!(problem(&[stacked]).starts_with("[0].reservations: has 17 entries"));
}

#[test]
fn items_read_in_any_order_are_the_same_as_added_one_by_one() {
    let text = "b:1;cpus:1;a:2;cpus(r):1;b:2;ports:[1-2];ports:[8-9];ports:[2-5];set:{x};set:{y,z}";
    let entries = text.split(';').map(|entry| entry.parse::<Resources>().unwrap());
    let mut added = Resources::new();
    entries.for_each(|one| added += &one);
    assert_eq!(text.parse::<Resources>().unwrap(), added);
}
