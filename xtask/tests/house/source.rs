//! Sources read as tokens: every path they name, with imports in braces taken apart, and what of them is for tests
//! only.
//!
//! Comments and strings are no tokens, so nothing here is taken for code that is not.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The paths and test modules of a source file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) paths: Vec<Named>,
    /// The modules that are declared for tests only: their name, and their file where that is given.
    pub(crate) test_modules: Vec<(String, Option<String>)>,
}

/// A path that is named somewhere, such as `crate::types::Now`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

impl Named {
    /// Whether it begins with these segments.
    pub(crate) fn is_below(&self, start: &[&str]) -> bool {
        self.segments.len() >= start.len() && self.segments.iter().zip(start).all(|(one, other)| one == other)
    }
}

impl Source {
    /// Reads a file, without what it holds for tests only.
    pub(crate) fn read(text: &str) -> Self {
        let stream: TokenStream = text.parse().expect("it compiles, so it has tokens");
        let mut source = Self::default();
        source.walk(stream);
        source
    }

    fn walk(&mut self, stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let (mut at, mut for_tests, mut file) = (0, false, None);
        while at < tokens.len() {
            if let Some((attribute, after)) = attribute(&tokens, at) {
                for_tests |= is_for_tests(&attribute);
                file = file.or_else(|| given_file(&attribute));
                at = after;
            } else if std::mem::take(&mut for_tests) {
                let after = end_of_item(&tokens, at);
                self.test_modules.extend(declared(&tokens[at..after]).map(|name| (name, file.take())));
                at = after;
            } else {
                file = None;
                at = self.walk_one(&tokens, at);
            }
        }
    }

    /// Reads a path, a group, or another token; returns the index after it.
    fn walk_one(&mut self, tokens: &[TokenTree], at: usize) -> usize {
        match &tokens[at] {
            TokenTree::Ident(_) => self.path(&[], tokens, at),
            TokenTree::Group(group) => {
                self.walk(group.stream());
                at + 1
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at + 1,
        }
    }

    /// Reads the path that begins here, or all of them where it ends in braces; returns the index after it.
    fn path(&mut self, prefix: &[String], tokens: &[TokenTree], mut at: usize) -> usize {
        let line = tokens[at].span().start().line;
        let mut segments = prefix.to_vec();
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(ident)) => segments.push(ident.to_string()),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    self.imports(&segments, group.stream());
                    return at + 1;
                }
                // `*`, or the `<` of type arguments.
                Some(_) | None => break,
            }
            at += 1;
            if !is_separator(tokens, at) {
                break;
            }
            at += 2;
        }
        self.paths.push(Named { segments, line });
        at
    }

    fn imports(&mut self, prefix: &[String], stream: TokenStream) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        for part in tokens.split(|token| is_punct(token, ',')).filter(|part| !part.is_empty()) {
            self.path(prefix, part, 0);
        }
    }
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    tokens.len() > at + 1 && is_punct(&tokens[at], ':') && is_punct(&tokens[at + 1], ':')
}

/// The tokens between the brackets of an attribute that begins here, and the index after it.
fn attribute(tokens: &[TokenTree], at: usize) -> Option<(Vec<TokenTree>, usize)> {
    let inner = is_punct(&tokens[at], '#') && tokens.get(at + 1).is_some_and(|token| is_punct(token, '!'));
    let brackets = at + 1 + usize::from(inner);
    match tokens.get(brackets) {
        Some(TokenTree::Group(group)) if is_punct(&tokens[at], '#') && group.delimiter() == Delimiter::Bracket => {
            Some((group.stream().into_iter().collect(), brackets + 1))
        }
        Some(_) | None => None,
    }
}

/// `cfg(test)`, or `cfg(all(test, ...))`.
fn is_for_tests(attribute: &[TokenTree]) -> bool {
    let text: String = attribute.iter().map(ToString::to_string).collect::<String>().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

/// The file of `path = "file"`.
fn given_file(attribute: &[TokenTree]) -> Option<String> {
    match attribute {
        [TokenTree::Ident(name), equals, TokenTree::Literal(file)] if name == "path" && is_punct(equals, '=') => {
            Some(file.to_string().trim_matches('"').to_owned())
        }
        [..] => None,
    }
}

/// Where the item that begins here is over: behind its braces or its semicolon.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let braces_end_it = !matches!(&tokens[at], TokenTree::Ident(ident) if ident == "use");
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => braces_end_it && group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    tokens[at..].iter().position(ends).map_or(tokens.len(), |length| at + length + 1)
}

/// The name of the module that an item declares in a file of its own.
fn declared(item: &[TokenTree]) -> Option<String> {
    let at = item.iter().position(|token| matches!(token, TokenTree::Ident(ident) if ident == "mod"))?;
    match item.get(at + 1..)? {
        [TokenTree::Ident(name), semicolon] if is_punct(semicolon, ';') => Some(name.to_string()),
        [..] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        Source::read(text).paths.into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn imports_in_braces_are_taken_apart() {
        let text = "use crate::{\n    proto::{self, v1::Offer as O},\n    types::*,\n};";
        assert_eq!(paths(text), ["use", "crate::proto::self", "crate::proto::v1::Offer", "crate::types"]);
    }

    #[test]
    fn paths_are_found_in_bodies_and_macros_and_not_in_texts_and_comments() {
        let text = "/// tokio::a\nfn f() { assert!(a::b::<c::D>(\"tokio::x\")); } // tokio::y";
        assert_eq!(paths(text), ["fn", "f", "assert", "a::b", "c::D"]);
    }

    #[test]
    fn what_is_for_tests_only_is_left_out_wherever_it_stands() {
        let text = "#[cfg(test)]\nmod tests;\nmod a;\n#[cfg(test)]\nuse x::{y};\n#[cfg(test)]\n#[path = \"b_tests.rs\"]\n\
                    mod b;\n#[cfg(test)]\nmod c { use d::e; }\n#[cfg(all(test, unix))]\nfn f() -> G { h() }\nuse z::z;";
        let source = Source::read(text);
        let names: Vec<String> = source.paths.iter().map(|path| path.segments.join("::")).collect();
        assert_eq!(names, ["mod", "a", "use", "z::z"]);
        let file = Some("b_tests.rs".to_owned());
        assert_eq!(source.test_modules, [("tests".to_owned(), None), ("b".to_owned(), file)]);
        assert_eq!(source.paths[3].line, 13);
    }
}
