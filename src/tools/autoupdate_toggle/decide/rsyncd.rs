//! The `hosts deny` of one module.

use std::path::{Path, PathBuf};

use chrono::{DateTime, FixedOffset};

use crate::error::{Error, Result};
use crate::formats::rsyncd_conf::access::{Access, HostList, List, Meaning, Origin, Pattern, Verdict};
use crate::formats::rsyncd_conf::until::Ending;
use crate::formats::rsyncd_conf::{Problem, RsyncdConf};
use crate::ip_range::IpRange;
use crate::layout::RSYNCD_CONF;
use crate::names::shown;
use crate::time::LocalTime;
use crate::tools::autoupdate_toggle::decide;
use crate::tools::edit::Action;

/// One module of one configuration, and whom the request is about.
#[derive(Debug)]
pub struct Site<'a> {
    /// The configuration.
    pub conf: &'a RsyncdConf,
    /// Local time.
    pub now: &'a LocalTime,
    /// The module.
    pub module: &'a [u8],
    /// The addresses.
    pub ranges: &'a [IpRange],
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Edit {
    /// The file that is edited.
    pub file: PathBuf,
    /// The steps.
    pub actions: Vec<Action>,
}

impl Site<'_> {
    /// Denies the addresses, until a time if one is given. A denial without an end stays one. Fails, and nothing is to be
    /// done, when one of them would still be admitted.
    pub fn disable(&self, until: Option<DateTime<FixedOffset>>) -> Result<Edit> {
        let mut conf = self.conf.clone();
        let before = self.access(&conf)?;
        let endings = self.endings(&conf)?;
        let mut notes = Vec::new();
        let mut missing = Vec::new();
        let mut with_end = Vec::new();
        for range in self.ranges {
            match before.verdict(range) {
                Verdict::AdmittedBy(pattern) => return Err(self.allow_wins(range, pattern)),
                Verdict::Partly(pattern) if pattern.list == List::Allow => {
                    return Err(self.allow_wins(range, pattern));
                }
                Verdict::DeniedBy(_) | Verdict::NotJudged(_)
                    if is_own(&before, range) && end_of(&endings, range).is_some() =>
                {
                    with_end.push(*range);
                }
                Verdict::DeniedBy(pattern) => {
                    let end = until.map_or("", |_| ", and without an end: enable it first to give it one");
                    notes.push(format!("{range} is denied already ({}){end}", self.by(pattern)));
                }
                Verdict::NotAllowed(place) => {
                    notes.push(format!("{range} is denied already (not in the hosts allow of {place})"));
                }
                Verdict::NotJudged(_) if is_listed(&before, range) => {
                    notes.push(format!("{range} is denied already"));
                }
                Verdict::NotJudged(pattern) if before.deny.is_none() => {
                    return Err(self.would_admit_the_others(range, pattern));
                }
                Verdict::Admitted | Verdict::Partly(_) | Verdict::NotJudged(_) => missing.push(*range),
            }
        }
        let changed = [missing.as_slice(), &with_end].concat();
        conf.deny(self.module, &missing)
            .and_then(|()| match until {
                Some(until) => conf.end_denial(self.module, &changed, until),
                None => conf.forget_end(self.module, &changed),
            })
            .map_err(|problem| self.problem(&problem))?;
        let after = self.access(&conf)?;
        for range in self.ranges {
            match after.verdict(range) {
                Verdict::DeniedBy(_) | Verdict::NotAllowed(_) => {}
                Verdict::NotJudged(pattern) => notes.push(self.doubt(range, pattern)),
                _ => return Err(Error::failed(format!("{}: {range} would still be admitted", self.file()))),
            }
        }
        if until.is_some() && self.conf.file() != Path::new(RSYNCD_CONF) {
            notes.push(format!("dispatch ends it where RSYNCD_CONF names {} in its crontab", self.file()));
        }
        let done = match until {
            Some(until) => format!("denied until {} local time", decide::shown(until, self.now)),
            None => "denied".to_owned(),
        };
        self.outcome(&conf, &done, &changed, notes)
    }

    /// Takes the addresses out of `hosts deny`. Fails, and nothing is to be done, when one of them would still be denied.
    pub fn enable(&self) -> Result<Edit> {
        let mut conf = self.conf.clone();
        let before = self.access(&conf)?;
        let listed: Vec<IpRange> =
            self.ranges.iter().filter(|range| is_listed(&before, range)).copied().collect();
        conf.allow_again(self.module, &listed).map_err(|problem| self.problem(&problem))?;
        let after = self.access(&conf)?;
        if let (Some(allow), Some(deny), None) = (&after.allow, &before.deny, &after.deny) {
            let (deny, allow) = (&deny.place, &allow.place);
            return Err(Error::failed(format!(
                "{deny}: without its last address this hosts deny is empty, and the hosts allow of {allow} then denies \
                 every host that it does not name; add the address to hosts allow"
            )));
        }
        let mut notes = Vec::new();
        for range in self.ranges {
            match after.verdict(range) {
                Verdict::Admitted | Verdict::AdmittedBy(_) if listed.contains(range) => {}
                Verdict::Admitted | Verdict::AdmittedBy(_) => notes.push(format!("{range} is not denied")),
                Verdict::DeniedBy(pattern) | Verdict::Partly(pattern) => {
                    return Err(self.still_denied(range, pattern));
                }
                Verdict::NotAllowed(place) => {
                    return Err(Error::failed(format!(
                        "{place}: {range} is denied because this hosts allow does not name it; add it there"
                    )));
                }
                Verdict::NotJudged(pattern) => notes.push(self.doubt(range, pattern)),
            }
        }
        self.outcome(&conf, "allowed again", &listed, notes)
    }

    /// Says what the daemon does with the addresses; without addresses, whom it denies.
    pub fn status(&self) -> Result<Edit> {
        let (access, endings) = (self.access(self.conf)?, self.endings(self.conf)?);
        let lines = match self.ranges {
            [] => self.lists(&access, &endings),
            _ => self.verdicts(&access, &endings),
        };
        let actions = lines.into_iter().map(Action::Say).collect();
        Ok(Edit { file: self.conf.file().to_path_buf(), actions })
    }

    /// The addresses of which exactly one stands in the module's `hosts deny`.
    pub fn listed(&self) -> Result<Vec<IpRange>> {
        let access = self.access(self.conf)?;
        Ok(self.ranges.iter().filter(|range| is_listed(&access, range)).copied().collect())
    }

    fn verdicts(&self, access: &Access, endings: &[Ending]) -> Vec<String> {
        let line = |range: &IpRange| match access.verdict(range) {
            Verdict::Admitted => format!("{range}: enabled"),
            Verdict::AdmittedBy(pattern) => format!("{range}: enabled ({})", self.by(pattern)),
            Verdict::DeniedBy(pattern) => {
                format!("{range}: disabled{} ({})", self.end(endings, pattern), self.by(pattern))
            }
            Verdict::NotAllowed(place) => {
                format!("{range}: disabled (not in the hosts allow of {place})")
            }
            Verdict::Partly(pattern) => format!("{range}: enabled in part ({})", self.by(pattern)),
            Verdict::NotJudged(pattern) => format!("{range}: not judged ({})", self.by(pattern)),
        };
        self.ranges.iter().map(line).collect()
    }

    /// When a pattern of `hosts deny` goes by itself.
    fn end(&self, endings: &[Ending], pattern: &Pattern) -> String {
        let Meaning::Range(range) = pattern.meaning else { return String::new() };
        let Some(end) = end_of(endings, &range).filter(|_| pattern.list == List::Deny) else {
            return String::new();
        };
        let over =
            if end <= self.now.instant { ", which is over: the next tick of dispatch admits it" } else { "" };
        format!(" until {} local time{over}", decide::shown(end, self.now))
    }

    fn endings(&self, conf: &RsyncdConf) -> Result<Vec<Ending>> {
        conf.endings(self.module).map_err(|problem| self.problem(&problem))
    }

    fn lists(&self, access: &Access, endings: &[Ending]) -> Vec<String> {
        let patterns = |list: &Option<HostList>| list.iter().flat_map(|l| l.patterns.clone()).collect();
        let (allow, deny): (Vec<Pattern>, Vec<Pattern>) = (patterns(&access.allow), patterns(&access.deny));
        let unjudged = |pattern: &Pattern| match pattern.meaning {
            Meaning::Name => "; a host name: not judged",
            Meaning::Nobody => "; not an address: matches nobody",
            Meaning::Everyone | Meaning::Range(_) => "",
        };
        let show = |what: &'static str| {
            move |p: &Pattern| {
                let end = self.end(endings, p);
                format!("{what} {}{end} ({}){}", text(p), self.by_line(p), unjudged(p))
            }
        };
        let mut lines: Vec<String> = allow.iter().map(show("allowed before all:")).collect();
        lines.extend(deny.iter().map(show("denied:")));
        match (&access.allow, &access.deny) {
            (Some(allow), None) => {
                let place = &allow.place;
                lines.push(format!("denied: every other host ({place}: hosts allow without a hosts deny)"));
            }
            _ if deny.is_empty() => {
                let (file, module) = (self.file(), shown(self.module));
                lines.push(format!("{file}: no address is denied in module {module}"));
            }
            _ => {}
        }
        lines
    }

    fn access(&self, conf: &RsyncdConf) -> Result<Access> {
        conf.access(self.module).map_err(|problem| self.problem(&problem))
    }

    /// The file that changed is replaced, and the operator reads one line.
    fn outcome(&self, conf: &RsyncdConf, done: &str, ranges: &[IpRange], notes: Vec<String>) -> Result<Edit> {
        let (file, actions, parts) = match &conf.changed_since(self.conf)[..] {
            [] => (self.conf.file(), None, [notes, vec!["nothing was changed".to_owned()]].concat()),
            [(file, bytes)] => {
                let ranges = ranges.iter().map(IpRange::to_string).collect::<Vec<_>>().join(", ");
                let done = format!("{done} in module {}: {ranges}", shown(self.module));
                let parts = [vec![done], notes, vec!["the daemon needs no restart".to_owned()]].concat();
                (*file, Some(Action::Replace(bytes.to_vec())), parts)
            }
            [(one, _), (other, _), ..] => {
                return Err(Error::failed(format!(
                    "{}: the denials of module {} and the remarks about their end stand in two files, this one and {}; put \
                     them into one",
                    one.display(),
                    shown(self.module),
                    other.display()
                )));
            }
        };
        let said = Action::Say(format!("{}: {}", file.display(), parts.join("; ")));
        Ok(Edit { file: file.to_path_buf(), actions: actions.into_iter().chain([said]).collect() })
    }

    fn problem(&self, problem: &Problem) -> Error {
        problem.of_module(self.module)
    }

    fn allow_wins(&self, range: &IpRange, pattern: &Pattern) -> Error {
        Error::failed(format!(
            "{}: hosts allow has {}, which wins over hosts deny, so denying {range} would have no effect; take it out of \
             hosts allow first",
            pattern.place,
            text(pattern),
        ))
    }

    fn would_admit_the_others(&self, range: &IpRange, pattern: &Pattern) -> Error {
        Error::failed(format!(
            "{}: hosts allow names hosts ({}) and there is no hosts deny: adding one for {range} would admit every \
             other host; edit this hosts allow by hand",
            pattern.place,
            text(pattern),
        ))
    }

    fn still_denied(&self, range: &IpRange, pattern: &Pattern) -> Error {
        let (place, text) = (&pattern.place, text(pattern));
        Error::failed(match (pattern.list, pattern.origin) {
            (List::Allow, _) => {
                format!("{place}: hosts allow has {text}, but not all of {range}; add the rest")
            }
            (List::Deny, Origin::Global) => {
                format!(
                    "{place}: {range} is denied for every module, by {text} in the global part; edit that line"
                )
            }
            (List::Deny, Origin::Module) => format!(
                "{place}: {range} is denied by {text}, which also denies others; enable {text}, or edit that line"
            ),
        })
    }

    fn doubt(&self, range: &IpRange, pattern: &Pattern) -> String {
        format!("whether {range} is one of the hosts called {} was not judged", self.by(pattern))
    }

    /// A pattern and where it stands.
    pub fn by(&self, pattern: &Pattern) -> String {
        format!("{} in the {} of {}", text(pattern), pattern.list.key(), self.by_line(pattern))
    }

    fn by_line(&self, pattern: &Pattern) -> String {
        let place = &pattern.place;
        match pattern.origin {
            Origin::Module => place.to_string(),
            Origin::Global => format!("{place}, global"),
        }
    }

    /// The configuration's main file, as messages name it.
    pub fn file(&self) -> String {
        self.conf.file().display().to_string()
    }
}

/// Whether exactly this range is in `hosts deny`.
fn is_listed(access: &Access, range: &IpRange) -> bool {
    let is_it = |pattern: &Pattern| pattern.meaning == Meaning::Range(*range);
    access.deny.as_ref().is_some_and(|deny| deny.patterns.iter().any(is_it))
}

/// Whether it is there in a list of the module's own.
fn is_own(access: &Access, range: &IpRange) -> bool {
    let is_own = |deny: &HostList| deny.patterns.iter().all(|pattern| pattern.origin == Origin::Module);
    is_listed(access, range) && access.deny.as_ref().is_some_and(is_own)
}

fn end_of(endings: &[Ending], range: &IpRange) -> Option<DateTime<FixedOffset>> {
    endings.iter().find(|ending| ending.ranges.contains(range)).map(|ending| ending.until)
}

fn text(pattern: &Pattern) -> String {
    String::from_utf8_lossy(&pattern.text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::rsyncd_conf::include::Found;
    use crate::tools::autoupdate_toggle::cli::Verb;

    fn run(source: &str, ips: &str, verb: Verb) -> Result<Vec<Action>> {
        run_until(source, ips, verb, None)
    }

    fn run_until(
        source: &str,
        ips: &str,
        verb: Verb,
        until: Option<DateTime<FixedOffset>>,
    ) -> Result<Vec<Action>> {
        let now = LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() };
        let conf = RsyncdConf::read(Path::new("f"), source.as_bytes(), &mut |path| match path.to_str() {
            Some("/d") => Found::Directory(vec!["m.conf".into()]),
            Some("/d/m.conf") => Found::File(b"hosts allow = 10.9.9.9\n[m]\npath = x\n".to_vec()),
            _ => Found::Nothing("no such file".to_owned()),
        });
        let words = ips.split(',').filter(|word| !word.is_empty());
        let ranges: Vec<IpRange> = words.map(|word| IpRange::parse(word.as_bytes()).unwrap()).collect();
        let site = Site { conf: &conf, now: &now, module: b"m", ranges: &ranges };
        let edit = decide::by_rsyncd(&site, verb, until)?;
        assert_eq!(edit.file, Path::new("f"));
        Ok(edit.actions)
    }

    fn disable(source: &str, ips: &str) -> Result<Vec<Action>> {
        run(source, ips, Verb::Disable)
    }

    fn enable(source: &str, ips: &str) -> Result<Vec<Action>> {
        run(source, ips, Verb::Enable)
    }

    fn status(source: &str, ips: &str) -> Vec<String> {
        let line = |action| match action {
            Action::Say(line) => line,
            Action::Replace(bytes) => panic!("status writes {bytes:?}"),
        };
        run(source, ips, Verb::Status).unwrap().into_iter().map(line).collect()
    }

    fn replaced(source: &str) -> Action {
        Action::Replace(source.as_bytes().to_vec())
    }

    #[test]
    fn what_is_denied_already_is_not_denied_twice() {
        for (source, said) in [
            ("[m]\nhosts deny=10.0.0.1\n", "10.0.0.1 in the hosts deny of f:2"),
            ("[m]\nhosts deny=10.0.0.0/8\n", "10.0.0.0/8 in the hosts deny of f:2"),
            ("hosts deny=10.0.0.1\n[m]\n", "10.0.0.1 in the hosts deny of f:1, global"),
            ("[m]\nhosts allow=10.0.0.2\n", "not in the hosts allow of f:2"),
        ] {
            let said = format!("f: 10.0.0.1 is denied already ({said}); nothing was changed");
            assert_eq!(disable(source, "10.0.0.1"), Ok(vec![Action::Say(said)]));
        }
        let actions = disable("[m]\nhosts deny=10.0.0.1\n", "10.0.0.1,10.0.0.2").unwrap();
        let said = "f: denied in module \u{201c}m\u{201d}: 10.0.0.2; \
            10.0.0.1 is denied already (10.0.0.1 in the hosts deny of f:2); the daemon needs no restart";
        assert_eq!(actions, [replaced("[m]\nhosts deny=10.0.0.1,10.0.0.2\n"), Action::Say(said.to_owned())]);
    }

    #[test]
    fn denying_without_effect_or_with_too_much_effect_is_an_error() {
        for (source, ips, said) in [
            (
                "[m]\n[n]\nhosts allow=*\n[m]\nhosts allow=10.0.0.0/8\n",
                "10.0.0.1",
                "f:5: hosts allow has 10.0.0.0/8",
            ),
            ("hosts allow=*\n[m]\n", "10.0.0.1", "f:1: hosts allow has *"),
            ("[m]\nhosts allow=10.0.0.7\n", "10.0.0.0/24", "f:2: hosts allow has 10.0.0.7"),
            (
                "[m]\nhosts allow=h\n",
                "10.0.0.1",
                "f:2: hosts allow names hosts (h) and there is no hosts deny",
            ),
        ] {
            let error = disable(source, ips).unwrap_err();
            assert!(error.to_string().starts_with(said), "{error}");
            assert_eq!(error.exit.code(), 1);
        }
    }

    #[test]
    fn an_address_that_would_stay_denied_is_an_error() {
        for (source, said) in [
            ("[m]\nhosts deny=a,\\\n10.0.0.0/24\n", "f:3: 10.0.0.1 is denied by 10.0.0.0/24"),
            ("[m]\nhosts deny=10.0.0.1 *\n", "f:2: 10.0.0.1 is denied by *"),
            ("hosts deny=10.0.0.1\n[m]\n", "f:1: 10.0.0.1 is denied for every module, by 10.0.0.1"),
            ("[m]\nhosts allow=10.0.0.2\n", "f:2: 10.0.0.1 is denied because this hosts allow"),
            ("[m]\nhosts allow=10.0.0.2\nhosts deny=10.0.0.1\n", "f:3: without its last address"),
        ] {
            let error = enable(source, "10.0.0.1").unwrap_err();
            assert!(error.to_string().starts_with(said), "{error}");
            assert_eq!(error.exit.code(), 1);
        }
    }

    #[test]
    fn a_denial_with_an_end_is_said_and_one_without_is_not_shortened() {
        let hour = |hour: i64| Some((DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(hour)).fixed_offset());
        let remark = |hour| format!("# autoupdate-toggle: until 1970-01-01T{hour}:00:00+00:00: 10.0.0.1\n");
        let steps = |source: &str, ips, until| {
            let actions = run_until(source, ips, Verb::Disable, until).unwrap();
            actions.into_iter().map(|action| match action {
                Action::Replace(bytes) => String::from_utf8(bytes).unwrap(),
                Action::Say(line) => line,
            })
        };
        let denied = "[m]\nhosts deny = 10.0.0.9\n";
        let both = |end: &str| format!("[m]\n{end}hosts deny = 10.0.0.9,10.0.0.1\n");
        let once: Vec<String> = steps(denied, "10.0.0.1,10.0.0.9", hour(20)).collect();
        assert_eq!(once[0], both(&remark("20")));
        assert_eq!(
            once[1],
            "f: denied until 1970-01-01 20:00 local time in module \u{201c}m\u{201d}: 10.0.0.1; 10.0.0.9 is denied \
             already (10.0.0.9 in the hosts deny of f:2), and without an end: enable it first to give it one; dispatch ends \
             it where RSYNCD_CONF names f in its crontab; the daemon needs no restart"
        );
        assert_eq!(steps(&once[0], "10.0.0.1", hour(21)).next(), Some(both(&remark("21"))));
        let without: Vec<String> = steps(&once[0], "10.0.0.1", None).collect();
        assert_eq!(without[0], both(""));
        assert_eq!(
            without[1],
            "f: denied in module \u{201c}m\u{201d}: 10.0.0.1; the daemon needs no restart"
        );
        assert_eq!(
            status(&once[0], ""),
            ["denied: 10.0.0.9 (f:3)", "denied: 10.0.0.1 until 1970-01-01 20:00 local time (f:3)"]
        );
        assert_eq!(
            status(&both(&remark("00")), "10.0.0.1"),
            [
                "10.0.0.1: disabled until 1970-01-01 00:00 local time, which is over: the next tick of dispatch admits it \
              (10.0.0.1 in the hosts deny of f:3)"
            ]
        );
    }

    #[test]
    fn host_names_are_said_to_be_not_judged() {
        let source = "[m]\nhosts allow=h\nhosts deny=10.0.0.2\n";
        let actions = disable(source, "10.0.0.1").unwrap();
        assert_eq!(actions[0], replaced("[m]\nhosts allow=h\nhosts deny=10.0.0.2,10.0.0.1\n"));
        let Action::Say(said) = &actions[1] else { panic!("{actions:?}") };
        let doubt = "whether 10.0.0.1 is one of the hosts called h in the hosts allow of f:2 was not judged";
        assert!(said.contains(doubt), "{said}");
        assert_eq!(
            status(source, "10.0.0.2,10.0.0.3"),
            ["10.0.0.2: not judged (h in the hosts allow of f:2)", "10.0.0.3: enabled"]
        );
    }

    #[test]
    fn status_lists_who_is_denied_and_from_where() {
        let source = "hosts deny = 10.0.0.0/8 h 1.2.3.4.5\n[m]\nhosts allow = 10.0.0.1\n";
        assert_eq!(
            status(source, ""),
            [
                "allowed before all: 10.0.0.1 (f:3)",
                "denied: 10.0.0.0/8 (f:1, global)",
                "denied: h (f:1, global); a host name: not judged",
                "denied: 1.2.3.4.5 (f:1, global); not an address: matches nobody",
            ]
        );
        assert_eq!(
            status("[m]\nhosts allow=::1\n", "")[1..],
            ["denied: every other host (f:2: hosts allow without a hosts deny)"]
        );
        assert_eq!(
            status("&include /d\n", ""),
            [
                "allowed before all: 10.9.9.9 (/d/m.conf:1, global)",
                "denied: every other host (/d/m.conf:1: hosts allow without a hosts deny)"
            ]
        );
        assert_eq!(status("[m]\n", ""), ["f: no address is denied in module \u{201c}m\u{201d}"]);
        assert_eq!(
            status(source, "10.0.0.1,10.0.0.2,10.0.0.0/24"),
            [
                "10.0.0.1: enabled (10.0.0.1 in the hosts allow of f:3)",
                "10.0.0.2: disabled (10.0.0.0/8 in the hosts deny of f:1, global)",
                "10.0.0.0/24: enabled in part (10.0.0.1 in the hosts allow of f:3)",
            ]
        );
    }
}
