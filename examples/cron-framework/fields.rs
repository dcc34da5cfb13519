//! The fields of a cron expression, brought into the form that the `cron` crate reads.
//!
//! Three things differ between that crate and `crontab`: seconds and years are optional here,
//! weekday numbers count from Sunday = 0 (or 7), and a job with both a day of the month and a weekday is due on either.

use crate::schedule::ScheduleError;

/// What an expression says, apart from its time zone.
pub(crate) struct Fields {
    /// Due when one of these is.
    pub civil: Vec<cron::Schedule>,
    /// Whether the hour field begins with `*`.
    pub every_hour: bool,
}

/// Names of the fields in the order of the long form.
const NAMES: [&str; 7] = ["second", "minute", "hour", "day of the month", "month", "weekday", "year"];
const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// The largest weekday number, and so the largest step of that field.
const LAST_WEEKDAY: usize = 7;

/// Reads 5, 6 or 7 fields or a shorthand.
pub(crate) fn parse(text: &str) -> Result<Fields, ScheduleError> {
    let expression = expand(text.trim())?;
    let mut fields: Vec<&str> = expression.split_whitespace().collect();
    match fields.len() {
        5 => {
            fields.insert(0, "0");
            fields.push("*");
        }
        6 => fields.push("*"),
        7 => {}
        count => return Err(ScheduleError::FieldCount(text.to_owned(), count)),
    }
    let invalid = |index: usize, value: &str| ScheduleError::Field {
        text: text.to_owned(),
        field: NAMES[index],
        value: value.to_owned(),
    };
    let weekday = weekdays(fields[5]).ok_or_else(|| invalid(5, fields[5]))?;
    for (index, field) in fields.iter().enumerate().filter(|(index, _)| *index != 5) {
        check(index, field).ok_or_else(|| invalid(index, field))?;
    }
    let (day, every_hour) = (fields[3], fields[2].starts_with('*'));
    let days = if restricts(day) && restricts(fields[5]) {
        vec![(day, "*"), ("*", weekday.as_str())]
    } else {
        vec![(day, weekday.as_str())]
    };
    let civil = days.into_iter().map(|(day, weekday)| {
        let expression = [fields[0], fields[1], fields[2], day, fields[4], weekday, fields[6]].join(" ");
        expression.parse().map_err(|_error| invalid(3, fields[3]))
    });
    Ok(Fields { civil: civil.collect::<Result<_, _>>()?, every_hour })
}

/// As in `crontab`, a field that begins with a star leaves the choice of days to the other.
fn restricts(field: &str) -> bool {
    !field.starts_with(['*', '?'])
}

fn expand(text: &str) -> Result<&str, ScheduleError> {
    Ok(match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        unknown if unknown.starts_with('@') => return Err(ScheduleError::Shorthand(unknown.to_owned())),
        plain => plain,
    })
}

/// Whether a field is one by itself, so that an error can name it.
fn check(index: usize, field: &str) -> Option<()> {
    // The crate would step by nothing for ever.
    let steps = field.split(',').filter_map(|item| item.split_once('/'));
    if steps.into_iter().any(|(_, step)| step.parse::<u32>().is_ok_and(|step| step == 0)) {
        return None;
    }
    let mut alone = ["*"; 7];
    alone[index] = field;
    alone.join(" ").parse::<cron::Schedule>().ok().map(|_| ())
}

/// A weekday field with numbers, written with names, which every implementation reads alike.
fn weekdays(field: &str) -> Option<String> {
    let mut chosen = [false; 7];
    for item in field.split(',') {
        let (days, step) = match item.split_once('/') {
            Some((days, step)) => (days, number(step).filter(|step| (1..=LAST_WEEKDAY).contains(step))?),
            None => (item, 1),
        };
        let (first, last) = match days.split_once('-') {
            Some((first, last)) => (weekday(first)?, weekday(last)?),
            None if matches!(days, "*" | "?") => (0, 6),
            None if item.contains('/') => (weekday(days)?, 6),
            None => (weekday(days)?, weekday(days)?),
        };
        // A range may pass over the week's end: FRI-MON.
        let last = if last < first { last + 7 } else { last };
        for day in (first..=last).step_by(step) {
            chosen[day % 7] = true;
        }
    }
    if chosen == [true; 7] {
        return Some("*".to_owned());
    }
    let names = WEEKDAYS.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(name, _)| &name[..3]);
    Some(names.collect::<Vec<_>>().join(","))
}

/// Digits and nothing else: as in the other fields, a sign is wrong.
fn number(text: &str) -> Option<usize> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// 0 to 7, or an English name of which three letters are enough.
fn weekday(text: &str) -> Option<usize> {
    if let Some(number) = number(text) {
        return (number <= LAST_WEEKDAY).then_some(number);
    }
    let name = text.to_ascii_lowercase();
    (name.len() >= 3).then(|| WEEKDAYS.iter().position(|day| day.starts_with(&name)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekday_numbers_mean_what_crontab_means() {
        for (field, names) in [
            ("0", "sun"),
            ("7", "sun"),
            ("1", "mon"),
            ("1-5", "mon,tue,wed,thu,fri"),
            ("5-7", "sun,fri,sat"),
            ("MON-fri", "mon,tue,wed,thu,fri"),
            ("Friday-Monday", "sun,mon,fri,sat"),
            ("0,6", "sun,sat"),
            ("*/2", "sun,tue,thu,sat"),
            ("1-5/2", "mon,wed,fri"),
            ("4/2", "thu,sat"),
            ("0-7", "*"),
            ("?", "*"),
        ] {
            assert_eq!(weekdays(field).as_deref(), Some(names), "{field}");
        }
        for field in ["8", "", "mo", "1-", "-", "*/0", "1,,2", "monkey", "2/x", "*/8", "1-5/8", "1/100", "+1", "*/+2"] {
            assert_eq!(weekdays(field), None, "{field}");
        }
    }

    #[test]
    fn a_step_larger_than_its_field_is_refused_in_every_field() {
        let fields =
            [("second", 59), ("minute", 59), ("hour", 23), ("day of the month", 31), ("month", 12), ("weekday", 7)];
        for (index, (name, largest)) in fields.into_iter().enumerate() {
            for start in ["*", "1", "1-5", "2,*"] {
                let with = |step: u32| {
                    let mut text = ["*"; 6].map(str::to_owned);
                    text[index] = format!("{start}/{step}");
                    parse(&text.join(" ")).err()
                };
                assert_eq!(with(largest), None, "{name} {start}");
                let value = format!("{start}/{}", largest + 1);
                let error = with(largest + 1);
                assert!(
                    matches!(&error, Some(ScheduleError::Field { field, value: wrong, .. }) if *field == name && *wrong == value),
                    "{error:?}"
                );
            }
        }
    }

    #[test]
    fn an_error_names_the_field_that_is_wrong() {
        for (text, field, value) in [
            ("60 * * * *", "minute", "60"),
            ("* 24 * * *", "hour", "24"),
            ("*/0 * * * *", "minute", "*/0"),
            ("5/0 * * * *", "minute", "5/0"),
            ("* * 0 * *", "day of the month", "0"),
            ("* * * FOO *", "month", "FOO"),
            ("* * * * 8", "weekday", "8"),
            ("99 * * * * *", "second", "99"),
            ("0 0 0 1 1 * 1492", "year", "1492"),
            ("30-10 * * * *", "minute", "30-10"),
            ("99999999999999999999 * * * *", "minute", "99999999999999999999"),
        ] {
            let wanted = ScheduleError::Field { text: text.to_owned(), field, value: value.to_owned() };
            assert_eq!(parse(text).err(), Some(wanted), "{text}");
        }
        assert_eq!(parse("* * *").err(), Some(ScheduleError::FieldCount("* * *".to_owned(), 3)));
        assert_eq!(parse("").err(), Some(ScheduleError::FieldCount(String::new(), 0)));
        assert_eq!(parse("@reboot").err(), Some(ScheduleError::Shorthand("@reboot".to_owned())));
    }
}
