//! Resources that an operator declares for a host, and the names that are then not detected.
//!
//! [`Resources`] alone cannot represent the text: `mem:0` adds nothing, yet prevents the detection of memory. So the
//! text is parsed once, where it enters, and this value is passed on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;

use super::amount::Shape;
use super::proto::check_size;
use super::text::items;
use super::{Amount, Resource, ResourceError, Resources};
use crate::proto::v1;
use crate::types::quoted;

/// The largest port number.
const MAX_PORT: u64 = 65_535;

/// Resources of a host as its operator declares them. Names that are not mentioned are detected.
///
/// ```
/// use divvy::types::DeclaredResources;
///
/// let declared: DeclaredResources = "cpus:2;mem(web):512;disk:0".parse()?;
/// assert!(declared.mentions("disk") && !declared.mentions("ports"));
/// assert_eq!(declared.resources().disk_mib().to_string(), "0");
/// # Ok::<(), divvy::types::ResourceError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeclaredResources {
    resources: Resources,
    names: BTreeMap<String, Shape>,
}

impl DeclaredResources {
    /// Parses `name:value` or `name(role):value`, joined by semicolons. Entries without a role get `default_role`.
    ///
    /// # Errors
    /// An entry is invalid (the first is named), or `default_role` is not a valid role.
    pub fn parse(text: &str, default_role: &str) -> Result<Self, ResourceError> {
        let mut declared = Self::default();
        for item in items(text, default_role) {
            let (entry, item) = item?;
            let wrong = |problem| ResourceError::Text { text: quoted(entry), problem };
            declared.add(&item).map_err(wrong)?;
        }
        // The limits are those of the protobuf form, also for several entries together.
        Resources::from_proto(&declared.resources.to_proto())?;
        Ok(declared)
    }

    /// Converts from the protobuf form; an item of zero mentions its name and adds nothing.
    ///
    /// # Errors
    /// As [`Resources::from_proto`].
    pub fn from_proto(list: &[v1::Resource]) -> Result<Self, ResourceError> {
        check_size(list)?;
        let mut declared = Self::default();
        for (at, item) in Resource::list_from_proto(list)?.iter().enumerate() {
            declared.add(item).map_err(|problem| ResourceError::Field { path: format!("[{at}]"), problem })?;
        }
        Ok(declared)
    }

    /// Adds an item that does not conflict with those declared before.
    fn add(&mut self, item: &Resource) -> Result<(), String> {
        let (name, shape) = (item.name(), item.amount().shape());
        let wanted = match name {
            "cpus" | "mem" | "disk" | "gpus" => Some(Shape::Scalar),
            "ports" => Some(Shape::Ranges),
            _ => self.names.get(name).copied(),
        };
        if wanted.is_some_and(|wanted| wanted != shape) {
            let form = match wanted {
                Some(Shape::Ranges) => "ranges, for example [31000-32000]",
                Some(Shape::Set) => "a set, for example {a,b}",
                Some(Shape::Scalar) | None => "a number",
            };
            return Err(format!("`{name}` has to be {form}"));
        }
        match item.amount() {
            Amount::Scalar(_) => {}
            Amount::Ranges(ranges) => {
                if name == "ports" && ranges.iter().last().is_some_and(|last| *last.end() > MAX_PORT) {
                    return Err(format!("ports go up to {MAX_PORT}"));
                }
                let taken = self.resources.ranges(name).intersection(ranges);
                if !taken.is_empty() {
                    return Err(format!("{taken} of `{name}` is declared twice; it can go to one role only"));
                }
            }
            Amount::Set(set) => {
                if let Some(taken) = self.resources.set(name).intersection(set).next() {
                    return Err(format!("`{taken}` of `{name}` is declared twice; it can go to one role only"));
                }
            }
        }
        self.names.insert(name.to_owned(), shape);
        self.resources.add(item);
        Ok(())
    }

    /// Returns the declared resources, without entries of zero.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Returns whether the operator declared that name, even with zero.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }
}

impl From<Resources> for DeclaredResources {
    fn from(resources: Resources) -> Self {
        let names = resources.iter().map(|item| (item.name().to_owned(), item.amount().shape())).collect();
        Self { resources, names }
    }
}

/// Parses as [`DeclaredResources::parse`] does, unreserved unless an entry names a role.
impl FromStr for DeclaredResources {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        Self::parse(text, "*")
    }
}

impl TryFrom<&str> for DeclaredResources {
    type Error = ResourceError;

    fn try_from(text: &str) -> Result<Self, ResourceError> {
        text.parse()
    }
}

impl TryFrom<&String> for DeclaredResources {
    type Error = ResourceError;

    fn try_from(text: &String) -> Result<Self, ResourceError> {
        text.parse()
    }
}

impl TryFrom<String> for DeclaredResources {
    type Error = ResourceError;

    fn try_from(text: String) -> Result<Self, ResourceError> {
        text.parse()
    }
}

impl From<Infallible> for ResourceError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
