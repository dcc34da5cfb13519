//! Validation of resources of a task or an executor: valid, of one allocation, not mixed with revocable ones.

use std::collections::{BTreeMap, BTreeSet};

use super::{Invalid, each, ensure};
use crate::proto::v1;
use crate::types::{Amount, Resource, Resources, quoted, validate_id};

/// The most roles that an error names where items are allocated to several.
const SHOWN_ROLES: usize = 4;

/// Validates one list: valid items, complete disks, no duplicate volume, one allocation role, no mix of revocable and
/// others.
pub(super) fn resources(list: &[v1::Resource]) -> Result<Resources, Invalid> {
    let read = Resources::from_proto(list).map_err(|error| Invalid::from(error).under("resources"))?;
    each("resources", list, item)?;
    distinct_volumes(&read)?;
    one_allocation(list)?;
    unmixed(&read)?;
    Ok(read)
}

/// Validates a task together with its executor.
pub(super) fn together(task: &Resources, executor: &Resources) -> Result<(), Invalid> {
    // Each kind has one set of ranges and one set of items, since those merge.
    let by_kind: BTreeMap<_, _> = executor.iter().map(|item| ((item.kind(), shape(item)), item)).collect();
    let overlap = |item: &Resource| by_kind.get(&(item.kind(), shape(item))).is_some_and(|other| meet(item, other));
    if let Some(item) = task.iter().find(|item| overlap(item)) {
        return Err(Invalid::new("resources", format!("task and executor both have some of {}", quoted(item))));
    }
    let both = task.clone() + executor;
    distinct_volumes(&both)?;
    unmixed(&both)
}

/// Checks that the resources of a launch are still available.
///
/// # Errors
/// The needed and the available resources.
pub fn fits(needed: &Resources, available: &Resources) -> Result<(), Invalid> {
    if available.contains(needed) {
        return Ok(());
    }
    let (needed, available) = (quoted(needed), quoted(available));
    let text = format!("total {needed} needed by task and its executor exceeds available {available}");
    Err(Invalid::new("resources", text))
}

fn shape(item: &Resource) -> u8 {
    match item.amount() {
        Amount::Scalar(_) => 0,
        Amount::Ranges(_) => 1,
        Amount::Set(_) => 2,
    }
}

fn meet(left: &Resource, right: &Resource) -> bool {
    match (left.amount(), right.amount()) {
        (Amount::Ranges(left), Amount::Ranges(right)) => !left.intersection(right).is_empty(),
        (Amount::Set(left), Amount::Set(right)) => !left.is_disjoint(right),
        (Amount::Scalar(_) | Amount::Ranges(_) | Amount::Set(_), _) => false,
    }
}

fn item(message: &v1::Resource) -> Result<(), Invalid> {
    if message.disk.is_none() && message.revocable.is_none() {
        return Ok(());
    }
    let Ok(read) = Resources::from_proto(std::slice::from_ref(message)) else { return Ok(()) };
    let Some(item) = read.iter().next() else { return Ok(()) };
    let (kind, reserved) = (item.kind(), item.kind().reservation());
    let dynamic = reserved.is_some_and(|reservation| reservation.dynamic);
    ensure(!(dynamic && kind.is_revocable()), "revocable", "must not be set beside a dynamic reservation")?;
    let Some(disk) = kind.disk() else { return Ok(()) };
    let Some(persistence) = &disk.persistence else {
        ensure(disk.volume.is_none(), "disk.volume", "must not be set without `disk.persistence`")?;
        return ensure(disk.source.is_some(), "disk", "is set but empty");
    };
    ensure(!kind.is_revocable(), "disk.persistence", "must not be set in a revocable item")?;
    ensure(reserved.is_some(), "disk.persistence", "must not be set in an unreserved item")?;
    let volume = disk.volume.as_deref().ok_or_else(|| Invalid::missing("disk.volume"))?;
    ensure(volume.host_path.is_none(), "disk.volume.host_path", "must not be set in a persistent volume")?;
    validate_id("persistence id", &persistence.id).map_err(|error| Invalid::from_id("disk.persistence.id", &error))
}

fn distinct_volumes(all: &Resources) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for item in all.iter() {
        let role = item.kind().reservation().map(|reservation| &reservation.role);
        if let Some(id) = item.kind().persistence_id()
            && !seen.insert((role, id))
        {
            return Err(Invalid::new("resources", format!("duplicate persistence id `{}`", quoted(id))));
        }
    }
    Ok(())
}

fn one_allocation(list: &[v1::Resource]) -> Result<(), Invalid> {
    if list.windows(2).all(|pair| allocation(&pair[0]) == allocation(&pair[1])) {
        return Ok(());
    }
    let roles: BTreeSet<&str> = list.iter().map(|item| allocation(item).unwrap_or("none")).collect();
    let shown: Vec<&str> = roles.into_iter().take(SHOWN_ROLES).collect();
    Err(Invalid::new("resources", format!("are allocated to different roles: {}", quoted(shown.join(", ")))))
}

fn allocation(item: &v1::Resource) -> Option<&str> {
    item.allocation_info.as_ref()?.role.as_deref()
}

fn unmixed(all: &Resources) -> Result<(), Invalid> {
    let (revocable, kept): (Vec<&Resource>, Vec<&Resource>) = all.iter().partition(|item| item.kind().is_revocable());
    let kept: BTreeSet<&str> = kept.into_iter().map(Resource::name).collect();
    let Some(item) = revocable.into_iter().find(|item| kept.contains(item.name())) else { return Ok(()) };
    let (name, all) = (quoted(item.name()), quoted(all));
    Err(Invalid::new("resources", format!("mix revocable and non-revocable `{name}` in {all}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::resource::{DiskInfo, RevocableInfo, SharedInfo, disk_info};

    fn list(text: &str) -> Vec<v1::Resource> {
        text.parse::<Resources>().unwrap().to_proto()
    }

    fn parsed(text: &str) -> Resources {
        text.parse().unwrap()
    }

    fn volume(id: &str, role: &str) -> v1::Resource {
        let info = DiskInfo {
            persistence: Some(disk_info::Persistence { id: id.to_owned(), principal: None }),
            volume: Some(Box::new(v1::Volume { container_path: "data".to_owned(), ..v1::Volume::default() })),
            source: None,
        };
        v1::Resource { disk: Some(Box::new(info)), ..list(&format!("disk({role}):10")).remove(0) }
    }

    fn revocable(text: &str) -> v1::Resource {
        v1::Resource { revocable: Some(RevocableInfo {}), ..list(text).remove(0) }
    }

    fn text(list: &[v1::Resource]) -> String {
        resources(list).unwrap_err().to_string()
    }

    #[test]
    fn a_broken_item_is_named_by_its_place() {
        let mut two = list("cpus:1;mem:5");
        two[1].scalar.as_mut().unwrap().value = -1.0;
        assert_eq!(text(&two), "resources[1].scalar: -1 is negative");
    }

    #[test]
    fn a_persistent_volume_is_reserved_complete_and_kept() {
        assert!(resources(&[volume("v", "a")]).is_ok());
        let with = |change: fn(&mut v1::Resource)| {
            let mut changed = volume("v", "a");
            change(&mut changed);
            text(&[list("cpus:1").remove(0), changed])
        };
        let disk = |item: &mut v1::Resource| item.disk.take().unwrap();
        assert!(with(|item| item.reservations.clear()).starts_with("resources[1].disk.persistence: "));
        assert!(with(|item| item.revocable = Some(RevocableInfo {})).contains("revocable"));
        let mut bare = volume("v", "a");
        bare.disk = Some(Box::new(DiskInfo { volume: None, ..*disk(&mut bare) }));
        assert_eq!(text(&[bare]), "resources[0].disk.volume: is missing");
        assert!(text(&[volume("a/b", "a")]).starts_with("resources[0].disk.persistence.id: "));
        let mut host = volume("v", "a");
        host.disk.as_mut().unwrap().volume.as_mut().unwrap().host_path = Some("/".to_owned());
        assert!(text(&[host]).starts_with("resources[0].disk.volume.host_path: "));
    }

    #[test]
    fn disk_information_without_persistence_is_a_source_or_nothing() {
        let mut bare = volume("v", "a");
        bare.disk.as_mut().unwrap().persistence = None;
        assert!(text(&[bare.clone()]).starts_with("resources[0].disk.volume: "));
        bare.disk = Some(Box::default());
        assert_eq!(text(&[bare]), "resources[0].disk: is set but empty");
    }

    #[test]
    fn a_volume_is_asked_for_once_per_role() {
        assert!(resources(&[volume("v", "a"), volume("v", "b"), volume("w", "a")]).is_ok());
        assert_eq!(text(&[volume("v", "a"), volume("v", "a")]), "resources: duplicate persistence id `v`");
        let shared = v1::Resource { shared: Some(SharedInfo {}), ..volume("v", "a") };
        assert!(resources(&[shared.clone(), shared]).is_ok());
    }

    #[test]
    fn all_items_are_allocated_to_one_role() {
        let mut all = parsed("cpus:1;mem:1").to_proto_as(Some("a"), true);
        assert!(resources(&all).is_ok());
        all[1].allocation_info = None;
        assert_eq!(text(&all), "resources: are allocated to different roles: a, none");
    }

    #[test]
    fn revocable_and_kept_items_of_one_name_do_not_mix() {
        assert!(resources(&[revocable("cpus:1"), list("mem:1").remove(0)]).is_ok());
        assert_eq!(
            text(&[revocable("cpus:1"), list("cpus:1").remove(0)]),
            "resources: mix revocable and non-revocable `cpus` in cpus:1; cpus{REV}:1"
        );
        let kept = together(&parsed("cpus:1"), &Resources::from_proto(&[revocable("cpus:1")]).unwrap());
        assert!(kept.is_err());
        let mut dynamic = revocable("cpus(a):1");
        dynamic.reservations[0].r#type = Some(2);
        assert!(text(&[dynamic]).starts_with("resources[0].revocable: "));
    }

    #[test]
    fn task_and_executor_do_not_share_ports_or_names() {
        assert_eq!(together(&parsed("cpus:1;ports:[1-2]"), &parsed("cpus:1;ports:[3-4]")), Ok(()));
        assert!(together(&parsed("ports:[1-2]"), &parsed("ports:[2-4]")).is_err());
        assert!(together(&parsed("disks:{a}"), &parsed("disks:{a,b}")).is_err());
    }

    #[test]
    fn what_does_not_fit_is_reported_with_what_is_available() {
        assert_eq!(fits(&parsed("cpus:1"), &parsed("cpus:1;mem:1")), Ok(()));
        assert_eq!(
            fits(&parsed("cpus:2"), &parsed("cpus:1")).unwrap_err().to_string(),
            "resources: total cpus:2 needed by task and its executor exceeds available cpus:1"
        );
    }
}
