//! Every seed that ever failed, with what it showed. A seed draws the same run for as long as the
//! drawing stays as it is.

use crate::simulate::check_seed;

macro_rules! found {
    ($($name:ident: $seeds:expr;)*) => {
        $(#[test]
        fn $name() {
            for seed in $seeds {
                check_seed(seed);
            }
        })*
    };
}

found! {
    // Its own `status` passed for a script's, and the next ten minutes were waited for it.
    a_publication_that_is_given_up_takes_its_status_along: [76, 97, 158, 280];
    // Nothing wrote it again until the next event.
    an_announcement_that_was_damaged_or_removed_is_written_again: [1, 4, 5, 16];
    // Done, and those that were held were never admitted.
    a_rollout_that_a_script_ended_trails_while_members_are_held: [842];
    // `Refused` was saved by a run that could not take its lock again.
    nothing_is_saved_after_the_lock_is_lost: [4236, 4334];
    // The daemon was asked once, and a report that names the announcement never came.
    a_monitor_that_could_not_ask_its_daemon_asks_it_again: [1283];
    // One member had rolled back, and a rollout that trails has no deadline.
    a_rollout_that_trails_ends_when_nobody_is_left: [1386];
    // It hid the version that a hand had written, for as long as a pin blocked the push.
    the_status_of_a_dead_script_is_removed_also_where_a_pin_blocks: [1524, 1667, 3294, 10328, 10793];
    // Each had looked before the other spoke: it was announced twice.
    two_rollbacks_at_once_announce_once: [12236];
    // `--rollback --to` announced what was placed, and the publication announced it again, past its
    // stop.
    a_version_that_is_announced_before_its_publication_ended_is_not_announced_twice: [21068];
    // After a restored backup two facts had one id, and the second was never told.
    each_fact_has_an_id_of_its_own_after_a_restored_backup: [20024, 20189, 20392, 20396, 21436];
    // What was left in plugin/ was named by hand, and an upload of other bytes was taken for it:
    // never published.
    a_push_is_not_taken_for_a_version_that_a_hand_names: [115929];
    // It had failed there with the same attempt before, and was neither tried again nor reported.
    a_version_that_is_announced_again_is_tried_again: [100935, 120008, 125712];
    // A poll died before it reported; and after --adopt a member took an attempt for one that had
    // failed before the backup.
    what_failed_before_a_backup_is_tried_again: [303955];
    // Another run took note of a script's publication while its files were read: it was announced
    // twice.
    a_script_s_publication_is_announced_once: [1001096];
    // The lock was given back while old versions were deleted: a rollback chose one of them.
    a_rollback_does_not_choose_what_is_being_deleted: [2016937];
    // The simulator's own: a restored tree forgets who was admitted; clocks that go back; lost
    // reports of scripts.
    what_was_the_simulators_mistake: [7, 20, 106, 127, 668, 1331, 1544, 3106, 10889, 12510, 13400, 102194, 118752, 123940, 128474, 400932, 412936, 414510];
}
