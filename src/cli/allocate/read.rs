//! Reads JSON files; errors name the file and the position.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use serde::de::DeserializeOwned;

use crate::cli::Failure;

/// The largest file that is read into memory: 256 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// The content of a file, with its name for errors.
#[derive(Debug)]
pub(crate) struct Input {
    name: String,
    bytes: Vec<u8>,
}

impl Input {
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }

    pub(super) fn error(&self, problem: &dyn fmt::Display) -> Failure {
        Failure::Usage(format!("{}: {problem}", self.name))
    }

    /// Parses the list in the file; an error names the element's index and field.
    pub(super) fn list<T: DeserializeOwned>(&self) -> Result<Vec<T>, Failure> {
        let mut json = serde_json::Deserializer::from_slice(&self.bytes);
        serde_path_to_error::deserialize(&mut json)
            .map_err(|error| describe_error(&error.path().to_string(), error.inner()))
            .and_then(|value| json.end().map(|()| value).map_err(|error| error.to_string()))
            .map_err(|problem| self.error(&problem))
    }
}

/// Reads a file, or standard input for `-`.
pub(super) fn file(path: &Path) -> Result<Input, Failure> {
    let (name, bytes) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), bounded(io::stdin().lock()))
    } else {
        (path.display().to_string(), File::open(path).and_then(bounded))
    };
    let bytes = bytes.map_err(|error| Failure::Usage(format!("{name}: cannot be read: {error}")))?;
    Ok(Input { name, bytes })
}

fn describe_error(path: &str, error: &serde_json::Error) -> String {
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
