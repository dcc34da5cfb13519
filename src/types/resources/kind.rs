//! What kind of thing an item of resources is: everything about it but the amount.
//!
//! The one rule: two items merge exactly if their kinds are equal and not exclusive. The plain kinds that nearly every
//! item has (`cpus`, `mem`, `disk`, `gpus`, `ports`) are statics, so cloning and comparing them costs a pointer. The role
//! an item is *allocated* to is no part of its kind; it is stamped on the message form on the way out.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use prost::Message as _;

use crate::proto::v1::resource::{DiskInfo, disk_info::source};

/// Everything about an item of resources but its amount.
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
    /// Made by an operation, not by the agent's flags; only such a one can be taken back.
    pub dynamic: bool,
    /// The role it is reserved to, never `*`.
    pub role: Arc<str>,
    /// Who made it.
    pub principal: Option<Arc<str>>,
    /// Sorted, so that equal sets of labels are equal.
    pub labels: Vec<(String, Option<String>)>,
}

/// The disk an item stands for: a persistent volume, a source, or both.
#[derive(Clone, Debug)]
struct Disk {
    info: DiskInfo,
    encoded: Vec<u8>,
}

/// A kind as items hold it: a static for the plain ones, shared otherwise.
#[derive(Clone)]
pub struct KindRef(Held);

#[derive(Clone)]
enum Held {
    Plain(&'static Kind),
    Shared(Arc<Kind>),
}

/// The names with a static kind, in the order in which items are kept and shown.
const PLAIN_NAMES: [&str; 5] = ["cpus", "mem", "disk", "gpus", "ports"];

static PLAIN: LazyLock<[Kind; 5]> = LazyLock::new(|| PLAIN_NAMES.map(Kind::new));

impl Kind {
    /// The unreserved kind of that name.
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

    /// The same, reserved by this stack, the entry in force last.
    #[must_use]
    pub fn with_reservations(mut self, reservations: Vec<Reservation>) -> Self {
        self.reservations = reservations;
        self
    }

    /// The same on this disk.
    #[must_use]
    pub fn with_disk(mut self, disk: Option<DiskInfo>) -> Self {
        self.disk = disk.map(Disk::new);
        self
    }

    /// The same, but liable to be taken back at any time.
    #[must_use]
    pub fn with_revocable(mut self, revocable: bool) -> Self {
        self.revocable = revocable;
        self
    }

    /// The same, but usable by many tasks at once.
    #[must_use]
    pub fn with_shared(mut self, shared: bool) -> Self {
        self.shared = shared;
        self
    }

    /// The same from this resource provider.
    #[must_use]
    pub fn with_provider_id(mut self, provider_id: Option<&str>) -> Self {
        self.provider_id = provider_id.map(Arc::from);
        self
    }

    /// `cpus`, `mem`, ...
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The stack of reservations, the one in force last; empty for unreserved items.
    #[must_use]
    pub fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    /// The reservation in force.
    #[must_use]
    pub fn reservation(&self) -> Option<&Reservation> {
        self.reservations.last()
    }

    /// The disk, if this is more than plain space.
    #[must_use]
    pub fn disk(&self) -> Option<&DiskInfo> {
        self.disk.as_ref().map(|disk| &disk.info)
    }

    /// The persistent volume's id.
    #[must_use]
    pub fn persistence_id(&self) -> Option<&str> {
        self.disk()?.persistence.as_ref().map(|persistence| persistence.id.as_str())
    }

    /// Whether it may be taken back at any time.
    #[must_use]
    pub fn is_revocable(&self) -> bool {
        self.revocable
    }

    /// Whether many tasks may use it at once.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether it was reserved more than once, which only frameworks with `RESERVATION_REFINEMENT` understand.
    #[must_use]
    pub fn is_refined(&self) -> bool {
        self.reservations.len() > 1
    }

    /// The resource provider that has it; `None` for the agent itself.
    #[must_use]
    pub fn provider_id(&self) -> Option<&str> {
        self.provider_id.as_deref()
    }

    /// Whether items of this kind are never merged and only taken whole: persistent volumes and `MOUNT`, `BLOCK` and
    /// identified `RAW` disks.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        !self.shared && self.disk.as_ref().is_some_and(Disk::is_exclusive)
    }

    /// Whether a framework in `role` may use it: unreserved, or reserved to the role or to one above it.
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

/// Whether `role` is `ancestor` or lies below it in the hierarchy of roles.
pub(crate) fn is_self_or_below(role: &str, ancestor: &str) -> bool {
    role.strip_prefix(ancestor).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Reservation {
    /// Made by the agent's flags.
    #[must_use]
    pub fn fixed(role: &str) -> Self {
        Self { dynamic: false, role: role.into(), principal: None, labels: Vec::new() }
    }

    /// Made by an operation.
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

/// By the encoded bytes, which are canonical because the generated messages keep their maps in order.
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
    /// The unreserved kind of that name; free for the plain names.
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
