//! Versions in attributes, and the bounds that constraints set for them.
//!
//! [`Version`] is lenient: any number of numeric parts, an optional `v`, a prerelease with or without its dash. A
//! prerelease meets no plain bound, and a bound with a prerelease admits only prereleases of the same release; `=` and
//! `!=` compare plainly. Strict versions (`semver`) are parsed by the crate of that name, order prereleases like any
//! other version and have no `~>`. Parts after a `+` are ignored.

use std::cmp::Ordering;

use crate::types::quoted;

/// Numbers joined by dots, then optionally a prerelease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    parts: Vec<u64>,
    prerelease: Vec<Identifier>,
}

/// A part of a prerelease; numbers sort before words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

/// Bounds that must all hold, and their text.
#[derive(Debug, Clone)]
pub(super) struct Bounds<V> {
    pub(super) text: String,
    read: Result<Vec<(Operator, V)>, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Compatible,
}

/// The operators, longer ones before their prefixes.
const OPERATORS: [(&str, Operator); 9] = [
    ("~>", Operator::Compatible),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("", Operator::Equal),
];

impl Version {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        let parts = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let prerelease = match rest.strip_prefix('-').unwrap_or(rest) {
            "" if rest.is_empty() => Vec::new(),
            identifiers => identifiers.split('.').map(Identifier::parse).collect::<Option<_>>()?,
        };
        Some(Self { parts, prerelease })
    }

    fn part(&self, at: usize) -> u64 {
        self.parts.get(at).copied().unwrap_or(0)
    }

    /// Compares releases; missing parts count as zero.
    fn release_cmp(&self, other: &Self) -> Ordering {
        let longest = self.parts.len().max(other.parts.len());
        let differing = (0..longest).map(|at| self.part(at).cmp(&other.part(at)));
        differing.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }

    fn order(&self, other: &Self) -> Ordering {
        let prereleases = match (self.prerelease.is_empty(), other.prerelease.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (true, true) | (false, false) => self.prerelease.cmp(&other.prerelease),
        };
        self.release_cmp(other).then(prereleases)
    }

    /// Returns whether a bound of this version applies to a version at all.
    fn bounds(&self, version: &Self) -> bool {
        match (self.prerelease.is_empty(), version.prerelease.is_empty()) {
            (_, true) => true,
            (true, false) => false,
            (false, false) => self.release_cmp(version).is_eq(),
        }
    }

    /// `~> 1.2.3` means at least that and below 1.3; `~> 1` is only a lower bound.
    fn is_compatible(&self, version: &Self) -> bool {
        let last = self.parts.len() - 1;
        let same = (0..last).all(|at| self.part(at) == version.part(at)) && version.part(last) >= self.part(last);
        same && version.order(self).is_ge() && self.prerelease.is_empty() == version.prerelease.is_empty()
    }
}

impl Identifier {
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '~')) {
            return None;
        }
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        Some(number.map_or_else(|| Self::Word(text.to_owned()), Self::Number))
    }
}

impl<V> Bounds<V> {
    fn read(text: &str, parse: impl Fn(Operator, &str) -> Result<V, String>) -> Self {
        let bound = |one: &str| {
            let one = one.trim();
            let (sign, operator) = OPERATORS.iter().find(|(sign, _)| one.starts_with(sign)).expect("the last is empty");
            Ok((*operator, parse(*operator, one[sign.len()..].trim())?))
        };
        Self { text: text.trim().to_owned(), read: text.split(',').map(bound).collect() }
    }

    /// Returns what is wrong with the bounds.
    pub(super) fn check(&self) -> Result<(), String> {
        self.read.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    fn all(&self, holds: impl Fn(Operator, &V) -> bool) -> bool {
        self.read.as_ref().is_ok_and(|bounds| bounds.iter().all(|(operator, bound)| holds(*operator, bound)))
    }
}

/// Bounds are equal if their texts are.
impl<V> PartialEq for Bounds<V> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Bounds<Version> {
    pub(super) fn lenient(text: &str) -> Self {
        Self::read(text, |_, one| {
            Version::parse(one).ok_or_else(|| format!("`{}` is not a version; write it like >= 5.10, < 7", quoted(one)))
        })
    }

    pub(super) fn hold(&self, version: &str) -> bool {
        let Some(version) = Version::parse(version) else { return false };
        self.all(|operator, bound| match operator {
            Operator::Compatible => bound.is_compatible(&version),
            Operator::Equal | Operator::NotEqual => operator.admits(version.order(bound)),
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                bound.bounds(&version) && operator.admits(version.order(bound))
            }
        })
    }
}

impl Bounds<semver::Version> {
    pub(super) fn strict(text: &str) -> Self {
        Self::read(text, |operator, one| {
            if operator == Operator::Compatible {
                return Err("semver knows no ~>; write >= 1.2.0, < 1.3.0, or use version".to_owned());
            }
            one.parse().map_err(|error| {
                format!("`{}` is not a semantic version ({error}); write it like >= 1.2.3", quoted(one))
            })
        })
    }

    pub(super) fn hold(&self, version: &str) -> bool {
        let Ok(version) = version.trim().parse::<semver::Version>() else { return false };
        self.all(|operator, bound| operator.admits(version.cmp_precedence(bound)))
    }
}

impl Operator {
    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual | Self::Compatible => order.is_ge(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lenient(bounds: &str, version: &str) -> bool {
        Bounds::lenient(bounds).hold(version)
    }

    #[test]
    fn parts_are_compared_as_numbers_and_missing_ones_are_zero() {
        for (bounds, version) in [(">= 5.10, < 7", "5.15.0"), ("> 5.9", "5.10"), ("1", "v1.0.0"), ("!= 2", "2.0.1")] {
            assert!(lenient(bounds, version), "{version} {bounds}");
        }
        for (bounds, version) in [(">= 5.10", "5.4"), (">= 5.10, < 7", "7.0"), ("= 1.2", "1.2.1"), ("> 1", "one")] {
            assert!(!lenient(bounds, version), "{version} {bounds}");
        }
    }

    #[test]
    fn a_compatible_version_keeps_all_parts_but_the_last() {
        for (bound, good, bad) in [("~> 1.2.3", "1.2.9", "1.3.0"), ("~> 1.2", "1.9.9", "2.0"), ("~> 2", "7.1", "1.9")] {
            assert!(lenient(bound, good), "{good} {bound}");
            assert!(!lenient(bound, bad), "{bad} {bound}");
        }
        assert!(!lenient("~> 1.2.3", "1.2.2"));
        assert!(!lenient("~> 1.2.3-beta", "1.2.4"));
        assert!(lenient("~> 1.2.3-beta.1", "1.2.3-beta.2"));
    }

    #[test]
    fn a_prerelease_meets_only_bounds_that_name_one_of_its_release() {
        assert!(!lenient(">= 5.10", "5.15.0-91-generic"));
        assert!(lenient(">= 1.0.0-alpha", "1.0.0-beta"));
        assert!(!lenient(">= 1.0.0-alpha", "1.1.0-beta"));
        assert!(lenient("< 1.0.0-beta.10", "1.0.0-beta.9"));
        assert!(lenient(">= 1.0-beta", "1.0"));
        assert!(lenient("= 1.0beta+5", "1.0.0-beta"));
    }

    #[test]
    fn strict_versions_order_prereleases_and_are_complete() {
        let strict = |bounds: &str, version: &str| Bounds::strict(bounds).hold(version);
        assert!(strict(">= 1.0.0", "1.1.0-beta"));
        assert!(strict("= 1.0.0", "1.0.0+build"));
        assert!(!strict(">= 1.0.0", "1.1"));
        assert!(Bounds::strict(">= 1.0").check().is_err());
        assert!(Bounds::strict("~> 1.0.0").check().unwrap_err().starts_with("semver knows no ~>"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for wrong in ["", ">= ", "1.", ".1", "1.2-", "a", "1,", ">> 1", "1.2-a..b", "99999999999999999999"] {
            assert!(Bounds::lenient(wrong).check().is_err(), "{wrong}");
        }
    }
}
