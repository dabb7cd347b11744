//! Killed everywhere: a run that is killed before any of its calls leaves nothing half done that anybody could see, and the
//! next runs end where a run ends that nobody disturbed.

use crate::crash::cases::{self, Case};
use crate::crash::trial::{Bench, Disturbance};
use crate::crash::{Extent, check, count, need_tracing, tell};

/// Kills a case at its places; returns what was wrong.
pub fn killed_everywhere(case: &Case, extent: Extent) -> Vec<String> {
    let begun = std::time::Instant::now();
    let bench = Bench::new(case);
    let points = extent.of(bench.reference.points.clone());
    let rsync_points: Vec<_> = bench
        .reference
        .rsync_points
        .iter()
        .enumerate()
        .flat_map(|(call, points)| points.iter().map(move |point| (call, point.clone())))
        .collect();
    let all = (bench.reference.points.len(), rsync_points.len());
    let rsync_points = extent.of(rsync_points);
    let disturbances = points
        .iter()
        .map(Disturbance::Kill)
        .chain(rsync_points.iter().map(|(call, point)| Disturbance::KillWithRsync(*call, point)));
    let (mut problems, mut not_reached) = (Vec::new(), 0);
    for disturbance in disturbances {
        let trial = bench.disturb(disturbance);
        let own = matches!(disturbance, Disturbance::Kill(_));
        if !trial.reached {
            not_reached += usize::from(!own);
            if own || trial.ended != 0 {
                problems.push(format!("{disturbance}\n  it ended with {}: {}", trial.ended, trial.stderr));
            }
        }
        problems.extend(trial.problems.into_iter().map(|problem| format!("{disturbance}\n  {problem}")));
    }
    tell(
        extent,
        &format!(
            "killed: {}: at {} of {} calls of its own, at {} of {} of its rsync ({not_reached} were not reached again), {} s",
            case.name,
            points.len(),
            all.0,
            rsync_points.len(),
            all.1,
            begun.elapsed().as_secs()
        ),
    );
    count(extent, "points killed", points.len() + rsync_points.len(), problems.len());
    problems
}

#[test]
fn a_run_that_is_killed_shows_nothing_half_done_and_the_next_one_finishes_it() {
    need_tracing!();
    let cases: Vec<Case> = cases::all().filter(|case| case.rsyncs == 0).collect();
    check(&cases, |case| killed_everywhere(case, Extent::Sample(19)));
}

#[test]
fn a_run_that_is_killed_with_its_rsync_shows_nothing_half_done_and_the_next_one_finishes_it() {
    need_tracing!();
    let cases: Vec<Case> = cases::all().filter(|case| case.rsyncs > 0).collect();
    check(&cases, |case| killed_everywhere(case, Extent::Sample(149)));
}

macro_rules! at_every_call {
    ($($name:ident: $index:literal;)*) => {
        $(
            #[test]
            #[ignore = "make crash runs it"]
            fn $name() {
                need_tracing!();
                check(cases::ALL[$index], |case| killed_everywhere(case, Extent::All));
            }
        )*
    };
}

at_every_call! {
    dispatch_is_killed_at_every_call: 0;
    dispatch_all_is_killed_at_every_call: 1;
    rsync_push_is_killed_at_every_call: 2;
    add_dispatch_docker_is_killed_at_every_call: 3;
    service_polling_is_killed_at_every_call: 4;
    autoupdate_toggle_is_killed_at_every_call: 5;
}
