//! Golden tests: a script and its binary over copies of one tree, and what both leave behind compared: exit status, every
//! path's kind, mode, bytes and link target, the order of calls to the outside, the log's begin and end lines.
//!
//! Each scenario is first proved true of the script, under dash and under bash, and only then demanded of the binary, in
//! several locales. Where a binary differs on purpose the scenario says how both behave and which entry of
//! compat/differences.md lists it; a difference that closes turns the test red until the entry goes.
//!
//! `make golden LEGACY=DIR` prints a report of every scenario over a site's own scripts.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::harness::outcome::{differences, shown};
use crate::harness::parts::{are_there, legacy_scripts};
use crate::harness::{Outcome, Sandbox, Side, Tool, World};

mod add;
mod dispatch;
mod dockerrun;
mod poll;
mod push;
mod registry;

/// One scenario: files, a command, and how script and binary compare.
pub struct Scenario {
    /// What is run.
    pub tool: Tool,
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// Builds the world before.
    pub given: fn(&World),
    /// How the two compare.
    pub expected: Expected,
}

/// How script and binary compare.
pub enum Expected {
    /// Both leave the same behind, and this holds of it.
    Agree(fn(&Outcome)),
    /// They differ on purpose.
    Differ {
        /// The entry in compat/differences.md.
        entry: &'static str,
        /// What holds of the script.
        script: fn(&Outcome),
        /// What holds of the binary.
        binary: fn(&Outcome),
    },
}

/// Declares scenarios as tests, and lists them for the report.
macro_rules! scenarios {
    ($($name:ident: $scenario:expr;)*) => {
        $(
            #[test]
            fn $name() {
                $crate::golden::check(&$scenario);
            }
        )*

        /// The scenarios of this file.
        pub fn all() -> Vec<(&'static str, $crate::golden::Scenario)> {
            vec![$((stringify!($name), $scenario)),*]
        }
    };
}
pub(crate) use scenarios;

/// The programs that every scenario needs.
const NEEDED: [&str; 4] = ["rsync", "dash", "bash", "sed"];

/// Proves a scenario; ends the test as skipped where a real component is missing.
pub fn check(scenario: &Scenario) {
    if are_there(&NEEDED) {
        let outcomes = outcomes(scenario);
        if let Err(problem) = judge(scenario, &outcomes) {
            let runs: Vec<String> =
                outcomes.iter().map(|(side, o)| format!("{side}\n{}", shown(o))).collect();
            panic!("{problem}\n\n{}", runs.join("\n"));
        }
    }
}

/// What every side leaves behind, the reference first.
fn outcomes(scenario: &Scenario) -> Vec<(Side, Outcome)> {
    let sandbox = Sandbox::new();
    Side::ALL.into_iter().map(|side| (side, outcome_of(scenario, &sandbox, side))).collect()
}

/// What a side leaves behind.
fn outcome_of(scenario: &Scenario, sandbox: &Sandbox, side: Side) -> Outcome {
    let world = sandbox.world();
    (scenario.given)(&world);
    world.run(scenario.tool, side, scenario.arguments)
}

/// Whether the outcomes are as expected.
pub fn judge(scenario: &Scenario, outcomes: &[(Side, Outcome)]) -> Result<(), String> {
    let mut groups: [Vec<&(Side, Outcome)>; 2] = [Vec::new(), Vec::new()];
    for run in outcomes {
        groups[usize::from(matches!(run.0, Side::Binary(_)))].push(run);
    }
    let [scripts, binaries] = groups;
    let (_, script) = scripts[0];
    let (_, binary) = binaries[0];
    agree(&scripts)?;
    agree(&binaries)?;
    match &scenario.expected {
        Expected::Agree(holds) => {
            agree(&[scripts[0], binaries[0]])?;
            held("of the script", *holds, script)
        }
        Expected::Differ { entry, script: of_script, binary: of_binary } => {
            if differences(script, binary).is_empty() {
                return Err(format!("nothing differs any more: remove {entry} from compat/differences.md"));
            }
            held("of the script", *of_script, script)?;
            held("of the binary", *of_binary, binary)
        }
    }
}

fn agree(runs: &[&(Side, Outcome)]) -> Result<(), String> {
    let (reference, rest) = runs.split_first().expect("a run");
    for (side, outcome) in rest {
        let found = differences(&reference.1, outcome);
        if !found.is_empty() {
            return Err(format!("{side} differs from {}:\n  {}", reference.0, found.join("\n  ")));
        }
    }
    Ok(())
}

fn held(of: &str, expectation: fn(&Outcome), outcome: &Outcome) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| expectation(outcome))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        format!("what is expected does not hold {of}: {}", text.unwrap_or_default())
    })
}

/// What a side leaves behind in the scenario of a name (`dispatch::a_push_is_published`).
pub fn left_by(name: &str, side: Side) -> Outcome {
    let mut scenarios = every_scenario().into_iter();
    let (_, scenario) = scenarios.find(|(other, _)| other == name).expect("there is such a scenario");
    outcome_of(&scenario, &Sandbox::new(), side)
}

/// Every scenario, by its name.
pub fn every_scenario() -> Vec<(String, Scenario)> {
    let files = [
        ("add", add::all()),
        ("push", push::all()),
        ("dispatch", dispatch::all()),
        ("registry", registry::all()),
        ("poll", poll::all()),
        ("dockerrun", dockerrun::all()),
    ];
    let named = |(file, scenarios): (&str, Vec<(&str, Scenario)>)| {
        scenarios.into_iter().map(|(name, s)| (format!("{file}::{name}"), s)).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(named).collect()
}

/// The report of `make golden`: a line per scenario, over the scripts that `LEGACY` names.
#[test]
#[ignore = "make golden runs it"]
fn report() {
    assert!(are_there(&NEEDED), "a real component is missing");
    std::panic::set_hook(Box::new(|_| {}));
    println!("scripts: {}", legacy_scripts().display());
    let (mut counts, mut surprises) = ([0; 4], 0);
    for (name, scenario) in every_scenario() {
        let name = name.replace('_', " ");
        if !legacy_scripts().join(scenario.tool.script()).is_file() {
            println!("  no script  {name} ({} is not there)", scenario.tool.script());
            counts[3] += 1;
            continue;
        }
        let outcomes = outcomes(&scenario);
        let script = &outcomes[0].1;
        let binary = &outcomes.iter().find(|(side, _)| matches!(side, Side::Binary(_))).expect("a binary").1;
        let found = differences(script, binary);
        let as_expected = judge(&scenario, &outcomes);
        let listed = match &scenario.expected {
            Expected::Differ { entry, .. } => format!(" (listed: {entry})"),
            Expected::Agree(_) => String::new(),
        };
        let refused = !found.is_empty() && binary.status != 0 && !binary.stderr.is_empty();
        match (found.is_empty(), refused) {
            (true, _) => {
                counts[0] += 1;
                println!("  agrees     {name}");
            }
            (false, true) => {
                counts[2] += 1;
                println!("  refused    {name}{listed}\n             {}", binary.stderr.trim_end());
            }
            (false, false) => {
                counts[1] += 1;
                println!("  differs    {name}{listed}");
                found.iter().take(12).for_each(|line| println!("             {line}"));
            }
        }
        if let Err(problem) = as_expected {
            surprises += 1;
            println!("             NOT AS EXPECTED: {}", problem.replace('\n', "\n             "));
        }
    }
    let [agreed, differed, refused, without] = counts;
    println!(
        "{agreed} agree, {differed} differ, {refused} refused, {without} without a script; {surprises} not as expected"
    );
    assert_eq!(surprises, 0, "scenarios that are not as expected, see above");
}
