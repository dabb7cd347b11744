//! The real dash, one process for many texts. It is shown only texts that the reader takes, finds no program, and runs in a
//! directory that is removed already, in which nothing can be created.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What is printed for a name that is not set.
pub const UNSET: &str = "(unset)";

/// What a date is, since no program is found.
pub const DATE: &str = "<the date>";

/// Ends the output for a text: no value holds a zero byte.
const END: &str = "\\0END\\0\\n";

struct Dash {
    child: Child,
    /// Where the text is: a file without a name, dash's descriptor 9.
    text: File,
    commands: ChildStdin,
    output: BufReader<ChildStdout>,
}

thread_local! {
    static DASH: RefCell<Option<Dash>> = const { RefCell::new(None) };
}

/// The values that names have behind a text, each with a zero byte behind it; and whatever dash complains about.
pub fn values(text: &[u8], names: &[String], environment: &[(&str, &str)]) -> Vec<u8> {
    DASH.with_borrow_mut(|dash| dash.get_or_insert_with(|| Dash::start(environment)).values(text, names))
}

impl Dash {
    fn start(environment: &[(&str, &str)]) -> Dash {
        let id = std::thread::current().id();
        let dir = std::env::temp_dir().join(format!("laws-dash-{}-{id:?}", std::process::id()));
        fs::create_dir(&dir).expect("a free name in the temporary directory");
        let file = dir.join("text");
        let text =
            File::options().read(true).write(true).create_new(true).open(&file).expect("our own directory");
        let mut child = Command::new("/bin/dash")
            .current_dir(&dir)
            .env_clear()
            .envs(environment.iter().copied())
            .env("PATH", "/no-program")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(text.try_clone().expect("a second descriptor"))
            .spawn()
            .expect("dash is installed");
        let commands = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut dash = Dash { child, text, commands, output };
        // Once it has looked where it is.
        assert_eq!(dash.run(&format!("exec 9<&2 2>&1\ndate() {{ echo '{DATE}'; }}")), b"");
        fs::remove_dir_all(&dir).expect("our own directory");
        dash
    }

    fn values(&mut self, text: &[u8], names: &[String]) -> Vec<u8> {
        let written =
            self.text.set_len(0).and_then(|()| self.text.rewind()).and_then(|()| self.text.write_all(text));
        written.expect("a file of our own");
        let values: String = names.iter().map(|name| format!(" \"${{{name}-{UNSET}}}\"")).collect();
        self.run(&format!("(\n. /dev/fd/9\nprintf '%s\\0'{values}\n) < /dev/null || echo \"exit $?\""))
    }

    /// What commands print.
    fn run(&mut self, commands: &str) -> Vec<u8> {
        let written =
            writeln!(self.commands, "{commands}\nprintf '{END}'").and_then(|()| self.commands.flush());
        written.expect("dash reads on");
        let mut printed = Vec::new();
        while !printed.ends_with(b"\0END\0\n") {
            let length = self.output.read_until(b'\n', &mut printed).expect("dash prints");
            assert!(length > 0, "dash ended");
        }
        printed.truncate(printed.len() - b"\0END\0\n".len());
        printed
    }
}

impl Drop for Dash {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
