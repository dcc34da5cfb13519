//! Attributes of an agent, which are not consumed: `rack:r1;zone:a`.
//!
//! An ordered list in which a name may occur more than once. Values are scalars, ranges or text, never sets.

use std::fmt;
use std::str::FromStr;

use super::limits::{ATTRIBUTE_NAME_BYTES, ATTRIBUTE_TEXT_BYTES, ATTRIBUTES};
use super::text_value::{TextValue, ValueError};
use super::{Milli, Ranges, quoted};
use crate::proto::v1;
use crate::proto::v1::value;

/// The attributes of an agent, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<Attribute>);

/// One attribute: a name and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The name: `rack`, `zone`, ...
    pub name: String,
    /// The value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AttributeValue {
    /// A number.
    Scalar(Milli),
    /// Whole numbers.
    Ranges(Ranges),
    /// Anything else.
    Text(String),
}

/// An error for an invalid attribute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("attribute `{attribute}`: {problem}")]
pub struct AttributeError {
    /// The part of the text at fault, or `[2] name` for the third of a list.
    pub attribute: String,
    /// What is wrong with it, and what is expected.
    pub problem: String,
}

impl Attributes {
    /// Appends an attribute.
    pub fn push(&mut self, name: impl Into<String>, value: AttributeValue) {
        self.0.push(Attribute { name: name.into(), value });
    }

    /// Iterates over all attributes in order.
    pub fn iter(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter()
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the first value of that name, by which instances are counted.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.0.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    /// Iterates over all values of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a AttributeValue> {
        self.0.iter().filter(move |attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    /// Returns the first value of that name if it is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name)? {
            AttributeValue::Text(text) => Some(text),
            AttributeValue::Scalar(_) | AttributeValue::Ranges(_) => None,
        }
    }

    /// Converts from the protobuf form.
    ///
    /// # Errors
    /// An attribute has no name, is of type SET, has no value of its type or is too long; or there are too many.
    pub fn from_proto(list: &[v1::Attribute]) -> Result<Self, AttributeError> {
        check_count(list.len())?;
        let read = |(at, message): (usize, &v1::Attribute)| {
            let value = read_value(message).map_err(|problem| AttributeError {
                attribute: format!("[{at}] {}", quoted(&message.name)),
                problem,
            })?;
            Ok(Attribute { name: message.name.clone(), value })
        };
        list.iter().enumerate().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Converts to the protobuf form.
    #[must_use]
    pub fn to_proto(&self) -> Vec<v1::Attribute> {
        self.0.iter().map(Attribute::to_proto).collect()
    }
}

fn check_count(attributes: usize) -> Result<(), AttributeError> {
    if attributes > ATTRIBUTES {
        let problem = format!("are {attributes}; at most {ATTRIBUTES} are accepted");
        return Err(AttributeError { attribute: "all".to_owned(), problem });
    }
    Ok(())
}

fn read_value(message: &v1::Attribute) -> Result<AttributeValue, String> {
    if message.name.is_empty() {
        return Err("has no name".to_owned());
    }
    at_most("name", message.name.len(), ATTRIBUTE_NAME_BYTES)?;
    let missing = || format!("has no value of its type {}", message.r#type().as_str_name());
    match value::Type::try_from(message.r#type).map_err(|error| error.to_string())? {
        value::Type::Scalar => {
            let scalar = message.scalar.ok_or_else(missing)?;
            Milli::from_f64(scalar.value).map(AttributeValue::Scalar).map_err(|error| error.to_string())
        }
        value::Type::Ranges => {
            let ranges = message.ranges.as_ref().ok_or_else(missing)?;
            Ranges::from_proto(ranges).map(AttributeValue::Ranges).map_err(|error| error.to_string())
        }
        value::Type::Text => {
            let text = message.text.as_ref().ok_or_else(missing)?;
            at_most("text", text.value.len(), ATTRIBUTE_TEXT_BYTES)?;
            Ok(AttributeValue::Text(text.value.clone()))
        }
        value::Type::Set => Err("is a set; give a number, [1-2] or text".to_owned()),
    }
}

fn at_most(what: &str, bytes: usize, most: usize) -> Result<(), String> {
    if bytes > most { Err(format!("has a {what} of {bytes} bytes; at most {most} are accepted")) } else { Ok(()) }
}

impl Attribute {
    fn to_proto(&self) -> v1::Attribute {
        let mut message = v1::Attribute { name: self.name.clone(), ..v1::Attribute::default() };
        match &self.value {
            AttributeValue::Scalar(amount) => {
                message.set_type(value::Type::Scalar);
                message.scalar = Some(value::Scalar { value: amount.as_f64() });
            }
            AttributeValue::Ranges(ranges) => {
                message.set_type(value::Type::Ranges);
                message.ranges = Some(ranges.to_proto());
            }
            AttributeValue::Text(text) => {
                message.set_type(value::Type::Text);
                message.text = Some(value::Text { value: text.clone() });
            }
        }
        message
    }
}

/// Parses `name:value` entries joined by semicolons; only the first colon of each splits. A value is a number only if
/// the number prints as the same text.
impl FromStr for Attributes {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let entries = text.split([';', '\n']).map(str::trim).filter(|entry| !entry.is_empty());
        check_count(entries.clone().count())?;
        let parse =
            |entry: &str| parse_entry(entry).map_err(|problem| AttributeError { attribute: quoted(entry), problem });
        entries.map(parse).collect::<Result<_, _>>().map(Self)
    }
}

fn parse_entry(entry: &str) -> Result<Attribute, String> {
    let (name, value) = entry.split_once(':').ok_or("has no `:`; write it like rack:r1")?;
    if name.trim().is_empty() {
        return Err("has no name; write it like rack:r1".to_owned());
    }
    let value = match TextValue::parse(value) {
        // `1.10`, `007` and `12345e67` are versions, codes and revisions: parsing them as numbers would change them.
        Ok(TextValue::Scalar(amount)) if amount.to_string() == value.trim() => AttributeValue::Scalar(amount),
        Ok(TextValue::Scalar(_)) | Err(ValueError::Quantity(_)) => AttributeValue::Text(value.trim().to_owned()),
        Ok(TextValue::Ranges(ranges)) => AttributeValue::Ranges(ranges),
        Ok(TextValue::Text(text)) => AttributeValue::Text(text),
        Ok(TextValue::Set(_)) => return Err("is a set; give a number, [1-2] or text".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let attribute = Attribute { name: name.trim().to_owned(), value };
    // The limits are those of the protobuf form.
    read_value(&attribute.to_proto())?;
    Ok(attribute)
}

/// Formats `rack:r1;zone:a`, as it is parsed.
impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, attribute) in self.0.iter().enumerate() {
            write!(f, "{}{}:{}", if at == 0 { "" } else { ";" }, attribute.name, attribute.value)?;
        }
        Ok(())
    }
}

impl fmt::Display for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(amount) => write!(f, "{amount}"),
            Self::Ranges(ranges) => write!(f, "{ranges}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(text: &str) -> Attributes {
        text.parse().unwrap()
    }

    fn text(text: &str) -> AttributeValue {
        AttributeValue::Text(text.to_owned())
    }

    #[test]
    fn the_form_decides_the_type() {
        let all = attributes("cpus:45.55;ports:[10000-20000, 30000-50000];rack:rack1,rack2");
        assert_eq!(all.get("cpus"), Some(&AttributeValue::Scalar(Milli::from_raw(45_550))));
        assert_eq!(all.get("ports").unwrap().to_string(), "[10000-20000,30000-50000]");
        assert_eq!(all.text("rack"), Some("rack1,rack2"));
        assert_eq!((all.get("zone"), all.text("cpus")), (None, None));
    }

    #[test]
    fn the_text_form_has_the_limits_of_the_message_form() {
        let parse = |text: &str| text.parse::<Attributes>();
        assert!(parse(&format!("{}:1", "n".repeat(ATTRIBUTE_NAME_BYTES))).is_ok());
        let named = parse(&format!("{}:1", "n".repeat(ATTRIBUTE_NAME_BYTES + 1))).unwrap_err();
        assert_eq!(named.problem, "has a name of 256 bytes; at most 255 are accepted");
        let long = parse(&format!("a:{}", "x".repeat(ATTRIBUTE_TEXT_BYTES + 1))).unwrap_err();
        assert_eq!(long.problem, "has a text of 4097 bytes; at most 4096 are accepted");
        assert!(parse(&"a:x;".repeat(ATTRIBUTES)).is_ok());
        assert_eq!(parse(&"a:x;".repeat(ATTRIBUTES + 1)).unwrap_err().problem, "are 1025; at most 1024 are accepted");
    }

    #[test]
    fn what_does_not_print_back_the_same_stays_text() {
        let codes = [
            "12345e67",
            "1764496032123456",
            "007",
            "1.10",
            "1.5015",
            "0.00001",
            "1e3",
            "8.0",
            "+5",
            ".5",
            "5.",
            "-0",
            "7.63918e-313",
            "99999999999999999999",
            "0x10",
            "1_000",
        ];
        for code in codes {
            let all = attributes(&format!("rev: {code} ;zone:a"));
            assert_eq!(all.text("rev"), Some(code), "{all:?}");
            assert_eq!(all.to_string(), format!("rev:{code};zone:a"));
        }
        for number in ["0", "5", "45.55", "0.001", "8796093022207.999"] {
            let all = attributes(&format!("n:{number}"));
            assert!(matches!(all.get("n"), Some(AttributeValue::Scalar(_))), "{number}");
            assert_eq!(Attributes::from_proto(&all.to_proto()).unwrap().to_string(), format!("n:{number}"));
        }
    }

    #[test]
    fn only_the_first_colon_divides() {
        let all = attributes("attr1:foo:bar;attr2:baz:qux:");
        assert_eq!((all.text("attr1"), all.text("attr2")), (Some("foo:bar"), Some("baz:qux:")));
    }

    #[test]
    fn order_and_duplicates_are_kept() {
        let all = attributes("b:1;a:x y;b:2;b:1");
        assert_eq!(all.all("b").map(AttributeValue::to_string).collect::<Vec<_>>(), ["1", "2", "1"]);
        assert_eq!(all.to_string(), "b:1;a:x y;b:2;b:1");
        assert_ne!(all, attributes("a:x y;b:1;b:2;b:1"));
    }

    #[test]
    fn sets_and_half_written_entries_are_refused() {
        for wrong in ["a:{x}", "a", ":x", "a:", "a:[1-2", "a:1;b"] {
            assert!(wrong.parse::<Attributes>().is_err(), "{wrong}");
        }
        let error = "rack:{a}".parse::<Attributes>().unwrap_err();
        assert_eq!(error.to_string(), "attribute `rack:{a}`: is a set; give a number, [1-2] or text");
    }

    #[test]
    fn messages_read_back_the_same() {
        let all = attributes("cpus:45.55;ports:[1-2];rack:r1;rack:r2");
        assert_eq!(Attributes::from_proto(&all.to_proto()), Ok(all));
        assert!(Attributes::from_proto(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_message_without_the_value_of_its_type_is_refused() {
        for kind in [0, 1, 2, 3, 9] {
            let bare = v1::Attribute { name: "x".to_owned(), r#type: kind, ..v1::Attribute::default() };
            let error = Attributes::from_proto(&[bare]).unwrap_err().to_string();
            assert!(error.starts_with("attribute `[0] x`: "), "{error}");
        }
        let mut all = Attributes::default();
        all.push("x", text("y"));
        let unnamed = v1::Attribute { name: String::new(), ..all.to_proto().remove(0) };
        assert!(Attributes::from_proto(&[unnamed]).is_err());
    }
}
