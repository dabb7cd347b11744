//! The poller's job in a crontab.

use chrono::{DateTime, FixedOffset, TimeDelta};

use crate::error::{Error, Result};
use crate::formats::crontab::schedule::Next;
use crate::formats::crontab::{Crontab, Job, Kind, Mention, NoGuard, Problem, State};
use crate::time::LocalTime;
use crate::tools::autoupdate_toggle::decide::{Action, Observed};

/// How many of the next runs `status` shows.
const SHOWN_RUNS: usize = 3;

/// Pauses the job, until a time if one is given. A pause without an end stays one.
pub fn disable(observed: &Observed, until: Option<DateTime<FixedOffset>>) -> Result<Vec<Action>> {
    let (mut crontab, job, place) = read(observed)?;
    let said = match (until, job.state) {
        (_, State::Paused) => {
            let end = until.map_or("", |_| ", without an end: resume it first to give it one");
            return Ok(vec![Action::Say(format!(
                "{place}: the poller is paused already{end}; nothing was changed"
            ))]);
        }
        (Some(until), State::Running | State::Until(_)) => {
            crontab.pause_until(&job, until).map_err(|why| no_guard(observed, &place, why))?;
            let until = observed.shown(until);
            format!(
                "{place}: paused the poller ({}) until {until} local time; then cron runs it again",
                job.fields
            )
        }
        (None, State::Running | State::Until(_)) => {
            crontab.pause(&job);
            format!("{place}: paused the poller ({}); `enable` resumes it", job.fields)
        }
    };
    Ok(vec![Action::Replace(crontab.render().to_vec()), Action::Say(said)])
}

/// Resumes the job.
pub fn enable(observed: &Observed) -> Result<Vec<Action>> {
    let (mut crontab, job, place) = read(observed)?;
    if job.state == State::Running {
        return Ok(vec![Action::Say(format!("{place}: the poller is not paused; nothing was changed"))]);
    }
    crontab.resume(&job);
    let next = runs(&job, &observed.now, 1, "next run");
    let said = format!("{place}: resumed the poller ({}); {next}", job.fields);
    Ok(vec![Action::Replace(crontab.render().to_vec()), Action::Say(said)])
}

/// Says whether cron runs the job, and when next.
pub fn status(observed: &Observed) -> Result<Vec<Action>> {
    let (_, job, place) = read(observed)?;
    let mut from = observed.now.clone();
    let (state, what) = match job.state {
        State::Running => (format!("enabled ({place})"), "next runs"),
        State::Paused => {
            (format!("disabled: the poller is paused ({place})"), "next runs if it were resumed now")
        }
        State::Until(end) if end <= from.instant => {
            let ended = observed.shown(end);
            (format!("enabled ({place}): its pause ended {ended}; `enable` tidies the line up"), "next runs")
        }
        State::Until(end) => {
            // A run of that very minute is one.
            from.instant = end.with_timezone(from.instant.offset()) - TimeDelta::seconds(1);
            let until = observed.shown(end);
            (format!("disabled until {until} local time: the poller is paused ({place})"), "next runs")
        }
    };
    Ok(vec![
        Action::Say(format!("updates are {state}")),
        Action::Say(format!("schedule: {}", job.fields)),
        Action::Say(runs(&job, &from, SHOWN_RUNS, what)),
    ])
}

fn no_guard(observed: &Observed, place: &str, why: NoGuard) -> Error {
    match why {
        NoGuard::Shell(line) => Error::failed(format!(
            "{}:{line}: a pause with an end needs sh or bash, and this gives the poller another shell; pause it without an end",
            observed.file.display()
        )),
        NoGuard::TooLong(length) => Error::failed(format!(
            "{place}: with a pause's end the command would have {length} bytes, more than cron takes; pause it without an end"
        )),
    }
}

fn read(observed: &Observed) -> Result<(Crontab, Job, String)> {
    let crontab = Crontab::parse(&observed.source, Kind::of(observed.file));
    let file = observed.file.display();
    match crontab.poller() {
        Ok(job) => {
            let place = format!("{file}:{}", job.line);
            Ok((crontab, job, place))
        }
        Err(Problem::NoJob(mentions)) => {
            let remedy = match mentions.first() {
                None => "name the right crontab with --file or --user".to_owned(),
                Some(Mention::CommentedOut(line)) => {
                    format!("line {line} is commented out by hand: remove its # sign")
                }
                Some(Mention::Unreadable(line)) => format!("cron cannot read line {line}: correct it"),
            };
            Err(Error::failed(format!("{file}: no job runs service_polling; {remedy}")))
        }
        Err(Problem::SeveralJobs(lines)) => {
            let lines = lines.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            Err(Error::failed(format!(
                "{file}: more than one job runs service_polling (lines {lines}); leave one of them"
            )))
        }
    }
}

fn runs(job: &Job, from: &LocalTime, count: usize, what: &str) -> String {
    let times = job.schedule.next_times(from, count);
    let shown = times.iter().filter_map(|next| match next {
        Next::At(time) => Some(time.format("%F %R").to_string()),
        Next::AtReboot | Next::Never | Next::Unknown => None,
    });
    let shown: Vec<String> = shown.collect();
    match times.first() {
        Some(Next::At(_)) => format!("{what}: {} local time", shown.join(", ")),
        Some(Next::AtReboot) => format!("{what}: when cron starts"),
        Some(Next::Unknown) => format!("{what}: not computed for this schedule"),
        Some(Next::Never) | None => format!("{what}: never, there is no such day"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const JOB: &str = "*/5 * * * * /watch/service_polling.sh\n";

    fn observed(source: &str) -> Observed<'static> {
        let instant = chrono::DateTime::parse_from_rfc3339("2018-04-13T19:22:58+08:00").unwrap();
        let now = LocalTime { instant, zone: "CST".to_owned() };
        Observed { file: Path::new("f"), source: source.as_bytes().to_vec(), now }
    }

    fn said(actions: Result<Vec<Action>>) -> Vec<String> {
        let say = |action| match action {
            Action::Say(line) => Some(line),
            Action::Replace(_) => None,
        };
        actions.unwrap().into_iter().filter_map(say).collect()
    }

    #[test]
    fn status_names_the_state_the_schedule_and_the_next_run() {
        assert_eq!(
            said(status(&observed(JOB))),
            [
                "updates are enabled (f:1)",
                "schedule: */5 * * * *",
                "next runs: 2018-04-13 19:25, 2018-04-13 19:30, 2018-04-13 19:35 local time"
            ]
        );
        let paused = format!("#autoupdate-toggle paused# {JOB}");
        assert_eq!(
            said(status(&observed(&paused))),
            [
                "updates are disabled: the poller is paused (f:1)",
                "schedule: */5 * * * *",
                "next runs if it were resumed now: 2018-04-13 19:25, 2018-04-13 19:30, 2018-04-13 19:35 local time"
            ]
        );
    }

    #[test]
    fn the_second_time_nothing_is_changed() {
        let actions = disable(&observed(JOB), None).unwrap();
        let [Action::Replace(paused), Action::Say(_)] = &actions[..] else { panic!("{actions:?}") };
        let paused = observed(std::str::from_utf8(paused).unwrap());
        let already = ["f:1: the poller is paused already; nothing was changed"];
        assert_eq!(said(disable(&paused, None)), already);
        let resumed = enable(&paused).unwrap();
        assert_eq!(resumed[0], Action::Replace(JOB.as_bytes().to_vec()));
        assert_eq!(said(enable(&observed(JOB))), ["f:1: the poller is not paused; nothing was changed"]);
    }

    #[test]
    fn a_pause_with_an_end_is_over_by_itself_and_one_without_stays() {
        let end = |text: &str| Some(DateTime::parse_from_rfc3339(text).unwrap());
        let replaced = |actions: Result<Vec<Action>>| match &actions.unwrap()[..] {
            [Action::Replace(bytes), Action::Say(_)] => String::from_utf8(bytes.clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        let until = replaced(disable(&observed(JOB), end("2018-04-13T20:00:00+08:00")));
        assert_eq!(
            said(status(&observed(&until))),
            [
                "updates are disabled until 2018-04-13 20:00 local time: the poller is paused (f:1)",
                "schedule: */5 * * * *",
                "next runs: 2018-04-13 20:00, 2018-04-13 20:05, 2018-04-13 20:10 local time"
            ]
        );
        let over = replaced(disable(&observed(&until), end("2018-04-13T11:00:00Z")));
        let tidy = "updates are enabled (f:1): its pause ended 2018-04-13 19:00; `enable` tidies the line up";
        assert_eq!(said(status(&observed(&over)))[0], tidy);
        assert_eq!(replaced(enable(&observed(&over))), JOB);
        let paused = replaced(disable(&observed(&over), None));
        assert_eq!(paused, format!("#autoupdate-toggle paused# {JOB}"));
        assert_eq!(
            said(disable(&observed(&paused), end("2018-04-13T20:00:00+08:00"))),
            [
                "f:1: the poller is paused already, without an end: resume it first to give it one; nothing was changed"
            ]
        );
    }

    #[test]
    fn an_error_names_the_lines_and_the_remedy() {
        for (source, line) in [
            (String::new(), "f: no job runs service_polling; name the right crontab with --file or --user"),
            (
                format!("#{JOB}"),
                "f: no job runs service_polling; line 1 is commented out by hand: remove its # sign",
            ),
            (
                format!("\n61 {}", &JOB[4..]),
                "f: no job runs service_polling; cron cannot read line 2: correct it",
            ),
            (
                format!("{JOB}\n{JOB}"),
                "f: more than one job runs service_polling (lines 1, 3); leave one of them",
            ),
        ] {
            let error = disable(&observed(&source), None).unwrap_err();
            assert_eq!((error.exit.code(), error.to_string().as_str()), (1, line));
        }
    }
}
