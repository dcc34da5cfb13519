//! When a job is due: a cron expression in a time zone.
//!
//! The `cron` crate enumerates civil times, `jiff` has the zones, and this file combines the two by one rule:
//! **time is cut at the zone's changes, and between two changes the clock on the wall and real time run alike.** A time
//! that the clock skips in spring runs once, at the moment of the change; one that it shows twice in autumn runs the
//! first time. A schedule for every hour (`*` in the hour field) means real hours, so it goes on through the repeated
//! hour and has nothing to make up for in the skipped one. Instants strictly increase.

use std::{fmt, ops::Range};

use jiff::{Timestamp, tz::TimeZone};

use crate::fields;

/// A parsed schedule.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    text: String,
    /// Due when one of these is: two where both day fields are restricted.
    civil: Vec<cron::Schedule>,
    zone: TimeZone,
    every_hour: bool,
}

/// Why a text is not a schedule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScheduleError {
    #[error(
        "schedule {0:?} has {1} fields; write 5 (minute hour day month weekday), 6 (seconds first), 7 (year last), or \
         @hourly, @daily, @weekly, @monthly, @yearly"
    )]
    FieldCount(String, usize),
    #[error("schedule {text:?}: {value:?} is no {field}")]
    Field { text: String, field: &'static str, value: String },
    #[error("schedule {0:?}: there is no such shorthand; use @hourly, @daily, @weekly, @monthly or @yearly")]
    Shorthand(String),
    #[error("unknown time zone {0:?}; use a name such as Europe/Berlin or UTC")]
    Zone(String),
    #[error("schedule {0:?} never fires again")]
    Never(String),
}

impl Schedule {
    /// Reads an expression of 5, 6 or 7 fields or a shorthand such as `@hourly`, to be understood in `zone`.
    pub(crate) fn parse(text: &str, zone: &str) -> Result<Self, ScheduleError> {
        let zone = TimeZone::get(zone).map_err(|_unknown| ScheduleError::Zone(zone.to_owned()))?;
        let fields = fields::parse(text)?;
        Ok(Self { text: text.trim().to_owned(), civil: fields.civil, zone, every_hour: fields.every_hour })
    }

    /// The first instant after `after` at which the schedule is due, in whole seconds; `None` if it never is again.
    pub(crate) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after.as_second();
        // Where a stretch begins with a change, the moment of the change itself is part of it.
        let mut exclusive = 0;
        loop {
            let stretch = Stretch::around(&self.zone, from)?;
            let mut wall = from + stretch.offset - exclusive;
            if !self.every_hour {
                wall = wall.max(stretch.shown_before - 1);
            }
            let due = self.civil_after(wall)?;
            let instant = due - stretch.offset;
            if instant < stretch.end {
                return Timestamp::from_second(instant).ok();
            }
            if !self.every_hour && stretch.skipped.contains(&due) {
                return Timestamp::from_second(stretch.end).ok();
            }
            (from, exclusive) = (stretch.end, 1);
        }
    }

    /// The next civil time after `wall`, both in seconds as if the zone were UTC.
    fn civil_after(&self, wall: i64) -> Option<i64> {
        let wall = chrono::DateTime::from_timestamp(wall, 0)?;
        self.civil.iter().filter_map(|civil| civil.after(&wall).next()).min().map(|due| due.timestamp())
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone.iana_name().unwrap_or("UTC"))
    }
}

/// The time between two changes of a zone's offset. All figures in seconds.
struct Stretch {
    /// What to add to real time for the time on the wall.
    offset: i64,
    /// Wall time up to which the clock had been before this stretch began, or at its beginning if that is later.
    shown_before: i64,
    /// Real time of the next change.
    end: i64,
    /// Wall times that this change leaves out.
    skipped: Range<i64>,
}

impl Stretch {
    fn around(zone: &TimeZone, at: i64) -> Option<Self> {
        let at = Timestamp::from_second(at).ok()?;
        let offset = i64::from(zone.to_offset(at).seconds());
        let next_second = Timestamp::from_second(at.as_second() + 1).ok()?;
        let shown_before = match zone.preceding(next_second).next() {
            Some(change) => {
                let start = change.timestamp().as_second();
                let before = Timestamp::from_second(start - 1).map_or(0, |before| zone.to_offset(before).seconds());
                start + offset.max(i64::from(before))
            }
            None => i64::MIN + 1,
        };
        let (end, skipped) = match zone.following(at).next() {
            Some(change) => {
                let end = change.timestamp().as_second();
                (end, end + offset..end + i64::from(change.offset().seconds()))
            }
            None => (i64::MAX, 0..0),
        };
        Some(Self { offset, shown_before, end, skipped })
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
