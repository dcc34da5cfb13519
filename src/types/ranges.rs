//! Sets of integers stored as intervals: mostly ports.
//!
//! Invariant: intervals are inclusive, sorted, disjoint and never adjacent. So equal sets are equal values, and every
//! operation is one pass over both. Parsing text joins overlapping ranges; [`Ranges::from_proto`] refuses them, as
//! Mesos does.

use std::fmt;
use std::ops::{AddAssign, RangeInclusive, SubAssign};
use std::str::FromStr;

use super::limits::RANGES;
use super::quoted;
use crate::proto::v1::value;

/// A set of `u64` as sorted, coalesced, inclusive intervals.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ranges(Vec<Span>);

/// The first and last member of one interval.
type Span = (u64, u64);

/// An error for text or a message that is not a set of ranges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangesError {
    /// The text is not of the form `[1-2,5-5]`.
    #[error("`{0}` is not a list of ranges; write it like [31000-32000,33000-33010]")]
    Syntax(String),
    /// The end is before the beginning.
    #[error("range {0}-{1} begins after its end")]
    Backwards(u64, u64),
    /// There are more ranges than are accepted.
    #[error("{0} ranges, where at most {RANGES} are accepted")]
    TooMany(usize),
    /// Two ranges overlap.
    #[error("overlapping ranges {0}-{1} and {2}-{3}")]
    Overlap(u64, u64, u64, u64),
}

impl Ranges {
    /// Creates the empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds every member of `range`; an empty range adds nothing.
    pub fn insert(&mut self, range: RangeInclusive<u64>) {
        let (mut begin, mut end) = range.into_inner();
        if begin > end {
            return;
        }
        let from = self.0.partition_point(|&(_, last)| last.saturating_add(1) < begin);
        let to = self.0.partition_point(|&(first, _)| first <= end.saturating_add(1));
        if from < to {
            begin = begin.min(self.0[from].0);
            end = end.max(self.0[to - 1].1);
        }
        self.0.splice(from..to, [(begin, end)]);
    }

    /// Removes every member of `range`.
    pub fn remove(&mut self, range: RangeInclusive<u64>) {
        let (begin, end) = range.into_inner();
        if begin > end {
            return;
        }
        let from = self.0.partition_point(|&(_, last)| last < begin);
        let to = self.0.partition_point(|&(first, _)| first <= end);
        if from >= to {
            return;
        }
        let left = (self.0[from].0 < begin).then(|| (self.0[from].0, begin - 1));
        let right = (self.0[to - 1].1 > end).then(|| (end + 1, self.0[to - 1].1));
        self.0.splice(from..to, left.into_iter().chain(right));
    }

    /// Returns whether `member` is in the set.
    #[must_use]
    pub fn contains(&self, member: u64) -> bool {
        let at = self.0.partition_point(|&(_, last)| last < member);
        self.0.get(at).is_some_and(|&(first, _)| first <= member)
    }

    /// Returns whether every member of `other` is in the set.
    #[must_use]
    pub fn contains_all(&self, other: &Self) -> bool {
        let mut own = self.0.iter();
        let mut current = own.next();
        other.0.iter().all(|&(begin, end)| {
            while current.is_some_and(|&(_, last)| last < begin) {
                current = own.next();
            }
            current.is_some_and(|&(first, last)| first <= begin && end <= last)
        })
    }

    /// Returns the members that both sets have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut shared, mut left, mut right) = (Vec::new(), 0, 0);
        while let (Some(&(a, b)), Some(&(c, d))) = (self.0.get(left), other.0.get(right)) {
            if a.max(c) <= b.min(d) {
                shared.push((a.max(c), b.min(d)));
            }
            if b < d {
                left += 1;
            } else {
                right += 1;
            }
        }
        Self(shared)
    }

    /// Iterates over the intervals in rising order.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u64>> {
        self.0.iter().map(|&(begin, end)| begin..=end)
    }

    /// Iterates over the members in rising order.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        self.iter().flatten()
    }

    /// Returns the number of members; saturates for the set of all numbers.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, &(begin, end)| sum.saturating_add(end - begin).saturating_add(1))
    }

    /// Returns whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the smallest member.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.0.first().map(|&(begin, _)| begin)
    }

    /// Returns the `count` smallest members, or `None` if there are fewer. Does not change the set.
    #[must_use]
    pub fn take(&self, count: u64) -> Option<Self> {
        let (mut taken, mut missing) = (Vec::new(), count);
        for &(begin, end) in &self.0 {
            let Some(more) = missing.checked_sub(1) else { break };
            let last = begin.saturating_add(more).min(end);
            taken.push((begin, last));
            missing = more - (last - begin);
        }
        (missing == 0).then_some(Self(taken))
    }

    /// Converts from the protobuf form.
    ///
    /// # Errors
    /// A range begins after its end, two overlap, or there are too many.
    pub fn from_proto(message: &value::Ranges) -> Result<Self, RangesError> {
        if message.range.len() > RANGES {
            return Err(RangesError::TooMany(message.range.len()));
        }
        let mut spans: Vec<Span> = message.range.iter().map(|range| (range.begin, range.end)).collect();
        if let Some(&(begin, end)) = spans.iter().find(|(begin, end)| begin > end) {
            return Err(RangesError::Backwards(begin, end));
        }
        spans.sort_unstable();
        if let Some(pair) = spans.windows(2).find(|pair| pair[1].0 <= pair[0].1) {
            return Err(RangesError::Overlap(pair[0].0, pair[0].1, pair[1].0, pair[1].1));
        }
        Ok(Self::coalesced(spans))
    }

    /// Converts to the protobuf form.
    #[must_use]
    pub fn to_proto(&self) -> value::Ranges {
        value::Ranges { range: self.0.iter().map(|&(begin, end)| value::Range { begin, end }).collect() }
    }

    /// Joins sorted spans that overlap or touch.
    fn coalesced(sorted: impl IntoIterator<Item = Span>) -> Self {
        let mut joined: Vec<Span> = Vec::new();
        for (begin, end) in sorted {
            match joined.last_mut() {
                Some((_, last)) if begin <= last.saturating_add(1) => *last = end.max(*last),
                _ => joined.push((begin, end)),
            }
        }
        Self(joined)
    }
}

impl AddAssign<&Self> for Ranges {
    fn add_assign(&mut self, other: &Self) {
        if other.0.len() <= 2 {
            other.iter().for_each(|range| self.insert(range));
            return;
        }
        let mut spans = std::mem::take(&mut self.0);
        spans.extend_from_slice(&other.0);
        // Two sorted runs, which this sort detects and merges in one pass.
        spans.sort_unstable();
        *self = Self::coalesced(spans);
    }
}

impl<'a> FromIterator<&'a Self> for Ranges {
    /// The union of many sets, sorted once.
    fn from_iter<I: IntoIterator<Item = &'a Self>>(sets: I) -> Self {
        let mut spans: Vec<Span> = sets.into_iter().flat_map(|set| set.0.iter().copied()).collect();
        spans.sort_unstable();
        Self::coalesced(spans)
    }
}

impl SubAssign<&Self> for Ranges {
    fn sub_assign(&mut self, other: &Self) {
        if other.0.len() <= 2 {
            other.iter().for_each(|range| self.remove(range));
            return;
        }
        let (mut left, mut cuts) = (Vec::with_capacity(self.0.len()), other.0.iter().copied().peekable());
        for &(begin, end) in &self.0 {
            cut_span((begin, end), &mut cuts, &mut left);
        }
        self.0 = left;
    }
}

/// Pushes to `left` what the sorted `cuts` leave of one span. A cut that reaches beyond the span is kept for the next.
fn cut_span(span: Span, cuts: &mut std::iter::Peekable<impl Iterator<Item = Span>>, left: &mut Vec<Span>) {
    let (mut begin, end) = span;
    while let Some(&(first, last)) = cuts.peek() {
        if first > end {
            break;
        }
        if first > begin {
            left.push((begin, first - 1));
        }
        if last >= end {
            return;
        }
        begin = begin.max(last + 1);
        cuts.next();
    }
    left.push((begin, end));
}

impl FromIterator<RangeInclusive<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u64>>>(ranges: I) -> Self {
        let mut spans: Vec<Span> = ranges.into_iter().map(RangeInclusive::into_inner).collect();
        spans.retain(|(begin, end)| begin <= end);
        spans.sort_unstable();
        Self::coalesced(spans)
    }
}

impl From<RangeInclusive<u64>> for Ranges {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self::from_iter([range])
    }
}

/// Formats `[1-2,5-5]`; the empty set is `[]`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (at, (begin, end)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{begin}-{end}")?;
        }
        f.write_str("]")
    }
}

/// Parses `[1-2, 5-5]` in any order. Overlapping and adjacent ranges are joined, white space is ignored.
impl FromStr for Ranges {
    type Err = RangesError;

    fn from_str(text: &str) -> Result<Self, RangesError> {
        let syntax = || RangesError::Syntax(quoted(text));
        let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(syntax)?;
        if inner.trim().is_empty() {
            return Ok(Self::new());
        }
        let number = |part: &str| part.trim().parse::<u64>().ok();
        inner
            .split(',')
            .map(|item| {
                let (begin, end) = item.split_once('-').ok_or_else(syntax)?;
                let (begin, end) = number(begin).zip(number(end)).ok_or_else(syntax)?;
                if begin > end { Err(RangesError::Backwards(begin, end)) } else { Ok(begin..=end) }
            })
            .collect()
    }
}

#[cfg(test)]
#[path = "ranges_tests.rs"]
mod tests;
