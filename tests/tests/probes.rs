//! No planted bug and no mark can reach the binary that does the work: shown by what depends on
//! what, and by the bytes of the binary.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sim_probes::{Bug, Mark};
use tests::niyanta_binary;

/// The only packages that may stand on the switches.
const MAY_DEPEND_ON_PROBES: [&str; 5] = [
    "niyanta-core-planted",
    "runtime-planted",
    "sim",
    "sim-exhaustive",
    "sim-fuzz",
];

#[test]
fn no_production_package_depends_on_the_switches() {
    for package in ["niyanta-core", "runtime"] {
        let packages = tree(&["-p", package, "--all-features"]);
        assert!(packages.contains(package), "{packages:?}");
        let stray = packages.iter().find(|name| is_of_the_simulator(name));
        assert_eq!(stray, None, "{package} depends on it");
    }
}

#[test]
fn a_build_of_the_whole_workspace_brings_the_switches_to_nobody_else() {
    let dependents = tree(&["--workspace", "--all-features", "--invert", "sim-probes"]);
    let expected = MAY_DEPEND_ON_PROBES.into_iter().chain(["sim-probes"]);
    let expected: BTreeSet<String> = expected.map(str::to_owned).collect();
    assert_eq!(dependents, expected);
}

#[test]
fn the_binary_has_no_bug_and_no_mark_in_it() {
    let words = words_of_the_probes();
    let binary = fs::read(niyanta_binary()).unwrap();
    let found = found_in(&binary, &words);
    assert!(found.is_empty(), "in the production binary: {found:?}");

    // The same search finds every one of them where they are compiled in: in this very program.
    let bugs = Bug::ALL.iter().map(|bug| bug.name());
    let compiled_in: BTreeSet<&str> = bugs.chain(Mark::ALL.iter().map(|m| m.name())).collect();
    let planted = fs::read(env::current_exe().unwrap()).unwrap();
    let there = found_in(&planted, &words);
    let is_missing =
        |word: &&String| !there.contains(*word) || !compiled_in.contains(word.as_str());
    let missing: Vec<&String> = words.iter().filter(is_missing).collect();
    assert!(
        missing.is_empty(),
        "not in a program that has them: {missing:?}"
    );
}

fn is_of_the_simulator(package: &str) -> bool {
    package == "sim-probes" || MAY_DEPEND_ON_PROBES.contains(&package)
}

/// The packages that `cargo tree` names, without what only tests need.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-e", "normal,build", "--target", "all"])
        .args(["--prefix", "none", "--format", "{p}"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// The names of bugs and marks, as their tables list them.
fn words_of_the_probes() -> Vec<String> {
    let sources = ["sim/probes/src/bug/table.rs", "sim/probes/src/mark.rs"];
    let mut words = Vec::new();
    for source in sources {
        let text = fs::read_to_string(root().join(source)).unwrap();
        let rows = text
            .lines()
            .filter_map(|line| line.trim_end().split_once(" = "));
        let rows = rows.filter(|(name, rest)| name.starts_with("    ") && rest.ends_with(';'));
        let names = rows.map(|(name, _)| name.trim());
        // What is left are the tables' own constants, which have words before their name.
        let names = names.filter(|name| name.chars().all(char::is_alphanumeric));
        words.extend(names.map(str::to_owned));
    }
    assert!(words.iter().all(|word| word.len() > 6), "{words:?}");
    assert!(words.len() > 64, "the tables look different: {words:?}");
    words
}

/// Which of the words stand in the bytes: one pass, because there are more than a hundred megabytes.
fn found_in(bytes: &[u8], words: &[String]) -> BTreeSet<String> {
    let mut by_start: Vec<Vec<&String>> = vec![Vec::new(); 1 << 16];
    let start = |word: &[u8]| usize::from(u16::from_be_bytes([word[0], word[1]]));
    for word in words {
        by_start[start(word.as_bytes())].push(word);
    }
    let mut found = BTreeSet::new();
    for (place, pair) in bytes.windows(2).enumerate() {
        for word in &by_start[start(pair)] {
            if bytes[place..].starts_with(word.as_bytes()) {
                found.insert((*word).clone());
            }
        }
    }
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
