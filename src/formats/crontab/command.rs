//! Which programs a job's command names.

/// The file names of the poller: the script's and the binary's.
const POLLER: [&[u8]; 2] = [b"service_polling.sh", b"service_polling"];

/// Whether a word of the command has the file name of the poller: in the shell's words, also those of a quoted command
/// line for `sh -c`, but not where output goes, in a shell's remark, or behind a `%`, where cron's standard input begins.
pub fn runs_poller(command: &[u8]) -> bool {
    words(command).iter().any(|word| {
        let name = word.rsplit(|b| *b == b'/').next().unwrap_or_default();
        POLLER.contains(&name)
    })
}

fn words(command: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let mut quote = None;
    let mut is_target = false;
    let mut bytes = command.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => break,
            b'#' if word.is_empty() && quote.is_none() => break,
            b'\\' => word.extend(bytes.next()),
            b'\'' | b'"' if quote.is_none() => quote = Some(byte),
            _ if quote == Some(byte) => quote = None,
            b' ' | b'\t' | b'\r' | b';' | b'&' | b'|' | b'(' | b')' | b'`' | b'<' | b'>' => {
                if !word.is_empty() {
                    let ended = std::mem::take(&mut word);
                    if !is_target {
                        words.push(ended);
                    }
                    is_target = false;
                }
                is_target |= matches!(byte, b'<' | b'>');
            }
            _ => word.push(byte),
        }
    }
    if !is_target {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_poller_is_known_by_the_file_name_of_a_word() {
        for command in [
            r#"/bin/bash   /watch/service_polling.sh  >>/watch/log/polling-$(date +"\%Y\%m\%d").log 2>&1"#,
            "service_polling",
            "/usr/local/bin/service_polling --wait 5\r",
            "cd /watch && ./service_polling.sh>>log",
            "sh -c 'cd /watch; ./service_polling.sh > log'",
            "test -x /watch/service_polling.sh&&\"/watch/service_polling.sh\"",
            "x >/dev/null; /watch/service_polling.sh",
            "(sleep 30; /watch/service_polling.sh)",
        ] {
            assert!(runs_poller(command.as_bytes()), "{command}");
        }
        for command in [
            "/root/notservice_polling.sh.bak",
            "/watch/service_polling.sh.bak",
            "/watch/my_service_polling.sh",
            "/watch/service_polling.sh/other",
            "/bin/other >> /var/log/service_polling",
            "/bin/other 2>/tmp/service_polling.sh",
            "/bin/other # instead of /watch/service_polling.sh",
            "/bin/mail root%service_polling.sh is gone",
            "flock /tmp/service_polling.lock /bin/other",
            "",
        ] {
            assert!(!runs_poller(command.as_bytes()), "{command}");
        }
    }
}
