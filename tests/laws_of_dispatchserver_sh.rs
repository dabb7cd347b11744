//! The registry does what `sh dispatchserver.sh` does: the same log lines in the same files, the same calls of
//! dispatch.sh; and where a line cannot be read, never a call that the script would not make.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use model_rollout::formats::dispatchserver_sh::{Registry, StanzaState, Step};
use model_rollout::formats::shell::Context;
use model_rollout::names::{ModelName, PluginName};
use model_rollout::time::Dates;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use crate::shells::{self, INSTANTS, Scratch, Shell, Surroundings, ZONES, shown};

type Bytes = Vec<u8>;

const HEADER: &str = "#!/bin/sh\nlogFile=../log/dispatchserver-$(date +%Y%m%d).log\n";

/// The stanza as the contract writes it.
const STANZA: &str = r##"# MODEL
# add by USER
mymodel="MODEL"
plugin="PLUGIN"
echo "==================begin start run $mymodel================================="`date`  >> ${logFile}
sh dispatch.sh $mymodel /data1/work/datasys/framework/service/workspace/plugin/$mymodel $plugin.so >> ${logFile}
echo "==================end run $mymodel========================================="`date`  >> ${logFile}
"##;

fn stanza(model: &str, plugin: &str) -> String {
    STANZA.replace("MODEL", model).replace("PLUGIN", plugin).replace("USER", "yuxiang8")
}

/// What a run leaves: each log file, and what dispatch.sh printed where no log file was named (under the name "").
type Traces = BTreeMap<String, Bytes>;

const MARK: &[u8] = b"called\0";

/// Runs a registry for real, dispatch.sh being a stand-in that prints its arguments.
fn run(shell: Shell, registry: &[u8], surroundings: &Surroundings) -> (Traces, Bytes) {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path().join("log")).expect("a free name");
    fs::create_dir(scratch.path().join("work")).expect("a free name");
    scratch.write("work/dispatch.sh", b"printf 'called\\0'\nprintf '%s\\0' \"$@\"\nprintf '\\n'\n");
    scratch.write("work/other.sh", b"mymodel=other\nplugin=other\nmodel=other\n");
    scratch.write("work/registry", registry);
    scratch.write("start", b"cd work\n. ./registry\n");
    let output = scratch.run(shell, "start", surroundings);
    let mut traces = Traces::new();
    for directory in ["log", "work"] {
        for entry in fs::read_dir(scratch.path().join(directory)).expect("our own directory") {
            let entry = entry.expect("a readable entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            if !["dispatch.sh", "other.sh", "registry"].contains(&&name[..]) {
                let place = if directory == "log" { format!("../log/{name}") } else { name };
                traces.insert(place, fs::read(entry.path()).expect("a log file"));
            }
        }
    }
    if !output.stdout.is_empty() {
        traces.insert(String::new(), output.stdout);
    }
    (traces, output.stderr)
}

fn read(registry: &[u8], surroundings: &Surroundings) -> Registry {
    let now = surroundings.local_time();
    Registry::parse(registry, &Context { environment: &|name| surroundings.variable(name), now: &now })
}

/// What the steps leave.
fn traces_of(registry: &Registry, surroundings: &Surroundings) -> Traces {
    let mut traces = Traces::new();
    for step in registry.steps() {
        let (file, text) = match step {
            Step::Log { text, file, .. } => {
                let mut line = Vec::new();
                text.render(&surroundings.local_time(), &mut Dates::default(), &mut line);
                (&file[..], line)
            }
            Step::Dispatch { model, prefix, so_name, log, .. } => {
                (log.as_deref().unwrap_or_default(), call(model, prefix, so_name))
            }
            Step::Unreadable(_) => continue,
        };
        traces.entry(String::from_utf8_lossy(file).into_owned()).or_default().extend(text);
    }
    traces
}

fn call(model: &[u8], prefix: &[u8], so_name: &[u8]) -> Bytes {
    [MARK, model, b"\0", prefix, b"\0", so_name, b"\0\n"].concat()
}

/// The calls among traces, in order within each file.
fn calls(traces: &Traces) -> Vec<Bytes> {
    let lines = traces.values().flat_map(|trace| trace.split_inclusive(|b| *b == b'\n'));
    lines.filter(|line| line.starts_with(MARK)).map(<[u8]>::to_vec).collect()
}

fn is_readable(registry: &Registry) -> bool {
    !registry.steps().iter().any(|step| matches!(step, Step::Unreadable(_)))
}

// ---------------------------------------------------------------------------------------------- the generator

fn model() -> impl Strategy<Value = String> {
    select(vec!["mblog_yellow", "fast_lr", "a.b-c", "_x", "0", "pic-2.1", "m"]).prop_map(str::to_owned)
}

/// A stanza in a form that operators write.
fn any_stanza() -> impl Strategy<Value = String> {
    let quote = || select(vec!["\"", "'", ""]);
    let form = select(vec![
        "mymodel=Q1MODELQ1\nplugin=Q2PLUGINQ2\necho \"==begin $mymodel==\"`date`  >> ${logFile}\nsh dispatch.sh $mymodel /w/plugin/$mymodel $plugin.so >> ${logFile}\n",
        "model=Q1MODELQ1; so=Q2PLUGINQ2.so\nsh dispatch.sh \"$model\" \"/w/${model}\" ${so} >>$logFile 2>&1\n",
        "sh dispatch.sh Q1MODELQ1 /w/plugin/MODEL PLUGIN.so\n",
        "bash ./dispatch.sh MODEL /w/${prefix:-plugin} PLUGIN.so >> \"../log/MODEL.log\"   # remark\n",
        "echo begin   run 'MODEL'  `date +%e`x \"`date +%Y%n`\" a#b >> $logFile\n",
        "echo \"a\"`date '+ %k  %H '`\"b\" $(date +) \"\" c >> MODEL-$(date +%d).log\n",
        "\techo \"=== $(date +'%F %T') ===\" \\\n  MODEL >> ${logFile}\n",
    ]);
    let form = (form, model(), model(), quote(), quote()).prop_map(|(form, model, plugin, q1, q2)| {
        form.replace("Q1", q1).replace("Q2", q2).replace("MODEL", &model).replace("PLUGIN", &plugin)
    });
    let exact = || (model(), model()).prop_map(|(model, plugin)| stanza(&model, &plugin));
    prop_oneof![4 => form, 3 => exact(), 2 => exact().prop_map(|text| commented(&text, "#")),
        1 => (model(), model()).prop_map(|(m, p)| commented(&stanza(&m, &p), "## ")),
        1 => select(vec!["\n", "# a remark\n", "   \n", "#\n", "logFile=../log/next.log\n"]).prop_map(str::to_owned)]
}

fn commented(text: &str, mark: &str) -> String {
    text.lines().map(|line| format!("{mark}{line}\n")).collect()
}

fn registry() -> impl Strategy<Value = Bytes> {
    (proptest::collection::vec(any_stanza(), 0..5), any::<bool>()).prop_map(|(stanzas, with_end)| {
        let text = format!("{HEADER}{}", stanzas.concat());
        let text = if with_end { &text[..] } else { text.trim_end_matches('\n') };
        text.as_bytes().to_vec()
    })
}

/// Lines that are not read, and that harm nothing when a shell runs them. Some set the names that stanzas use, some
/// switch off what follows.
const UNREADABLE: &[(&str, &str)] = &[
    (". ./other.sh", ""),
    ("eval mymodel=evil plugin=evil model=evil so=evil", ""),
    ("mymodel=$(echo evil)", ""),
    ("if false; then", "fi"),
    ("if true; then mymodel=evil", "fi"),
    ("if [ -e /nowhere ]\nthen", "fi"),
    ("while false; do", "done"),
    ("for mymodel in evil; do", "done"),
    ("for mymodel in evil other\ndo", "done # all"),
    ("case x in y)", ";; esac"),
    (": <<'EOF'", "EOF"),
    (": <<-END; true", "\tEND"),
    ("off() {", "}"),
    ("f()\n{", "}"),
    ("( exit 0", ")"),
    ("false && {", "}"),
    ("exit 0", ""),
    ("false &&", ""),
    ("[ -e /nowhere ] && \\", ""),
    ("cd .", ""),
    ("true 'a\nb'", ""),
    ("mymodel=\"evil\" true", ""),
    ("export mymodel=evil", ""),
    ("readonly unused", ""),
    ("unset mymodel", ""),
    ("x=`echo if`", ""),
    ("if true; then if false; then", "fi; fi"),
    ("shift 0", ""),
    ("set -- $(echo 1)", ""),
];

fn uncertain_registry() -> impl Strategy<Value = Bytes> {
    let piece = prop_oneof![
        3 => any_stanza(),
        1 => Just("sh dispatch.sh \"x$mymodel\" /w/${model:-fallback} ${plugin:-none}.so >> ${logFile}\n".to_owned()),
    ];
    let block = (select(UNREADABLE), proptest::collection::vec(piece.clone().boxed(), 0..2)).prop_map(
        |((open, close), inner)| {
            // No block may be empty.
            let close = if close.is_empty() { String::new() } else { format!("true\n{close}\n") };
            format!("{open}\n{}{close}", inner.concat())
        },
    );
    let pieces = proptest::collection::vec(prop_oneof![2 => piece, 1 => block], 0..6);
    pieces.prop_map(|pieces| format!("{HEADER}{}", pieces.concat()).into_bytes())
}

fn time() -> impl Strategy<Value = Surroundings> {
    (select(&INSTANTS[..]), select(&ZONES[..])).prop_map(|(instant, zone)| Surroundings::at(instant, zone))
}

// ------------------------------------------------------------------------------------------------------ the laws

proptest! {
    #![proptest_config(shells::cases(60))]

    #[test]
    fn a_registry_does_what_the_script_does(registry in registry(), surroundings in time()) {
        let ours = read(&registry, &surroundings);
        prop_assert!(is_readable(&ours), "{}: {:?}", shown(&registry), ours.steps());
        prop_assert_eq!(ours.render(), &registry[..]);
        for shell in [shells::DASH, shells::BASH] {
            let (traces, complaints) = run(shell, &registry, &surroundings);
            prop_assert_eq!(shown(&complaints), shown(b""));
            prop_assert_eq!(&traces, &traces_of(&ours, &surroundings), "{:?} (left): {}", shell, shown(&registry));
        }
    }

    #[test]
    fn behind_a_line_that_is_not_read_no_call_is_made_that_the_script_does_not_make(
        registry in uncertain_registry(), surroundings in time(),
    ) {
        let ours = calls(&traces_of(&read(&registry, &surroundings), &surroundings));
        for shell in [shells::DASH, shells::BASH] {
            let mut theirs = calls(&run(shell, &registry, &surroundings).0).into_iter();
            for call in &ours {
                prop_assert!(theirs.any(|their| their == *call), "{:?} does not make {} in {}", shell, shown(call), shown(&registry));
            }
        }
    }

    #[test]
    fn an_appended_stanza_is_the_contracts_and_is_active(registry in registry(), plugin in model()) {
        let surroundings = Surroundings::at(0, "UTC");
        let mut ours = read(&registry, &surroundings);
        let model = ModelName::parse(b"new_model").expect("a name");
        prop_assert_eq!(ours.stanza_of(&model), None);
        ours.append_stanza(&model, &PluginName::parse(plugin.as_bytes()).expect("a name"), "yuxiang8");
        let newline: &[u8] = if registry.ends_with(b"\n") { b"" } else { b"\n" };
        let expected = [&registry, newline, stanza("new_model", &plugin).as_bytes()].concat();
        prop_assert_eq!(shown(ours.render()), shown(&expected));
        let state = read(ours.render(), &surroundings).stanza_of(&model);
        prop_assert!(matches!(state, Some(StanzaState::Active { .. })), "{:?}", state);
    }

    #[test]
    fn a_registry_of_any_bytes_is_read_and_rendered(bytes in proptest::collection::vec(
        prop_oneof![any::<u8>(), select(&b"\n \t\"'$`{}()<>|&;#\\if"[..])], 0..60,
    )) {
        let registry = read(&bytes, &Surroundings::at(0, "UTC"));
        prop_assert_eq!(registry.render(), &bytes[..]);
    }
}

#[test]
fn the_other_stanzas_go_on_behind_a_closed_block_and_the_lines_are_named() {
    for (open, close) in UNREADABLE.iter().filter(|(open, _)| *open != "exit 0") {
        let header = [HEADER, &stanza("first", "p")].concat();
        let close = if close.is_empty() { ":" } else { close };
        let registry = format!("{header}{open}\n{}{close}\n{}", "# within\n", stanza("last", "p"));
        let ours = read(registry.as_bytes(), &Surroundings::at(0, "UTC"));
        for name in ["first", "last"] {
            let state = ours.stanza_of(&ModelName::parse(name.as_bytes()).expect("a name"));
            assert!(
                matches!(state, Some(StanzaState::Active { .. })),
                "{name} of {registry}: {:?}",
                ours.steps()
            );
        }
        let line = header.lines().count() + 1;
        let first = ours.steps().iter().find_map(|step| match step {
            Step::Unreadable(refusal) => Some(refusal.line),
            _ => None,
        });
        assert_eq!(first, Some(line), "{registry}");
    }
}

#[test]
fn the_generated_registries_hold_what_the_laws_are_about() {
    let mut runner = TestRunner::deterministic();
    let surroundings = Surroundings::at(0, "UTC");
    let (mut calls_in_blocks, mut kept, mut dropped) = (0, 0, 0);
    for _ in 0..300 {
        let registry = uncertain_registry().new_tree(&mut runner).expect("a registry").current();
        let ours = read(&registry, &surroundings);
        let written = registry
            .split(|b| *b == b'\n')
            .filter(|line| line.starts_with(b"sh dispatch") || line.starts_with(b"bash ./dispatch"))
            .count();
        let made = calls(&traces_of(&ours, &surroundings)).len();
        kept += made;
        dropped += written.saturating_sub(made);
        calls_in_blocks += usize::from(!is_readable(&ours) && made > 0);
    }
    println!("{kept} calls made, {dropped} not; {calls_in_blocks} of 300 registries are read in part");
    assert!(kept > 100 && dropped > 50 && calls_in_blocks > 50);
}

#[test]
fn a_stanza_commented_out_by_hand_is_seen() {
    let model = ModelName::parse(b"mblog_yellow").expect("a name");
    let whole = stanza("mblog_yellow", "p");
    let only_the_call = whole.replace("sh dispatch.sh", "# sh dispatch.sh");
    for (text, line) in [
        (commented(&whole, "#"), 5),
        (commented(&whole, "# "), 5),
        (commented(&whole, "# # "), 5),
        (commented(&whole, "\t#\t"), 5),
        (only_the_call, 5),
        ("#mymodel=mblog_yellow; plugin=x\n".to_owned(), 3),
        ("#mymodel='mblog_yellow' # off since Monday\n".to_owned(), 3),
    ] {
        let registry = read(format!("{HEADER}{text}").as_bytes(), &Surroundings::at(0, "UTC"));
        assert_eq!(registry.stanza_of(&model), Some(StanzaState::CommentedOut { line }), "{text}");
    }
    let other = read(format!("{HEADER}#mymodel=mblog_yellow2\n").as_bytes(), &Surroundings::at(0, "UTC"));
    assert_eq!(other.stanza_of(&model), None);
}

#[test]
fn what_the_shells_would_split_or_expand_is_not_read() {
    for line in [
        "echo x 2>>log",
        "sh dispatch.sh a b 3>>log",
        "sh dispatch.sh m ~/plugin m.so",
        "echo a >> ~/log",
        "echo a=~ >> log",
        "sh dispatch.sh m `date` m.so",
        "echo x >> log-`date`",
        "echo `date '+*'` >> log",
        "echo \"`date '+a\\b'`\" >> log",
        "echo `date +-n` >> log",
        "echo `date +` -n >> log",
        "echo \"$x\"-n >> log",
    ] {
        let registry = read(line.as_bytes(), &Surroundings::at(0, "UTC"));
        assert!(matches!(registry.steps(), [Step::Unreadable(_)]), "{line}: {:?}", registry.steps());
    }
}

#[test]
fn the_script_that_registers_a_model_appends_the_same_bytes() {
    let root = TempDir::new().expect("a temporary directory");
    let bin = root.path().join("scripts/dispatch/bin");
    fs::create_dir_all(&bin).expect("a free name");
    fs::write(bin.join("dispatchserver.sh"), HEADER).expect("a writable directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("legacy-scripts/add_dispatch_docker.sh");
    let run = Command::new("/bin/sh")
        .arg(script)
        .args(["model", "fast_lr", "lr"])
        .env("MONITOR_ROOT", root.path())
        .output();
    assert!(run.expect("sh is installed").status.success());
    let user = Command::new("id").arg("-un").output().expect("id is installed").stdout;
    let mut ours = read(HEADER.as_bytes(), &Surroundings::at(0, "UTC"));
    let names = (ModelName::parse(b"fast_lr").expect("a name"), PluginName::parse(b"lr").expect("a name"));
    ours.append_stanza(&names.0, &names.1, String::from_utf8_lossy(user.trim_ascii()).as_ref());
    assert_eq!(shown(&fs::read(bin.join("dispatchserver.sh")).expect("a file")), shown(ours.render()));
}
