//! The laws of crontabs on generated files, and the next run against a search through the calendar.

use chrono::{DateTime, Datelike, Duration, FixedOffset, Timelike};
use model_rollout::formats::crontab::schedule::{Next, Schedule};
use model_rollout::formats::crontab::{Crontab, Kind, PAUSED, State};
use model_rollout::time::LocalTime;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const OTHERS: [&str; 12] = [
    "",
    "   ",
    "# * * * * * /watch/service_polling.sh.old",
    "# service_polling.sh",
    "MAILTO=root",
    "PATH = /bin:/watch/service_polling.sh",
    "0 4 * * * /root/notservice_polling.sh.bak",
    "@daily /bin/backup > /var/log/service_polling",
    "* * * * /bin/bash x",
    "#autoupdate-toggle paused# 0 0 * * * /bin/other",
    "\u{9ed1}\u{9ed1}",
    "*/5 * * * * /bin/x # service_polling.sh",
];

const JOBS: [&str; 4] = [
    r#"* * * * * /bin/bash   /watch/service_polling.sh  >>/watch/log/polling-$(date +"\%Y\%m\%d").log 2>&1"#,
    "\t*/5 0-23 * * mon-fri cd /watch;./service_polling.sh",
    "@hourly service_polling --wait 5",
    "  0~59 * * * * sh -c '/watch/service_polling.sh >/dev/null' ",
];

fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let others = || prop::collection::vec(select(OTHERS.to_vec()), 0..6);
    let parts = (others(), select(JOBS.to_vec()), others());
    (parts, select(vec!["\n", "\r\n"]), any::<bool>()).prop_map(
        |((before, job, after), newline, is_ended)| {
            let lines: Vec<&str> = before.into_iter().chain([job]).chain(after).collect();
            let mut text = lines.join(newline);
            if is_ended {
                text.push_str(newline);
            }
            text.into_bytes()
        },
    )
}

/// A field: some numbers of its range, or `*`.
fn field(low: u32, high: u32) -> impl Strategy<Value = Option<Vec<u32>>> {
    let all: Vec<u32> = (low..=high).collect();
    prop_oneof![Just(None), subsequence(all, 1..4).prop_map(Some)]
}

fn text(field: &Option<Vec<u32>>) -> String {
    match field {
        Some(numbers) => numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(","),
        None => "*".to_owned(),
    }
}

fn holds(field: &Option<Vec<u32>>, number: u32) -> bool {
    field.as_ref().is_none_or(|numbers| numbers.contains(&number))
}

proptest! {
    #[test]
    fn any_bytes_come_back(source in prop::collection::vec(any::<u8>(), 0..200)) {
        let crontab = Crontab::parse(&source, Kind::User);
        prop_assert_eq!(crontab.render(), &source[..]);
        let _ = crontab.poller();
    }

    #[test]
    fn pausing_adds_the_mark_and_resuming_gives_back_the_original_bytes(source in plausible()) {
        let mut crontab = Crontab::parse(&source, Kind::User);
        prop_assert_eq!(crontab.render(), &source[..]);
        let running = crontab.poller().unwrap();
        crontab.pause(&running);
        let start = crontab.render().windows(PAUSED.len()).enumerate();
        let start = start.filter(|(_, window)| *window == PAUSED).map(|(at, _)| at);
        let without_mark = |at: usize| [&crontab.render()[..at], &crontab.render()[at + PAUSED.len()..]].concat();
        prop_assert!(start.map(without_mark).any(|text| text == source));
        let paused = crontab.poller().unwrap();
        prop_assert_eq!((paused.line, &paused.fields), (running.line, &running.fields));
        crontab.resume(&paused);
        prop_assert_eq!(crontab.render(), &source[..]);
    }

    #[test]
    fn a_guard_is_inserted_in_one_place_and_goes_without_a_trace(source in plausible(), seconds in 0_i64..4_000_000_000) {
        let until = DateTime::from_timestamp(seconds, 0).unwrap().fixed_offset();
        let mut crontab = Crontab::parse(&source, Kind::User);
        let running = crontab.poller().unwrap();
        crontab.pause_until(&running, until).unwrap();
        let guarded = crontab.render().to_vec();
        let begin = guarded.iter().zip(&source).take_while(|(a, b)| a == b).count();
        prop_assert!(guarded.ends_with(&source[begin..]), "the other bytes stay");
        let paused = crontab.poller().unwrap();
        prop_assert_eq!((paused.line, paused.state), (running.line, State::Until(until)));
        crontab.resume(&paused);
        prop_assert_eq!(crontab.render(), &source[..]);
    }

    #[test]
    fn the_next_run_is_the_first_that_the_calendar_has(
        minutes in field(0, 59),
        hours in field(0, 23),
        days in field(1, 31),
        months in field(1, 12),
        weekdays in field(0, 7),
        seconds in 1_500_000_000_i64..1_900_000_000,
    ) {
        let zone = FixedOffset::east_opt(8 * 3600).unwrap();
        let instant = DateTime::from_timestamp(seconds, 0).unwrap().with_timezone(&zone);
        let now = LocalTime { instant, zone: "CST".to_owned() };
        let words = [&minutes, &hours, &days, &months, &weekdays].map(text);
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();

        let on_day = |day: DateTime<FixedOffset>| {
            let weekday = day.weekday().num_days_from_sunday();
            let by_week = holds(&weekdays, weekday) || (weekday == 0 && holds(&weekdays, 7));
            let by_month = holds(&days, day.day());
            let either = days.is_some() && weekdays.is_some();
            let is_day = if either { by_week || by_month } else { by_week && by_month };
            holds(&months, day.month()) && is_day
        };
        let midnight = instant - Duration::seconds(i64::from(instant.num_seconds_from_midnight()));
        let expected = (0..366 * 9).map(|day| midnight + Duration::days(day)).filter(|day| on_day(*day)).find_map(
            |day| {
                let times = (0..24 * 60).map(|minute| day + Duration::minutes(minute));
                let mut due = times.filter(|t| holds(&hours, t.hour()) && holds(&minutes, t.minute()));
                due.find(|t| *t > instant)
            },
        );
        let found = Schedule::parse(&words).unwrap().next_after(&now);
        prop_assert_eq!(found, expected.map_or(Next::Never, Next::At));
    }
}
