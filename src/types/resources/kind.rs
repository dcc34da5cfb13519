//! The kind of a resource item: everything about it but the amount.
//!
//! Rule: two items merge exactly if their kinds are equal and not exclusive. The plain kinds of most items (`cpus`,
//! `mem`, `disk`, `gpus`, `ports`) are statics, so cloning and comparing them is cheap. The role that an item is
//! *allocated* to is not part of its kind; it is set when the message is written.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use prost::Message as _;

use crate::proto::v1::resource::{DiskInfo, disk_info::source};

/// Everything about a resource item but its amount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    rank: u8,
    name: Arc<str>,
    reservations: Vec<Reservation>,
    disk: Option<Disk>,
    revocable: bool,
    shared: bool,
    provider_id: Option<Arc<str>>,
}

/// One entry of a reservation stack. The last entry is the one in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// Whether an operation made it, rather than the agent's flags; only such a reservation can be removed.
    pub dynamic: bool,
    /// The role that it is reserved to, never `*`.
    pub role: Arc<str>,
    /// The principal that made it.
    pub principal: Option<Arc<str>>,
    /// Sorted, so that equal sets of labels are equal.
    pub labels: Vec<(String, Option<String>)>,
}

/// The disk of an item: a persistent volume, a source, or both.
#[derive(Clone, Debug)]
struct Disk {
    info: DiskInfo,
    encoded: Vec<u8>,
}

/// A shared reference to a kind; a static for the plain ones.
#[derive(Clone)]
pub struct KindRef(Held);

#[derive(Clone)]
enum Held {
    Plain(&'static Kind),
    Shared(Arc<Kind>),
}

/// The names with a static kind, in the order in which items are stored and printed.
const PLAIN_NAMES: [&str; 5] = ["cpus", "mem", "disk", "gpus", "ports"];

static PLAIN: LazyLock<[Kind; 5]> = LazyLock::new(|| PLAIN_NAMES.map(Kind::new));

impl Kind {
    /// Creates the unreserved kind of that name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let rank = PLAIN_NAMES.iter().zip(0_u8..).find(|(plain, _)| **plain == name).map_or(u8::MAX, |(_, rank)| rank);
        Self {
            rank,
            name: name.into(),
            reservations: Vec::new(),
            disk: None,
            revocable: false,
            shared: false,
            provider_id: None,
        }
    }

    /// Sets the reservation stack; the last entry is in force.
    #[must_use]
    pub fn with_reservations(mut self, reservations: Vec<Reservation>) -> Self {
        self.reservations = reservations;
        self
    }

    /// Sets the disk.
    #[must_use]
    pub fn with_disk(mut self, disk: Option<DiskInfo>) -> Self {
        self.disk = disk.map(Disk::new);
        self
    }

    /// Sets whether it is revocable.
    #[must_use]
    pub fn with_revocable(mut self, revocable: bool) -> Self {
        self.revocable = revocable;
        self
    }

    /// Sets whether several tasks may share it.
    #[must_use]
    pub fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// Sets the resource provider.
    #[must_use]
    pub fn with_provider_id(mut self, provider_id: Option<&str>) -> Self {
        self.provider_id = provider_id.map(Arc::from);
        self
    }

    /// Returns the name: `cpus`, `mem`, ...
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the reservation stack, the one in force last; empty for unreserved items.
    #[must_use]
    pub fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    /// Returns the reservation in force.
    #[must_use]
    pub fn reservation(&self) -> Option<&Reservation> {
        self.reservations.last()
    }

    /// Returns the disk, unless it is plain disk space.
    #[must_use]
    pub fn disk(&self) -> Option<&DiskInfo> {
        self.disk.as_ref().map(|disk| &disk.info)
    }

    /// Returns the id of the persistent volume.
    #[must_use]
    pub fn persistence_id(&self) -> Option<&str> {
        self.disk()?.persistence.as_ref().map(|persistence| persistence.id.as_str())
    }

    /// Returns whether it is revocable.
    #[must_use]
    pub fn is_revocable(&self) -> bool {
        self.revocable
    }

    /// Returns whether several tasks may share it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Returns whether it was reserved more than once, which only frameworks with `RESERVATION_REFINEMENT` understand.
    #[must_use]
    pub fn is_refined(&self) -> bool {
        self.reservations.len() > 1
    }

    /// Returns the id of its resource provider; `None` for the agent itself.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        self.provider_id.as_deref()
    }

    /// Returns whether items of this kind never merge and are only taken whole: persistent volumes and `MOUNT`, `BLOCK`
    /// and identified `RAW` disks.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        !self.shared && self.disk.as_ref().is_some_and(Disk::is_exclusive)
    }

    /// Returns whether a framework in `role` may use it: it is unreserved, or reserved to the role or an ancestor.
    #[must_use]
    pub fn is_allocatable_to(&self, role: &str) -> bool {
        self.reservation().is_none_or(|reservation| is_self_or_below(role, &reservation.role))
    }

    pub(super) fn is_plain(&self) -> bool {
        self.rank != u8::MAX
            && self.reservations.is_empty()
            && self.disk.is_none()
            && !self.revocable
            && !self.shared
            && self.provider_id.is_none()
    }
}

/// Returns whether `role` is `ancestor` or a descendant of it.
pub(crate) fn is_self_or_below(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Reservation {
    /// Creates a static reservation, made by the agent's flags.
    #[must_use]
    pub fn fixed(role: &str) -> Self {
        Self { dynamic: false, role: role.into(), principal: None, labels: Vec::new() }
    }

    /// Creates a dynamic reservation, made by an operation.
    #[must_use]
    pub fn dynamic(role: &str, principal: Option<&str>) -> Self {
        Self { dynamic: true, role: role.into(), principal: principal.map(Arc::from), labels: Vec::new() }
    }
}

impl Disk {
    fn new(info: DiskInfo) -> Self {
        let encoded = info.encode_to_vec();
        Self { info, encoded }
    }

    fn is_exclusive(&self) -> bool {
        let source = self.info.source.as_ref();
        let kind = source.map_or(source::Type::Path, |source| source.r#type());
        let identified = source.is_some_and(|source| source.id.is_some());
        self.info.persistence.is_some()
            || match kind {
                source::Type::Unknown | source::Type::Path => false,
                source::Type::Mount | source::Type::Block => true,
                source::Type::Raw => identified,
            }
    }
}

/// Compares the encoded bytes, which are canonical because the generated messages order their maps.
impl Ord for Disk {
    fn cmp(&self, other: &Self) -> Ordering {
        self.encoded.cmp(&other.encoded)
    }
}

impl PartialOrd for Disk {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Disk {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for Disk {}

impl std::hash::Hash for Disk {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.encoded.hash(state);
    }
}

impl KindRef {
    /// Returns the unreserved kind of that name; without allocation for the plain names.
    #[must_use]
    pub fn plain(name: &str) -> Self {
        match PLAIN_NAMES.iter().position(|plain| *plain == name) {
            Some(at) => Self(Held::Plain(&PLAIN[at])),
            None => Self(Held::Shared(Arc::new(Kind::new(name)))),
        }
    }

    fn same_pointer(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }
}

impl From<Kind> for KindRef {
    fn from(kind: Kind) -> Self {
        if kind.is_plain() { Self::plain(&kind.name) } else { Self(Held::Shared(Arc::new(kind))) }
    }
}

impl Deref for KindRef {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        match &self.0 {
            Held::Plain(kind) => kind,
            Held::Shared(kind) => kind,
        }
    }
}

impl PartialEq for KindRef {
    fn eq(&self, other: &Self) -> bool {
        self.same_pointer(other) || **self == **other
    }
}

impl Eq for KindRef {}

impl Ord for KindRef {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.same_pointer(other) { Ordering::Equal } else { (**self).cmp(&**other) }
    }
}

impl PartialOrd for KindRef {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::hash::Hash for KindRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for KindRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
