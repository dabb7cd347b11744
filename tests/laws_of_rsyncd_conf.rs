//! The laws of rsyncd.conf on generated files.

use std::path::Path;

use chrono::DateTime;
use model_rollout::formats::rsyncd_conf::RsyncdConf;
use model_rollout::formats::rsyncd_conf::access::{Meaning, Verdict};
use model_rollout::formats::rsyncd_conf::include::Found;
use model_rollout::ip_range::IpRange;
use proptest::prelude::*;
use proptest::sample::select;

const LINES: [&str; 30] = [
    "",
    "  ",
    "# remark",
    "; hosts deny = 10.0.0.9 \\",
    "[m]",
    "[ M ] tail",
    "[n]",
    "[global]",
    "[glo bal]",
    "path = /data1/x",
    "\tpath = /data1/x",
    "comment = two \\",
    "hosts deny = 10.0.0.9",
    "  hosts deny = 10.0.0.9, 10.0.1.0/24",
    "HOSTS DENY=h,10.0.0.9",
    "hostsdeny = 10.0.0.9\t10.0.0.8 ,",
    "hosts deny =",
    "hosts deny = ,",
    "hosts deny = 10.0.0.9,\\",
    "hosts deny = \\",
    " 10.0.0.8",
    "hosts allow = 10.0.0.7",
    "hosts allow = *",
    "# autoupdate-toggle: until 2026-11-26T20:00:00+08:00: 10.0.0.9,10.0.0.1",
    " # autoupdate-toggle: until 2026-11-26T21:00:00+08:00: 10.0.0.8",
    "junk",
    "junk \\",
    "&include /etc/rsyncd.d",
    "\\",
    "\\hosts deny = 10.0.0.6",
];

/// Files of such lines, in either newline style, some of them without a final line end.
fn plausible() -> impl Strategy<Value = String> {
    let lines = prop::collection::vec(select(LINES.to_vec()), 0..12);
    (lines, select(vec!["\n", "\r\n"]), select(vec!["", "[m]"]), any::<bool>()).prop_map(
        |(lines, newline, first, is_ended)| {
            let mut text = format!("{first}{newline}{}", lines.join(newline));
            if is_ended {
                text.push_str(newline);
            }
            text
        },
    )
}

/// Configurations of several files of such lines.
fn nests() -> impl Strategy<Value = RsyncdConf> {
    let text = |directives: &[&'static str]| {
        let lines = [&LINES[..], directives, directives].concat();
        let lines = prop::collection::vec(select(lines), 0..8);
        (lines, select(vec!["", "\n"])).prop_map(|(lines, end)| lines.join("\n") + end)
    };
    let main = text(&["&include /d", "&merge /d", "&include /e", "&merge /e"]);
    (main, text(&["&include /e", "&merge /e"]), text(&["[m]"]), text(&["[m]"])).prop_map(
        |(main, conf, inc, e)| {
            RsyncdConf::read(Path::new("/main"), format!("[m]\n{main}").as_bytes(), &mut |path| match path
                .to_str()
            {
                Some("/d") => Found::Directory(["b.conf", "a.inc", "b"].map(Into::into).to_vec()),
                Some("/d/b.conf") => Found::File(conf.clone().into()),
                Some("/d/a.inc") => Found::File(inc.clone().into()),
                Some("/e") => Found::File(e.clone().into()),
                _ => Found::Nothing("no such file".to_owned()),
            })
        },
    )
}

fn ranges() -> impl Strategy<Value = Vec<IpRange>> {
    let words = select(vec!["10.0.0.1", "10.0.0.8", "10.0.0.9", "10.0.1.0/24", "::1", "10.0.0.0/8"]);
    prop::collection::vec(words.prop_map(|word| IpRange::parse(word.as_bytes()).unwrap()), 1..4)
}

fn is_denied_in(conf: &RsyncdConf, range: &IpRange) -> bool {
    let deny = conf.access(b"m").ok().and_then(|access| access.deny);
    deny.is_some_and(|deny| deny.patterns.iter().any(|p| p.meaning == Meaning::Range(*range)))
}

/// How many bytes two texts share at their begin and, behind that, at their end.
fn shared(a: &[u8], b: &[u8]) -> usize {
    let begin = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[begin..], &b[begin..]);
    begin + a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count()
}

proptest! {
    #[test]
    fn any_bytes_come_back(source in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut conf = RsyncdConf::parse(&source);
        prop_assert_eq!(conf.render(), &source[..]);
        let _ = conf.deny(b"m", &[IpRange::parse(b"10.0.0.1").unwrap()]);
    }

    #[test]
    fn plausible_files_come_back(source in plausible()) {
        let conf = RsyncdConf::parse(source.as_bytes());
        prop_assert_eq!(conf.render(), source.as_bytes());
    }

    #[test]
    fn denying_inserts_in_one_place_and_leaves_the_other_modules_alone(
        source in plausible(), ranges in ranges(),
    ) {
        let mut conf = RsyncdConf::parse(source.as_bytes());
        let other = conf.access(b"n").map(|access| access.verdict(&ranges[0]) == Verdict::Admitted);
        if conf.deny(b"m", &ranges).is_ok() {
            prop_assert_eq!(shared(source.as_bytes(), conf.render()), source.len());
            prop_assert!(ranges.iter().all(|range| is_denied_in(&conf, range)));
            let access = conf.access(b"n");
            prop_assert_eq!(access.map(|access| access.verdict(&ranges[0]) == Verdict::Admitted), other);
            let once = conf.render().to_vec();
            prop_assert!(conf.deny(b"m", &ranges).is_ok());
            prop_assert_eq!(conf.render(), &once[..]);
        } else {
            prop_assert_eq!(conf.render(), source.as_bytes());
        }
    }

    #[test]
    fn denying_and_allowing_again_gives_back_the_original_bytes(
        source in plausible(), ranges in ranges(),
    ) {
        let mut conf = RsyncdConf::parse(source.as_bytes());
        // What was written down about the end of an address that nobody denied would go, too.
        let endings = conf.endings(b"m").unwrap_or_default();
        let is_new = |range: &IpRange| {
            !is_denied_in(&conf, range) && !endings.iter().any(|ending| ending.ranges.contains(range))
        };
        let new: Vec<IpRange> = ranges.into_iter().filter(is_new).collect();
        if conf.deny(b"m", &new).is_ok() {
            prop_assert!(conf.allow_again(b"m", &new).is_ok());
            prop_assert_eq!(conf.render(), source.as_bytes());
        }
    }

    /// Of addresses about which nothing was written down before.
    #[test]
    fn an_end_is_written_down_in_one_place_and_goes_with_the_denial(source in plausible(), hour in 0_u32..24) {
        let ranges = ["10.7.0.1", "10.7.0.0/24"].map(|word| IpRange::parse(word.as_bytes()).unwrap());
        let until = DateTime::parse_from_rfc3339(&format!("2026-11-26T{hour:02}:00:00+08:00")).unwrap();
        let mut conf = RsyncdConf::parse(source.as_bytes());
        if conf.deny(b"m", &ranges).is_ok() {
            let denied = conf.render().to_vec();
            conf.end_denial(b"m", &ranges, until).unwrap();
            let ended = conf.render().to_vec();
            prop_assert_eq!(shared(&denied, &ended), if denied.len() < ended.len() { denied.len() } else { 0 });
            let endings = conf.endings(b"m").unwrap();
            let ours = endings.iter().filter(|ending| ending.until == until && ending.ranges.ends_with(&ranges));
            prop_assert_eq!(ours.count(), 1);
            conf.end_denial(b"m", &ranges, until).unwrap();
            prop_assert_eq!(conf.render(), &ended[..]);
            conf.forget_end(b"m", &ranges).unwrap();
            prop_assert_eq!(conf.render(), &denied[..]);
            conf.end_denial(b"m", &ranges, until).unwrap();
            conf.allow_again(b"m", &ranges).unwrap();
            prop_assert_eq!(conf.render(), source.as_bytes());
        }
    }

    /// Nobody is admitted before the time; afterwards nothing is due any more, but what has to stay.
    #[test]
    fn lifting_leaves_nothing_that_is_due(source in plausible(), hour in 19_u32..23) {
        let now = DateTime::parse_from_rfc3339(&format!("2026-11-26T{hour}:00:00+08:00")).unwrap();
        let mut conf = RsyncdConf::parse(source.as_bytes());
        if let Ok(lifted) = conf.lift(now) {
            prop_assert_eq!(lifted.iter().all(|one| one.stays), conf.render() == source.as_bytes());
            prop_assert!(conf.lift(now).unwrap().iter().all(|one| one.stays));
            if hour == 19 {
                prop_assert_eq!(lifted.len(), 0);
            }
        } else {
            prop_assert_eq!(conf.render(), source.as_bytes());
        }
    }

    /// In several files, too: denying inserts in one place of one of them, other modules stay as they are, and allowing again
    /// leaves no trace.
    #[test]
    fn an_edit_changes_one_place_of_one_file(before in nests()) {
        let ranges = ["10.7.0.1", "10.7.0.0/24"].map(|word| IpRange::parse(word.as_bytes()).unwrap());
        let meanings = |conf: &RsyncdConf, module: &[u8]| {
            let deny = conf.access(module).ok().and_then(|access| access.deny);
            deny.map(|deny| deny.patterns.into_iter().map(|p| p.meaning).collect::<Vec<_>>())
        };
        let mut conf = before.clone();
        if conf.deny(b"m", &ranges).is_err() {
            prop_assert!(conf.changed_since(&before).is_empty());
            return Ok(());
        }
        let changed = conf.changed_since(&before);
        prop_assert_eq!(changed.len(), 1);
        let path = changed[0].0.to_owned();
        let original = before.files().find(|(file, _)| *file == path).unwrap().1;
        prop_assert_eq!(shared(original, changed[0].1), original.len());
        prop_assert!(ranges.iter().all(|range| is_denied_in(&conf, range)));
        prop_assert_eq!(meanings(&conf, b"n"), meanings(&before, b"n"));
        let until = DateTime::parse_from_rfc3339("2026-11-26T23:00:00+08:00").unwrap();
        conf.end_denial(b"m", &ranges, until).unwrap();
        let changed = conf.changed_since(&before);
        prop_assert_eq!(changed.iter().map(|(path, _)| *path).collect::<Vec<_>>(), [&path]);
        prop_assert!(conf.mentions_an_end());
        conf.allow_again(b"m", &ranges).unwrap();
        prop_assert!(conf.changed_since(&before).is_empty());
    }

    #[test]
    fn lifting_in_several_files_leaves_nothing_that_is_due(before in nests(), hour in 19_u32..23) {
        let now = DateTime::parse_from_rfc3339(&format!("2026-11-26T{hour}:00:00+08:00")).unwrap();
        let mut conf = before.clone();
        match conf.lift(now) {
            Ok(lifted) => {
                prop_assert_eq!(lifted.iter().all(|one| one.stays), conf.changed_since(&before).is_empty());
                prop_assert!(conf.lift(now).unwrap().iter().all(|one| one.stays));
            }
            Err(_) => prop_assert!(conf.changed_since(&before).is_empty()),
        }
    }

    #[test]
    fn an_edit_changes_the_list_in_force_by_exactly_the_addresses(
        source in plausible(), ranges in ranges(),
    ) {
        let list = |conf: &RsyncdConf| {
            let deny = conf.access(b"m").ok().and_then(|access| access.deny);
            deny.map(|deny| deny.patterns).unwrap_or_default().into_iter().map(|p| p.meaning).collect::<Vec<_>>()
        };
        let asked: Vec<Meaning> = ranges.iter().copied().map(Meaning::Range).collect();
        let mut conf = RsyncdConf::parse(source.as_bytes());
        let mut expected = list(&conf);
        if conf.deny(b"m", &ranges).is_ok() {
            for meaning in &asked {
                if !expected.contains(meaning) {
                    expected.push(meaning.clone());
                }
            }
            prop_assert_eq!(list(&conf), expected);
        }

        let mut conf = RsyncdConf::parse(source.as_bytes());
        let mut expected = list(&conf);
        // What was written down about their end goes also where the list is everybody's, which is left as it is.
        let mut only_forgotten = RsyncdConf::parse(source.as_bytes());
        let _ = only_forgotten.forget_end(b"m", &ranges);
        if conf.allow_again(b"m", &ranges).is_ok() && conf.render() != only_forgotten.render() {
            expected.retain(|meaning| !asked.contains(meaning));
            prop_assert_eq!(list(&conf), expected);
        }
    }
}
