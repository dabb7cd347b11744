//! The real sed, one process for many texts: unbuffered, with the three edits of dispatch.sh.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the three keys are given.
pub const VALUES: [&str; 3] =
    ["20180614070809", "/w/plugin/m/20180614070809/lib/m.so", "/w/plugin/m/20180614070809/data"];

/// A line that no text holds.
const END: &[u8] = b"\0 the end of the text \0\n";

/// As long as a pipe holds what sed makes of it: every key becomes at most five times as long.
const LONGEST: usize = 8 << 10;

struct Sed {
    child: Child,
    texts: ChildStdin,
    output: BufReader<ChildStdout>,
}

thread_local! {
    static SED: RefCell<Option<Sed>> = const { RefCell::new(None) };
}

/// What sed makes of a text; `None` for one that is too long.
pub fn edited(text: &[u8], keys: &[&str; 3]) -> Option<Vec<u8>> {
    let holds_end = text.windows(END.len() - 1).any(|w| w == &END[..END.len() - 1]);
    if text.len() > LONGEST || holds_end {
        return None;
    }
    Some(SED.with_borrow_mut(|sed| sed.get_or_insert_with(|| Sed::start(keys)).edited(text)))
}

impl Sed {
    fn start(keys: &[&str; 3]) -> Sed {
        let mut sed = Command::new("/bin/sed");
        sed.args(["--unbuffered", "-r"]);
        for (key, value) in keys.iter().zip(VALUES) {
            // legacy: dispatch.sh, (3) to (5)
            sed.arg("-e").arg(format!("s/{key}=\\S*+/{key}={}/g", value.replace('/', "\\/")));
        }
        let mut child = sed
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sed is installed");
        let texts = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Sed { child, texts, output }
    }

    fn edited(&mut self, text: &[u8]) -> Vec<u8> {
        // The newline that ends the text's last line for sed.
        let shown = [text, b"\n", END].concat();
        self.texts.write_all(&shown).and_then(|()| self.texts.flush()).expect("sed reads on");
        let mut edited = Vec::new();
        while !edited.ends_with(END) {
            let length = self.output.read_until(b'\n', &mut edited).expect("sed prints");
            assert!(length > 0, "sed ended");
        }
        edited.truncate(edited.len() - END.len() - 1);
        edited
    }
}

impl Drop for Sed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
