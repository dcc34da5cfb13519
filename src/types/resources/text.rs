//! The text form: `cpus:4;mem:8192;ports:[31000-32000];cpus(role):1` in, Mesos' message form out.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::{Amount, Kind, Reservation, Resource, ResourceError, Resources};
use crate::proto::v1::resource::{DiskInfo, disk_info::Source};
use crate::types::text_value::TextValue;
use crate::types::{Milli, quoted, validate_role};

/// Resources read from text, and what the text spoke of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What was given; entries of zero are not in it.
    pub resources: Resources,
    /// Every name in the text, also of entries of zero: those mean "none, do not look for any".
    pub mentioned: BTreeSet<String>,
}

impl Resources {
    /// Reads text and tells which names it mentions, so that an agent knows what not to detect.
    ///
    /// # Errors
    /// As [`Resources::from_str`].
    pub fn parse_named(text: &str) -> Result<Parsed, ResourceError> {
        Self::parse_with_default_role(text, "*")
    }

    /// Like [`Resources::parse_named`], with the role of those entries that name none.
    ///
    /// # Errors
    /// As [`Resources::from_str`], and if the role is not a valid name.
    pub fn parse_with_default_role(text: &str, default_role: &str) -> Result<Parsed, ResourceError> {
        let (mut mentioned, mut items) = (BTreeSet::new(), Vec::new());
        for entry in text.split([';', '\n']).map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong = |problem: String| ResourceError::Text { text: quoted(entry), problem };
            let item = parse_entry(entry, default_role).map_err(wrong)?;
            mentioned.insert(item.name().to_owned());
            items.push(item);
        }
        Ok(Parsed { resources: Resources::merged(items), mentioned })
    }
}

/// Reads `name:value` or `name(role):value`, joined by semicolons.
impl FromStr for Resources {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        Ok(Self::parse_named(text)?.resources)
    }
}

fn parse_entry(entry: &str, default_role: &str) -> Result<Resource, String> {
    const FORM: &str = "write it like cpus:4, ports:[31000-32000] or mem(role):512";
    let (head, value) = entry.split_once(':').ok_or_else(|| format!("has no `:`; {FORM}"))?;
    let (name, role) =
        parse_head(head.trim()).ok_or_else(|| format!("`{}` is not a name; {FORM}", quoted(head.trim())))?;
    let amount = match TextValue::parse(value).map_err(|error| error.to_string())? {
        TextValue::Scalar(amount) => Amount::Scalar(amount),
        TextValue::Ranges(ranges) => Amount::Ranges(ranges),
        TextValue::Set(set) => Amount::Set(set),
        TextValue::Text(text) => {
            return Err(format!("`{}` is not an amount; give a number from 0 up, [1-2] or {{a,b}}", quoted(text)));
        }
    };
    check_whole(name, &amount)?;
    let role = role.unwrap_or(default_role);
    validate_role(role).map_err(|error| error.to_string())?;
    let stack = if role == "*" { Vec::new() } else { vec![Reservation::fixed(role)] };
    Ok(Resource::new(Kind::new(name).with_reservations(stack), amount))
}

/// Splits `name` or `name(role)`.
fn parse_head(head: &str) -> Option<(&str, Option<&str>)> {
    let (name, role) = match head.split_once('(') {
        None => (head, None),
        Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(')')?.trim())),
    };
    let parentheses = [Some(name), role].into_iter().flatten().any(|part| part.contains(['(', ')']));
    (!name.is_empty() && !parentheses).then_some((name, role))
}

/// `gpus` come whole.
pub(super) fn check_whole(name: &str, amount: &Amount) -> Result<(), String> {
    match amount {
        Amount::Scalar(count) if name == "gpus" && !count.is_whole() => Err(format!("{count} gpus; they come whole")),
        Amount::Scalar(_) | Amount::Ranges(_) | Amount::Set(_) => Ok(()),
    }
}

/// `cpus:1; mem:512; ports:[1-2]; disk(reservations: [(DYNAMIC,role,principal)])[id:path]:64`; `{}` if there is nothing.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.items.is_empty() {
            return f.write_str("{}");
        }
        for (at, item) in self.items.iter().enumerate() {
            write!(f, "{}{item}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resources({self})")
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if !self.kind.reservations().is_empty() {
            let stack: Vec<String> = self.kind.reservations().iter().map(Reservation::to_string).collect();
            write!(f, "(reservations: [{}])", stack.join(","))?;
        }
        if let Some(disk) = self.kind.disk() {
            write!(f, "[{}]", disk_text(disk))?;
        }
        f.write_str(if self.kind.is_revocable() { "{REV}" } else { "" })?;
        f.write_str(if self.kind.is_shared() { "<SHARED>" } else { "" })?;
        if self.copies > 1 {
            write!(f, "<{}>", self.copies)?;
        }
        write!(f, ":{}", self.amount)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(amount) => Milli::fmt(amount, f),
            Self::Ranges(ranges) => write!(f, "{ranges}"),
            Self::Set(set) => write!(f, "{{{}}}", set.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

/// `(DYNAMIC,role,principal,{key: value})`, without what it does not have.
impl fmt::Display for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{}", if self.dynamic { "DYNAMIC" } else { "STATIC" }, self.role)?;
        if let Some(principal) = &self.principal {
            write!(f, ",{principal}")?;
        }
        if !self.labels.is_empty() {
            let label = |(key, value): &(String, Option<String>)| match value {
                Some(value) => format!("{key}: {value}"),
                None => key.clone(),
            };
            write!(f, ",{{{}}}", self.labels.iter().map(label).collect::<Vec<_>>().join(", "))?;
        }
        f.write_str(")")
    }
}

/// `MOUNT:/mnt/fast,volume-id:data`.
fn disk_text(disk: &DiskInfo) -> String {
    let source = disk.source.as_deref().map(source_text);
    let persistence = disk.persistence.as_ref().map(|persistence| persistence.id.clone());
    let head: Vec<String> = source.into_iter().chain(persistence).collect();
    let path = disk.volume.as_ref().map_or_else(String::new, |volume| format!(":{}", volume.container_path));
    format!("{}{path}", head.join(","))
}

fn source_text(source: &Source) -> String {
    let identity = [&source.vendor, &source.id, &source.profile];
    let identity = if identity.iter().all(|part| part.is_none()) {
        String::new()
    } else {
        format!("({})", identity.map(|part| part.as_deref().unwrap_or_default()).join(","))
    };
    let path = source.path.as_ref().and_then(|path| path.root.as_deref());
    let mount = source.mount.as_ref().and_then(|mount| mount.root.as_deref());
    let root = path.or(mount).map_or_else(String::new, |root| format!(":{root}"));
    format!("{}{identity}{root}", source.r#type().as_str_name())
}
