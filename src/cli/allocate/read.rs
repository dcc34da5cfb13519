//! Files of JSON, with errors that say where in which file.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde::de::DeserializeOwned;

use crate::cli::Failure;

/// A file larger than this is refused before it fills the memory: 256 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// What a file holds, with its name for errors.
#[derive(Debug)]
pub(super) struct Named<T> {
    pub(super) name: String,
    pub(super) value: T,
}

impl<T> Named<T> {
    pub(super) fn wrong(&self, problem: &dyn fmt::Display) -> Failure {
        Failure::Usage(format!("{}: {problem}", self.name))
    }
}

/// Reads a list out of a file, or out of standard input for `-`.
pub(super) fn list<T: DeserializeOwned>(path: &Path) -> Result<Named<Vec<T>>, Failure> {
    let (name, bytes) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), bounded(io::stdin().lock()))
    } else {
        (path.display().to_string(), File::open(path).and_then(bounded))
    };
    let bytes = bytes.map_err(|error| Failure::Usage(format!("{name}: cannot be read: {error}")))?;
    parse(name, &bytes)
}

/// The list that the bytes are; an element that makes no sense is named by its place and field.
pub(super) fn parse<T: DeserializeOwned>(name: String, bytes: &[u8]) -> Result<Named<Vec<T>>, Failure> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| wrong(&error.path().to_string(), error.inner()))
        .and_then(|value| json.end().map(|()| value).map_err(|error| error.to_string()));
    match value {
        Ok(value) => Ok(Named { name, value }),
        Err(problem) => Err(Failure::Usage(format!("{name}: {problem}"))),
    }
}

fn wrong(path: &str, error: &serde_json::Error) -> String {
    if path == "." { format!("{error}; a JSON array is wanted") } else { format!("{path}: {error}") }
}

fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", MAX_BYTES >> 20)));
    }
    Ok(bytes)
}
