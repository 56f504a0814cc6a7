//! What the machine does, as text that people can read: `testdata/*.txt`, steps in, events and
//! effects out.
//!
//! `UPDATE_SCENARIOS=1 cargo test -p niyanta-core --test scenarios` writes what came of the steps
//! into the files, so that a change of behaviour is reviewed as a diff. The world checks the
//! invariants of core after every event, and that nothing is told before it is in the store.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod rig;
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::PathBuf,
};

macro_rules! scenarios {
    ($($name:ident,)+) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })+

        const NAMES: &[&str] = &[$(stringify!($name),)+];
    };
}

scenarios! {
    a_generation_above,
    a_take_in_doubt,
    a_take_refused,
    cancel_before_the_hand_over,
    cancel_overtakes_a_pause,
    cancel_race,
    completion_beats_a_pause,
    continued_work_is_adopted,
    deaf_leader,
    deregister,
    drain_and_undrain,
    drain_with_a_deadline,
    election,
    fenced,
    fenced_without_ha,
    folded_batch,
    found_1_fast_clock,
    found_2_reason_before_its_row,
    found_3_registration_put_off,
    found_10_removed_wanted_and_registered,
    found_5_repeated_goodbye,
    found_6_registration_without_room,
    found_7_registration_replaced,
    found_8_continued_work_of_a_removed_worker,
    found_9_removed_and_wanted_again,
    grace_of_a_new_leader,
    listed_means_started,
    listening_interrupted,
    loss_limit,
    lost_worker,
    main_job,
    on_lease_loss_continue,
    priority,
    quarantine,
    reasons_for_waiting,
    rebuild_under_a_new_generation,
    refused_assignment,
    refused_content,
    remove_worker,
    renewal_refused,
    renewals_unanswered,
    resignation_heard,
    resume_during_a_pause,
    retries,
    run_after,
    second_process,
    self_drain,
    shutdown,
    snapshot_fails,
    stale_load,
    takeover,
    the_next_leader_goes_on,
    timeout,
    unconfirmed_assignment,
    unknown_commits,
    wishes,
}

fn check(name: &str) {
    let path = testdata().join(format!("{name}.txt"));
    let before = fs::read_to_string(&path).unwrap();
    let after = match script::play(&before) {
        Ok(after) => after,
        Err(what) => panic!("{}: {what}", path.display()),
    };
    if before != after && env::var_os("UPDATE_SCENARIOS").is_some() {
        fs::write(&path, after).unwrap();
        return;
    }
    let same = before
        .lines()
        .zip(after.lines())
        .take_while(|(b, a)| b == a);
    let at = same.count();
    let show = |text: &str| {
        text.lines()
            .skip(at)
            .take(10)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(
        before == after,
        "{}:{}: expected\n{}\nand got\n{}",
        path.display(),
        at + 1,
        show(&before),
        show(&after)
    );
}

fn testdata() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testdata")
}

#[test]
fn every_file_is_played() {
    let files = fs::read_dir(testdata()).unwrap();
    let files: BTreeSet<String> = files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names = NAMES.iter().map(|name| format!("{name}.txt"));
    assert_eq!(files, names.collect());
}

#[test]
fn every_kind_of_event_and_effect_is_shown() {
    let mut shown: BTreeMap<bool, BTreeSet<String>> = BTreeMap::new();
    for name in NAMES {
        let text = fs::read_to_string(testdata().join(format!("{name}.txt"))).unwrap();
        let text = script::play(&text).unwrap();
        for line in text.lines().filter(|line| line.starts_with("  ")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [lead, kind, ..] = words[..] {
                let is_effect = lead == "->";
                shown.entry(is_effect).or_default().insert(kind.to_owned());
            }
        }
    }
    let mut missing = Vec::new();
    for (is_effect, source) in [
        (false, include_str!("../src/event.rs")),
        (true, include_str!("../src/effect.rs")),
    ] {
        let kinds = kinds(source);
        assert!(
            kinds.len() >= 19,
            "the names are read from `kind`: {kinds:?}"
        );
        let shown = &shown[&is_effect];
        missing.extend(kinds.into_iter().filter(|kind| !shown.contains(*kind)));
    }
    assert!(missing.is_empty(), "no scenario shows {missing:?}");
}

/// The names that `kind` gives to the variants, as the source has them.
fn kinds(source: &str) -> Vec<&str> {
    let arms = source
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("Self::"));
    arms.filter_map(|arm| arm.split_once("=> \"")?.1.split_once('"'))
        .map(|(kind, _)| kind)
        .collect()
}
