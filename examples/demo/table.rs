//! The table: what a member has on disk, and what its process really serves.

use std::fs;

use model_rollout::formats::service_conf;

use crate::ask::{self, Answer};
use crate::fleet::{Fleet, MODEL, Member};
use crate::timeline::say;
use crate::{Problem, Result, processes};

/// What every member must show.
pub struct Expected<'a> {
    /// The version that was pushed.
    pub version: &'a str,
    /// What the code must say.
    pub release: &'a str,
    /// What code and data must make of the number 10.
    pub score: &'a str,
}

/// Prints the table. Fails when a member shows something else than it must.
pub fn show(fleet: &Fleet, expected: &Expected) -> Result<()> {
    say("");
    row(["member", "on disk", "serves", "its code", "score(10)", ""]);
    let mut wrong = 0;
    for member in &fleet.members {
        processes::go_on()?;
        let disk = version_on_disk(member).unwrap_or_else(|what| what);
        let answer = ask::version(fleet.service_of(member), ask::LIMIT).unwrap_or_else(|error| {
            say(format_args!("  {error}"));
            Answer { version: "no answer".to_owned(), release: "-".to_owned(), score: "-".to_owned() }
        });
        let must = Answer {
            version: expected.version.to_owned(),
            release: expected.release.to_owned(),
            score: expected.score.to_owned(),
        };
        let is_right = disk == expected.version && answer == must;
        wrong += usize::from(!is_right);
        let verdict = if is_right { "ok" } else { "WRONG" };
        let address = member.address.to_string();
        row([&address, &disk, &answer.version, &answer.release, &answer.score, verdict]);
    }
    match wrong {
        0 => Ok(()),
        _ => Err(Problem::Failed(format!(
            "{wrong} of {} members do not serve {} ({}, score {})",
            fleet.members.len(),
            expected.version,
            expected.release,
            expected.score
        ))),
    }
}

fn row(cells: [&str; 6]) {
    let [member, disk, serves, code, score, verdict] = cells;
    let line = format!("  {member:<12} {disk:<16} {serves:<16} {code:<10} {score:<10} {verdict}");
    say(line.trim_end());
}

/// The version that the installed service.conf names, if its library is there.
fn version_on_disk(member: &Member) -> std::result::Result<String, String> {
    let conf = fs::read(member.trees.service_conf()).map_err(|_| "no service.conf")?;
    let version = service_conf::value(&conf, "moduleversion").ok_or("no version")?;
    let version = String::from_utf8_lossy(version).into_owned();
    let library = member.trees.workspace.join(format!("plugin/{MODEL}/{version}/lib/{MODEL}.so"));
    if library.is_file() { Ok(version) } else { Err("no library".to_owned()) }
}
