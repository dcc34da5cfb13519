//! Conversions from and to messages. Both reservation formats are accepted (a role with at most one dynamic
//! reservation, or a stack) and stored as a stack. The output is the stack, or the old format for frameworks that know
//! nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::text::check_whole;
use super::{Amount, Kind, KindRef, Reservation, Resource, ResourceError, Resources};
use crate::proto::v1;
use crate::proto::v1::resource::{AllocationInfo, DiskInfo, ReservationInfo, RevocableInfo, SharedInfo};
use crate::proto::v1::resource::{disk_info::source, reservation_info};
use crate::proto::v1::value;
use crate::types::limits::{
    ID_BYTES, LABEL_KEY_BYTES, LABEL_VALUE_BYTES, LABELS, LIST_RANGES, NAME_BYTES, RESERVATIONS, RESOURCE_NAME_BYTES,
    RESOURCES, SET_ITEM_BYTES, SET_ITEMS,
};
use crate::types::{Milli, Ranges, is_self_or_below, quoted, validate_role};

/// The field, and what is wrong with it.
type Problem = (&'static str, String);

impl Resources {
    /// Converts and validates a list in either reservation format. The role that items are allocated to is dropped.
    ///
    /// # Errors
    /// The first invalid field, with its path relative to the list: `[1].scalar: -1 is negative`.
    pub fn from_proto(list: &[v1::Resource]) -> Result<Self, ResourceError> {
        check_size(list)?;
        Ok(Self::merged(Resource::list_from_proto(list)?))
    }

    /// Converts to messages with reservation stacks. Each copy of a shared item is separate, so that reading gives the
    /// same.
    #[must_use]
    pub fn to_proto(&self) -> Vec<v1::Resource> {
        let copies = |item| std::iter::repeat_n(item, usize::try_from(Resource::copies(item)).unwrap_or(usize::MAX));
        self.items.iter().flat_map(copies).map(Resource::to_proto).collect()
    }

    /// Converts to messages for a framework: allocated to a role if it has `MULTI_ROLE`, with reservation stacks if it
    /// has `RESERVATION_REFINEMENT`, and in the old format otherwise. A shared item appears once, whatever its copies.
    ///
    /// Refined reservations have no old form and stay stacks: remove them first with [`Resources::without_refined`].
    #[must_use]
    pub fn to_proto_as(&self, allocation_role: Option<&str>, refinement: bool) -> Vec<v1::Resource> {
        let shown = |item: &Resource| {
            let mut message = item.to_proto();
            if !refinement {
                downgrade(&mut message);
            }
            message.allocation_info = allocation_role.map(|role| AllocationInfo { role: Some(role.to_owned()) });
            message
        };
        self.items.iter().map(shown).collect()
    }
}

impl Resource {
    /// Converts a list item by item, including items of zero.
    pub(super) fn list_from_proto(list: &[v1::Resource]) -> Result<Vec<Self>, ResourceError> {
        list.iter().enumerate().map(|(at, message)| Self::read_at(at, message)).collect()
    }

    fn read_at(at: usize, message: &v1::Resource) -> Result<Self, ResourceError> {
        Self::from_proto(message).map_err(|(field, problem)| {
            let dot = if field.is_empty() { "" } else { "." };
            ResourceError::Field { path: format!("[{at}]{dot}{field}"), problem }
        })
    }

    pub(super) fn from_proto(message: &v1::Resource) -> Result<Self, Problem> {
        if message.name.is_empty() {
            return Err(("name", "is missing; say cpus, mem, disk, ports or a name of your own".to_owned()));
        }
        at_most("name", "bytes", message.name.len(), RESOURCE_NAME_BYTES)?;
        let amount = read_amount(message)?;
        check_whole(&message.name, &amount).map_err(|problem| ("scalar", problem))?;
        Ok(Self::new(read_kind(message)?, amount))
    }

    pub(super) fn to_proto(&self) -> v1::Resource {
        let mut message = v1::Resource {
            name: self.name().to_owned(),
            provider_id: self.kind.provider_id().map(|id| v1::ResourceProviderId { value: id.to_owned() }),
            reservations: self.kind.reservations().iter().map(ReservationInfo::from).collect(),
            disk: self.kind.disk().cloned().map(Box::new),
            revocable: self.kind.is_revocable().then_some(RevocableInfo {}),
            shared: self.kind.is_shared().then_some(SharedInfo {}),
            ..v1::Resource::default()
        };
        match &self.amount {
            Amount::Scalar(amount) => {
                message.set_type(value::Type::Scalar);
                message.scalar = Some(value::Scalar { value: amount.as_f64() });
            }
            Amount::Ranges(ranges) => {
                message.set_type(value::Type::Ranges);
                message.ranges = Some(ranges.to_proto());
            }
            Amount::Set(set) => {
                message.set_type(value::Type::Set);
                message.set = Some(value::Set { item: set.iter().cloned().collect() });
            }
        }
        message
    }
}

fn read_amount(message: &v1::Resource) -> Result<Amount, Problem> {
    let shape = value::Type::try_from(message.r#type).map_err(|error| ("type", error.to_string()))?;
    let given = [
        ("scalar", message.scalar.is_some(), value::Type::Scalar),
        ("ranges", message.ranges.is_some(), value::Type::Ranges),
        ("set", message.set.is_some(), value::Type::Set),
    ];
    if let Some((field, _, _)) = given.iter().find(|(_, present, of)| *present && *of != shape) {
        return Err((field, format!("must not be set in an item of type {}", shape.as_str_name())));
    }
    match shape {
        value::Type::Scalar => read_scalar(message.scalar).map(Amount::Scalar),
        value::Type::Ranges => {
            let ranges = message.ranges.as_ref().ok_or_else(|| ("ranges", "is missing".to_owned()))?;
            Ranges::from_proto(ranges).map(Amount::Ranges).map_err(|error| ("ranges", error.to_string()))
        }
        value::Type::Set => read_set(message.set.as_ref()).map(Amount::Set),
        value::Type::Text => Err(("type", "TEXT is no resource; say SCALAR, RANGES or SET".to_owned())),
    }
}

fn read_scalar(scalar: Option<value::Scalar>) -> Result<Milli, Problem> {
    let scalar = scalar.ok_or_else(|| ("scalar", "is missing".to_owned()))?;
    Milli::amount(scalar.value).map_err(|error| ("scalar", error.to_string()))
}

fn read_set(set: Option<&value::Set>) -> Result<BTreeSet<String>, Problem> {
    let set = set.ok_or_else(|| ("set", "is missing".to_owned()))?;
    at_most("set", "items", set.item.len(), SET_ITEMS)?;
    let mut items = BTreeSet::new();
    for item in &set.item {
        at_most("set", "bytes in an item", item.len(), SET_ITEM_BYTES)?;
    }
    match set.item.iter().find(|item| !items.insert((*item).clone())) {
        Some(twice) => Err(("set", format!("`{}` is in it twice", quoted(twice)))),
        None => Ok(items),
    }
}

fn read_kind(message: &v1::Resource) -> Result<KindRef, Problem> {
    let reservations = read_reservations(message)?;
    let plain = reservations.is_empty()
        && message.disk.is_none()
        && message.revocable.is_none()
        && message.shared.is_none()
        && message.provider_id.is_none();
    if plain {
        return Ok(KindRef::plain(&message.name));
    }
    if let Some(id) = &message.provider_id {
        at_most("provider_id", "bytes", id.value.len(), ID_BYTES)?;
    }
    if let Some(disk) = message.disk.as_deref() {
        check_disk(&message.name, disk)?;
    }
    let kind = Kind::new(&message.name)
        .with_reservations(reservations)
        .with_disk(message.disk.as_deref().cloned())
        .with_revocable(message.revocable.is_some())
        .with_shared(message.shared.is_some())
        .with_provider_id(message.provider_id.as_ref().map(|id| id.value.as_str()));
    Ok(kind.into())
}

fn check_disk(name: &str, disk: &DiskInfo) -> Result<(), Problem> {
    if name != "disk" {
        return Err(("disk", format!("must not be set in an item named `{}`, only in `disk`", quoted(name))));
    }
    let Some(source) = disk.source.as_deref() else { return Ok(()) };
    let kind = source::Type::try_from(source.r#type).map_err(|error| ("disk.source.type", error.to_string()))?;
    let (path, mount) = match kind {
        source::Type::Unknown => {
            return Err(("disk.source.type", "is missing; say PATH, MOUNT, BLOCK or RAW".to_owned()));
        }
        source::Type::Path => (true, false),
        source::Type::Mount => (false, true),
        source::Type::Block | source::Type::Raw => (false, false),
    };
    let misplaced = |field| Err((field, format!("must not be set in a source of type {}", kind.as_str_name())));
    match (source.path.is_some() && !path, source.mount.is_some() && !mount) {
        (true, _) => misplaced("disk.source.path"),
        (_, true) => misplaced("disk.source.mount"),
        (false, false) => Ok(()),
    }
}

#[expect(deprecated, reason = "the old format has the role in the item itself")]
fn read_reservations(message: &v1::Resource) -> Result<Vec<Reservation>, Problem> {
    let role = message.role.as_deref();
    if message.reservations.is_empty() {
        return read_old_format(role.unwrap_or("*"), message.reservation.as_deref());
    }
    at_most("reservations", "entries", message.reservations.len(), RESERVATIONS)?;
    let stack = message.reservations.iter().map(read_reservation).collect::<Result<Vec<_>, _>>()?;
    check_stack(&stack)?;
    if role.is_some() || message.reservation.is_some() {
        check_forms_agree(&stack, role, message.reservation.as_deref())?;
    }
    Ok(stack)
}

fn read_old_format(role: &str, reservation: Option<&ReservationInfo>) -> Result<Vec<Reservation>, Problem> {
    validate_role(role).map_err(|error| ("role", error.to_string()))?;
    match reservation {
        Some(info) if info.r#type.is_some() || info.role.is_some() => {
            Err(("reservation", "must not have a type or role of its own; use `reservations` for those".to_owned()))
        }
        Some(_) if role == "*" => Err(("reservation", "needs a role other than `*` beside it".to_owned())),
        Some(info) => {
            check_maker("reservation", info)?;
            Ok(vec![Reservation { dynamic: true, ..with_principal(role, info) }])
        }
        None if role == "*" => Ok(Vec::new()),
        None => Ok(vec![Reservation::fixed(role)]),
    }
}

fn read_reservation(info: &ReservationInfo) -> Result<Reservation, Problem> {
    let kind = reservation_info::Type::try_from(info.r#type.unwrap_or_default());
    let dynamic = match kind.map_err(|error| ("reservations", error.to_string()))? {
        reservation_info::Type::Unknown => {
            return Err(("reservations", "an entry has no type; say STATIC or DYNAMIC".to_owned()));
        }
        reservation_info::Type::Static => false,
        reservation_info::Type::Dynamic => true,
    };
    let role = info.role.as_deref().ok_or_else(|| ("reservations", "an entry has no role".to_owned()))?;
    validate_role(role).map_err(|error| ("reservations", error.to_string()))?;
    if role == "*" {
        return Err(("reservations", "nothing is reserved to `*`; leave the entry out".to_owned()));
    }
    check_maker("reservations", info)?;
    Ok(Reservation { dynamic, ..with_principal(role, info) })
}

/// The principal and the labels of a reservation have limits, since each item of a kind carries them.
fn check_maker(field: &'static str, info: &ReservationInfo) -> Result<(), Problem> {
    at_most(field, "bytes in a principal", info.principal.as_ref().map_or(0, String::len), NAME_BYTES)?;
    let labels = info.labels.as_ref().map_or(&[][..], |labels| &labels.labels);
    at_most(field, "labels", labels.len(), LABELS)?;
    labels.iter().try_for_each(|label| {
        at_most(field, "bytes in the key of a label", label.key.len(), LABEL_KEY_BYTES)?;
        at_most(field, "bytes in the value of a label", label.value.as_ref().map_or(0, String::len), LABEL_VALUE_BYTES)
    })
}

fn at_most(field: &'static str, unit: &str, given: usize, most: usize) -> Result<(), Problem> {
    if given <= most { Ok(()) } else { Err((field, format!("has {given} {unit}; at most {most} are accepted"))) }
}

/// Checks the size of the list before any item is read.
pub(super) fn check_size(list: &[v1::Resource]) -> Result<(), ResourceError> {
    let ranges: usize = list.iter().filter_map(|item| item.ranges.as_ref()).map(|ranges| ranges.range.len()).sum();
    for (unit, given, most) in [("items", list.len(), RESOURCES), ("ranges in all", ranges, LIST_RANGES)] {
        at_most("", unit, given, most).map_err(|(_, problem)| ResourceError::Field { path: String::new(), problem })?;
    }
    Ok(())
}

fn with_principal(role: &str, info: &ReservationInfo) -> Reservation {
    let labels = info.labels.as_ref().map_or(&[][..], |labels| &labels.labels);
    let mut labels: Vec<_> = labels.iter().map(|label| (label.key.clone(), label.value.clone())).collect();
    labels.sort_unstable();
    Reservation { dynamic: false, role: role.into(), principal: info.principal.as_deref().map(Arc::from), labels }
}

pub(super) fn check_stack(stack: &[Reservation]) -> Result<(), Problem> {
    for pair in stack.windows(2) {
        let (below, above) = (&pair[0].role, &pair[1].role);
        if !pair[1].dynamic {
            return Err(("reservations", "only the first entry may be STATIC".to_owned()));
        }
        if above == below || !is_self_or_below(above, below) {
            return Err((
                "reservations",
                format!("role `{}` does not lie below role `{}`", quoted(above), quoted(below)),
            ));
        }
    }
    Ok(())
}

/// Endpoints print both formats at once; they have to agree.
fn check_forms_agree(
    stack: &[Reservation],
    role: Option<&str>,
    reservation: Option<&ReservationInfo>,
) -> Result<(), Problem> {
    let [only] = stack else {
        return Err(("role", "`role` and `reservation` must not be set beside more than one reservation".to_owned()));
    };
    let old = read_old_format(role.unwrap_or("*"), reservation)?;
    if old.as_slice() == std::slice::from_ref(only) {
        Ok(())
    } else {
        Err(("reservations", "differ from `role` and `reservation`; set only `reservations`".to_owned()))
    }
}

impl From<&Reservation> for ReservationInfo {
    fn from(reservation: &Reservation) -> Self {
        let kind = if reservation.dynamic { reservation_info::Type::Dynamic } else { reservation_info::Type::Static };
        let label = |(key, value): &(String, Option<String>)| v1::Label { key: key.clone(), value: value.clone() };
        let labels: Vec<v1::Label> = reservation.labels.iter().map(label).collect();
        Self {
            r#type: Some(kind.into()),
            role: Some(reservation.role.to_string()),
            principal: reservation.principal.as_deref().map(str::to_owned),
            labels: (!labels.is_empty()).then_some(v1::Labels { labels }),
        }
    }
}

/// Converts to the old format; a refined stack has none and stays.
#[expect(deprecated, reason = "the old format has the role in the item itself")]
fn downgrade(message: &mut v1::Resource) {
    match message.reservations.as_mut_slice() {
        [] => message.role = Some("*".to_owned()),
        [only] => {
            message.role = only.role.take();
            let dynamic = only.r#type() == reservation_info::Type::Dynamic;
            let principal = only.principal.take();
            let labels = only.labels.take();
            message.reservation =
                dynamic.then(|| Box::new(ReservationInfo { r#type: None, role: None, principal, labels }));
            message.reservations.clear();
        }
        _ => {}
    }
}
