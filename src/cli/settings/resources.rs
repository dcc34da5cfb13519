//! Parses `--resources`: text, a JSON array of Mesos' `Resource` messages, or the path of a file with either.
//!
//! All three become a [`DeclaredResources`]. A flag declares plain amounts, disks and reservations. Volumes and
//! revocable or shared resources are created by operations only, so the JSON form has no fields for them.

use std::{fs::File, io::Read as _, path::Path};

use serde::Deserialize;

use super::SettingsError;
use crate::{
    proto::v1::{
        self, Label, Labels,
        resource::{
            DiskInfo, ReservationInfo,
            disk_info::{Source, source},
            reservation_info,
        },
        value,
    },
    types::DeclaredResources,
};

const NAME: &str = "--resources";
const EXAMPLE: &str = "cpus:8;mem(web):8192;ports:[31000-32000]";
/// The longest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Parses a setting of resources; a missing or empty one declares nothing.
pub(crate) fn resources(text: Option<&str>, default_role: Option<&str>) -> Result<DeclaredResources, SettingsError> {
    let text = text.unwrap_or_default().trim();
    let default_role = default_role.unwrap_or("*");
    match text.strip_prefix("file://").or_else(|| text.starts_with('/').then_some(text)) {
        Some(path) => {
            let content = read(Path::new(path)).map_err(|problem| SettingsError::invalid(NAME, text, &problem))?;
            parse(content.trim(), default_role).map_err(|problem| SettingsError::invalid(NAME, text, &problem))
        }
        None => parse(text, default_role)
            .map_err(|problem| SettingsError::invalid(NAME, text, &format!("{problem}; for example '{EXAMPLE}'"))),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut content = String::new();
    let file = File::open(path).map_err(|error| format!("cannot open the file: {error}"))?;
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut content);
    let length = length.map_err(|error| format!("cannot read the file: {error}"))?;
    if length as u64 > MAX_FILE_BYTES {
        return Err(format!("the file is larger than {MAX_FILE_BYTES} bytes"));
    }
    Ok(content)
}

fn parse(text: &str, default_role: &str) -> Result<DeclaredResources, String> {
    if !text.starts_with('[') {
        return DeclaredResources::parse(text, default_role).map_err(|error| error.to_string());
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let items: Vec<Item> = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| format!("{}: {}", error.path(), error.inner()))
        .and_then(|items| json.end().map(|()| items).map_err(|error| error.to_string()))?;
    let messages: Vec<v1::Resource> = items.into_iter().map(|item| item.message(default_role)).collect();
    DeclaredResources::from_proto(&messages).map_err(|error| error.to_string())
}

/// A `Resource` as Mesos writes it in JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    name: String,
    r#type: Type,
    scalar: Option<Scalar>,
    ranges: Option<Ranges>,
    set: Option<Set>,
    role: Option<String>,
    reservation: Option<Reservation>,
    #[serde(default)]
    reservations: Vec<Reservation>,
    disk: Option<Disk>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Type {
    Scalar,
    Ranges,
    Set,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scalar {
    value: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ranges {
    #[serde(default)]
    range: Vec<Range>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    begin: u64,
    end: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    #[serde(default)]
    item: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reservation {
    r#type: Option<ReservationType>,
    role: Option<String>,
    principal: Option<String>,
    labels: Option<LabelList>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ReservationType {
    Static,
    Dynamic,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelList {
    labels: Vec<LabelText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LabelText {
    key: String,
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Disk {
    source: DiskSource,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DiskSource {
    r#type: DiskType,
    path: Option<Root>,
    mount: Option<Root>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum DiskType {
    Path,
    Mount,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    root: String,
}

impl Item {
    #[expect(deprecated, reason = "the old format has the role in the item itself")]
    fn message(self, default_role: &str) -> v1::Resource {
        let kind = match self.r#type {
            Type::Scalar => value::Type::Scalar,
            Type::Ranges => value::Type::Ranges,
            Type::Set => value::Type::Set,
        };
        let range = |range: Range| value::Range { begin: range.begin, end: range.end };
        let role = self.role.or_else(|| self.reservations.is_empty().then(|| default_role.to_owned()));
        v1::Resource {
            name: self.name,
            r#type: kind.into(),
            scalar: self.scalar.map(|scalar| value::Scalar { value: scalar.value }),
            ranges: self.ranges.map(|ranges| value::Ranges { range: ranges.range.into_iter().map(range).collect() }),
            set: self.set.map(|set| value::Set { item: set.item }),
            role,
            reservation: self.reservation.map(|reservation| Box::new(reservation.message())),
            reservations: self.reservations.into_iter().map(Reservation::message).collect(),
            disk: self.disk.map(|disk| Box::new(disk.source.message())),
            ..v1::Resource::default()
        }
    }
}

impl Reservation {
    fn message(self) -> ReservationInfo {
        let kind = self.r#type.map(|kind| match kind {
            ReservationType::Static => reservation_info::Type::Static,
            ReservationType::Dynamic => reservation_info::Type::Dynamic,
        });
        let label = |label: LabelText| Label { key: label.key, value: label.value };
        let labels = self.labels.map(|list| Labels { labels: list.labels.into_iter().map(label).collect() });
        ReservationInfo { r#type: kind.map(Into::into), role: self.role, principal: self.principal, labels }
    }
}

impl DiskSource {
    fn message(self) -> DiskInfo {
        let kind = match self.r#type {
            DiskType::Path => source::Type::Path,
            DiskType::Mount => source::Type::Mount,
        };
        let path = self.path.map(|at| source::Path { root: Some(at.root) });
        let mount = self.mount.map(|at| source::Mount { root: Some(at.root) });
        let source = Source { r#type: kind.into(), path, mount, ..Source::default() };
        DiskInfo { source: Some(Box::new(source)), ..DiskInfo::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> DeclaredResources {
        resources(Some(text), None).unwrap_or_else(|error| panic!("{error}"))
    }

    fn error(text: &str) -> String {
        resources(Some(text), None).expect_err(text).to_string()
    }

    #[test]
    fn nothing_and_an_empty_text_declare_nothing() {
        for text in [None, Some(""), Some("  "), Some(";"), Some("[]")] {
            assert_eq!(resources(text, None).expect("nothing"), DeclaredResources::default(), "{text:?}");
        }
    }

    #[test]
    fn json_declares_what_text_does_and_more() {
        let json = r#"[
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 2}, "role": "web"},
            {"name": "mem", "type": "SCALAR", "scalar": {"value": 0}},
            {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 1, "end": 2}]},
             "reservations": [{"type": "STATIC", "role": "eng", "principal": "p"}]},
            {"name": "tags", "type": "SET", "set": {"item": ["a"]},
             "reservations": [{"type": "STATIC", "role": "eng"}, {"type": "DYNAMIC", "role": "eng/web",
              "labels": {"labels": [{"key": "k", "value": "v"}]}}]},
            {"name": "disk", "type": "SCALAR", "scalar": {"value": 5},
             "disk": {"source": {"type": "MOUNT", "mount": {"root": "/mnt"}}}}
        ]"#;
        let all = read(json);
        assert_eq!(
            all.resources().to_string(),
            "cpus(reservations: [(STATIC,web)]):2; disk[MOUNT:/mnt]:5; ports(reservations: [(STATIC,eng,p)]):[1-2]; \
             tags(reservations: [(STATIC,eng),(DYNAMIC,eng/web,{k: v})]):{a}"
        );
        assert!(all.mentions("mem") && !all.mentions("gpus"));
    }

    #[test]
    fn json_and_text_take_the_same_default_role() {
        let json = r#"[{"name": "cpus", "type": "SCALAR", "scalar": {"value": 2}}]"#;
        for text in ["cpus:2", json] {
            let all = resources(Some(text), Some("web")).expect("a role");
            assert_eq!(all.resources().to_string(), "cpus(reservations: [(STATIC,web)]):2");
        }
    }

    #[test]
    fn a_file_holds_either_form() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("resources");
        for (content, cpus) in
            [("cpus:2\nmem:0\n", "2"), ("\n[{\"name\":\"cpus\",\"type\":\"SCALAR\",\"scalar\":{\"value\":3}}]", "3")]
        {
            std::fs::write(&path, content).expect("a file");
            for name in [path.display().to_string(), format!("file://{}", path.display())] {
                assert_eq!(read(&name).resources().cpus().to_string(), cpus);
            }
        }
        std::fs::write(&path, "cpus:many").expect("a file");
        let text = error(&path.display().to_string());
        assert!(text.contains("resources\": `cpus:many`: "), "{text}");
        assert!(error("/no/such/file").starts_with("--resources \"/no/such/file\": cannot open the file: "));
        assert!(error(&folder.path().display().to_string()).contains("cannot read the file: "));
        std::fs::write(&path, "x".repeat((1 << 20) + 1)).expect("a file");
        assert!(error(&path.display().to_string()).ends_with("the file is larger than 1048576 bytes"));
    }

    #[test]
    fn an_error_in_json_names_its_position() {
        for (json, wanted) in [
            (r#"[{"name": "cpus"}]"#, "[0]: missing field `type`"),
            (r#"[{"name": "cpus", "type": "SCALAR"}]"#, "[0].scalar: is missing"),
            (r#"[{"name": "cpus", "type": "TEXT"}]"#, "[0].type: unknown variant `TEXT`"),
            (r#"[{"name": "cpus", "type": "SCALAR", "scalar": {"value": -1}}]"#, "[0].scalar: -1 is negative"),
            (r#"[{"name": "cpus", "type": "SCALAR", "revocable": {}}]"#, "[0].revocable: unknown field `revocable`"),
            (r#"[{"name": "x", "type": "SET", "set": {"item": ["a", "a"]}}]"#, "[0].set: `a` is in it twice"),
            ("[} ", "[0]: expected value"),
            ("[] []", "trailing characters"),
        ] {
            let text = error(json);
            assert!(text.contains(wanted), "{text}");
        }
    }
}
