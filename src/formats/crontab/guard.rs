//! What pauses a job until a time: it stands in front of the job's command and ends the shell before it gets there. Nobody
//! has to run, or to be allowed to write, for the job to run again; and cron reads the rest of the line as before.

use chrono::{DateTime, FixedOffset, SecondsFormat};

const BEGIN: &str = ": autoupdate-toggle paused until ";

/// The guard: its first half, for people, is a command that does nothing.
pub fn text(until: DateTime<FixedOffset>) -> Vec<u8> {
    let time = until.to_rfc3339_opts(SecondsFormat::Secs, false);
    // To cron a percent sign without a backslash is the end of the command.
    format!("{BEGIN}{time}; [ \"$(date +\\%s)\" -ge {} ] || exit 0; ", until.timestamp()).into_bytes()
}

/// Until when a command is paused by a guard in front of it.
pub fn time(command: &[u8]) -> Option<DateTime<FixedOffset>> {
    let time = command.strip_prefix(BEGIN.as_bytes())?.split(|b| *b == b';').next()?;
    let until = DateTime::parse_from_rfc3339(std::str::from_utf8(time).ok()?).ok()?;
    command.starts_with(&text(until)).then_some(until)
}

/// A command without the guard in front of it.
pub fn behind(command: &[u8]) -> &[u8] {
    match time(command) {
        Some(until) => command.strip_prefix(text(until).as_slice()).unwrap_or(command),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_known_again_and_nothing_else_is_taken_for_one() {
        let until = DateTime::parse_from_rfc3339("2026-11-26T20:00:00+08:00").unwrap();
        let guard = String::from_utf8(text(until)).unwrap();
        assert_eq!(
            guard,
            ": autoupdate-toggle paused until 2026-11-26T20:00:00+08:00; \
             [ \"$(date +\\%s)\" -ge 1795694400 ] || exit 0; "
        );
        let command = format!("{guard}x; y");
        assert_eq!((time(command.as_bytes()), behind(command.as_bytes())), (Some(until), &b"x; y"[..]));
        for other in [
            command.replace("1795694400", "1795694401"),
            command.replace("20:00:00", "20:00"),
            "x".to_owned(),
        ] {
            assert_eq!((time(other.as_bytes()), behind(other.as_bytes())), (None, other.as_bytes()));
        }
    }
}
