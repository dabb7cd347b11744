//! rsyncd.conf: read as the daemon reads it, and edited in the `hosts deny` of one module; every other byte stays.
//!
//! What is in force for a module (observed on rsync 3.5.0): the last assignment in its own sections; otherwise the
//! global one above its first section; otherwise, and not as the daemon's manual says, the last global one of the file.
//! An assignment of its own replaces the global one whole, also an empty one.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use crate::error::Error;
use crate::formats::{Refusal, Source};
use crate::ip_range::IpRange;
use crate::names::shown;

pub mod access;
mod syntax;
pub mod until;

use access::{Access, HostList, List, Meaning, Origin, Pattern};
use syntax::{Char, End, Entry, Kind};

/// Above a line that was added with the global addresses in it; tells `allow_again` that the line may go.
const COPIED: &[u8] =
    b"# autoupdate-toggle: begins with the global hosts deny, which a module's own line replaces";

/// The folded name of the global part.
const GLOBAL: &[u8] = b"global";

/// A file. Reading one never fails; asking for a module does, where the file cannot be judged.
#[derive(Debug)]
pub struct RsyncdConf {
    source: Vec<u8>,
    entries: Result<Vec<Entry>, Refusal>,
}

/// Why a module cannot be read or edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The file stops the daemon, or says something that cannot be judged here.
    Unreadable(Refusal),
    /// There is no such module; these there are.
    NoSuchModule(Vec<Vec<u8>>),
}

impl Problem {
    /// The problem as the error of a run that asked for a module.
    pub fn in_file(&self, file: &Path, module: &[u8]) -> Error {
        match self {
            Problem::Unreadable(refusal) => refusal.in_file(file),
            Problem::NoSuchModule(there) => {
                let there: Vec<String> = there.iter().map(|name| shown(name)).collect();
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                let (file, module) = (file.display(), shown(module));
                Error::failed(format!(
                    "{file}: there is no module {module}; name one with --module; there are: {there}"
                ))
            }
        }
    }
}

/// An assignment that is in force.
struct InForce<'a> {
    origin: Origin,
    entry: &'a Entry,
    value: &'a [Char],
}

impl RsyncdConf {
    /// Reads a file's bytes.
    pub fn parse(source: &[u8]) -> RsyncdConf {
        RsyncdConf { source: source.to_vec(), entries: syntax::entries(source) }
    }

    /// The file's bytes.
    pub fn render(&self) -> &[u8] {
        &self.source
    }

    /// The value of a parameter that the daemon reads when it starts, such as `pid file`, and its line: the last
    /// assignment above the first header. What stands further down, in a second `[global]` too, it does not read then
    /// (observed on rsync 3.5.0). `None` where it is not set or empty.
    pub fn at_start(&self, key: &str) -> Result<Option<(Vec<u8>, usize)>, Problem> {
        let entries = self.entries.as_ref().map_err(|refusal| Problem::Unreadable(refusal.clone()))?;
        let key = syntax::folded(key.as_bytes());
        let mut found = None;
        for entry in entries {
            match &entry.kind {
                Kind::Header(_) => break,
                Kind::Assignment(assigned, value) if *assigned == key => {
                    found = value.first().map(|c| (c.at, value))
                }
                _ => {}
            }
        }
        let line_of = |at| Source::new(&self.source).line_of(at);
        Ok(found.map(|(at, value)| (value.iter().map(|c| c.byte).collect(), line_of(at))))
    }

    /// The lists in force for a module.
    pub fn access(&self, module: &[u8]) -> Result<Access, Problem> {
        self.check(module)?;
        let list = |list| self.in_force(module, list).and_then(|in_force| self.host_list(&in_force, list));
        Ok(Access { allow: list(List::Allow), deny: list(List::Deny) })
    }

    /// Whether the daemon calls the module unknown to whom it denies: `list` is off (observed on rsync 3.5.0).
    pub fn hides(&self, module: &[u8]) -> bool {
        let (own, inherited) = self.assignments(module, b"list");
        let value = own
            .or(inherited)
            .map(|f| f.value.iter().map(|c| c.byte.to_ascii_lowercase()).collect::<Vec<u8>>());
        value.is_some_and(|value| [&b"no"[..], b"false", b"0"].contains(&value.as_slice()))
    }

    /// Adds to the module's `hosts deny` those ranges that are not in it, in its style; where the module has none of
    /// its own, adds one at the end of its section, which begins with the global addresses if there are any.
    pub fn deny(&mut self, module: &[u8], ranges: &[IpRange]) -> Result<(), Problem> {
        self.check(module)?;
        let in_force = self.in_force(module, List::Deny);
        let patterns = in_force.as_ref().map(|f| self.patterns(f, List::Deny)).unwrap_or_default();
        let is_there = |range: &IpRange| patterns.iter().any(|p| p.meaning == Meaning::Range(*range));
        let mut missing: Vec<String> = Vec::new();
        for text in ranges.iter().filter(|range| !is_there(range)).map(IpRange::to_string) {
            if !missing.contains(&text) {
                missing.push(text);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        match (in_force.map(|f| f.origin), patterns.last()) {
            (Some(Origin::Module), Some(last)) => {
                let separator = self.separator(&patterns);
                let text = missing.iter().flat_map(|range| [&separator, range.as_bytes()].concat());
                self.splice(last.span.end..last.span.end, &text.collect::<Vec<u8>>());
                Ok(())
            }
            (Some(Origin::Global), Some(_)) => {
                let mut list: Vec<&[u8]> = patterns.iter().map(|p| p.text.as_slice()).collect();
                list.extend(missing.iter().map(|range| range.as_bytes()));
                self.add_line(module, &[COPIED], &list)
            }
            (_, None) | (None, _) => {
                let list: Vec<&[u8]> = missing.iter().map(|range| range.as_bytes()).collect();
                self.add_line(module, &[], &list)
            }
        }
    }

    /// Removes from the module's own `hosts deny` exactly these ranges, and what was written down about their end. A list that
    /// becomes empty loses its line, unless another list would come into force instead: then it stays, empty. A list that
    /// `deny` made of the global addresses and that holds nothing else any more loses its line, too.
    pub fn allow_again(&mut self, module: &[u8], ranges: &[IpRange]) -> Result<(), Problem> {
        self.forget_end(module, ranges)?;
        let (Some(own), inherited) = self.assignments(module, List::Deny.key().as_bytes()) else {
            return Ok(());
        };
        let patterns = self.patterns(&own, List::Deny);
        let goes = |p: &Pattern| ranges.iter().any(|range| p.meaning == Meaning::Range(*range));
        if !patterns.iter().any(goes) {
            return Ok(());
        }
        let line = own.entry.span.clone();
        let inherited = inherited.map(|f| self.patterns(&f, List::Deny)).unwrap_or_default();
        let inherited: Vec<&[u8]> = inherited.iter().map(|p| p.text.as_slice()).collect();
        let kept: Vec<&[u8]> = patterns.iter().filter(|p| !goes(p)).map(|p| p.text.as_slice()).collect();
        match self.mark_above(own.entry) {
            Some(mark) if kept == inherited => self.remove_lines(mark.start..line.end),
            _ if kept.is_empty() => {
                let list = patterns[0].span.start..patterns[patterns.len() - 1].span.end;
                self.remove_list(module, line, list);
            }
            _ => self.remove_patterns(&patterns, &goes),
        }
        Ok(())
    }

    fn check(&self, module: &[u8]) -> Result<(), Problem> {
        let entries = self.entries.as_ref().map_err(|refusal| Problem::Unreadable(refusal.clone()))?;
        let mut there: Vec<Vec<u8>> = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in entries {
            let Kind::Header(name) = &entry.kind else { continue };
            let folded = syntax::folded(name);
            if folded == syntax::folded(module) && folded != GLOBAL {
                return Ok(());
            }
            if folded != GLOBAL && seen.insert(name) {
                there.push(name.clone());
            }
        }
        Err(Problem::NoSuchModule(there))
    }

    fn entries(&self) -> &[Entry] {
        self.entries.as_deref().unwrap_or_default()
    }

    /// The entries, each with the folded name of its section.
    fn with_sections(&self) -> impl Iterator<Item = (Rc<[u8]>, &Entry)> {
        let mut section: Rc<[u8]> = GLOBAL.into();
        self.entries().iter().map(move |entry| {
            if let Kind::Header(name) = &entry.kind {
                section = syntax::folded(name).into();
            }
            (section.clone(), entry)
        })
    }

    fn in_force(&self, module: &[u8], list: List) -> Option<InForce<'_>> {
        let (own, inherited) = self.assignments(module, list.key().as_bytes());
        own.or(inherited)
    }

    /// The module's own assignment of a parameter, and the one that it would inherit.
    fn assignments(&self, module: &[u8], key: &[u8]) -> (Option<InForce<'_>>, Option<InForce<'_>>) {
        let (module, key) = (syntax::folded(module), syntax::folded(key));
        let (mut own, mut above, mut global) = (None, None, None);
        let mut is_above = true;
        for (section, entry) in self.with_sections() {
            is_above &= *section != module;
            let Kind::Assignment(assigned, value) = &entry.kind else { continue };
            let in_force = |origin| Some(InForce { origin, entry, value });
            if *assigned != key {
                continue;
            } else if *section == module {
                own = in_force(Origin::Module);
            } else if *section == *GLOBAL {
                global = in_force(Origin::Global);
                if is_above {
                    above = in_force(Origin::Global);
                }
            }
        }
        (own, above.or(global))
    }

    fn host_list(&self, in_force: &InForce, list: List) -> Option<HostList> {
        let first = in_force.value.first()?;
        let line = Source::new(&self.source).line_of(first.at);
        Some(HostList { line, patterns: self.patterns(in_force, list) })
    }

    fn patterns(&self, in_force: &InForce, list: List) -> Vec<Pattern> {
        let source = Source::new(&self.source);
        let words = in_force.value.split(|c| access::is_separator(c.byte));
        let pattern = |word: &[Char]| {
            let (first, last) = (word.first()?, word.last()?);
            let text: Vec<u8> = word.iter().map(|c| c.byte).collect();
            Some(Pattern {
                line: source.line_of(first.at),
                list,
                origin: in_force.origin,
                span: first.at..last.at + 1,
                meaning: access::meaning(&text),
                text,
            })
        };
        words.filter_map(pattern).collect()
    }

    /// The separator of the last two patterns, unless it spans lines; a comma where there is none.
    fn separator(&self, patterns: &[Pattern]) -> Vec<u8> {
        match patterns {
            [.., before, last] => {
                let between = &self.source[before.span.end..last.span.start];
                let plain = between.iter().all(|b| access::is_separator(*b));
                if plain { between.to_vec() } else { b",".to_vec() }
            }
            _ => b",".to_vec(),
        }
    }

    /// Adds a `hosts deny` behind the last line of the module's last section, in front of the remarks and blank lines
    /// that lead to the next one.
    fn add_line(&mut self, module: &[u8], above: &[&[u8]], patterns: &[&[u8]]) -> Result<(), Problem> {
        let folded = syntax::folded(module);
        let of_module = |(section, entry): &(Rc<[u8]>, &Entry)| {
            **section == folded && !matches!(entry.kind, Kind::Remark)
        };
        let Some((_, last)) = self.with_sections().filter(of_module).last() else { return Ok(()) };
        let (at, end) = (last.span.end, last.end);
        let own_line = &self.source[last.span.clone()];
        let indent: &[u8] = match last.kind {
            Kind::Assignment(..) => indent_of(own_line),
            _ => b"",
        };
        let line_end = self.line_end();
        let hosts_deny = [b"hosts deny = ", patterns.join(&b","[..]).as_slice()].concat();
        let mut text = Vec::new();
        for line in above.iter().copied().chain([hosts_deny.as_slice()]) {
            let line = [indent, line].concat();
            match end {
                End::File => text.extend([line_end, &line].concat()),
                End::Line => text.extend([&line, line_end].concat()),
                End::Dangling => {
                    let what = "the last line is not complete: the next one would be taken for a part of it";
                    let start = last.span.start;
                    let instead = "end it without a backslash and with a newline";
                    return Err(Problem::Unreadable(Refusal::at(&self.source, start, what, instead)));
                }
            }
        }
        self.splice(at..at, &text);
        Ok(())
    }

    fn line_end(&self) -> &'static [u8] {
        match self.source.iter().position(|b| *b == b'\n') {
            Some(newline) if self.source[..newline].ends_with(b"\r") => b"\r\n",
            _ => b"\n",
        }
    }

    /// The mark directly above an entry.
    fn mark_above(&self, entry: &Entry) -> Option<Range<usize>> {
        let index = self.entries().iter().position(|e| e.span == entry.span)?;
        let above = &self.entries()[index.checked_sub(1)?];
        let text = &self.source[above.span.clone()];
        (text.trim_ascii() == COPIED).then(|| above.span.clone())
    }

    /// Removes whole lines; the last ones of a file without a final line end take the one above them along.
    fn remove_lines(&mut self, mut lines: Range<usize>) {
        if self.source[..lines.end].last() != Some(&b'\n') {
            let before = &self.source[..lines.start];
            let before = before.strip_suffix(b"\n").map_or(before, |b| b.strip_suffix(b"\r").unwrap_or(b));
            lines.start = before.len();
        }
        self.splice(lines, b"");
    }

    /// Removes the line of a list; only the list itself where another one would come into force without the line.
    fn remove_list(&mut self, module: &[u8], line: Range<usize>, list: Range<usize>) {
        let whole = self.source.clone();
        self.remove_lines(line);
        let other = self.in_force(module, List::Deny).map(|f| self.patterns(&f, List::Deny));
        if other.is_some_and(|patterns| !patterns.is_empty()) {
            *self = RsyncdConf::parse(&whole);
            self.splice(list, b"");
        }
    }

    /// Removes patterns, each with the separator in front of it; those in front of the first that stays, with the one
    /// behind.
    fn remove_patterns(&mut self, patterns: &[Pattern], goes: &dyn Fn(&Pattern) -> bool) {
        let first_kept = patterns.iter().position(|p| !goes(p)).unwrap_or(0);
        let mut kept = Vec::with_capacity(self.source.len());
        let mut done = 0;
        for (index, pattern) in patterns.iter().enumerate().filter(|(_, p)| goes(p)) {
            let cut = if index < first_kept {
                pattern.span.start..patterns[index + 1].span.start
            } else {
                patterns[index - 1].span.end..pattern.span.end
            };
            kept.extend_from_slice(&self.source[done..cut.start]);
            done = cut.end;
        }
        kept.extend_from_slice(&self.source[done..]);
        *self = RsyncdConf::parse(&kept);
    }

    fn splice(&mut self, at: Range<usize>, text: &[u8]) {
        let edited = [&self.source[..at.start], text, &self.source[at.end..]].concat();
        *self = RsyncdConf::parse(&edited);
    }
}

/// The blanks that a line begins with.
fn indent_of(line: &[u8]) -> &[u8] {
    &line[..line.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Vec<IpRange> {
        text.split(',').map(|word| IpRange::parse(word.as_bytes()).unwrap()).collect()
    }

    fn denied(source: &str, addresses: &str) -> String {
        let mut conf = RsyncdConf::parse(source.as_bytes());
        conf.deny(b"m", &ranges(addresses)).unwrap();
        String::from_utf8(conf.render().to_vec()).unwrap()
    }

    fn allowed_again(source: &str, addresses: &str) -> String {
        let mut conf = RsyncdConf::parse(source.as_bytes());
        conf.allow_again(b"m", &ranges(addresses)).unwrap();
        String::from_utf8(conf.render().to_vec()).unwrap()
    }

    /// Each: before, after 10.0.0.1 and ::1 were denied. Allowing them again gives back what was before.
    #[test]
    fn addresses_are_denied_in_the_style_of_the_file_and_allowed_again_without_a_trace() {
        for (before, after) in [
            ("[m]\n", "[m]\nhosts deny = 10.0.0.1,::1\n"),
            ("[m]", "[m]\nhosts deny = 10.0.0.1,::1"),
            ("[m]\r\npath = x", "[m]\r\npath = x\r\nhosts deny = 10.0.0.1,::1"),
            (
                "[m]\n  path = x\n\n# next\n[n]\n",
                "[m]\n  path = x\n  hosts deny = 10.0.0.1,::1\n\n# next\n[n]\n",
            ),
            ("[M ]\n[n]\na=b\n", "[M ]\nhosts deny = 10.0.0.1,::1\n[n]\na=b\n"),
            ("[m]\n[n]\n[m]\na=b\n[o]\n", "[m]\n[n]\n[m]\na=b\nhosts deny = 10.0.0.1,::1\n[o]\n"),
            ("[m]\nhosts deny=a", "[m]\nhosts deny=a,10.0.0.1,::1"),
            ("[m]\nHOSTS DENY = a, b \n", "[m]\nHOSTS DENY = a, b, 10.0.0.1, ::1 \n"),
            ("[m]\nhostsdeny = a b\n", "[m]\nhostsdeny = a b 10.0.0.1 ::1\n"),
            ("[m]\nhosts deny = a,\\\n  b,\n", "[m]\nhosts deny = a,\\\n  b,10.0.0.1,::1,\n"),
            ("[m]\nhosts deny =\n", "[m]\nhosts deny =\nhosts deny = 10.0.0.1,::1\n"),
            ("[m]\nhosts deny=a\nhosts deny=b\n", "[m]\nhosts deny=a\nhosts deny=b,10.0.0.1,::1\n"),
        ] {
            assert_eq!(denied(before, "10.0.0.1,::1"), after);
            assert_eq!(denied(after, "::1,10.0.0.1"), after, "denied twice");
            assert_eq!(allowed_again(after, "10.0.0.1,::1"), before);
        }
    }

    #[test]
    fn a_list_of_its_own_begins_with_the_global_addresses_it_replaces() {
        let before = "hosts deny = 10.9.0.0/16 h\n[m]\n path = x\n[n]\n";
        let after = format!(
            "hosts deny = 10.9.0.0/16 h\n[m]\n path = x\n {}\n hosts deny = 10.9.0.0/16,h,10.0.0.1\n[n]\n",
            String::from_utf8_lossy(COPIED)
        );
        assert_eq!(denied(before, "10.0.0.1"), after);
        assert_eq!(allowed_again(&after, "10.0.0.1"), before);
        // The same list in the operator's hand stays.
        let by_hand = "hosts deny = h\n[m]\nhosts deny = h,10.0.0.1\n";
        assert_eq!(allowed_again(by_hand, "10.0.0.1"), "hosts deny = h\n[m]\nhosts deny = h\n");
    }

    #[test]
    fn allowing_again_removes_exactly_the_addresses() {
        for (before, after) in [
            ("[m]\nhosts deny = 10.0.0.1, 10.0.0.2, 10.0.0.3\n", "[m]\nhosts deny = 10.0.0.2, 10.0.0.3\n"),
            ("[m]\nhosts deny = 10.0.0.1,10.0.0.1,10.0.0.10\n", "[m]\nhosts deny = 10.0.0.10\n"),
            ("[m]\nhosts deny = a 10.0.0.1\tb\n", "[m]\nhosts deny = a\tb\n"),
            ("[m]\nhosts deny = 10.0.0.\\\n1,b\n", "[m]\nhosts deny = b\n"),
            ("[m]\nhosts deny = 10.0.0.0/24\n", "[m]\nhosts deny = 10.0.0.0/24\n"),
            ("[m]\nhosts deny = 10.0.0.1\npath = x", "[m]\npath = x"),
            ("[m]\n# hosts deny = 10.0.0.1\n", "[m]\n# hosts deny = 10.0.0.1\n"),
            ("hosts deny = 10.0.0.1\n[m]\n", "hosts deny = 10.0.0.1\n[m]\n"),
            ("[m]\n[n]\nhosts deny = 10.0.0.1\n", "[m]\n[n]\nhosts deny = 10.0.0.1\n"),
            // Without its line the module would deny "a" all at once.
            ("hosts deny = a\n[m]\nhosts deny = 10.0.0.1\n", "hosts deny = a\n[m]\nhosts deny = \n"),
            ("[m]\nhosts deny = a\nhosts deny = 10.0.0.1\n", "[m]\nhosts deny = a\nhosts deny = \n"),
        ] {
            assert_eq!(allowed_again(before, "10.0.0.1"), after);
        }
    }

    #[test]
    fn what_the_daemon_reads_when_it_starts_stands_above_the_first_header() {
        let pid_file = |source: &str| {
            let found = RsyncdConf::parse(source.as_bytes()).at_start("pid file").unwrap();
            found.map(|(value, line)| (String::from_utf8(value).unwrap(), line))
        };
        assert_eq!(
            pid_file("a=b\nPID  File =  /run/a b.pid \r\n[m]\n"),
            Some(("/run/a b.pid".to_owned(), 2))
        );
        assert_eq!(pid_file("pid file=a\npid file=b\n[m]\npid file=c\n"), Some(("b".to_owned(), 2)));
        for none in ["", "[global]\npid file=a\n", "[m]\n[global]\npid file=a\n", "pid file=a\npid file=\n"] {
            assert_eq!(pid_file(none), None, "{none}");
        }
    }

    #[test]
    fn a_module_is_hidden_by_the_list_parameter_that_is_in_force() {
        let hides = |source: &str| RsyncdConf::parse(source.as_bytes()).hides(b"m");
        assert!(hides("[m]\nlist = No\n") && hides("list=0\n[m]\n") && hides("[m]\nlist=yes\nlist=false\n"));
        assert!(!hides("[m]\n") && !hides("[m]\n[n]\nlist=no\n") && !hides("list=no\n[m]\nlist=yes\n"));
    }

    fn deny_in_force(source: &str) -> Vec<String> {
        let access = RsyncdConf::parse(source.as_bytes()).access(b"m").unwrap();
        let patterns = access.deny.map(|list| list.patterns).unwrap_or_default();
        patterns.iter().map(|p| String::from_utf8_lossy(&p.text).into_owned()).collect()
    }

    #[test]
    fn the_list_in_force_is_found_as_the_daemon_finds_it() {
        for (source, expected) in [
            ("hosts deny=a\n[m]\n", "a"),
            ("hosts deny=a\n[m]\nhosts deny=b\n", "b"),
            ("hosts deny=a\n[m]\nhosts deny=\n", ""),
            ("[m]\n[global]\nhosts deny=a\n", "a"),
            ("hosts deny=a\n[m]\n[GLO bal]\nhosts deny=b\n", "a"),
            ("hosts deny=\n[m]\n[global]\nhosts deny=b\n", ""),
            ("[m]\nhosts deny=a\nhosts deny=b\n[n]\nhosts deny=c\n[m]\nx=y\n", "b"),
        ] {
            assert_eq!(deny_in_force(source).join(","), expected, "{source}");
        }
    }

    #[test]
    fn what_cannot_be_edited_is_an_error_and_changes_nothing() {
        let said = |source: &str, module: &str| {
            let mut conf = RsyncdConf::parse(source.as_bytes());
            let problem = conf.deny(module.as_bytes(), &ranges("10.0.0.1")).unwrap_err();
            assert_eq!(conf.render(), source.as_bytes());
            problem.in_file(Path::new("f"), module.as_bytes()).to_string()
        };
        assert_eq!(
            said("[a b]\n[n]\n[global]\n", "m"),
            "f: there is no module \u{201c}m\u{201d}; name one with --module; there are: \u{201c}a b\u{201d}, \u{201c}n\u{201d}"
        );
        assert!(said("[m]\n", "global").contains("there is no module"));
        assert!(said("[m]\n&merge x\n", "m").starts_with("f:2:1: &include and &merge are not read; "));
        assert!(said("[m]\npath = x\\\n", "m").starts_with("f:2:1: the last line is not complete"));
    }
}
