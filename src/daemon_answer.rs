//! What an rsync daemon says when it is asked for a module, as the first lines of its protocol.

use crate::names::shown;

/// What answers on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// An rsync daemon.
    Rsync,
    /// A program that accepts the connection and does not greet as an rsync daemon does, or not in time.
    NotRsync,
    /// Nothing: the connection failed for this reason.
    Nothing(String),
}

/// What a daemon says to one address that asks for one module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The address is admitted; a member could fetch, or log in.
    Admitted,
    /// The address is denied.
    Denied,
    /// There is no such module; or there is, `list` is off, and the address is denied.
    UnknownModule,
    /// Anything else: it tells neither.
    Unclear(String),
}

impl Greeting {
    /// Reads the first line that a daemon sends.
    pub fn read(line: &[u8]) -> Greeting {
        if line.starts_with(b"@RSYNCD: ") { Greeting::Rsync } else { Greeting::NotRsync }
    }
}

impl Answer {
    /// Reads one line of the answer; `None` for a line of the greeting that the site wrote (`motd file`).
    ///
    /// The daemon looks at the address before it counts connections, enters the directory or asks who it is (observed on
    /// rsync 3.5.0), so a complaint about one of these means that the address is admitted.
    pub fn read(line: &[u8]) -> Option<Answer> {
        let admitted = [
            &b"@RSYNCD: OK"[..],
            b"@RSYNCD: AUTHREQD",
            b"@ERROR: max connections",
            b"@ERROR: auth failed",
            b"@ERROR: chdir failed",
            b"@ERROR: chroot failed",
        ];
        if admitted.iter().any(|start| line.starts_with(start)) {
            Some(Answer::Admitted)
        } else if line.starts_with(b"@ERROR: access denied") {
            Some(Answer::Denied)
        } else if line.starts_with(b"@ERROR: Unknown module") {
            Some(Answer::UnknownModule)
        } else if line.starts_with(b"@ERROR") || line.starts_with(b"@RSYNCD: EXIT") {
            Some(Answer::Unclear(format!("it said {}", shown(line.trim_ascii_end()))))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_real_daemon_are_understood() {
        for (line, answer) in [
            (&b"@RSYNCD: OK\n"[..], Some(Answer::Admitted)),
            (b"@RSYNCD: AUTHREQD 31pQB3ZqzmEnv/K8OyRFuw\n", Some(Answer::Admitted)),
            (b"@ERROR: max connections (2) reached -- try again later\n", Some(Answer::Admitted)),
            (b"@ERROR: chdir failed\n", Some(Answer::Admitted)),
            (b"@ERROR: access denied to m from UNKNOWN (127.0.0.2)\n", Some(Answer::Denied)),
            (b"@ERROR: Unknown module 'm'\n", Some(Answer::UnknownModule)),
            (b"Welcome to the monitor\n", None),
            (b"@ERROR: x\n", Some(Answer::Unclear("it said \u{201c}@ERROR: x\u{201d}".to_owned()))),
        ] {
            assert_eq!(Answer::read(line), answer);
        }
        assert_eq!(Greeting::read(b"@RSYNCD: 32.0 sha512 md5\n"), Greeting::Rsync);
        assert_eq!(Greeting::read(b"220 mail ESMTP\r\n"), Greeting::NotRsync);
    }
}
