//! `.rollout/held` in `datamining_service/MODEL/`: members that must keep what they serve. A line
//! each: `ADDRESS UNTIL BY REASON`. UNTIL is an instant with its offset,
//! `2026-11-26T20:00:00+08:00`, or `-`; BY is who holds it, as `user@host`; the reason is the rest
//! of the line. Blank lines and lines that begin with `#` are remarks. A line whose time is over
//! counts as absent.

use chrono::{DateTime, FixedOffset, SecondsFormat};

use crate::error::one_line;
use crate::formats::Refusal;
use crate::names::Address;

/// The longest BY and the longest REASON that are kept, in characters; what is behind that nobody reads.
const LONGEST: usize = 1000;

/// Why a member keeps what it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The member.
    pub member: Address,
    /// When it ends; `None`: when somebody ends it.
    pub until: Option<DateTime<FixedOffset>>,
    /// Who holds it.
    pub by: String,
    /// Why; one line, not empty.
    pub reason: String,
}

/// Every hold of a file, in its order; expired ones, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(pub Vec<Hold>);

impl Held {
    /// Reads the file. Fails at the first line that is neither a hold nor a remark: who is held must not be a guess.
    pub fn parse(source: &[u8]) -> Result<Held, Refusal> {
        Ok(Held(lines(source)?.into_iter().filter_map(|(_, hold)| hold).collect()))
    }

    /// The hold of a member that is in force; the first of several.
    pub fn hold_of(&self, member: &Address, now: DateTime<FixedOffset>) -> Option<&Hold> {
        self.0.iter().find(|hold| hold.member == *member && hold.is_in_force(now))
    }
}

/// The file without the holds of `members` and those whose time is over, and with `added` at its end. Every other line stays
/// byte for byte. Fails as [`Held::parse`] does.
pub fn edited(
    source: &[u8],
    members: &[Address],
    added: &[Hold],
    now: DateTime<FixedOffset>,
) -> Result<Vec<u8>, Refusal> {
    let stays = |hold: &Hold| hold.is_in_force(now) && !members.contains(&hold.member);
    let kept = lines(source)?.into_iter().filter(|(_, hold)| hold.as_ref().is_none_or(stays));
    let mut text: Vec<u8> = kept.flat_map(|(line, _)| line).copied().collect();
    if !added.is_empty() && text.last().is_some_and(|byte| *byte != b'\n') {
        text.push(b'\n');
    }
    text.extend(added.iter().flat_map(|hold| hold.render().into_bytes()));
    Ok(text)
}

/// A line with its end, and the hold that it is.
type Line<'a> = (&'a [u8], Option<Hold>);

fn lines(source: &[u8]) -> Result<Vec<Line<'_>>, Refusal> {
    let mut offset = 0;
    let mut lines = Vec::new();
    for line in source.split_inclusive(|byte| *byte == b'\n') {
        let text = line.trim_ascii();
        let hold = if text.is_empty() || text.starts_with(b"#") {
            None
        } else {
            let hold = Hold::parse(text).map_err(|what| {
                let instead = "write ADDRESS UNTIL BY REASON, UNTIL as 2026-11-26T20:00:00+08:00 or -";
                Refusal::at(source, offset, what, instead)
            })?;
            Some(hold)
        };
        lines.push((line, hold));
        offset += line.len();
    }
    Ok(lines)
}

impl Hold {
    /// Whether its time is not over.
    pub fn is_in_force(&self, now: DateTime<FixedOffset>) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn parse(line: &[u8]) -> Result<Hold, &'static str> {
        let text = std::str::from_utf8(line).map_err(|_| "this line is not UTF-8")?;
        let mut rest = text;
        let mut word = || {
            let (word, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = behind.trim_start();
            word
        };
        let (member, until, by) = (word(), word(), word());
        let member =
            Address::parse(member.as_bytes()).map_err(|_| "this line does not begin with an address")?;
        let until = match until {
            "-" => None,
            instant => Some(DateTime::parse_from_rfc3339(instant).map_err(|_| "this hold has no time")?),
        };
        match (by, rest) {
            ("", _) => Err("this hold does not say who holds it"),
            (_, "") => Err("this hold has no reason"),
            (by, reason) => Ok(Hold { member, until, by: kept(by), reason: kept(reason) }),
        }
    }

    /// The hold's line, its end included.
    pub fn render(&self) -> String {
        let until =
            self.until.map_or("-".to_owned(), |until| until.to_rfc3339_opts(SecondsFormat::AutoSi, false));
        format!("{} {until} {} {}\n", self.member, self.by, self.reason)
    }
}

/// A text as one line; read once more it is the same.
fn kept(text: &str) -> String {
    let text: String = one_line(text).chars().take(LONGEST).collect();
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text.as_bytes()).unwrap()
    }

    const TEXT: &str = "# who is held\n\n10.0.0.1 2026-11-26T20:00:00+08:00 ann@m1 disk is being replaced\n\
                        10.0.0.2 - bob@m1 canary\r\n10.0.0.1 - bob@m1 until further notice\n";

    #[test]
    fn a_hold_says_who_until_when_by_whom_and_why_and_ends_with_its_time() {
        let held = Held::parse(TEXT.as_bytes()).unwrap();
        let at = |instant: &str| DateTime::parse_from_rfc3339(instant).unwrap();
        let reason = |member: &str, now: &str| {
            held.hold_of(&address(member), at(now)).map(|hold| format!("{}: {}", hold.by, hold.reason))
        };
        let (before, after) = ("2026-11-26T11:59:59+00:00", "2026-11-26T12:00:00+00:00");
        assert_eq!(reason("10.0.0.1", before).as_deref(), Some("ann@m1: disk is being replaced"));
        assert_eq!(reason("10.0.0.1", after).as_deref(), Some("bob@m1: until further notice"));
        assert_eq!(reason("10.0.0.2", after).as_deref(), Some("bob@m1: canary"));
        assert_eq!(reason("10.0.0.3", before), None);
        assert_eq!(held.0[0].render(), TEXT.lines().nth(2).unwrap().to_owned() + "\n");
        assert_eq!(Held::parse(b""), Ok(Held::default()));
    }

    #[test]
    fn a_line_that_is_no_hold_is_refused_with_its_number() {
        for (line, what) in [
            ("../x - a b", "does not begin with an address"),
            ("10.0.0.1", "has no time"),
            ("10.0.0.1 tomorrow a b", "has no time"),
            ("10.0.0.1 -", "does not say who"),
            ("10.0.0.1 - ann", "has no reason"),
        ] {
            let refusal = Held::parse(format!("# x\n{line}\n").as_bytes()).unwrap_err();
            assert!(refusal.line == 2 && refusal.what.contains(what), "{line}: {refusal}");
        }
    }

    /// Control characters are written escaped, so a line grows; what is cut off once is cut off at the same place again.
    #[test]
    fn a_line_that_nobody_reads_to_its_end_is_kept_in_part() {
        for filler in ["\u{1}", "x ", "\u{9ec4}", "x\u{3000}"] {
            let source = format!("10.0.0.1 - {0} {1}\n", "b\u{7f}".repeat(2000), filler.repeat(9000));
            let held = Held::parse(source.as_bytes()).unwrap();
            assert!(held.0[0].by.len() <= LONGEST && held.0[0].reason.chars().count() <= LONGEST);
            assert_eq!(Held::parse(held.0[0].render().as_bytes()), Ok(held));
        }
    }

    proptest! {
        #[test]
        fn what_was_read_is_written_and_read_back(bytes in "[ -~]{0,30}|10.0.0.1 [-2026T:+0]{1,25} [a-z@]{1,5} \\PC{1,20}") {
            if let Ok(Held(holds)) = Held::parse(bytes.as_bytes()) {
                let text: String = holds.iter().map(Hold::render).collect();
                prop_assert_eq!(Held::parse(text.as_bytes()), Ok(Held(holds)));
            }
        }

        #[test]
        fn an_edit_takes_lines_and_adds_lines_and_changes_none(
            lines in proptest::collection::vec("# \\PC{0,9}|[ \t]*|10\\.0\\.0\\.[1-3] (-|20[13]0-11-26T20:00:00\\+08:00) a b ?", 0..9),
            newline in "\r?\n",
            end in "\n?",
        ) {
            let source = lines.join(&newline) + &end;
            let now = DateTime::parse_from_rfc3339("2020-01-01T00:00:00+00:00").unwrap();
            let hold = Hold { member: address("10.0.0.1"), until: None, by: "c".into(), reason: "d".into() };
            let goes = |line: &str| line.starts_with("10.0.0.1") || line.starts_with("10.") && line.contains("2010");
            let kept: String = source.split_inclusive('\n').filter(|line| !goes(line)).collect();
            let members = [address("10.0.0.1")];
            prop_assert_eq!(edited(source.as_bytes(), &members, &[], now), Ok(kept.clone().into_bytes()));
            let between = if kept.is_empty() || kept.ends_with('\n') { "" } else { "\n" };
            let added = format!("{kept}{between}10.0.0.1 - c d\n");
            prop_assert_eq!(edited(source.as_bytes(), &members, &[hold], now), Ok(added.into_bytes()));
        }
    }
}
