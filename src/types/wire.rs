//! Limits on the memory of a message, computed from its bytes before it is decoded.
//!
//! An element of two bytes on the wire can take hundreds in memory, so a limit on bytes is not enough. [`measure`]
//! walks over the bytes by tables generated from `proto/`, allocates nothing, and stops at the first exceeded limit.

use std::fmt;

use super::limits::{
    MESSAGE_BYTES, MESSAGE_DEPTH, MESSAGE_ELEMENTS, MESSAGE_MEMORY_BYTES, REGISTRATION_BYTES, REGISTRATION_ELEMENTS,
};

/// The memory-consuming fields of a message type.
#[derive(Debug)]
pub struct Shape {
    /// The size of its Rust type.
    pub bytes: usize,
    /// Its submessages and lists, by rising field number.
    pub fields: &'static [Field],
}

/// A submessage or a list.
#[derive(Debug)]
pub struct Field {
    /// The field number.
    pub number: u32,
    /// The field name.
    pub name: &'static str,
    /// The type of the field.
    pub kind: Kind,
}

/// The kind of a field that takes memory.
#[derive(Debug)]
pub enum Kind {
    /// A submessage, or one of a list of them.
    Message(&'static Shape),
    /// A submessage without fields known here.
    Plain,
    /// Text, which is copied out of the message.
    Text,
    /// A list of texts or byte strings.
    Texts,
    /// A list of numbers, packed or not.
    Numbers,
}

/// A message type that is received from outside.
pub trait Shaped {
    /// Its fields.
    const SHAPE: &'static Shape;
    /// Its limits.
    const MOST: Most = Most::MESSAGE;
}

/// The limits of a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    bytes: usize,
    elements: usize,
    memory: usize,
}

impl Most {
    /// Any message.
    pub const MESSAGE: Self = Self { bytes: MESSAGE_BYTES, elements: MESSAGE_ELEMENTS, memory: MESSAGE_MEMORY_BYTES };
    /// A message between an agent and a master.
    pub const REGISTRATION: Self =
        Self { bytes: REGISTRATION_BYTES, elements: REGISTRATION_ELEMENTS, memory: MESSAGE_MEMORY_BYTES };
    /// A reply to a request.
    pub const REPLY: Self = Self { bytes: usize::MAX, elements: usize::MAX, memory: usize::MAX };
}

mod shapes {
    use super::{Field, Kind, MAP_ENTRY_BYTES, Most, Shape, Shaped};

    include!("../proto/shapes.rs");
}

#[cfg(feature = "framework")]
impl<M: Shaped> crate::proto::codec::Measured for M {
    fn check(bytes: &[u8]) -> Result<(), String> {
        measure::<M>(bytes).map(drop).map_err(|refused| refused.to_string())
    }
}

/// The memory of a map entry besides its value.
pub const MAP_ENTRY_BYTES: usize = 64;
const TEXT_BYTES: usize = size_of::<String>();
/// The smallest memory of an allocation.
const ALLOCATION_BYTES: usize = 16;

/// The size of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The number of submessages and list entries.
    pub elements: usize,
    /// The approximate memory once decoded, besides the message's own bytes.
    pub memory: usize,
}

/// An error for bytes that are not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    path: Vec<&'static str>,
    problem: Problem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("has {0} bytes; a message has at most {1}")]
    Bytes(usize, usize),
    #[error("is element number {next}; a message has at most {0}", next = .0 + 1)]
    Elements(usize),
    #[error("would take more than {MESSAGE_MEMORY_BYTES} bytes of memory with all before it; send several messages")]
    Memory,
    #[error("lies more than {MESSAGE_DEPTH} submessages deep")]
    Depth,
    #[error("ends in the midst of a field")]
    Cut,
    #[error("has a field of wire type {0}, which is none")]
    WireType(u8),
    #[error("has a field with the number 0")]
    Number,
}

impl Refused {
    /// Returns whether the message is too large, rather than malformed.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.problem, Problem::Bytes(..) | Problem::Elements(_) | Problem::Memory)
    }
}

/// Formats `calls.accept.operations: is element number ...`.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return write!(f, "the message {}", self.problem);
        }
        // A path as deep as a message may be does not fit a line.
        let shown = &self.path[self.path.len().saturating_sub(SHOWN_DEPTH)..];
        let cut = if shown.len() < self.path.len() { "..." } else { "" };
        write!(f, "{cut}{}: {}", shown.join("."), self.problem)
    }
}

impl std::error::Error for Refused {}

const SHOWN_DEPTH: usize = 8;

/// Measures `bytes` as a message of that type.
///
/// # Errors
/// The field at which a limit is exceeded, or bytes that are not a message.
pub fn measure<M: Shaped>(bytes: &[u8]) -> Result<Size, Refused> {
    measure_shape(M::SHAPE, M::MOST, bytes)
}

fn measure_shape(shape: &'static Shape, most: Most, bytes: &[u8]) -> Result<Size, Refused> {
    if bytes.len() > most.bytes {
        return Err(Problem::Bytes(bytes.len(), most.bytes).into());
    }
    let mut walk = Walk { size: Size { elements: 0, memory: shape.bytes }, most };
    match walk.add_message(shape, bytes, 0) {
        Ok(()) => Ok(walk.size),
        Err(mut refused) => {
            refused.path.reverse();
            Err(refused)
        }
    }
}

struct Walk {
    size: Size,
    most: Most,
}

impl Walk {
    fn add_message(&mut self, shape: &'static Shape, mut bytes: &[u8], depth: usize) -> Result<(), Refused> {
        if depth > MESSAGE_DEPTH {
            return Err(Problem::Depth.into());
        }
        while !bytes.is_empty() {
            let (number, value) = next(&mut bytes)?;
            let Ok(at) = shape.fields.binary_search_by_key(&number, |field| field.number) else { continue };
            let field = &shape.fields[at];
            self.add_field(field, value, depth).map_err(|mut refused: Refused| {
                refused.path.push(field.name);
                refused
            })?;
        }
        Ok(())
    }

    fn add_field(&mut self, field: &Field, value: Value<'_>, depth: usize) -> Result<(), Refused> {
        match (&field.kind, value) {
            (Kind::Message(shape), Value::Bytes(bytes)) => {
                self.add(1, shape.bytes + ALLOCATION_BYTES)?;
                self.add_message(shape, bytes, depth + 1)
            }
            (Kind::Plain, Value::Bytes(_)) => self.add(1, ALLOCATION_BYTES),
            (Kind::Text, Value::Bytes(text)) => self.add(0, text.len()),
            (Kind::Texts, Value::Bytes(text)) => self.add(1, TEXT_BYTES + ALLOCATION_BYTES + text.len()),
            // A packed list: every byte may be a number.
            (Kind::Numbers, Value::Bytes(bytes)) => self.add(bytes.len(), bytes.len() * size_of::<u64>()),
            (Kind::Numbers, Value::Number) => self.add(1, size_of::<u64>()),
            // The decoder refuses these.
            (Kind::Message(_) | Kind::Plain | Kind::Text | Kind::Texts, Value::Number) => Ok(()),
        }
    }

    fn add(&mut self, elements: usize, memory: usize) -> Result<(), Refused> {
        self.size.elements += elements;
        self.size.memory += memory;
        if self.size.elements > self.most.elements {
            return Err(Problem::Elements(self.most.elements).into());
        }
        if self.size.memory > self.most.memory {
            return Err(Problem::Memory.into());
        }
        Ok(())
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { path: Vec::new(), problem }
    }
}

enum Value<'a> {
    Number,
    Bytes(&'a [u8]),
}

/// Takes the first field off `bytes`.
fn next<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Value<'a>), Problem> {
    let key = varint(bytes)?;
    let number = u32::try_from(key >> 3).map_err(|_too_large| Problem::Number)?;
    if number == 0 {
        return Err(Problem::Number);
    }
    let value = match key & 7 {
        0 => {
            varint(bytes)?;
            Value::Number
        }
        1 => {
            take(bytes, 8)?;
            Value::Number
        }
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_too_large| Problem::Cut)?;
            Value::Bytes(take(bytes, length)?)
        }
        5 => {
            take(bytes, 4)?;
            Value::Number
        }
        // Groups were never used in these messages.
        other => return Err(Problem::WireType(u8::try_from(other).unwrap_or(u8::MAX))),
    };
    Ok((number, value))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Problem> {
    let (head, rest) = bytes.split_at_checked(length).ok_or(Problem::Cut)?;
    *bytes = rest;
    Ok(head)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Problem> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(Problem::Cut)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Problem::Cut)
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
