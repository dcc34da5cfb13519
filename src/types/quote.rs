//! Quoting of refused values in errors: escaped, and at most one line.

use std::fmt::{self, Write};

use super::limits::QUOTED_CHARS;

/// Formats the first [`QUOTED_CHARS`] characters of a value, control characters escaped, then `...` if there are more.
///
/// The rest is never written, so an error about 60 MiB takes no 60 MiB.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<T>(pub T);

/// Returns the same as text.
pub fn quoted(value: impl fmt::Display) -> String {
    Quoted(value).to_string()
}

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line { out: f, left: QUOTED_CHARS, failed: false };
        let outcome = write!(line, "{}", self.0);
        match (outcome, line.failed) {
            (Ok(()), _) => Ok(()),
            (Err(_), true) => Err(fmt::Error),
            (Err(_), false) => f.write_str("..."),
        }
    }
}

/// A writer that accepts so many characters and then fails, which ends the formatting.
struct Line<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    left: usize,
    /// Whether the underlying writer failed, rather than the limit being reached.
    failed: bool,
}

impl Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            let written = if character.is_control() {
                write!(self.out, "{}", character.escape_debug())
            } else {
                self.out.write_char(character)
            };
            self.failed = written.is_err();
            written?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_quoted_whole_and_one_character_more_is_cut() {
        let line = "ü".repeat(QUOTED_CHARS);
        assert_eq!(quoted(&line), line);
        assert_eq!(quoted(format!("{line}x")), format!("{line}..."));
        assert_eq!(quoted("a\nINFO b\u{7f}"), "a\\nINFO b\\u{7f}");
    }

    #[test]
    fn what_follows_the_line_is_never_written_out() {
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                loop {
                    f.write_str("abc")?;
                }
            }
        }
        assert_eq!(quoted(Endless).len(), QUOTED_CHARS + 3);
    }
}
