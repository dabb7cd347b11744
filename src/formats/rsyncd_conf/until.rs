//! Until when addresses are denied: a remark in the module's section, which the daemon skips and everybody can read:
//! `# autoupdate-toggle: until 2026-11-26T20:00:00+08:00: 10.85.136.181,10.85.136.182`.

use std::path::Path;
use std::rc::Rc;

use chrono::{DateTime, FixedOffset, SecondsFormat};

use super::edit::indent_of;
use super::{GLOBAL, Kind, Problem, RsyncdConf, syntax};
use crate::ip_range::IpRange;

const BEGIN: &str = "# autoupdate-toggle: until ";

/// Addresses and the end of their denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// When they are to be admitted again.
    pub until: DateTime<FixedOffset>,
    /// Who.
    pub ranges: Vec<IpRange>,
}

/// What [`RsyncdConf::lift`] did in one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    /// The module.
    pub module: Vec<u8>,
    /// Whose denial was over.
    pub ranges: Vec<IpRange>,
    /// The file that says so.
    pub file: Rc<Path>,
    /// Whether it stays all the same: without it `hosts allow` alone would be in force, and admit nobody else.
    pub stays: bool,
}

/// Whether a file, or one that it includes, may say anything about an end; quick, for whoever looks every minute.
pub fn may_be_mentioned(source: &[u8]) -> bool {
    is_mentioned(source) || syntax::may_direct(source)
}

fn is_mentioned(source: &[u8]) -> bool {
    source.split(|b| *b == b'\n').any(|line| line.trim_ascii_start().starts_with(BEGIN.as_bytes()))
}

impl RsyncdConf {
    /// Whether any of the files may say anything about an end.
    pub fn mentions_an_end(&self) -> bool {
        self.files().any(|(_, source)| is_mentioned(source))
    }

    /// What ends by itself in a module.
    pub fn endings(&self, module: &[u8]) -> Result<Vec<Ending>, Problem> {
        self.check(module)?;
        Ok(self.remarks(module).into_iter().map(|(_, ending)| ending).collect())
    }

    /// Writes down until when ranges that are in the module's own `hosts deny` are denied, in place of what was written down
    /// about them before.
    pub fn end_denial(
        &mut self,
        module: &[u8],
        ranges: &[IpRange],
        until: DateTime<FixedOffset>,
    ) -> Result<(), Problem> {
        self.edit(|conf| {
            conf.forget(module, ranges)?;
            conf.write_down(module, ranges, until)
        })
    }

    fn write_down(
        &mut self,
        module: &[u8],
        ranges: &[IpRange],
        until: DateTime<FixedOffset>,
    ) -> Result<(), Problem> {
        if ranges.is_empty() {
            return Ok(());
        }
        if let Some((index, same)) =
            self.remarks(module).into_iter().find(|(_, ending)| ending.until == until)
        {
            return self.rewrite(index, &Ending { until, ranges: [&same.ranges, ranges].concat() });
        }
        let (Some(own), _) = self.assignments(module, b"hosts deny") else { return Ok(()) };
        let at = self.mark_above(own.entry).map_or(own.entry.span.start, |mark| mark.start);
        let (file, indent) = (own.entry.file.clone(), indent_of(self.text(own.entry)));
        let ending = text(&Ending { until, ranges: ranges.to_vec() });
        let line = [indent, ending.as_bytes(), self.line_end(&file)].concat();
        self.splice(&file, at..at, &line)
    }

    /// Removes what was written down about the end of these ranges: where they are denied, they stay so.
    pub fn forget_end(&mut self, module: &[u8], ranges: &[IpRange]) -> Result<(), Problem> {
        self.edit(|conf| conf.forget(module, ranges))
    }

    pub(super) fn forget(&mut self, module: &[u8], ranges: &[IpRange]) -> Result<(), Problem> {
        self.check(module)?;
        // From the last one on, so that the places of the others stay.
        for (index, mut ending) in self.remarks(module).into_iter().rev() {
            let before = ending.ranges.len();
            ending.ranges.retain(|range| !ranges.contains(range));
            if ending.ranges.is_empty() {
                let entry = &self.entries()[index];
                let (file, span) = (entry.file.clone(), entry.span.clone());
                self.remove_lines(&file, span)?;
            } else if ending.ranges.len() < before {
                self.rewrite(index, &ending)?;
            }
        }
        Ok(())
    }

    /// Ends every denial whose end has come, in all modules.
    pub fn lift(&mut self, now: DateTime<FixedOffset>) -> Result<Vec<Lifted>, Problem> {
        let before = self.files.clone();
        self.lift_all(now).inspect_err(|_| self.restore(before))
    }

    fn lift_all(&mut self, now: DateTime<FixedOffset>) -> Result<Vec<Lifted>, Problem> {
        let entries = self.entries.as_ref().map_err(Clone::clone)?;
        let mut modules: Vec<Vec<u8>> = Vec::new();
        for entry in entries {
            if let Kind::Header(name) = &entry.kind
                && syntax::folded(name) != GLOBAL
                && !modules.iter().any(|module| syntax::folded(module) == syntax::folded(name))
            {
                modules.push(name.clone());
            }
        }
        let mut lifted = Vec::new();
        for module in modules {
            let mut remarks = self.remarks(&module);
            remarks.retain(|(_, ending)| ending.until <= now);
            let Some((first, _)) = remarks.first() else { continue };
            let file = self.entries()[*first].file.clone();
            let ranges: Vec<IpRange> = remarks.into_iter().flat_map(|(_, ending)| ending.ranges).collect();
            let (before, access) = (self.files.clone(), self.access(&module)?);
            self.allow_again(&module, &ranges)?;
            let stays =
                access.allow.is_some() && access.deny.is_some() && self.access(&module)?.deny.is_none();
            if stays {
                self.restore(before);
            }
            lifted.push(Lifted { module, ranges, file, stays });
        }
        Ok(lifted)
    }

    /// The remarks about endings in a module's sections: the number of the entry, and what it says.
    fn remarks(&self, module: &[u8]) -> Vec<(usize, Ending)> {
        let module = syntax::folded(module);
        let of_module = self.with_sections().enumerate().filter(|(_, (section, _))| **section == module);
        let remark = of_module.filter(|(_, (_, entry))| matches!(entry.kind, Kind::Remark));
        remark.filter_map(|(index, (_, entry))| Some((index, read(self.text(entry))?))).collect()
    }

    /// Writes a remark anew, in its place.
    fn rewrite(&mut self, index: usize, ending: &Ending) -> Result<(), Problem> {
        let entry = &self.entries()[index];
        let (file, span, line) = (entry.file.clone(), entry.span.clone(), self.text(entry));
        let start = span.start + line.iter().take_while(|b| syntax::is_space(**b)).count();
        let end = span.end - line.iter().rev().take_while(|b| syntax::is_space(**b)).count();
        self.splice(&file, start..end, text(ending).as_bytes())
    }
}

fn text(ending: &Ending) -> String {
    let ranges: Vec<String> = ending.ranges.iter().map(IpRange::to_string).collect();
    format!("{BEGIN}{}: {}", ending.until.to_rfc3339_opts(SecondsFormat::Secs, false), ranges.join(","))
}

/// Reads exactly what [`text`] writes.
fn read(line: &[u8]) -> Option<Ending> {
    let line = std::str::from_utf8(line).ok()?.trim_ascii();
    let (time, ranges) = line.strip_prefix(BEGIN)?.split_once(": ")?;
    let until = DateTime::parse_from_rfc3339(time).ok()?;
    let ranges: Option<Vec<IpRange>> =
        ranges.split(',').map(|word| IpRange::parse(word.as_bytes()).ok()).collect();
    let ending = Ending { until, ranges: ranges? };
    (text(&ending) == line).then_some(ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Vec<IpRange> {
        text.split(',').map(|word| IpRange::parse(word.as_bytes()).unwrap()).collect()
    }

    fn at(hour: u32) -> DateTime<FixedOffset> {
        DateTime::parse_from_rfc3339(&format!("2026-11-26T{hour:02}:00:00+08:00")).unwrap()
    }

    fn denied_until(source: &str, addresses: &str, hour: u32) -> String {
        let mut conf = RsyncdConf::parse(source.as_bytes());
        conf.deny(b"m", &ranges(addresses)).unwrap();
        conf.end_denial(b"m", &ranges(addresses), at(hour)).unwrap();
        String::from_utf8(conf.render().to_vec()).unwrap()
    }

    fn edited(source: &str, edit: impl Fn(&mut RsyncdConf)) -> String {
        let mut conf = RsyncdConf::parse(source.as_bytes());
        edit(&mut conf);
        String::from_utf8(conf.render().to_vec()).unwrap()
    }

    #[test]
    fn the_end_stands_above_the_list_and_goes_with_it() {
        for before in
            ["[m]\n  path = x\n[n]\n", "[m]", "[m]\r\nhosts deny = h\r\n", "hosts deny = h\n[m]\n\ta=b"]
        {
            let once = denied_until(before, "10.0.0.1,::1", 20);
            assert_eq!(
                once.matches("# autoupdate-toggle: until 2026-11-26T20:00:00+08:00: 10.0.0.1,::1").count(),
                1
            );
            let twice = denied_until(&once, "10.0.0.2", 20);
            assert!(twice.contains("+08:00: 10.0.0.1,::1,10.0.0.2"), "{twice}");
            let later = denied_until(&twice, "10.0.0.2", 21);
            assert!(
                later.contains("T20:00:00+08:00: 10.0.0.1,::1")
                    && later.contains("T21:00:00+08:00: 10.0.0.2")
            );
            let allowed = edited(&later, |conf| conf.allow_again(b"m", &ranges("10.0.0.2")).unwrap());
            assert_eq!(allowed, once);
            let allowed = edited(&once, |conf| conf.allow_again(b"m", &ranges("10.0.0.1,::1")).unwrap());
            assert_eq!(allowed, before);
        }
    }

    #[test]
    fn a_denial_is_lifted_when_its_end_has_come_and_every_other_one_stays() {
        let before = "[m]\n path = x\n hosts deny = 10.0.0.9\n[n]\n";
        let some = denied_until(before, "10.0.0.1", 20);
        let all = denied_until(&some, "10.0.0.2", 21);
        assert_eq!(edited(&all, |conf| assert_eq!(conf.lift(at(19)).unwrap(), [])), all);
        let lifted = edited(&all, |conf| {
            let (module, file) = (b"m".to_vec(), Path::new("rsyncd.conf").into());
            let lifted = Lifted { module, ranges: ranges("10.0.0.1"), file, stays: false };
            assert_eq!(conf.lift(at(20)).unwrap(), [lifted]);
        });
        assert_eq!(lifted, denied_until(before, "10.0.0.2", 21));
        assert_eq!(edited(&all, |conf| assert_eq!(conf.lift(at(21)).unwrap().len(), 1)), before);
        // With the last address hosts deny would go, and hosts allow alone admits nobody else.
        let with_allow = denied_until("[m]\nhosts allow = 10.0.0.7\nhosts deny =\n", "10.0.0.1", 20);
        assert_eq!(edited(&with_allow, |conf| assert!(conf.lift(at(20)).unwrap()[0].stays)), with_allow);
    }

    #[test]
    fn what_is_no_such_remark_is_left_alone() {
        for remark in [
            "# autoupdate-toggle: until tomorrow: 10.0.0.1",
            "# autoupdate-toggle: until 2026-11-26T20:00:00+08:00: 10.0.0.1 and others",
            "# autoupdate-toggle: until 2026-11-26T20:00:00+08:00: ",
            "; autoupdate-toggle: until 2026-11-26T20:00:00+08:00: 10.0.0.1",
        ] {
            let source = format!("[m]\n{remark}\nhosts deny = 10.0.0.1\n");
            assert_eq!(edited(&source, |conf| assert_eq!(conf.lift(at(23)).unwrap(), [])), source);
        }
    }
}
