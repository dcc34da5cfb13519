//! Schedules against tables of known instants, and against another implementation through whole years of every kind
//! of zone.

use super::*;

/// The instants from `from` on, shown in the schedule's zone.
fn fires(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(text, zone).expect(text);
    let mut at: Timestamp = from.parse().expect(from);
    let mut out = Vec::new();
    while out.len() < count {
        let Some(next) = schedule.next_after(at) else { break };
        assert!(next > at, "{text} went back from {at} to {next}");
        out.push(next.to_zoned(schedule.zone.clone()).strftime("%m-%d %H:%M:%S %z").to_string());
        at = next;
    }
    out
}

#[test]
fn five_six_and_seven_fields_and_shorthands_are_read() {
    let from = "2026-01-30T10:10:10.5Z";
    for (text, next) in [
        ("*/15 * * * *", "01-30 10:15:00 +0000"),
        ("*/20 * * * * *", "01-30 10:10:20 +0000"),
        ("*/30 * * * * * *", "01-30 10:10:30 +0000"),
        ("0 0 12 1 7 ? 2027", "07-01 12:00:00 +0000"),
        ("@hourly", "01-30 11:00:00 +0000"),
        ("@daily", "01-31 00:00:00 +0000"),
        ("@midnight", "01-31 00:00:00 +0000"),
        ("@weekly", "02-01 00:00:00 +0000"),
        ("@monthly", "02-01 00:00:00 +0000"),
        ("@yearly", "01-01 00:00:00 +0000"),
        ("0 9 * * 1", "02-02 09:00:00 +0000"),
        ("0 9 * * MON-FRI", "02-02 09:00:00 +0000"),
        ("0 0 29 2 *", "02-29 00:00:00 +0000"),
    ] {
        assert_eq!(fires(text, "UTC", from, 1), [next], "{text}");
    }
}

#[test]
fn a_tick_is_strictly_after_the_instant_asked_about() {
    assert_eq!(fires("*/10 * * * * *", "UTC", "2026-01-01T00:00:10Z", 1), ["01-01 00:00:20 +0000"]);
    assert_eq!(fires("*/10 * * * * *", "UTC", "2026-01-01T00:00:09.999Z", 1), ["01-01 00:00:10 +0000"]);
}

#[test]
fn a_day_of_the_month_and_a_weekday_are_either_or() {
    // 2026-02-13 is a Friday; Mondays are the 2nd, 9th, 16th.
    assert_eq!(
        fires("0 0 13 * 1", "UTC", "2026-02-01T00:00:00Z", 4),
        ["02-02 00:00:00 +0000", "02-09 00:00:00 +0000", "02-13 00:00:00 +0000", "02-16 00:00:00 +0000"]
    );
    // A starred field leaves the choice to the other.
    assert_eq!(
        fires("0 0 */2 * 1", "UTC", "2026-02-01T00:00:00Z", 2),
        ["02-09 00:00:00 +0000", "02-23 00:00:00 +0000"]
    );
}

#[test]
fn a_time_that_spring_leaves_out_runs_once_when_the_clock_jumps() {
    let before = "2026-03-07T12:00:00-05:00";
    for text in ["30 2 * * *", "0 2 * * *", "*/10 2 * * *", "59 59 2 * * *"] {
        let ticks = fires(text, "America/New_York", before, 2);
        assert_eq!(ticks[0], "03-08 03:00:00 -0400", "{text}");
        assert!(ticks[1].starts_with("03-09 02:"), "{text}: {ticks:?}");
    }
    // Also due at three by itself: still once.
    assert_eq!(
        fires("0,30 2,3 * * *", "America/New_York", before, 3),
        ["03-08 03:00:00 -0400", "03-08 03:30:00 -0400", "03-09 02:00:00 -0400"]
    );
}

#[test]
fn a_time_that_autumn_shows_twice_runs_the_first_time() {
    assert_eq!(
        fires("30 1 * * *", "America/New_York", "2026-11-01T00:00:00-04:00", 2),
        ["11-01 01:30:00 -0400", "11-02 01:30:00 -0500"]
    );
    // Asked in the middle of the second showing, it is done for the day.
    assert_eq!(fires("30 1 * * *", "America/New_York", "2026-11-01T01:10:00-05:00", 1), ["11-02 01:30:00 -0500"]);
    // The end of the repeated hour is not part of it.
    assert_eq!(fires("0 2 * * *", "America/New_York", "2026-11-01T00:00:00-04:00", 1), ["11-01 02:00:00 -0500"]);
}

#[test]
fn an_every_hour_schedule_follows_real_time_through_both_changes() {
    assert_eq!(
        fires("*/30 * * * *", "America/New_York", "2026-11-01T00:30:00-04:00", 6),
        [
            "11-01 01:00:00 -0400",
            "11-01 01:30:00 -0400",
            "11-01 01:00:00 -0500",
            "11-01 01:30:00 -0500",
            "11-01 02:00:00 -0500",
            "11-01 02:30:00 -0500"
        ]
    );
    assert_eq!(
        fires("30 * * * *", "America/New_York", "2026-03-08T00:45:00-05:00", 2),
        ["03-08 01:30:00 -0500", "03-08 03:30:00 -0400"]
    );
}

#[test]
fn zones_with_odd_changes_keep_the_rule() {
    // Half an hour, at two in the morning.
    assert_eq!(
        fires("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", 2),
        ["10-04 02:30:00 +1100", "10-05 02:15:00 +1100"]
    );
    // At midnight, so that the day begins at one.
    assert_eq!(
        fires("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00+02:00", 2),
        ["04-24 01:00:00 +0300", "04-25 00:00:00 +0300"]
    );
    // A whole day left out.
    assert_eq!(
        fires("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00", 3),
        ["12-29 12:00:00 -1000", "12-31 00:00:00 +1400", "12-31 12:00:00 +1400"]
    );
}

#[test]
fn a_date_that_never_comes_has_no_next_instant() {
    for text in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 1 1 * 2020"] {
        assert_eq!(fires(text, "Europe/Berlin", "2026-01-01T00:00:00Z", 1), [""; 0], "{text}");
    }
}

#[test]
fn a_zone_that_does_not_exist_is_named() {
    let error = Schedule::parse("@hourly", "Mars/Olympus").expect_err("no such zone").to_string();
    assert_eq!(error, "unknown time zone \"Mars/Olympus\"; use a name such as Europe/Berlin or UTC");
}

/// Both implementations through 14 months, in zones of every kind.
#[test]
fn another_implementation_agrees_on_every_instant_of_a_year() {
    const ZONES: [&str; 8] = [
        "UTC",
        "America/New_York",
        "Europe/Berlin",
        "Australia/Sydney",
        "Asia/Kolkata",
        "America/Santiago",
        "Asia/Tokyo",
        "America/St_Johns",
    ];
    // Fixed times and every-hour schedules: between the two, the implementations draw the line differently.
    const TEXTS: [&str; 8] = [
        "0 0 * * *",
        "30 2 * * *",
        "0 3 * * 0",
        "30 1 * * 7",
        "15 0 1 * *",
        "0 2 13 * 5",
        "45 23 * 1-6 MON-FRI",
        "*/30 * * * *",
    ];
    let from: Timestamp = "2026-01-01T00:00:00Z".parse().expect("an instant");
    let until: Timestamp = "2027-03-31T00:00:00Z".parse().expect("an instant");
    for (zone, text) in ZONES.iter().flat_map(|zone| TEXTS.iter().map(move |text| (zone, text))) {
        let ours = Schedule::parse(text, zone).expect(text);
        let theirs: croner::Cron = text.parse().expect(text);
        let mut at = from;
        while at < until {
            let next = ours.next_after(at).expect("it goes on");
            let other = theirs.find_next_occurrence(&at.to_zoned(ours.zone.clone()), false).expect("it goes on");
            assert_eq!(next, other.timestamp(), "{text} in {zone} after {at}");
            at = next;
        }
    }
}
