//! What the messages of [`crate::proto`] mean: ids, exact resources, attributes, task states, validation, builders.

mod now;
mod quantity;
mod ranges;
pub mod resources;
mod roles;
mod text_value;

pub use now::Now;
pub use quantity::{Milli, QuantityError};
pub use ranges::{Ranges, RangesError};
pub(crate) use resources::is_self_or_below;
pub use resources::{Amount, Kind, KindRef, Reservation, Resource, ResourceError, Resources};
pub use roles::{InvalidRole, validate_role};
pub use text_value::ValueError;
