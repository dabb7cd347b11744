//! When a crontab's job runs. The fields are read as cron (3.0pl1) reads them; the `cron` crate only searches the times.
//!
//! The two differ: the crate counts days of the week from 1 and wants a field for seconds, and where both kinds of day
//! are restricted it demands both, while cron takes either. So every field becomes a plain list of numbers in the
//! crate's counting, and two restricted kinds of day become two expressions.

use std::str::FromStr;

use chrono::{DateTime, FixedOffset};

use crate::time::LocalTime;

/// A job's schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// `@reboot`: whenever cron starts.
    Reboot,
    /// At these times.
    Times(Times),
    /// cron accepts it, but its times are not computed here: `0~59`, `10-5`.
    NotComputed,
}

/// Sets of numbers: bit N stands for N.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// 0 is Sunday.
    weekdays: u64,
    days_rule: DaysRule,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DaysRule {
    /// The day of the month and of the week must match; so it is when one of them begins with `*`.
    Both,
    /// One of them suffices.
    Either,
}

/// When a job runs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At this time of the wall clock.
    At(DateTime<FixedOffset>),
    /// Whenever cron starts.
    AtReboot,
    /// Never: there is no such day.
    Never,
    /// Not computed.
    Unknown,
}

/// One of the five fields: its lowest and highest number, and the names of the numbers from the lowest on.
struct Unit {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MINUTES: Unit = Unit { low: 0, high: 59, names: &[] };
const HOURS: Unit = Unit { low: 0, high: 23, names: &[] };
const DAYS: Unit = Unit { low: 1, high: 31, names: &[] };
const MONTHS: Unit = Unit {
    low: 1,
    high: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAYS: Unit = Unit { low: 0, high: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

enum Field {
    Numbers(u64),
    NotComputed,
}

impl Schedule {
    /// Reads `@daily` and the like, or five fields; `None` where cron would complain.
    pub fn parse(words: &[&[u8]]) -> Option<Schedule> {
        match words {
            [name] => Schedule::named(name),
            [minutes, hours, days, months, weekdays] => {
                let fields = [
                    MINUTES.parse(minutes)?,
                    HOURS.parse(hours)?,
                    DAYS.parse(days)?,
                    MONTHS.parse(months)?,
                    WEEKDAYS.parse(weekdays)?,
                ];
                let star = days.starts_with(b"*") || weekdays.starts_with(b"*");
                let days_rule = if star { DaysRule::Both } else { DaysRule::Either };
                Some(Schedule::of(&fields, days_rule))
            }
            _ => None,
        }
    }

    fn named(name: &[u8]) -> Option<Schedule> {
        let fields: [&[u8]; 5] = match name {
            b"@reboot" => return Some(Schedule::Reboot),
            b"@yearly" | b"@annually" => [b"0", b"0", b"1", b"1", b"*"],
            b"@monthly" => [b"0", b"0", b"1", b"*", b"*"],
            b"@weekly" => [b"0", b"0", b"*", b"*", b"0"],
            b"@daily" | b"@midnight" => [b"0", b"0", b"*", b"*", b"*"],
            b"@hourly" => [b"0", b"*", b"*", b"*", b"*"],
            _ => return None,
        };
        Schedule::parse(&fields)
    }

    fn of(fields: &[Field; 5], days_rule: DaysRule) -> Schedule {
        use Field::Numbers;
        match fields {
            [Numbers(minutes), Numbers(hours), Numbers(days), Numbers(months), Numbers(weekdays)] => {
                // 7 is Sunday, too.
                let weekdays = (weekdays | weekdays >> 7) & 0x7F;
                let (minutes, hours, days, months) = (*minutes, *hours, *days, *months);
                Schedule::Times(Times { minutes, hours, days, months, weekdays, days_rule })
            }
            _ => Schedule::NotComputed,
        }
    }

    /// The next so many times after an instant, of which the first may be none.
    pub fn next_times(&self, now: &LocalTime, count: usize) -> Vec<Next> {
        let mut times = vec![self.next_after(now)];
        while let (true, Some(Next::At(last))) = (times.len() < count, times.last()) {
            let after = LocalTime { instant: *last, zone: now.zone.clone() };
            times.push(self.next_after(&after));
        }
        times
    }

    /// The next time after an instant, by the wall clock of that instant: a change to or from summer time in between is
    /// not looked at.
    pub fn next_after(&self, now: &LocalTime) -> Next {
        match self {
            Schedule::Reboot => Next::AtReboot,
            Schedule::NotComputed => Next::Unknown,
            Schedule::Times(times) => times.next_after(now),
        }
    }
}

impl Times {
    fn next_after(&self, now: &LocalTime) -> Next {
        let all_days = ("*".to_owned(), "*".to_owned());
        let days = list(self.days, 0);
        // The crate counts from 1, Sunday.
        let weekdays = list(self.weekdays, 1);
        let day_fields = match self.days_rule {
            DaysRule::Both => vec![(days, weekdays)],
            DaysRule::Either => vec![(days, all_days.1), (all_days.0, weekdays)],
        };
        let mut next: Option<DateTime<FixedOffset>> = None;
        for (days, weekdays) in day_fields {
            let (minutes, hours, months) = (list(self.minutes, 0), list(self.hours, 0), list(self.months, 0));
            let expression = format!("0 {minutes} {hours} {days} {months} {weekdays}");
            let Ok(schedule) = cron::Schedule::from_str(&expression) else { return Next::Unknown };
            let found = schedule.after(&now.instant).next();
            next = next.into_iter().chain(found).min();
        }
        next.map_or(Next::Never, Next::At)
    }
}

/// A set as the crate reads it.
fn list(set: u64, first: u32) -> String {
    let numbers = (0..64).filter(|bit| set & (1 << bit) != 0);
    numbers.map(|bit: u32| (bit + first).to_string()).collect::<Vec<_>>().join(",")
}

impl Unit {
    fn parse(&self, field: &[u8]) -> Option<Field> {
        let text = std::str::from_utf8(field).ok()?.to_ascii_lowercase();
        let mut numbers = 0;
        for element in text.split(',') {
            match self.element(element) {
                Some(Field::Numbers(more)) => numbers |= more,
                Some(Field::NotComputed) => return Some(Field::NotComputed),
                None => return None,
            }
        }
        Some(Field::Numbers(numbers))
    }

    fn element(&self, text: &str) -> Option<Field> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let ends = match range.split_once('-') {
            _ if range == "*" => Some((self.low, self.high)),
            Some((from, to)) => self.number(from).zip(self.number(to)),
            None => self.number(range).map(|number| (number, number)),
        };
        let step = step.map_or(Some(1), |step| step.parse::<u32>().ok());
        let is_range = range == "*" || range.contains('-');
        match (ends, step) {
            (_, Some(0)) => None,
            (Some((from, to)), Some(step))
                if from <= to && (is_range || step == 1 && !text.contains('/')) =>
            {
                let numbers = (from..=to).step_by(usize::try_from(step).ok()?);
                Some(Field::Numbers(numbers.fold(0, |set, number| set | 1 << number)))
            }
            _ => self.is_plausible(text).then_some(Field::NotComputed),
        }
    }

    fn number(&self, text: &str) -> Option<u32> {
        if let Some(index) = self.names.iter().position(|name| *name == text) {
            return u32::try_from(index).ok().map(|index| self.low + index);
        }
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|number| digits && (self.low..=self.high).contains(number))
    }

    /// Whether some cron takes it for an element: more than one number, all of them within bounds.
    fn is_plausible(&self, text: &str) -> bool {
        let parts: Vec<&str> = text.split(['-', '/', '~']).collect();
        let is_good = |part: &&str| *part == "*" || self.number(part).is_some();
        parts.len() > 1 && parts.iter().all(is_good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Schedule> {
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        Schedule::parse(&words)
    }

    fn next(text: &str, now: &str) -> String {
        let now = LocalTime { instant: DateTime::parse_from_rfc3339(now).unwrap(), zone: "CST".to_owned() };
        match parse(text).unwrap().next_after(&now) {
            Next::At(instant) => instant.format("%a %F %R").to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn the_next_time_is_crons() {
        // 2018-04-13 was a Friday.
        let now = "2018-04-13T19:22:58+08:00";
        for (schedule, expected) in [
            ("* * * * *", "Fri 2018-04-13 19:23"),
            ("22 19 * * *", "Sat 2018-04-14 19:22"),
            ("*/15 * * * *", "Fri 2018-04-13 19:30"),
            ("5-50/20 * * * *", "Fri 2018-04-13 19:25"),
            ("0 0-23/2 * * *", "Fri 2018-04-13 20:00"),
            ("0 4 * * 0", "Sun 2018-04-15 04:00"),
            ("0 4 * * 7", "Sun 2018-04-15 04:00"),
            ("0 4 * * sun", "Sun 2018-04-15 04:00"),
            ("0 4 * * 1", "Mon 2018-04-16 04:00"),
            ("0 4 * * Mon-Fri", "Mon 2018-04-16 04:00"),
            ("0 4 * * 6-7", "Sat 2018-04-14 04:00"),
            ("0 4 * JAN,dec *", "Sat 2018-12-01 04:00"),
            ("30 4 1,15 * 5", "Sun 2018-04-15 04:30"),
            ("30 4 20 * 1", "Mon 2018-04-16 04:30"),
            // A step makes a field begin with *: cron then demands both days.
            ("30 4 */2 * 1", "Mon 2018-04-23 04:30"),
            ("0 0 13 * 5", "Fri 2018-04-20 00:00"),
            ("0 0 29 2 *", "Sat 2020-02-29 00:00"),
            ("0 0 31 2 *", "Never"),
            ("@hourly", "Fri 2018-04-13 20:00"),
            ("@daily", "Sat 2018-04-14 00:00"),
            ("@midnight", "Sat 2018-04-14 00:00"),
            ("@weekly", "Sun 2018-04-15 00:00"),
            ("@monthly", "Tue 2018-05-01 00:00"),
            ("@yearly", "Tue 2019-01-01 00:00"),
            ("@annually", "Tue 2019-01-01 00:00"),
            ("@reboot", "AtReboot"),
            ("0~59 * * * *", "Unknown"),
            ("0 0 * * fri-mon", "Unknown"),
        ] {
            assert_eq!(next(schedule, now), expected, "{schedule}");
        }
        assert_eq!(next("* * * * *", "2018-04-13T19:22:00+08:00"), "Fri 2018-04-13 19:23");
        assert_eq!(next("59 23 31 12 *", "2018-12-31T23:59:00+08:00"), "Tue 2019-12-31 23:59");
    }

    #[test]
    fn the_times_behind_the_next_one_follow_it() {
        let instant = DateTime::parse_from_rfc3339("2018-04-13T19:22:58+08:00").unwrap();
        let now = LocalTime { instant, zone: "CST".to_owned() };
        let times = |text: &str| {
            let shown = |next: Next| match next {
                Next::At(instant) => instant.format("%d %R").to_string(),
                other => format!("{other:?}"),
            };
            parse(text).unwrap().next_times(&now, 3).into_iter().map(shown).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(times("0,30 20-21 * * *"), "13 20:00, 13 20:30, 13 21:00");
        assert_eq!(times("@weekly"), "15 00:00, 22 00:00, 29 00:00");
        assert_eq!((times("0 0 31 2 *"), times("@reboot")), ("Never".to_owned(), "AtReboot".to_owned()));
    }

    #[test]
    fn what_cron_complains_about_is_no_schedule() {
        for wrong in [
            "60 * * * *",
            "* 24 * * *",
            "0 0 0 * *",
            "0 0 1 0 *",
            "* * * * 8",
            "* * * mon *",
            "* * * * monday",
            "*/0 * * * *",
            "*/-1 * * * *",
            "1,,2 * * * *",
            "1, * * * *",
            "? * * * *",
            "- * * * *",
            "-1 * * * *",
            "* * * * /bin/sh",
            "* * * *",
            "@Daily",
            "@foo",
            "cd x y z w",
            "\u{ff11} * * * *",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
