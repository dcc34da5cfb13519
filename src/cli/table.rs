//! Prints lists: a table for people, JSON for programs.

use comfy_table::{Row, Table, presets};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Failure, output};
use crate::{proto::v1, types::Resources};

/// An item of a list: a row of a table, or an object of a JSON array.
pub trait Listed: Serialize {
    /// The names of the columns.
    const COLUMNS: &'static [&'static str];

    /// The cells of the row.
    fn cells(&self) -> Vec<String>;
}

/// Writes `rows` to standard output.
///
/// # Errors
/// When standard output cannot be written. A closed pipe is no error.
pub fn print<L: Listed>(rows: &[L], json: bool) -> Result<(), Failure> {
    let text = if json { serde_json::to_string_pretty(rows).map_err(anyhow::Error::from)? } else { table(rows) };
    output::print(&text)
}

fn table<L: Listed>(rows: &[L]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(Row::from(L::COLUMNS));
    for row in rows {
        table.add_row(row.cells().iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Replaces control characters, which could move a terminal's cursor, with question marks.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    if text.is_empty() { "-".to_owned() } else { text.chars().map(shown).collect() }
}

/// Amounts by name, ports and sets in their text form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amounts(Resources);

impl Amounts {
    /// Parses the resources of a message; invalid ones count as nothing.
    #[must_use]
    pub fn read(resources: &[v1::Resource]) -> Self {
        Self(Resources::from_proto(resources).unwrap_or_default())
    }

    /// The cpus and the memory in MiB, as text.
    #[must_use]
    pub fn cpus_and_mem(&self) -> [String; 2] {
        [self.0.cpus().to_string(), self.0.mem_mib().to_string()]
    }

    /// Cpus and memory as text: used/total.
    #[must_use]
    pub fn of(&self, all: &Self) -> [String; 2] {
        let ([cpus, mem], [all_cpus, all_mem]) = (self.cpus_and_mem(), all.cpus_and_mem());
        [format!("{cpus}/{all_cpus}"), format!("{mem}/{all_mem}")]
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, amount) in self.0.quantities() {
            map.serialize_entry(&*name, &amount.as_f64())?;
        }
        let ports = self.0.ports();
        if !ports.is_empty() {
            map.serialize_entry("ports", &ports.to_string())?;
        }
        map.end()
    }
}

/// Formats a time span with one unit: `45s`, `12m`, `3h`, `9d`.
#[must_use]
pub fn age(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast saturates, which is what is wanted"
    )]
    let seconds = seconds as u64;
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pair(&'static str, &'static str);

    impl Listed for Pair {
        const COLUMNS: &'static [&'static str] = &["NAME", "STATE"];

        fn cells(&self) -> Vec<String> {
            vec![self.0.to_owned(), self.1.to_owned()]
        }
    }

    #[test]
    fn a_table_has_a_header_and_straight_columns() {
        let text = table(&[Pair("a", "running"), Pair("longer", "")]);
        assert_eq!(text, "NAME    STATE\na       running\nlonger  -");
        assert_eq!(table::<Pair>(&[]), "NAME  STATE");
    }

    #[test]
    fn a_name_cannot_control_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}1mc\nd"), "a?[2Jb?1mc?d");
    }

    #[test]
    fn amounts_are_numbers_for_programs() {
        let resources: Resources = "cpus:1.5;mem:64;ports:[1-3]".parse().expect("resources");
        let amounts = Amounts::read(&resources.to_proto());
        let json = serde_json::to_string(&amounts).expect("json");
        assert_eq!(json, r#"{"cpus":1.5,"mem":64.0,"ports":"[1-3]"}"#);
        assert_eq!(amounts.of(&amounts), ["1.5/1.5", "64/64"]);
    }

    #[test]
    fn an_age_has_one_unit() {
        assert_eq!([0.4, 119.9, 120.0, 7_200.0, 200_000.0, -1.0].map(age), ["0s", "119s", "2m", "2h", "2d", "0s"]);
    }
}
