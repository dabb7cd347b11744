//! Rows whose situation is a scenario of the golden tests.

use crate::golden::left_by;
use crate::harness::{Outcome, Side};

const SERVICE: &str = "monitor/rsync_service_data/datamining_service/mblog_yellow";
const UPLOAD: &str = "monitor/rsync_service_data/datamining_plugin/mblog_yellow";
const REGISTRY: &str = "monitor/scripts/dispatch/bin/dispatchserver.sh";

fn service_conf(left: &Outcome) -> String {
    left.tree.text(&format!("{SERVICE}/config_1/service.conf"))
}

fn announced(left: &Outcome) -> bool {
    left.tree.has(&format!("{UPLOAD}/success"))
}

/// What a run said, from a word on.
fn said_from(left: &Outcome, word: &str) -> String {
    let said = format!("{}{}", left.stdout, left.stderr);
    said.find(word).map_or_else(|| "said nothing".to_owned(), |at| said[at..].trim_end().to_owned())
}

pub fn a_key_between_blanks(side: Side) -> Option<String> {
    let left = left_by("dispatch::key_value_between_blanks_is_edited", side);
    let conf = service_conf(&left);
    let line = conf.lines().find(|line| line.starts_with("modulepath = ")).unwrap_or("no line");
    let edited = if line.contains("/20180413192258/") { "edited" } else { "as before" };
    let without = left_by("dispatch::a_service_conf_without_a_key_is_an_error", side);
    Some(format!("{edited}, exit {}; without the key: exit {}", left.status, without.status))
}

pub fn a_library_called_a_and_b(side: Side) -> Option<String> {
    let left = left_by("dispatch::a_library_name_with_a_special_sign_of_sed_is_refused", side);
    let conf = service_conf(&left);
    let line = conf.lines().find(|line| line.starts_with("modulepath=")).unwrap_or("no line");
    let library = line.split("/lib/").nth(1).unwrap_or(line);
    Some(format!("exit {}, service.conf names lib/{library}", left.status))
}

pub fn a_command_in_env_sh(side: Side) -> Option<String> {
    let left = left_by("push::env_sh_is_not_executed", side);
    let ran = if left.tree.has("deploy/executed") { "touch ran" } else { "touch did not run" };
    Some(format!("{ran}, exit {}, {}", left.status, said_from(&left, "env.sh:").split(';').next()?))
}

pub fn added_twice(side: Side) -> Option<String> {
    let left = left_by("add::a_second_add_makes_no_second_stanza", side);
    let stanzas = left.tree.text(REGISTRY).matches("\nmymodel=\"mblog_yellow\"\n").count();
    Some(format!("stanzas: {stanzas}; {}", said_from(&left, "registered already").split(" (").next()?))
}

pub fn a_push_without_data(side: Side) -> Option<String> {
    let left = left_by("push::a_push_without_data_is_not_announced", side);
    let success = if announced(&left) { "is uploaded" } else { "is not uploaded" };
    Some(format!("no data arrives: success {success}, exit {}", left.status))
}

pub fn twenty_minutes_over(side: Side) -> Option<String> {
    let left = left_by("dispatch::twenty_minutes_over_it_is_given_up_and_said", side);
    let gone = if announced(&left) { "kept" } else { "deleted" };
    Some(format!("{gone}, exit {}, {}", left.status, said_from(&left, "late: ").split(';').next()?))
}

pub fn a_file_of_the_same_size_and_second(side: Side) -> Option<String> {
    let left = left_by("push::a_file_of_the_same_size_and_second_is_sent", side);
    let arrived = left.tree.text(&format!("{UPLOAD}/data/feature.conf"));
    Some(format!(
        "\u{201c}feature 1\u{201d} pushed over \u{201c}feature 0\u{201d}: there is \u{201c}{}\u{201d}",
        arrived.trim()
    ))
}

pub fn a_tree_that_is_not_there(side: Side) -> Option<String> {
    let left = left_by("dispatch::a_monitor_tree_that_is_not_mounted_is_an_error", side);
    let said = if left.stderr.contains("mount it") { "says to mount it" } else { "said nothing" };
    Some(format!("exit {}, {said}", left.status))
}

pub fn a_file_that_the_monitor_cannot_take(side: Side) -> Option<String> {
    let left = left_by("push::a_data_file_that_the_monitor_cannot_take_stops_the_announcement", side);
    let says_23 = ["(code 23)", "(rsync exit 23, "].iter().any(|form| left.stderr.contains(form));
    let code = if says_23 { "rsync ends with 23" } else { "rsync does not end with 23" };
    let success = if announced(&left) { "is announced" } else { "is not announced" };
    Some(format!("{code}: the push {success}, exit {}", left.status))
}
