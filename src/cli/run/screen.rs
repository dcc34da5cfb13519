//! Filters the output of tasks: removes terminal sequences, and prefixes lines with the task's name.
//!
//! It works on pieces of any size: a sequence or a line may be spread over several of them.

/// The longest line that is buffered until its end, in bytes.
const MAX_LINE_BYTES: usize = 64 << 10;
const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
/// First byte of U+0080 to U+00BF in UTF-8; the first half of those are controls.
const C1_LEAD: u8 = 0xc2;
/// Second byte of U+009B, which begins a sequence as ESC [ does.
const C1_SEQUENCE: u8 = 0x9b;

/// Removes escape sequences and control characters other than tab and line ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and an intermediate byte, up to the final one.
    Intermediate,
    /// After ESC [ up to the final byte.
    Sequence,
    /// After ESC ], ESC P, ESC X, ESC ^ or ESC _ up to BEL or ESC \.
    Payload,
    /// After an ESC in there.
    PayloadEscape,
    /// After the first byte of what may be a control in UTF-8.
    C1,
}

impl Plain {
    /// Returns `bytes` without them.
    pub(crate) fn strip(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        for byte in bytes {
            self.state = self.next(*byte, &mut out);
        }
        out
    }

    fn next(&self, byte: u8, out: &mut Vec<u8>) -> State {
        match self.state {
            State::Payload if byte == ESCAPE => State::PayloadEscape,
            State::Payload if byte != BELL => State::Payload,
            State::PayloadEscape if byte != b'\\' => State::Payload,
            // Anywhere else ESC starts anew.
            _unfinished if byte == ESCAPE => State::Escape,
            State::Text => text(byte, out),
            State::C1 => second_of_two(byte, out),
            State::Escape => escaped(byte),
            State::Intermediate if (0x20..=0x2f).contains(&byte) => State::Intermediate,
            State::Sequence if (0x20..=0x3f).contains(&byte) => State::Sequence,
            State::Intermediate | State::Sequence | State::Payload | State::PayloadEscape => State::Text,
        }
    }
}

fn text(byte: u8, out: &mut Vec<u8>) -> State {
    match byte {
        C1_LEAD => return State::C1,
        b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80.. => out.push(byte),
        _ => {}
    }
    State::Text
}

fn second_of_two(byte: u8, out: &mut Vec<u8>) -> State {
    match byte {
        C1_SEQUENCE => State::Sequence,
        0x80..=0x9f => State::Text,
        0xa0..=0xbf => {
            out.extend([C1_LEAD, byte]);
            State::Text
        }
        // A first byte alone is no character, and what follows could make a control of it.
        _ => text(byte, out),
    }
}

fn escaped(byte: u8) -> State {
    match byte {
        b'[' => State::Sequence,
        b']' | b'P' | b'X' | b'^' | b'_' => State::Payload,
        0x20..=0x2f => State::Intermediate,
        _ => State::Text,
    }
}

/// Prefixes every line with a name, and buffers a line until its end.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    prefix: String,
    line: Vec<u8>,
}

impl Marked {
    pub(crate) fn new(name: &str) -> Self {
        Self { prefix: format!("{name} | "), line: Vec::new() }
    }

    /// The lines that are now complete.
    pub(crate) fn lines(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= MAX_LINE_BYTES {
                self.flush_into(&mut out);
            }
        }
        out
    }

    /// The last, incomplete line with a line end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.line.is_empty() {
            self.flush_into(&mut out);
        }
        out
    }

    fn flush_into(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.prefix.as_bytes());
        out.append(&mut self.line);
        if !out.ends_with(b"\n") {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(text: &str, piece: usize) -> String {
        let mut plain = Plain::default();
        let pieces = text.as_bytes().chunks(piece).flat_map(|piece| plain.strip(piece)).collect();
        String::from_utf8(pieces).expect("what is left is text")
    }

    #[test]
    fn terminal_sequences_are_removed_however_they_are_split() {
        for (text, left) in [
            ("plain\ttext\r\n", "plain\ttext\r\n"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[?1049h\u{1b}[2J\u{1b}[1;1Hwiped", "wiped"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}P1$r\u{1b}\\dcs", "dcs"),
            ("\u{1b}(Bcharset\u{1b}c", "charset"),
            ("\u{9b}31mc1", "c1"),
            ("\u{85}next", "next"),
            ("b\u{7}e\u{8}ll\0\u{7f}", "bell"),
            ("grün £ ©", "grün £ ©"),
            ("cut\u{1b}[", "cut"),
            ("\u{1b}\u{1b}[1mtwice", "twice"),
        ] {
            for piece in [1, 2, 3, 100] {
                assert_eq!(stripped(text, piece), left, "{text:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn invalid_utf_8_does_not_hide_control_characters() {
        for bytes in [&b"\xc2\xc2\x9b1m"[..], b"\xc2\x9b\xc2\x07\x9b", b"\xc2\x07\x9b", b"\xc2\x00", b"\xc2\x1b[1m"] {
            let left = Plain::default().strip(bytes);
            let steers = |pair: &[u8]| pair[0] == 0xc2 && pair[1] < 0xa0;
            assert!(
                !left.windows(2).any(steers) && !left.iter().any(|byte| *byte < b' '),
                "{bytes:x?} leaves {left:x?}"
            );
        }
    }

    #[test]
    fn every_line_is_prefixed_and_not_split() {
        let mut marked = Marked::new("web.1");
        assert_eq!(marked.lines(b"one\ntw"), b"web.1 | one\n");
        assert_eq!(marked.lines(b"o\n\nthree"), b"web.1 | two\nweb.1 | \n");
        assert_eq!(marked.rest(), b"web.1 | three\n");
        assert_eq!(marked.rest(), b"");
    }

    #[test]
    fn a_line_without_end_is_not_buffered_without_limit() {
        let mut marked = Marked::new("a");
        let out = marked.lines(&vec![b'x'; MAX_LINE_BYTES]);
        assert_eq!(out.len(), "a | ".len() + MAX_LINE_BYTES + 1);
    }
}
