//! Protocol types: ids, exact resources, attributes, task states, validation and builders for [`crate::proto`].
//!
//! The messages are used everywhere and get their meaning here by inherent methods, `Display` and `FromStr`. Only where
//! arithmetic or identity matters is there a separate type: [`Resources`], [`Ranges`], [`Milli`], [`Attributes`]. Input
//! is validated once, where it enters ([`validate`], `from_proto`, `parse`), and errors name the field. Nothing here
//! reads a clock, generates a random number or does I/O.

mod attributes;
mod durations;
mod framework_info;
#[cfg(feature = "framework")]
mod host_port;
mod ids;
pub mod limits;
mod now;
mod offer;
mod partition;
mod quantity;
mod quote;
mod ranges;
pub mod resources;
mod roles;
mod task_info;
mod task_state;
mod task_status;
mod text_value;
pub mod validate;
pub mod wire;

pub use attributes::{Attribute, AttributeError, AttributeValue, Attributes};
pub use framework_info::InvalidFailoverTimeout;
#[cfg(feature = "framework")]
pub(crate) use host_port::HostPort;
pub use ids::{InvalidId, validate_id};
pub use now::Now;
pub use offer::refuse_duration;
pub use partition::{OnReturn, PartitionPolicy};
pub use quantity::{Milli, QuantityError};
pub use quote::{Quoted, quoted};
pub use ranges::{Ranges, RangesError};
pub(crate) use resources::is_self_or_below;
pub use resources::{Amount, DeclaredResources, Kind, KindRef, Reservation, Resource, ResourceError, Resources};
pub use roles::{InvalidRole, validate_role};
pub use task_state::UnknownTaskState;
pub use text_value::ValueError;
