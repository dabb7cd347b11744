//! An env.sh together with the name of its file, so that every complaint about a value can say file and line.

use std::fmt::Display;
use std::path::Path;

use crate::error::{Error, Result};
use crate::formats::env_sh::EnvSh;
use crate::formats::shell::Context;

/// One env.sh.
#[derive(Debug)]
pub struct EnvFile<'a> {
    path: &'a Path,
    env: EnvSh,
}

impl<'a> EnvFile<'a> {
    /// Reads a file's bytes. Fails (exit 2) at the first thing that is not read in an env.sh.
    pub fn parse(path: &'a Path, source: &[u8], context: &Context) -> Result<EnvFile<'a>> {
        let env = EnvSh::parse(source, context).map_err(|refusal| refusal.in_file(path))?;
        Ok(EnvFile { path, env })
    }

    /// A key's value; `None` where it is not set or empty. Fails when `parse` does, naming file, line and key.
    pub fn optional<T>(&self, key: &str, parse: impl Fn(&[u8]) -> Result<T>) -> Result<Option<T>> {
        let Some(value) = self.raw(key).filter(|value| !value.is_empty()) else { return Ok(None) };
        parse(value).map(Some).map_err(|e| e.context(self.place(key)))
    }

    /// A key's value. Fails (exit 2) when it is not set or empty, too.
    pub fn needed<T>(&self, key: &str, parse: impl Fn(&[u8]) -> Result<T>) -> Result<T> {
        self.optional(key, parse)?.ok_or_else(|| self.missing(key))
    }

    /// The words of a list, as `members` is.
    pub fn list<T>(&self, key: &str, parse: impl Fn(&[u8]) -> Result<T>) -> Result<Vec<T>> {
        let words = self.env.words(key).into_iter();
        words.map(parse).collect::<Result<Vec<T>>>().map_err(|e| e.context(self.place(key)))
    }

    /// What stands behind a prefix in the keys that the file sets, sorted: `a` for `group_a`.
    pub fn keys_behind(&self, prefix: &str) -> Vec<String> {
        let behind = |name: &[u8]| name.strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec);
        let rest = self.env.names().into_iter().filter_map(behind);
        rest.map(|rest| String::from_utf8_lossy(&rest).into_owned()).collect()
    }

    /// A key's bytes; `None` where the file does not set it.
    pub fn raw(&self, key: &str) -> Option<&[u8]> {
        self.env.get(key)
    }

    /// What a shell which sourced the file hands on to the programs that it starts.
    pub fn exported(&self, context: &Context) -> Vec<(&[u8], &[u8])> {
        self.env.exported(context)
    }

    /// The error of a key that is not set.
    pub fn missing(&self, key: &str) -> Error {
        Error::usage(format!("{}: {key} is not set; add a line {key}=...", self.path.display()))
    }

    /// The error of a key whose value does not fit the others.
    pub fn refused(&self, key: &str, why: impl Display) -> Error {
        Error::usage(why.to_string()).context(self.place(key))
    }

    fn place(&self, key: &str) -> String {
        let line = self.env.line_of(key).unwrap_or(1);
        format!("{}:{line}: {key}", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Port;
    use crate::time::LocalTime;

    #[test]
    fn a_complaint_names_file_line_and_key() {
        let now = LocalTime { instant: chrono::DateTime::default(), zone: "UTC".to_owned() };
        let context = Context { environment: &|_| None, now: &now };
        let path = Path::new("env.sh");
        let file = EnvFile::parse(path, b"a=1\nrsyncport=99999\nempty=\n", &context).unwrap();
        let said = |result: Result<Port>| result.unwrap_err().to_string();
        assert!(
            said(file.needed("rsyncport", Port::parse)).starts_with("env.sh:2: rsyncport: \u{201c}99999")
        );
        assert_eq!(said(file.needed("empty", Port::parse)), "env.sh: empty is not set; add a line empty=...");
        assert_eq!(file.optional("absent", Port::parse), Ok(None));
    }
}
