//! The parser of constraints; the documentation of [`Constraint`] has the grammar.

use std::str::FromStr;

use super::rule::{Neighbours, Order, Pattern, Rule, Test};
use super::version::Bounds;
use super::{Constraint, ConstraintError, MAX_TEXT_BYTES};

/// The words that begin a rule which is not an attribute test.
pub(super) const RULE_WORDS: [&str; 8] = ["unique", "at", "spread", "group", "with", "avoid", "exclusive", "prefer"];

const TESTS: &str = "=, !=, <, <=, >, >=, ~, in, not in, regexp, version, semver, contains all, contains any, is set or \
                     is not set";

/// Returns whether a character may be in a word without quotes.
pub(super) fn is_bare(character: char) -> bool {
    !character.is_whitespace()
        && !character.is_control()
        && !matches!(character, ',' | '"' | '\\' | '=' | '!' | '<' | '>' | '~')
}

impl FromStr for Constraint {
    type Err = ConstraintError;

    fn from_str(text: &str) -> Result<Self, ConstraintError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(ConstraintError::TooLong { bytes: text.len() });
        }
        let mut reader = Reader { text, at: 0 };
        let weight = if reader.word("prefer") { Some(reader.weight()?) } else { None };
        let rule = reader.rule()?;
        reader.end()?;
        let constraint = Self { rule, weight };
        constraint.check().map(|()| constraint)
    }
}

/// A position in a text. A failed match does not move it.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rule(&mut self) -> Result<Rule, ConstraintError> {
        if self.word("unique") {
            return Ok(Rule::PerValue { attribute: self.attribute()?, limit: 1 });
        }
        if self.word("at") {
            self.expect("most")?;
            let limit = self.number("a number of instances")?;
            self.expect("per")?;
            return Ok(Rule::PerValue { attribute: self.attribute()?, limit });
        }
        if self.word("spread") {
            return Ok(Rule::Spread { attribute: self.attribute()?, targets: self.targets()? });
        }
        if self.word("group") {
            self.expect("by")?;
            let attribute = self.attribute()?;
            let skew = if self.word("skew") { self.number("a number of instances")? } else { 1 };
            return Ok(Rule::GroupBy { attribute, skew });
        }
        if self.word("with") {
            return self.neighbours().map(Rule::With);
        }
        if self.word("avoid") {
            return self.neighbours().map(Rule::Avoid);
        }
        if self.word("exclusive") {
            return Ok(Rule::Exclusive);
        }
        Ok(Rule::Attribute { name: self.attribute()?, test: self.test()? })
    }

    fn test(&mut self) -> Result<Test, ConstraintError> {
        let by_symbol = self.symbol_test()?;
        if let Some(test) = by_symbol {
            return Ok(test);
        }
        if self.word("in") {
            return self.list().map(Test::OneOf);
        }
        if self.word("not") {
            self.expect("in")?;
            return self.list().map(Test::NoneOf);
        }
        if self.word("regexp") {
            return self.pattern();
        }
        if self.word("version") {
            return self.rest("versions like >= 5.10, < 7").map(|text| Test::Version(Bounds::lenient(text)));
        }
        if self.word("semver") {
            return self.rest("versions like >= 1.2.3").map(|text| Test::Semver(Bounds::strict(text)));
        }
        if self.word("contains") {
            let all = self.word("all");
            if !all && !self.word("any") {
                return Err(self.expected("all or any"));
            }
            return self.list().map(if all { Test::ContainsAll } else { Test::ContainsAny });
        }
        if self.word("is") {
            let test = if self.word("not") { Test::NotSet } else { Test::Set };
            return self.expect("set").map(|()| test);
        }
        Err(self.expected(TESTS))
    }

    /// Parses tests that are written with signs, the longer signs first.
    fn symbol_test(&mut self) -> Result<Option<Test>, ConstraintError> {
        let orders =
            [("<=", Order::LessOrEqual), (">=", Order::GreaterOrEqual), ("<", Order::Less), (">", Order::Greater)];
        if self.symbol("!=") {
            return self.value().map(|value| Some(Test::NoneOf(vec![value])));
        }
        if self.symbol("==") || self.symbol("=") {
            return self.value().map(|value| Some(Test::OneOf(vec![value])));
        }
        if self.symbol("~") {
            return self.pattern().map(Some);
        }
        let found = orders.into_iter().find(|(sign, _)| self.symbol(sign));
        found.map(|(_, order)| self.value().map(|bound| Test::Order(order, bound))).transpose()
    }

    fn pattern(&mut self) -> Result<Test, ConstraintError> {
        let text = self.rest("a /pattern/")?;
        let inner = text.strip_prefix('/').and_then(|text| text.strip_suffix('/'));
        Ok(Test::Matches(Pattern::new(inner.unwrap_or(text))))
    }

    fn neighbours(&mut self) -> Result<Neighbours, ConstraintError> {
        self.expect("label")?;
        let key = self.text("the key of a label")?;
        let value = if self.symbol("=") { Some(self.value()?) } else { None };
        let same = if self.word("on") {
            self.expect("same")?;
            Some(self.attribute()?)
        } else {
            None
        };
        Ok(Neighbours { key, value, same })
    }

    fn targets(&mut self) -> Result<Vec<(String, u32)>, ConstraintError> {
        let mut targets = Vec::new();
        while !self.peek().is_empty() {
            let value = self.value()?;
            let percent = self.number("a share like 60%")?;
            if !self.symbol("%") {
                return Err(self.expected("%"));
            }
            targets.push((value, percent));
        }
        Ok(targets)
    }

    fn weight(&mut self) -> Result<i32, ConstraintError> {
        let rest = self.peek();
        let length =
            rest.bytes().enumerate().take_while(|&(at, b)| b.is_ascii_digit() || (at == 0 && b == b'-')).count();
        let weight = rest[..length].parse().ok().ok_or_else(|| self.expected("a weight from -100 to 100"))?;
        self.advance(length);
        if self.symbol(":") { Ok(weight) } else { Err(self.expected(":")) }
    }

    fn number(&mut self, what: &'static str) -> Result<u32, ConstraintError> {
        let rest = self.peek();
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[..length].parse().ok().ok_or_else(|| self.expected(what))?;
        self.advance(length);
        Ok(number)
    }

    fn list(&mut self) -> Result<Vec<String>, ConstraintError> {
        let mut values = vec![self.value()?];
        while self.symbol(",") {
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn attribute(&mut self) -> Result<String, ConstraintError> {
        self.text("an attribute")
    }

    fn value(&mut self) -> Result<String, ConstraintError> {
        self.text("a value; quote one with spaces or signs")
    }

    /// Parses a word, or anything in quotes.
    fn text(&mut self, what: &'static str) -> Result<String, ConstraintError> {
        let rest = self.peek();
        if rest.starts_with('"') {
            return self.quoted();
        }
        let word = bare_prefix(rest);
        if word.is_empty() {
            return Err(self.expected(what));
        }
        self.advance(word.len());
        Ok(word.to_owned())
    }

    fn quoted(&mut self) -> Result<String, ConstraintError> {
        let rest = self.peek();
        let (mut text, mut escaped) = (String::new(), false);
        for (at, character) in rest.char_indices().skip(1) {
            match character {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => {
                    self.advance(at + 1);
                    return Ok(text);
                }
                _ => {
                    escaped = false;
                    text.push(character);
                }
            }
        }
        self.at = self.text.len();
        Err(self.expected("a closing quote"))
    }

    /// Returns the rest of the text, trimmed.
    fn rest(&mut self, what: &'static str) -> Result<&'a str, ConstraintError> {
        let rest = self.peek().trim_end();
        if rest.is_empty() {
            return Err(self.expected(what));
        }
        self.at = self.text.len();
        Ok(rest)
    }

    fn word(&mut self, word: &str) -> bool {
        let found = bare_prefix(self.peek()) == word;
        self.advance(if found { word.len() } else { 0 });
        found
    }

    fn expect(&mut self, word: &'static str) -> Result<(), ConstraintError> {
        if self.word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let found = self.peek().starts_with(symbol);
        self.advance(if found { symbol.len() } else { 0 });
        found
    }

    fn end(&mut self) -> Result<(), ConstraintError> {
        if self.peek().is_empty() { Ok(()) } else { Err(self.expected("nothing more")) }
    }

    /// Returns the rest after white space.
    fn peek(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
    }

    fn expected(&self, expected: &'static str) -> ConstraintError {
        let character = self.text[..self.at].chars().count() + 1;
        ConstraintError::Syntax { text: self.text.to_owned(), character, expected }
    }
}

fn bare_prefix(text: &str) -> &str {
    &text[..text.find(|character| !is_bare(character)).unwrap_or(text.len())]
}
