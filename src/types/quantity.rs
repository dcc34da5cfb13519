//! Exact amounts: 64-bit thousandths, so that `0.1 + 0.2 == 0.3` and a million additions lose nothing.
//!
//! Doubles appear only on the wire. [`Milli::from_f64`] rounds them half away from zero to the third decimal, as Mesos
//! does, and refuses what is not an amount. Arithmetic saturates instead of wrapping: a hostile total becomes the
//! largest amount and never negative.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

/// An amount in thousandths of its unit (cpus, MiB, devices).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Milli(i64);

/// 2^43 units in thousandths. Up to there doubles are less than a thousandth apart, so every amount survives the wire.
const EXACT_LIMIT: f64 = 8_796_093_022_208_000.0;

/// An error for a number that is not an amount.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantityError {
    /// It is infinite or not a number.
    #[error("{0} is not a finite number")]
    NotFinite(f64),
    /// It is so close to zero that doubles lose precision.
    #[error("{0:e} is too close to zero; the smallest amount is 0.001")]
    Subnormal(f64),
    /// It is negative where only amounts from zero up are valid.
    #[error("{0} is negative")]
    Negative(f64),
    /// It is too large to keep three decimals.
    #[error("{0} is out of range; amounts go up to 8796093022208")]
    OutOfRange(f64),
    /// It is not zero, but rounds to zero at three decimals.
    #[error("{0} rounds to zero; the smallest amount is 0.001")]
    RoundsToZero(f64),
    /// The text is not a number.
    #[error("`{0}` is not a number")]
    NotANumber(String),
}

impl Milli {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// The smallest amount above zero.
    pub const SMALLEST: Self = Self(1);
    /// The largest amount; sums saturate here.
    pub const MAX: Self = Self(i64::MAX);

    /// Creates an amount of whole units, e.g. `from_units(2)` is two cpus. Saturates.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self(units.saturating_mul(1000))
    }

    /// Creates an amount from thousandths.
    #[must_use]
    pub const fn from_raw(thousandths: i64) -> Self {
        Self(thousandths)
    }

    /// Rounds a double to three decimals, half away from zero.
    ///
    /// # Errors
    /// The value is not finite, subnormal, or beyond 2^43 units.
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
    pub fn from_f64(value: f64) -> Result<Self, QuantityError> {
        if !value.is_finite() {
            return Err(QuantityError::NotFinite(value));
        }
        if value.is_subnormal() {
            return Err(QuantityError::Subnormal(value));
        }
        let thousandths = (value * 1000.0).round();
        if thousandths.abs() > EXACT_LIMIT {
            return Err(QuantityError::OutOfRange(value));
        }
        Ok(Self(thousandths as i64))
    }

    /// Like [`Milli::from_f64`], for amounts that cannot be negative.
    ///
    /// # Errors
    /// As [`Milli::from_f64`], and the value is negative.
    pub fn amount(value: f64) -> Result<Self, QuantityError> {
        let amount = Self::from_f64(value)?;
        if value < 0.0 { Err(QuantityError::Negative(value)) } else { Ok(amount) }
    }

    /// Returns the double for the wire; exact up to 2^43 units.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "quotient and remainder are converted apart, as Mesos does")]
    pub fn as_f64(self) -> f64 {
        (self.0 / 1000) as f64 + (self.0 % 1000) as f64 / 1000.0
    }

    /// Returns the thousandths.
    #[must_use]
    pub const fn raw(self) -> i64 {
        self.0
    }

    /// Returns whether the amount is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Returns whether there are no decimals, as `gpus` requires.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.0 % 1000 == 0
    }

    /// Returns the difference, or zero if `other` is larger.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }

    /// Returns the amount multiplied by `count`. Saturates.
    #[must_use]
    pub const fn times(self, count: i64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl Add for Milli {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Milli {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Milli {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl SubAssign for Milli {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Milli {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Sum for Milli {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

/// Formats at most three decimals, without trailing zeros: `1.5`, `1000001`, `99999999999.999`.
impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, rest) = (self.0.unsigned_abs() / 1000, self.0.unsigned_abs() % 1000);
        let sign = if self.0 < 0 { "-" } else { "" };
        if rest == 0 {
            return f.pad(&format!("{sign}{units}"));
        }
        let decimals = format!("{rest:03}");
        f.pad(&format!("{sign}{units}.{}", decimals.trim_end_matches('0')))
    }
}

/// Parses `0.5`, `1024`, `1e3`. Rounds to three decimals.
impl FromStr for Milli {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
        match text.parse::<f64>() {
            Ok(value) if numeric && value.is_finite() => Self::from_f64(value),
            _ => Err(QuantityError::NotANumber(super::quoted(text))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: f64) -> String {
        Milli::from_f64(value).unwrap().to_string()
    }

    #[test]
    fn rounds_half_away_from_zero_at_the_third_decimal() {
        assert_eq!(shown(1.5011), "1.501");
        assert_eq!(shown(1.5015), "1.502");
        assert_eq!(shown(-1.5015), "-1.502");
        assert_eq!(shown(1.2344), "1.234");
        assert_eq!(shown(1.2345), "1.235");
    }

    #[test]
    fn prints_no_trailing_zeros() {
        assert_eq!(shown(1.1), "1.1");
        assert_eq!(shown(1.05), "1.05");
        assert_eq!(shown(1_000_001.0), "1000001");
        assert_eq!(shown(99_999_999_999.999_4), "99999999999.999");
        assert_eq!(shown(-0.001), "-0.001");
        assert_eq!(format!("{:>6}", Milli::from_raw(1500)), "   1.5");
    }

    #[test]
    fn tenths_add_up() {
        let sum = Milli::from_f64(0.1).unwrap() + Milli::from_f64(0.2).unwrap();
        assert_eq!(sum, Milli::from_f64(0.3).unwrap());
    }

    #[test]
    fn refuses_what_is_no_amount() {
        assert!(matches!(Milli::from_f64(f64::NAN), Err(QuantityError::NotFinite(_))));
        assert!(matches!(Milli::from_f64(f64::INFINITY), Err(QuantityError::NotFinite(_))));
        assert!(matches!(Milli::from_f64(7.639_18e-313), Err(QuantityError::Subnormal(_))));
        assert!(matches!(Milli::from_f64(1e13), Err(QuantityError::OutOfRange(_))));
        assert!(matches!(Milli::from_f64(f64::MAX), Err(QuantityError::OutOfRange(_))));
        assert!(matches!(Milli::amount(-1.0), Err(QuantityError::Negative(_))));
        assert!(matches!(Milli::amount(-1e-9), Err(QuantityError::Negative(_))));
        assert_eq!(Milli::amount(-0.0), Ok(Milli::ZERO));
    }

    #[test]
    fn reads_its_own_output_and_no_words() {
        for raw in [0, 1, -1, 10, 100, 999, 1000, 1500, 99_999_999_999_999] {
            assert_eq!(Milli::from_raw(raw).to_string().parse(), Ok(Milli::from_raw(raw)));
        }
        for text in ["", "inf", "nan", "-nan", "infinity", "-inf", "1.5x", "1 5", "0x10"] {
            assert!(text.parse::<Milli>().is_err(), "{text}");
        }
        assert_eq!("1e3".parse(), Ok(Milli::from_units(1000)));
    }

    #[test]
    fn sums_saturate() {
        assert_eq!(Milli::MAX + Milli::SMALLEST, Milli::MAX);
        assert_eq!(Milli::from_units(1).saturating_sub(Milli::from_units(2)), Milli::ZERO);
        assert_eq!(Milli::from_units(i64::MAX), Milli::MAX);
    }

    #[test]
    fn doubles_survive_the_round_trip_up_to_the_limit() {
        for raw in [1, 1001, 1_502, 123_456_789_012_345, 8_796_093_022_207_999] {
            assert_eq!(Milli::from_f64(Milli::from_raw(raw).as_f64()), Ok(Milli::from_raw(raw)));
        }
    }
}
