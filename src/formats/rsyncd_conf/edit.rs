//! The edits: each changes one place of one file.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use super::access::{self, List, Meaning, Origin, Pattern};
use super::include::{self, Files, Found};
use super::syntax::{self, End, Entry, Kind};
use super::{Problem, RsyncdConf, nothing};
use crate::formats::Refusal;
use crate::ip_range::IpRange;

/// Above a line that was added with the global addresses in it; tells `allow_again` that the line may go.
const COPIED: &[u8] =
    b"# autoupdate-toggle: begins with the global hosts deny, which a module's own line replaces";

impl RsyncdConf {
    /// Does an edit whole or not at all.
    pub(super) fn edit(
        &mut self,
        edit: impl FnOnce(&mut Self) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let before = self.files.clone();
        edit(self).inspect_err(|_| self.restore(before))
    }

    /// Adds to the module's `hosts deny` those ranges that are not in it, in its style; where the module has none of
    /// its own, adds one at the end of its section, which begins with the global addresses if there are any.
    ///
    /// Fails, as every edit does, where it would stand in a file that is read more than once: others would have it, too.
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
                let (file, end) = (last.place.file.clone(), last.span.end);
                self.splice(&file, end..end, &text.collect::<Vec<u8>>())
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
        self.edit(|conf| {
            conf.forget(module, ranges)?;
            conf.take_out(module, ranges)
        })
    }

    fn take_out(&mut self, module: &[u8], ranges: &[IpRange]) -> Result<(), Problem> {
        let (Some(own), inherited) = self.assignments(module, List::Deny.key().as_bytes()) else {
            return Ok(());
        };
        let patterns = self.patterns(&own, List::Deny);
        let goes = |p: &Pattern| ranges.iter().any(|range| p.meaning == Meaning::Range(*range));
        if !patterns.iter().any(goes) {
            return Ok(());
        }
        let (file, line) = (own.entry.file.clone(), own.entry.span.clone());
        let inherited = inherited.map(|f| self.patterns(&f, List::Deny)).unwrap_or_default();
        let inherited: Vec<&[u8]> = inherited.iter().map(|p| p.text.as_slice()).collect();
        let kept: Vec<&[u8]> = patterns.iter().filter(|p| !goes(p)).map(|p| p.text.as_slice()).collect();
        match self.mark_above(own.entry) {
            Some(mark) if kept == inherited => self.remove_lines(&file, mark.start..line.end),
            _ if kept.is_empty() => {
                let list = patterns[0].span.start..patterns[patterns.len() - 1].span.end;
                self.remove_list(module, &file, line, list)
            }
            _ => self.remove_patterns(&file, &patterns, &goes),
        }
    }

    /// The separator of the last two patterns, unless it spans lines; a comma where there is none.
    fn separator(&self, patterns: &[Pattern]) -> Vec<u8> {
        match patterns {
            [.., before, last] => {
                let between = &self.source(&last.place.file)[before.span.end..last.span.start];
                let plain = between.iter().all(|b| access::is_separator(*b));
                if plain { between.to_vec() } else { b",".to_vec() }
            }
            _ => b",".to_vec(),
        }
    }

    /// Adds a `hosts deny` behind the last line of the module's last section, in front of the remarks and blank lines
    /// that lead to the next one, and of the directives that end it.
    fn add_line(&mut self, module: &[u8], above: &[&[u8]], patterns: &[&[u8]]) -> Result<(), Problem> {
        let Some(last) = self.last_line(module) else { return Ok(()) };
        let (file, at, end) = (last.file.clone(), last.span.end, last.end);
        let own_line = self.text(last);
        let indent: &[u8] = match last.kind {
            Kind::Assignment(..) => indent_of(own_line),
            _ => b"",
        };
        let line_end = self.line_end(&file);
        let hosts_deny = [b"hosts deny = ", patterns.join(&b","[..]).as_slice()].concat();
        let mut text = Vec::new();
        for line in above.iter().copied().chain([hosts_deny.as_slice()]) {
            let line = [indent, line].concat();
            match end {
                End::File => text.extend([line_end, &line].concat()),
                End::Line => text.extend([&line, line_end].concat()),
                End::Dangling => {
                    let what = "the last line is not complete: the next one would be taken for a part of it";
                    let instead = "end it without a backslash and with a newline";
                    return Err(self.refused(&file, last.span.start, what, instead));
                }
            }
        }
        self.splice(&file, at..at, &text)
    }

    /// The last line of the module's last section, in the file of its header; or a list of its own that is read later.
    fn last_line(&self, module: &[u8]) -> Option<&Entry> {
        let (module, list) = (syntax::folded(module), syntax::folded(List::Deny.key().as_bytes()));
        let mut depth = 0;
        // The file of the last header, and how deep it is.
        let mut home = None;
        let mut last = None;
        for (section, entry) in self.with_sections() {
            let here = Some((depth, &entry.file));
            let is_last = match &entry.kind {
                Kind::Header(_) => true,
                Kind::Assignment(key, _) => here == home || *key == list,
                Kind::Skipped => here == home,
                Kind::Remark | Kind::Directive(..) => false,
                Kind::Enter(_) => {
                    depth += 1;
                    false
                }
                Kind::Leave(_) => {
                    depth -= 1;
                    false
                }
            };
            if is_last && *section == *module {
                last = Some(entry);
                if let Kind::Header(_) = entry.kind {
                    home = here;
                }
            }
        }
        last
    }

    fn refused(&self, file: &Rc<Path>, at: usize, what: &str, instead: &str) -> Problem {
        Problem::Unreadable(file.clone(), Refusal::at(self.source(file), at, what, instead))
    }

    pub(super) fn line_end(&self, file: &Path) -> &'static [u8] {
        let source = self.source(file);
        match source.iter().position(|b| *b == b'\n') {
            Some(newline) if source[..newline].ends_with(b"\r") => b"\r\n",
            _ => b"\n",
        }
    }

    /// The mark directly above an entry.
    pub(super) fn mark_above(&self, entry: &Entry) -> Option<Range<usize>> {
        let index = self.entries().iter().position(|e| e.file == entry.file && e.span == entry.span)?;
        let above = &self.entries()[index.checked_sub(1)?];
        (self.text(above).trim_ascii() == COPIED).then(|| above.span.clone())
    }

    /// Removes whole lines; the last ones of a file without a final line end take the one above them along.
    pub(super) fn remove_lines(&mut self, file: &Rc<Path>, mut lines: Range<usize>) -> Result<(), Problem> {
        let source = self.source(file);
        if source[..lines.end].last() != Some(&b'\n') {
            let before = &source[..lines.start];
            let before = before.strip_suffix(b"\n").map_or(before, |b| b.strip_suffix(b"\r").unwrap_or(b));
            lines.start = before.len();
        }
        self.splice(file, lines, b"")
    }

    /// Removes the line of a list; only the list itself where another one would come into force without the line.
    fn remove_list(
        &mut self,
        module: &[u8],
        file: &Rc<Path>,
        line: Range<usize>,
        list: Range<usize>,
    ) -> Result<(), Problem> {
        let before = self.files.clone();
        self.remove_lines(file, line)?;
        let other = self.in_force(module, List::Deny).map(|f| self.patterns(&f, List::Deny));
        if other.is_some_and(|patterns| !patterns.is_empty()) {
            self.restore(before);
            self.splice(file, list, b"")?;
        }
        Ok(())
    }

    /// Removes patterns, each with the separator in front of it; those in front of the first that stays, with the one
    /// behind.
    fn remove_patterns(
        &mut self,
        file: &Rc<Path>,
        patterns: &[Pattern],
        goes: &dyn Fn(&Pattern) -> bool,
    ) -> Result<(), Problem> {
        let source = self.source(file);
        let first_kept = patterns.iter().position(|p| !goes(p)).unwrap_or(0);
        let mut kept = Vec::with_capacity(source.len());
        let mut done = 0;
        for (index, pattern) in patterns.iter().enumerate().filter(|(_, p)| goes(p)) {
            let cut = if index < first_kept {
                pattern.span.start..patterns[index + 1].span.start
            } else {
                patterns[index - 1].span.end..pattern.span.end
            };
            kept.extend_from_slice(&source[done..cut.start]);
            done = cut.end;
        }
        self.splice(file, 0..done, &kept)
    }

    pub(super) fn splice(&mut self, file: &Rc<Path>, at: Range<usize>, text: &[u8]) -> Result<(), Problem> {
        let enters = |entry: &&Entry| matches!(entry.kind, Kind::Enter(_)) && entry.file == *file;
        if self.entries().iter().filter(enters).count() > 1 {
            let what = "this file is read more than once, so an edit would be one of other modules, too";
            return Err(self.refused(file, at.start, what, "edit hosts deny by hand"));
        }
        let source = self.source(file);
        let edited = [&source[..at.start], text, &source[at.end..]].concat();
        self.files.insert(file.clone(), Found::File(edited));
        self.read_again();
        Ok(())
    }

    pub(super) fn restore(&mut self, files: Files) {
        self.files = files;
        self.read_again();
    }

    /// After an edit, by which no directive changes.
    fn read_again(&mut self) {
        self.entries = include::entries(&self.main, &mut self.files, &mut nothing);
    }
}

/// The blanks that a line begins with.
pub(super) fn indent_of(line: &[u8]) -> &[u8] {
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
    fn what_cannot_be_edited_is_an_error_and_changes_nothing() {
        let said = |source: &str, module: &str| {
            let mut conf = RsyncdConf::read(Path::new("f"), source.as_bytes(), &mut nothing);
            let problem = conf.deny(module.as_bytes(), &ranges("10.0.0.1")).unwrap_err();
            assert_eq!(conf.render(), source.as_bytes());
            problem.of_module(module.as_bytes()).to_string()
        };
        assert_eq!(
            said("[a b]\n[n]\n[global]\n", "m"),
            "f: there is no module \u{201c}m\u{201d}; name one with --module; there are: \u{201c}a b\u{201d}, \u{201c}n\u{201d}"
        );
        assert!(said("[m]\n", "global").contains("there is no module"));
        assert!(said("[m]\n&merge x\n", "m").starts_with("f:2:1: &merge: x does not begin at the root; "));
        assert!(said("[m]\npath = x\\\n", "m").starts_with("f:2:1: the last line is not complete"));
    }
}
