//! The text form: reads `cpus:4;mem:8192;ports:[31000-32000];cpus(role):1`, prints as Mesos prints messages.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::proto::check_stack;
use super::{Amount, Kind, Reservation, Resource, ResourceError, Resources};
use crate::proto::v1::resource::{DiskInfo, disk_info::Source};
use crate::types::text_value::TextValue;
use crate::types::{Milli, quoted, validate_role};

/// Parses `name:value` or `name(role):value`, joined by semicolons. Also parses the [`Display`](fmt::Display) form of
/// scalars, ranges and sets whose reservations have no labels.
impl FromStr for Resources {
    type Err = ResourceError;

    fn from_str(text: &str) -> Result<Self, ResourceError> {
        let items = items(text, "*").map(|item| item.map(|(_, item)| item)).collect::<Result<Vec<Resource>, _>>()?;
        // The limits are those of the protobuf form, also for several entries together.
        Self::from_proto(&Self::merged(items).to_proto())
    }
}

/// Returns the items of a text, each with its entry. Entries without a role get `default_role`.
pub(super) fn items<'a>(
    text: &'a str,
    default_role: &'a str,
) -> impl Iterator<Item = Result<(&'a str, Resource), ResourceError>> {
    let entries = text.split([';', '\n']).map(str::trim).filter(|entry| !entry.is_empty() && *entry != "{}");
    entries.map(move |entry| match parse_entry(entry, default_role) {
        Ok(item) => Ok((entry, item)),
        Err(problem) => Err(ResourceError::Text { text: quoted(entry), problem }),
    })
}

fn parse_entry(entry: &str, default_role: &str) -> Result<Resource, String> {
    const FORM: &str = "write it like cpus:4, ports:[31000-32000] or mem(role):512";
    let (head, value) = split_entry(entry).ok_or_else(|| format!("has no `:`; {FORM}"))?;
    let (name, inner) =
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
    let stack = match inner.map(|inner| inner.strip_prefix("reservations:").ok_or(inner)) {
        None => parse_role(default_role)?,
        Some(Err(role)) => parse_role(role)?,
        Some(Ok(stack)) => parse_stack(stack.trim())?,
    };
    let item = Resource::new(Kind::new(name).with_reservations(stack), amount);
    // The limits are those of the protobuf form.
    Resource::from_proto(&item.to_proto()).map_err(|(field, problem)| format!("{field}: {problem}"))
}

/// Splits at the first colon outside of parentheses and brackets.
fn split_entry(entry: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in entry.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => return Some((&entry[..at], &entry[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Splits `name`, `name(role)` or `name(reservations: [...])` into the name and what is in the parentheses.
fn parse_head(head: &str) -> Option<(&str, Option<&str>)> {
    const SPECIAL: [char; 8] = ['(', ')', '[', ']', '{', '}', '<', '>'];
    let (name, inner) = match head.split_once('(') {
        None => (head, None),
        Some((name, rest)) => (name.trim(), Some(rest.strip_suffix(')')?.trim())),
    };
    let inner_is_role = inner.is_some_and(|inner| !inner.starts_with("reservations:"));
    let broken = name.contains(SPECIAL) || (inner_is_role && inner.is_some_and(|role| role.contains(['(', ')'])));
    (!name.is_empty() && !broken).then_some((name, inner))
}

fn parse_role(role: &str) -> Result<Vec<Reservation>, String> {
    validate_role(role).map_err(|error| error.to_string())?;
    Ok(if role == "*" { Vec::new() } else { vec![Reservation::fixed(role)] })
}

/// `[(STATIC,eng),(DYNAMIC,eng/web,principal)]`.
fn parse_stack(text: &str) -> Result<Vec<Reservation>, String> {
    let wrong = || format!("`{}` is not a list of reservations; write it like [(STATIC,eng,principal)]", quoted(text));
    let inner = text.strip_prefix("[(").and_then(|rest| rest.strip_suffix(")]")).ok_or_else(wrong)?;
    let mut stack = Vec::new();
    for entry in inner.split("),(") {
        let mut fields = entry.split(',').map(str::trim);
        let (kind, role, principal) = (fields.next(), fields.next(), fields.next());
        let dynamic = match kind {
            Some("STATIC") => false,
            Some("DYNAMIC") => true,
            Some(_) | None => return Err(wrong()),
        };
        let plain = |text: &str| !text.is_empty() && !text.contains(['(', ')', '{', '}']);
        if fields.next().is_some() || principal.is_some_and(|principal| !plain(principal)) {
            return Err(wrong());
        }
        let mut reservation = parse_role(role.unwrap_or_default())?.pop().ok_or_else(wrong)?;
        reservation.dynamic = dynamic;
        reservation.principal = principal.map(Arc::from);
        stack.push(reservation);
    }
    check_stack(&stack).map_err(|(_, problem)| problem)?;
    Ok(stack)
}

/// Checks that `gpus` are whole.
pub(super) fn check_whole(name: &str, amount: &Amount) -> Result<(), String> {
    match amount {
        Amount::Scalar(count) if name == "gpus" && !count.is_whole() => Err(format!("{count} gpus; they come whole")),
        Amount::Scalar(_) | Amount::Ranges(_) | Amount::Set(_) => Ok(()),
    }
}

/// Formats `cpus:1; mem:512; ports:[1-2]; disk(reservations: [(DYNAMIC,role,principal)])[id:path]:64`; `{}` if empty.
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

/// Formats `(DYNAMIC,role,principal,{key: value})`, without what is not set.
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
