//! The poller's job in a crontab.

use crate::error::{Error, Result};
use crate::formats::crontab::schedule::Next;
use crate::formats::crontab::{Crontab, Job, Mention, Problem, State};
use crate::tools::autoupdate_toggle::decide::{Action, Observed};

/// Pauses the job.
pub fn disable(observed: &Observed) -> Result<Vec<Action>> {
    let (mut crontab, job, place) = read(observed)?;
    if job.state == State::Paused {
        return Ok(vec![Action::Say(format!("{place}: the poller is paused already; nothing was changed"))]);
    }
    crontab.pause(&job);
    let said = format!("{place}: paused the poller ({}); `enable` resumes it", job.fields);
    Ok(vec![Action::Replace(crontab.render().to_vec()), Action::Say(said)])
}

/// Resumes the job.
pub fn enable(observed: &Observed) -> Result<Vec<Action>> {
    let (mut crontab, job, place) = read(observed)?;
    if job.state == State::Running {
        return Ok(vec![Action::Say(format!("{place}: the poller is not paused; nothing was changed"))]);
    }
    crontab.resume(&job);
    let said = format!("{place}: resumed the poller ({}); {}", job.fields, next(&job, observed, "next run"));
    Ok(vec![Action::Replace(crontab.render().to_vec()), Action::Say(said)])
}

/// Says whether cron runs the job, and when next.
pub fn status(observed: &Observed) -> Result<Vec<Action>> {
    let (_, job, place) = read(observed)?;
    let (state, what) = match job.state {
        State::Running => ("enabled", "next run"),
        State::Paused => ("disabled: the poller is paused", "next run if it were resumed now"),
    };
    Ok(vec![
        Action::Say(format!("updates are {state} ({place})")),
        Action::Say(format!("schedule: {}", job.fields)),
        Action::Say(next(&job, observed, what)),
    ])
}

fn read(observed: &Observed) -> Result<(Crontab, Job, String)> {
    let crontab = Crontab::parse(&observed.source);
    let file = observed.file.display();
    match crontab.poller() {
        Ok(job) => {
            let place = format!("{file}:{}", job.line);
            Ok((crontab, job, place))
        }
        Err(Problem::NoJob(mentions)) => {
            let remedy = match mentions.first() {
                None => "name the right crontab with --file".to_owned(),
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

fn next(job: &Job, observed: &Observed, what: &str) -> String {
    match job.schedule.next_after(&observed.now) {
        Next::At(time) => format!("{what}: {} local time", time.format("%F %R")),
        Next::AtReboot => format!("{what}: when cron starts"),
        Next::Never => format!("{what}: never, there is no such day"),
        Next::Unknown => format!("{what}: not computed for this schedule"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::time::LocalTime;

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
            ["updates are enabled (f:1)", "schedule: */5 * * * *", "next run: 2018-04-13 19:25 local time"]
        );
        let paused = format!("#autoupdate-toggle paused# {JOB}");
        assert_eq!(
            said(status(&observed(&paused))),
            [
                "updates are disabled: the poller is paused (f:1)",
                "schedule: */5 * * * *",
                "next run if it were resumed now: 2018-04-13 19:25 local time"
            ]
        );
    }

    #[test]
    fn the_second_time_nothing_is_changed() {
        let actions = disable(&observed(JOB)).unwrap();
        let [Action::Replace(paused), Action::Say(_)] = &actions[..] else { panic!("{actions:?}") };
        let paused = observed(std::str::from_utf8(paused).unwrap());
        let already = ["f:1: the poller is paused already; nothing was changed"];
        assert_eq!(said(disable(&paused)), already);
        let resumed = enable(&paused).unwrap();
        assert_eq!(resumed[0], Action::Replace(JOB.as_bytes().to_vec()));
        assert_eq!(said(enable(&observed(JOB))), ["f:1: the poller is not paused; nothing was changed"]);
    }

    #[test]
    fn an_error_names_the_lines_and_the_remedy() {
        for (source, line) in [
            (String::new(), "f: no job runs service_polling; name the right crontab with --file"),
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
            let error = disable(&observed(&source)).unwrap_err();
            assert_eq!((error.exit.code(), error.to_string().as_str()), (1, line));
        }
    }
}
