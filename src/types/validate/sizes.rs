//! Validation of the lengths of texts and lists, against [`crate::types::limits`].

use super::{Invalid, each};
use crate::proto::v1::{Label, Labels};
use crate::types::limits::{LABEL_KEY_BYTES, LABEL_VALUE_BYTES, LABELS};

/// Rule: a text has at most so many bytes.
pub(super) fn text(field: &str, text: &str, most: usize) -> Result<(), Invalid> {
    bounded(field, "bytes", text.len(), most)
}

/// Validates an optional text.
pub(super) fn optional(field: &str, given: Option<&String>, most: usize) -> Result<(), Invalid> {
    given.map_or(Ok(()), |given| text(field, given, most))
}

/// Rule: a list has at most so many entries.
pub(crate) fn bounded(field: &str, unit: &str, given: usize, most: usize) -> Result<(), Invalid> {
    if given <= most {
        return Ok(());
    }
    Err(Invalid::new(field, format!("has {given} {unit}; at most {most} are accepted")))
}

/// Rule: the list of labels, each key and each value have a limit.
pub(super) fn labels(field: &str, labels: Option<&Labels>) -> Result<(), Invalid> {
    let Some(labels) = labels else { return Ok(()) };
    bounded(field, "labels", labels.labels.len(), LABELS)?;
    each("labels", &labels.labels, label).map_err(|error| error.under(field))
}

fn label(label: &Label) -> Result<(), Invalid> {
    text("key", &label.key, LABEL_KEY_BYTES)?;
    optional("value", label.value.as_ref(), LABEL_VALUE_BYTES)
}
