//! `--metrics FILE`: a status as Prometheus reads it, for node_exporter's textfile collector (docs/fleet.md).
//!
//! Every series has the label `model`, so that files of single models may lie beside each other. No label holds what a member says
//! freely: the number of series is bounded by the models, their members and the verdicts.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::layout;
use crate::machine::files;
use crate::machine::locks::{Lock, Wait};
use crate::rollout::verdict::Verdict;
use crate::time::Seconds;
use crate::tools::dispatch::status::decide::{ModelStatus, STANDINGS};

/// The collector runs as another user, whatever umask this run has.
const MODE: u32 = 0o644;

/// How long another run is waited for that writes the same file: that takes milliseconds.
const LOCK_WAIT: Wait = Wait::AtMost(Duration::from_secs(2));

/// Writes the file; the collector sees either the old one or all of the new one. Fails, and leaves the old one, where it cannot be
/// written. Two runs that write it at once take turns: the temporary file is one for both.
pub fn write(file: &Path, models: &[ModelStatus], now: Seconds) -> Result<()> {
    let _lock = Lock::take(&layout::lock_of(file), LOCK_WAIT)?;
    files::replace_with_mode(file, render(models, now).as_bytes(), MODE)
}

/// The text of the exposition format, version 0.0.4.
fn render(models: &[ModelStatus], now: Seconds) -> String {
    let mut families = Families::default();
    for model in models {
        add(model, now, &mut families);
    }
    families.text()
}

fn add(model: &ModelStatus, now: Seconds, families: &mut Families) {
    let of = &[("model", model.model.as_str())];
    let is_known = model.problem.is_none();
    let gauge = &mut |name, help, labels: &[(&str, &str)], value: i64| {
        families.add(name, help, &[of, labels].concat(), value);
    };
    let text = "Unix time at which this was looked at last; an old one means that the rest is old, too.";
    gauge("status_timestamp_seconds", text, &[], now.0);
    let text = "Whether the status of the model could be had; if not, nothing else is said of it but that it has not converged.";
    gauge("status_success", text, &[], i64::from(is_known));
    let text = "Whether every member that is not held serves the announced version, and nothing was pushed that is not announced yet.";
    gauge("converged", text, &[], i64::from(model.converged));
    if !is_known {
        return;
    }
    if let Some(version) = &model.announced_version {
        gauge("version_info", "The version that is announced; always 1.", &[("version", version)], 1);
    }
    let text = "Whether something was pushed that is not announced yet.";
    gauge("push_pending", text, &[], i64::from(model.pending_version.is_some()));
    // The instant and no age, which would stand still while nobody looks. Of no upgrade there is none: 0 would be one of 1970.
    if let Some(since_s) = model.in_flight_since_unix_s {
        let text = "Unix time at which the upgrade in flight began; absent where there is none.";
        gauge("in_flight_start_timestamp_seconds", text, &[], since_s);
    }
    let standing = model.rollout.as_ref().map(|rollout| rollout.standing);
    for known in STANDINGS {
        let text = "Whether the rollout of the announced version is paused, stopped, timed out, aborted, or resumed after that; trailing: held members follow.";
        gauge("standing", text, &[("standing", known)], i64::from(standing == Some(known)));
    }
    let text = "Whether a version is pinned: pushes wait.";
    gauge("pinned", text, &[], i64::from(model.pinned.is_some()));
    gauge("bad_versions", "Versions that are marked bad.", &[], count(model.bad_versions.len()));
    let text = "Members that may take the announced version.";
    gauge("members_let_in", text, &[], count(model.members_let_in));
    // All of them, also with nobody: a series that comes and goes is hard to alert on.
    for verdict in Verdict::ALL.map(Verdict::words) {
        let members = model.members.iter().filter(|member| member.verdict == verdict).count();
        gauge("members", "Members by their verdict.", &[("verdict", verdict)], count(members));
    }
    for member in &model.members {
        let labels = [("member", member.member.as_str()), ("verdict", member.verdict)];
        gauge("member_verdict", "The verdict on each member; always 1.", &labels, 1);
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The families of metrics, in the order in which they were first named: all samples of one stand together.
#[derive(Default)]
struct Families(Vec<Family>);

struct Family {
    name: &'static str,
    help: &'static str,
    samples: String,
}

impl Families {
    fn add(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: i64) {
        let place = self.0.iter().position(|family| family.name == name).unwrap_or(self.0.len());
        if place == self.0.len() {
            self.0.push(Family { name, help, samples: String::new() });
        }
        let Some(family) = self.0.get_mut(place) else { return };
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let _ = writeln!(family.samples, "model_rollout_{name}{{{}}} {value}", labels.join(","));
    }

    fn text(&self) -> String {
        let family = |Family { name, help, samples }: &Family| {
            format!("# HELP model_rollout_{name} {help}\n# TYPE model_rollout_{name} gauge\n{samples}")
        };
        self.0.iter().map(family).collect()
    }
}

/// A label's value between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ModelName;
    use crate::tools::dispatch::status::decide::unknown;

    #[test]
    fn a_label_may_hold_anything() {
        assert_eq!(escaped("a\\b\"c\nd, {e}"), "a\\\\b\\\"c\\nd, {e}");
    }

    #[test]
    fn a_family_stands_together_with_its_help_and_its_type() {
        let model = |name: &[u8]| unknown(&ModelName::parse(name).unwrap(), "no list");
        let text = render(&[model(b"m"), model(b"n")], Seconds(1_523_619_605));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("# HELP")).collect();
        let expected = [
            "# TYPE model_rollout_status_timestamp_seconds gauge",
            "model_rollout_status_timestamp_seconds{model=\"m\"} 1523619605",
            "model_rollout_status_timestamp_seconds{model=\"n\"} 1523619605",
            "# TYPE model_rollout_status_success gauge",
            "model_rollout_status_success{model=\"m\"} 0",
            "model_rollout_status_success{model=\"n\"} 0",
            "# TYPE model_rollout_converged gauge",
            "model_rollout_converged{model=\"m\"} 0",
            "model_rollout_converged{model=\"n\"} 0",
        ];
        assert_eq!(lines, expected);
        assert!(text.ends_with('\n') && text.matches("# HELP ").count() == 3, "{text}");
    }

    const MANUAL: &str = include_str!("../../../../docs/fleet.md");

    /// The manual's table of verdicts: each with what counts as failed.
    fn verdicts() -> Vec<(&'static str, &'static str)> {
        let table = MANUAL.split("## Verdicts").nth(1).unwrap().split("\n\n").nth(1).unwrap();
        let rows = table.lines().skip(2).map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        rows.map(|row| (row[1], row[4])).collect()
    }

    #[test]
    fn the_manuals_alert_is_about_the_members_that_count_as_failed() {
        let alert = MANUAL.lines().find(|line| line.contains("member_verdict{verdict=~")).unwrap();
        let mut named: Vec<&str> = alert.split('"').nth(1).unwrap().split('|').collect();
        let counting = |(verdict, counts)| (counts == "yes").then_some(verdict);
        let mut failed: Vec<&str> = verdicts().into_iter().filter_map(counting).collect();
        named.sort_unstable();
        failed.sort_unstable();
        assert_eq!(named, failed);
        assert_eq!(failed.len(), 4);
    }

    /// One that is in neither would be counted nowhere.
    #[test]
    fn every_verdict_of_the_manual_is_counted() {
        let words: Vec<&str> = verdicts().into_iter().map(|(verdict, _)| verdict).collect();
        let mut counted = Verdict::ALL.map(Verdict::words);
        let mut listed = words.clone();
        counted.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, counted);
    }
}
