//! The laws that every format keeps for every byte string. The fuzz targets search for one that breaks them; `cargo test`
//! shows them the kept corpus (tests/corpus.rs). A law that is broken panics.
#![allow(dead_code, reason = "a fuzz target uses one of the laws")]

use std::collections::BTreeSet;

use model_rollout::formats::announcement::Said;
use model_rollout::formats::crontab::{Crontab, Job, Kind, PAUSED, State};
use model_rollout::formats::dispatchserver_sh::{Registry, StanzaState, Step};
use model_rollout::formats::env_sh::EnvSh;
use model_rollout::formats::held::{self, Held, Hold};
use model_rollout::formats::manifest::{Manifest, More};
use model_rollout::formats::member_state::{MemberState, Word};
use model_rollout::formats::port_table::PortTable;
use model_rollout::formats::rsyncd_conf::RsyncdConf;
use model_rollout::formats::rsyncd_conf::access::{Meaning, Verdict};
use model_rollout::formats::service_conf::lint::{About, lint};
use model_rollout::formats::service_conf::{Announcement, announce, announces, value};
use model_rollout::formats::service_control::{
    Call, ServiceControlParam, read_call, read_reply, refusal, reply,
};
use model_rollout::formats::shell::Context;
use model_rollout::formats::{Finding, Refusal};
use model_rollout::ip_range::IpRange;
use model_rollout::names::{Address, ModelName, PluginName, Port};
use model_rollout::rollout::state::State as Rollout;
use model_rollout::time::{Dates, LocalTime, Seconds};
use model_rollout::version::Version;

mod dash;
mod sed;

/// What a law is called, and the law.
pub type Law = (&'static str, fn(&[u8]));

/// Every law, by the name of its fuzz target and of its corpus.
pub const ALL: [Law; 15] = [
    ("announcement", announcement),
    ("env_sh", env_sh),
    ("env_sh_as_dash", env_sh_as_dash),
    ("state", state),
    ("service_conf", service_conf),
    ("service_conf_as_sed", service_conf_as_sed),
    ("dispatchserver_sh", dispatchserver_sh),
    ("rsyncd_conf", rsyncd_conf),
    ("crontab", crontab),
    ("held", held),
    ("manifest", manifest),
    ("member_state", member_state),
    ("port_table", port_table),
    ("service_control", service_control),
    ("version", version),
];

/// Bytes for a failure's message: one line, to be copied into a table of regressions.
fn shown(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}

/// 1970-01-01 00:00:00 UTC.
fn now() -> LocalTime {
    LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() }
}

/// The environment that texts are read in.
const ENVIRONMENT: [(&str, &str); 3] =
    [("outer", "from outside"), ("odd", " *\\\t'\"$a `\n~"), ("empty", "")];

fn environment(name: &[u8]) -> Option<Vec<u8>> {
    let known = ENVIRONMENT.iter().find(|(known, _)| known.as_bytes() == name);
    known.map(|(_, value)| value.as_bytes().to_vec())
}

/// A refusal names a place that is in the text, and says what to do.
fn check_refusal(refusal: &Refusal, text: &[u8]) {
    let line = text.split(|b| *b == b'\n').nth(refusal.line - 1).unwrap_or_else(|| panic!("{refusal}"));
    assert!((1..=line.len() + 1).contains(&refusal.column), "{refusal} of {}", shown(text));
    assert!(!refusal.what.is_empty() && !refusal.instead.is_empty(), "{refusal}");
}

/// A text for people is one line, whatever it quotes.
fn check_one_line(shown_to_people: &str, text: &[u8]) {
    let is_line = !shown_to_people.contains(char::is_control);
    assert!(is_line, "{} of {}", shown_to_people.escape_debug(), shown(text));
}

fn read_env_sh(text: &[u8]) -> Result<EnvSh, Refusal> {
    EnvSh::parse(text, &Context { environment: &environment, now: &now() })
}

/// Every name that a text could assign, what stands before a `=`, and some more. Names in capitals may be the shell's own.
fn names(text: &[u8], env: &EnvSh) -> BTreeSet<String> {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut names: BTreeSet<String> =
        ["a", "b", "members", "outer", "odd", "empty", "unset"].map(str::to_owned).into();
    for equals in text.iter().enumerate().filter(|(_, b)| **b == b'=').map(|(at, _)| at) {
        let start = text[..equals].iter().rposition(|b| !is_name(b)).map_or(0, |at| at + 1);
        let name = String::from_utf8_lossy(&text[start..equals]).into_owned();
        let is_ordinary = env.get(&name).is_some() || name.chars().any(|c| c.is_ascii_lowercase());
        if is_ordinary && !name.starts_with(|c: char| c.is_ascii_digit()) {
            names.insert(name);
        }
    }
    names
}

/// env.sh: what is read is rendered byte for byte; an edit gives its name the value and changes no other name's.
pub fn env_sh(text: &[u8]) {
    let before = match read_env_sh(text) {
        Ok(env) => env,
        Err(refusal) => return check_refusal(&refusal, text),
    };
    assert_eq!(shown(before.render()), shown(text));
    let values: [(&str, &[u8]); 3] =
        [("members", b"10.0.0.1,10.0.0.2"), ("moduleport", b"$a `b` \"c\" \\d 'e'\n#\xff"), ("a", b"")];
    for (name, value) in values {
        let mut edited = before.clone();
        edited.set(name, value);
        assert_eq!(edited.get(name).map(shown), Some(shown(value)));
        let again = read_env_sh(edited.render());
        assert_eq!(again.as_ref(), Ok(&edited), "{} became {}", shown(text), shown(edited.render()));
        for other in names(text, &before).iter().filter(|other| *other != name) {
            assert_eq!(edited.get(other), before.get(other), "{other} in {}", shown(edited.render()));
        }
    }
}

/// env.sh: every value is the one that dash gives.
pub fn env_sh_as_dash(text: &[u8]) {
    let Ok(env) = read_env_sh(text) else { return };
    let names: Vec<String> = names(text, &env).into_iter().collect();
    let value = |name: &String| {
        let value = env.get(name).map(<[u8]>::to_vec).or_else(|| environment(name.as_bytes()));
        value.unwrap_or_else(|| dash::UNSET.as_bytes().to_vec())
    };
    let ours: Vec<u8> = names.iter().flat_map(|name| [value(name), vec![0]].concat()).collect();
    let theirs = dash::values(text, &names, &ENVIRONMENT);
    // tests/laws_of_env_sh.rs compares dates.
    if theirs.windows(dash::DATE.len()).any(|w| w == dash::DATE.as_bytes()) {
        return;
    }
    assert_eq!(shown(&ours), shown(&theirs), "ours (left) and dash's of {}", shown(text));
}

const KEYS: [&str; 3] = ["moduleversion", "modulepath", "moduleconfig"];

fn of_sed() -> Announcement {
    let [version, path, config] = sed::VALUES.map(str::to_owned);
    Announcement { version, path, config }
}

/// A finding names a line that is in the text, and says what to do. They come line by line.
fn check_findings(findings: &[Finding], text: &[u8]) {
    let count = text.split(|b| *b == b'\n').count();
    for finding in findings {
        assert!((1..=count).contains(&finding.line), "{finding} of {}", shown(text));
        assert!(!finding.what.is_empty() && !finding.instead.is_empty(), "{finding}");
    }
    assert!(findings.is_sorted_by_key(|finding| finding.line), "{findings:?} of {}", shown(text));
}

/// service.conf: announcing twice is announcing once; what was announced is read back; no other line changes. Every finding
/// has its line.
pub fn service_conf(text: &[u8]) {
    let model = ModelName::parse(b"m").expect("a name");
    let versions = [sed::VALUES[0].as_bytes().to_vec()];
    let about = About { model: &model, versions: &versions };
    check_findings(&lint(text, &about), text);
    let announcement = of_sed();
    let Ok(once) = announce(text, &announcement) else {
        assert!(!announces(text, &announcement));
        return;
    };
    assert!(announces(&once, &announcement), "{}", shown(&once));
    assert_eq!(announce(&once, &announcement).map(|twice| shown(&twice)), Ok(shown(&once)));
    for (key, announced) in KEYS.iter().zip(sed::VALUES) {
        assert_eq!(
            value(&once, key).map(shown),
            Some(shown(announced.as_bytes())),
            "{key} in {}",
            shown(&once)
        );
    }
    let (before, after) = (text.split(|b| *b == b'\n'), once.split(|b| *b == b'\n'));
    assert_eq!(before.clone().count(), after.clone().count());
    for (before, after) in before.zip(after).filter(|(before, after)| before != after) {
        let has_key = KEYS.iter().any(|key| before.windows(key.len()).any(|w| w == key.as_bytes()));
        assert!(has_key, "{} became {}", shown(before), shown(after));
    }
}

/// service.conf: every line becomes what sed makes of it, but those with blanks around the `=`, which sed does not see.
pub fn service_conf_as_sed(text: &[u8]) {
    let Ok(ours) = announce(text, &of_sed()) else { return };
    let Some(theirs) = sed::edited(text, &KEYS) else { return };
    let (ours, theirs) = (ours.split(|b| *b == b'\n'), theirs.split(|b| *b == b'\n'));
    assert_eq!(ours.clone().count(), theirs.clone().count());
    for (line, (ours, theirs)) in text.split(|b| *b == b'\n').zip(ours.zip(theirs)) {
        if !is_spaced(line) {
            assert_eq!(shown(ours), shown(theirs), "ours (left) and sed's of {}", shown(line));
        }
    }
}

/// Whether a line sets a key with blanks around the `=`: `key = value` or `key= value`.
fn is_spaced(line: &[u8]) -> bool {
    let indent = line.iter().take_while(|b| matches!(b, b' ' | 9..=13)).count();
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    KEYS.iter().filter_map(|key| line[indent..].strip_prefix(key.as_bytes())).any(|rest| {
        let before = rest.iter().take_while(|b| is_blank(Some(b))).count();
        rest.get(before) == Some(&b'=') && (before > 0 || is_blank(rest.get(1)))
    })
}

/// The registry: read and rendered whatever it holds; its steps come in the order of its lines; a stanza is appended byte
/// for byte, and a registry that is read whole does the same with it behind, and the stanza too.
pub fn dispatchserver_sh(text: &[u8]) {
    let now = now();
    let context = Context { environment: &environment, now: &now };
    let registry = Registry::parse(text, &context);
    assert_eq!(shown(registry.render()), shown(text));
    let mut before = 0;
    for step in registry.steps() {
        let line = match step {
            Step::Log { line, text, .. } => {
                let mut shown = Vec::new();
                text.render(&now, &mut Dates::default(), &mut shown);
                assert!(shown.ends_with(b"\n"));
                *line
            }
            Step::Dispatch { line, .. } => *line,
            Step::Unreadable(refusal) => {
                check_refusal(refusal, text);
                // It may name a place further down, where a quote is opened that is never closed.
                continue;
            }
        };
        assert!(line >= before, "{}", shown(text));
        before = line;
    }
    let (Ok(model), Ok(plugin)) = (ModelName::parse(b"another"), PluginName::parse(b"p")) else { return };
    let is_whole = !registry.steps().iter().any(|step| matches!(step, Step::Unreadable(_)));
    let is_new = registry.stanza_of(&model).is_none();
    let mut longer = registry.clone();
    longer.append_stanza(&model, &plugin, "yuxiang8");
    assert!(longer.render().starts_with(text));
    // Behind a \ the first line of the stanza, a remark, continues the last line.
    if is_whole && is_new && !text.ends_with(b"\\") && !text.ends_with(b"\\\n") {
        let read = Registry::parse(longer.render(), &context);
        assert_eq!(&read.steps()[..registry.steps().len()], registry.steps(), "{}", shown(text));
        assert!(
            matches!(read.stanza_of(&model), Some(StanzaState::Active { .. })) || context_is_spoilt(&read),
            "{}",
            shown(text)
        );
    }
}

/// Whether the appended stanza cannot be read because of a name that stands above it: logFile is not set, or a variable
/// changes what `date` prints.
fn context_is_spoilt(registry: &Registry) -> bool {
    registry.steps().iter().any(|step| match step {
        Step::Unreadable(refusal) => ["log file's name is empty", "date depends on", "split or expand"]
            .iter()
            .any(|what| refusal.what.contains(what)),
        _ => false,
    })
}

fn ranges(texts: &[&str]) -> Vec<IpRange> {
    texts.iter().filter_map(|text| IpRange::parse(text.as_bytes()).ok()).collect()
}

fn denied(conf: &RsyncdConf) -> Vec<Meaning> {
    let deny = conf.access(b"m").ok().and_then(|access| access.deny);
    deny.map(|deny| deny.patterns).unwrap_or_default().into_iter().map(|p| p.meaning).collect()
}

/// How many bytes two texts share at their begin and, behind that, at their end.
fn shared(a: &[u8], b: &[u8]) -> usize {
    let begin = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[begin..], &b[begin..]);
    begin + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

/// rsyncd.conf: denying inserts in one place exactly the addresses that were missing, once; another module does not see
/// it; allowing again gives the original bytes back. What cannot be edited stays as it is.
pub fn rsyncd_conf(text: &[u8]) {
    for asked in [ranges(&["10.0.0.1"]), ranges(&["10.0.0.9", "10.0.1.0/24", "::1", "10.0.0.9"])] {
        let mut conf = RsyncdConf::parse(text);
        assert_eq!(shown(conf.render()), shown(text));
        let admits = |conf: &RsyncdConf| {
            conf.access(b"n").map(|access| access.verdict(&asked[0]) == Verdict::Admitted)
        };
        let other = admits(&conf);
        let before = denied(&conf);
        if conf.deny(b"m", &asked).is_err() {
            assert_eq!(shown(conf.render()), shown(text));
            continue;
        }
        let once = conf.render().to_vec();
        assert_eq!(shared(text, &once), text.len(), "{} became {}", shown(text), shown(&once));
        let mut expected = before.clone();
        for meaning in asked.iter().copied().map(Meaning::Range) {
            if !expected.contains(&meaning) {
                expected.push(meaning);
            }
        }
        assert_eq!(denied(&conf), expected, "{}", shown(&once));
        assert_eq!(admits(&conf), other, "{}", shown(&once));
        assert!(conf.deny(b"m", &asked).is_ok() && conf.render() == once);

        let new: Vec<IpRange> =
            asked.iter().copied().filter(|range| !before.contains(&Meaning::Range(*range))).collect();
        assert!(conf.allow_again(b"m", &new).is_ok());
        // What was written down about the end of an address that nobody denied goes, too.
        let endings = RsyncdConf::parse(text).endings(b"m").unwrap_or_default();
        if endings.iter().all(|ending| new.iter().all(|range| !ending.ranges.contains(range))) {
            assert_eq!(shown(conf.render()), shown(text), "{} in between", shown(&once));
        }
        ends(text, &asked);
    }
}

/// An end is written down in one place and forgotten without a trace, and nothing is lifted twice.
fn ends(text: &[u8], asked: &[IpRange]) {
    let mut conf = RsyncdConf::parse(text);
    if conf.deny(b"m", asked).and_then(|()| conf.forget_end(b"m", asked)).is_err() {
        return;
    }
    let without = conf.render().to_vec();
    let until = now().instant;
    assert!(conf.end_denial(b"m", asked, until).is_ok());
    let ended = conf.render().to_vec();
    assert!(conf.end_denial(b"m", asked, until).is_ok() && conf.render() == ended);
    assert!(conf.forget_end(b"m", asked).is_ok());
    assert_eq!(shown(conf.render()), shown(&without));
    let lift =
        |conf: &mut RsyncdConf| conf.lift(until).is_ok_and(|lifted| lifted.iter().all(|one| one.stays));
    let mut conf = RsyncdConf::parse(&ended);
    let _ = lift(&mut conf);
    assert!(lift(&mut conf), "{}", shown(conf.render()));
}

/// A crontab: pausing puts the mark in front of the one job, or a guard in front of its command; resuming takes both away,
/// and nothing else changes.
pub fn crontab(text: &[u8]) {
    for kind in [Kind::User, Kind::System] {
        let mut crontab = Crontab::parse(text, kind);
        assert_eq!(crontab.render(), text);
        let Ok(job) = crontab.poller() else { continue };
        let _ = job.schedule.next_times(&now(), 3);
        let is_same = |other: &Job| {
            assert_eq!((other.line, &other.fields, &other.schedule), (job.line, &job.fields, &job.schedule));
        };
        let poller = |crontab: &Crontab| {
            let found = crontab.poller().unwrap_or_else(|problem| panic!("{problem:?} in {}", shown(text)));
            is_same(&found);
            found
        };
        crontab.resume(&job);
        let (without, running) = (crontab.render().to_vec(), poller(&crontab));
        // Two marks, or two guards, are nobody's work; then one of them is left.
        if running.state != State::Running {
            continue;
        }
        if job.state == State::Running {
            assert_eq!(shown(&without), shown(text));
        }
        let until = now().instant;
        let guarded = crontab.pause_until(&running, until).is_ok();
        let paused = poller(&crontab);
        assert_eq!(paused.state, if guarded { State::Until(until) } else { State::Running });
        crontab.pause(&paused);
        assert_eq!(crontab.render().len(), without.len() + PAUSED.len());
        let paused = poller(&crontab);
        assert_eq!(paused.state, State::Paused);
        crontab.resume(&paused);
        assert_eq!(shown(crontab.render()), shown(&without));
    }
}

/// A manifest: only what is written is read, and no path leaves the version.
pub fn manifest(text: &[u8]) {
    let manifest = match Manifest::parse(text) {
        Ok(manifest) => manifest,
        Err(refusal) => return check_refusal(&refusal, text),
    };
    assert_eq!(shown(&manifest.render()), shown(text));
    assert_eq!(manifest.first_mismatch(&manifest.files, More::Refused), None);
    for (path, _) in manifest.files.iter() {
        let parts = path.split(|b| *b == b'/');
        assert!(
            parts.clone().all(|part| !part.is_empty() && part != b"." && part != b".."),
            "{}",
            shown(path)
        );
    }
}

/// The announcement: what is read is written again, and means the same; what is refused is refused
/// with its line.
pub fn announcement(text: &[u8]) {
    let model = ModelName::parse(b"m").expect("a name");
    match Said::parse(text, &model) {
        Ok(Said::Announcement(announcement)) => {
            let written = announcement.render();
            let again = Said::parse(&written, &model);
            assert_eq!(again.as_ref(), Ok(&Said::Announcement(announcement)), "{}", shown(text));
        }
        Ok(Said::FollowServiceConf) => {}
        Err(refusal) => {
            check_one_line(&refusal.to_string(), text);
            check_refusal(&refusal, text);
        }
    }
}

/// Who is held: what is read is written again, and means the same; an edit takes away the lines of those it is about and those
/// whose time is over, adds lines at the end, and changes no other.
pub fn held(text: &[u8]) {
    let before = match Held::parse(text) {
        Ok(held) => held,
        Err(refusal) => {
            check_one_line(&refusal.to_string(), text);
            return check_refusal(&refusal, text);
        }
    };
    let written: String = before.0.iter().map(Hold::render).collect();
    assert_eq!(Held::parse(written.as_bytes()).as_ref(), Ok(&before), "{} of {}", written, shown(text));
    assert_eq!(written.lines().count(), before.0.len(), "{written}");
    before.0.iter().for_each(|hold| check_one_line(&format!("{} {}", hold.by, hold.reason), text));

    let instants = ["1970-01-01T00:00:00+00:00", "2030-11-26T20:00:00+08:00"];
    let added =
        Held::parse(b"10.0.0.1 - ann@m1 disk\nh9 2031-01-01T00:00:00Z bob@m1 canary\n").unwrap_or_default();
    assert_eq!(added.0.len(), 2);
    for now in instants.map(|instant| chrono::DateTime::parse_from_rfc3339(instant).expect("an instant")) {
        let somebody = before.0.first().map(|hold| hold.member.clone());
        let members: Vec<Address> = added.0.iter().map(|hold| hold.member.clone()).chain(somebody).collect();
        for added in [&[][..], &added.0] {
            let edited = held::edited(text, &members, added, now).expect("what was read can be edited");
            check_held(text, &edited, added, |hold| hold.is_in_force(now) && !members.contains(&hold.member));
            let again = held::edited(&edited, &members, added, now).map(|again| shown(&again));
            assert_eq!(again, Ok(shown(&edited)), "once more, of {}", shown(text));
        }
    }
}

/// An edited list of holds, line by line: each line is read by itself.
fn check_held(text: &[u8], edited: &[u8], added: &[Hold], stays: impl Fn(&Hold) -> bool) {
    let hold_of = |line: &[u8]| Held::parse(line).expect("a line of what was read").0.into_iter().next();
    let lines = text.split_inclusive(|b| *b == b'\n');
    let mut expected: Vec<u8> =
        lines.filter(|line| hold_of(line).as_ref().is_none_or(&stays)).flatten().copied().collect();
    if !added.is_empty() && !expected.is_empty() && !expected.ends_with(b"\n") {
        expected.push(b'\n');
    }
    expected.extend(added.iter().flat_map(|hold| hold.render().into_bytes()));
    assert_eq!(shown(edited), shown(&expected), "of {}", shown(text));
    let holds = Held::parse(text).unwrap_or_default().0.into_iter().filter(stays);
    assert_eq!(Held::parse(edited), Ok(Held(holds.chain(added.to_vec()).collect())), "{}", shown(edited));
}

/// What a model has gone through: what is read is written again, and means the same; what is
/// refused is refused with its line.
pub fn state(text: &[u8]) {
    let model = ModelName::parse(b"m").expect("a name");
    match Rollout::parse(text, &model) {
        Ok(state) => {
            assert_eq!(Rollout::parse(&state.render(), &model).as_ref(), Ok(&state), "{}", shown(text));
        }
        Err(refusal) => {
            check_one_line(&refusal.to_string(), text);
            check_refusal(&refusal, text);
        }
    }
}

/// What a member told: what is read is written again, and means the same; a text, whatever it was, becomes one line; what was
/// told is not told again, but for a version that came up.
pub fn member_state(text: &[u8]) {
    let check = |told: &MemberState| {
        let written = told.render();
        assert!(written.len() as u64 <= model_rollout::formats::member_state::LIMIT, "{}", shown(text));
        assert_eq!(MemberState::parse(&written).as_ref(), Some(told), "{}", shown(text));
        check_one_line(told.message(), text);
        assert_eq!(told.is_news_after(Some(told)), told.word == Word::Current, "{}", shown(text));
    };
    let version = Version::parse(b"20180413192258").expect("a version");
    check(&MemberState::new(Word::RolledBack, version, 0, &String::from_utf8_lossy(text)));
    if let Some(told) = MemberState::parse(text) {
        check(&told);
    }
}

/// What a service and its client say to each other: nothing that comes over the network breaks either, and what was
/// understood of a call is repeated in the reply.
pub fn service_control(message: &[u8]) {
    if let Ok(result) = read_reply(message) {
        let call =
            Call { method: "control".to_owned(), sequence_number: 1, param: ServiceControlParam::default() };
        let again = reply(&call, &result).expect("what was read can be written");
        assert_eq!(read_reply(&again).expect("what was written can be read"), result, "{}", shown(message));
    }
    if let Ok(call) = read_call(message) {
        assert!(read_reply(&refusal(&call).expect("a refusal can be written")).is_err());
    }
}

/// The table of ports: a row that is added is read back, has no finding, and no other byte changes.
pub fn port_table(text: &[u8]) {
    let table = match PortTable::parse(text) {
        Ok(table) => table,
        Err(finding) => return check_findings(&[finding], text),
    };
    assert_eq!(shown(table.render()), shown(text));
    check_findings(&table.findings(), text);
    let is_free = |port: &Port| table.rows().iter().all(|row| row.port() != Some(*port));
    let ports = ["17019", "1", "65535"].map(|port| Port::parse(port.as_bytes()));
    for port in ports.into_iter().flatten().filter(is_free) {
        let mut cells = vec!["a | b\\|".to_owned(); table.header().len()];
        cells[table.columns().port] = port.to_string();
        cells[table.columns().service_id] = "new-id".to_owned();
        let mut longer = table.clone();
        longer.insert(port, &cells).unwrap_or_else(|finding| panic!("{finding} of {}", shown(text)));
        assert_eq!(
            shared(text, longer.render()),
            text.len(),
            "{} became {}",
            shown(text),
            shown(longer.render())
        );
        let new = longer.rows().iter().find(|row| row.port() == Some(port)).expect("it was inserted");
        let cells: Vec<Vec<u8>> = cells.into_iter().map(String::into_bytes).collect();
        assert_eq!(new.cells, cells, "{}", shown(longer.render()));
        assert_eq!(longer.rows().len(), table.rows().len() + 1, "{}", shown(longer.render()));
    }
}

/// Words: a version that `success` announces is a name; whatever is read is shown as it is read again.
pub fn version(text: &[u8]) {
    if let Some(version) = Version::announced_in(text) {
        let name = version.to_string();
        assert_eq!(ModelName::parse(name.as_bytes()).map(|name| name.to_string()), Ok(name.clone()));
        assert_eq!(Version::parse(name.as_bytes()), Ok(version.clone()));
        assert!(text.windows(name.len()).any(|w| w == name.as_bytes()));
        let longer = [text, b"\n20991231235959"].concat();
        assert_eq!(Version::announced_in(&longer), Some(version));
    }
    let comes_back = |shown: Result<String, _>, read: &dyn Fn(&[u8]) -> bool| {
        let _: Result<(), model_rollout::error::Error> =
            shown.map(|shown| assert!(read(shown.as_bytes()), "{shown}"));
    };
    comes_back(ModelName::parse(text).map(|n| n.to_string()), &|shown| {
        shown == text && !text.contains(&b'/')
    });
    comes_back(Address::parse(text).map(|a| a.to_string()), &|shown| shown == text && !text.contains(&b'/'));
    comes_back(Version::of_directory(text).map(|v| v.to_string()), &|shown| shown == text && text != b"..");
    comes_back(Port::parse(text).map(|p| p.to_string()), &|shown| Port::parse(shown) == Port::parse(text));
    comes_back(Seconds::parse(text).map(|s| s.0.to_string()), &|shown| {
        Seconds::parse(shown) == Seconds::parse(text)
    });
    comes_back(IpRange::parse(text).map(|r| r.to_string()), &|shown| {
        IpRange::parse(shown) == IpRange::parse(text)
    });
    let _ = now().format(text);
    let _ =
        model_rollout::digest::Digest::parse(text).map(|digest| assert_eq!(&digest.hexadecimal()[..], text));
}
