//! The figures of Mesos' own tests, and the laws.

use super::*;

fn resources(text: &str) -> Resources {
    text.parse().unwrap()
}

#[test]
fn text_becomes_items_by_form() {
    let all = resources("cpus:45.55;mem:1024;ports:[10000-20000,30000-50000];disks:{sda1}");
    assert_eq!(all.cpus().to_string(), "45.55");
    assert_eq!(all.mem_mib(), Milli::from_units(1024));
    assert_eq!(all.ports().iter().count(), 2);
    assert_eq!(all.set("disks").len(), 1);
    assert_eq!(all.to_string(), "cpus:45.55; mem:1024; ports:[10000-20000,30000-50000]; disks:{sda1}");
}
