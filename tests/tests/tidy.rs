//! The house rules, as a test. An exception goes on a list here, with its reason.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `niyanta-core` may stand on: logging macros, and what those stand on. Nothing that waits,
/// tells the time, draws random numbers or talks to anything.
const CORE_MAY_DEPEND_ON: [&str; 4] = ["tracing", "tracing-core", "pin-project-lite", "once_cell"];

/// Code lines (blank lines, comments and tests at the end of a file not counted) a file may have.
const FILE_BUDGET: usize = 600;

/// (file, reason) of files above the budget.
const OVER_BUDGET: [(&str, &str); 1] = [(
    "runtime/src/store/records.rs",
    "one small reading of each kind of row, side by side, because all follow the same pattern",
)];

/// Text that may stand nowhere in our sources, and why.
const NOWHERE: [(&str, &str); 4] = [
    (concat!("dbg", "!("), "left over from debugging"),
    (concat!("todo", "!("), "unfinished"),
    (concat!("FIX", "ME"), "fix it, or write an issue"),
    (
        concat!("#[ign", "ore"),
        "a test that does not run shows nothing",
    ),
];

/// Text that may not stand in `core`, and why.
const NOT_IN_CORE: [(&str, &str); 8] = [
    ("std::", "core is no_std"),
    ("extern crate std", "core is no_std"),
    ("Instant::now", "time enters as an argument"),
    ("SystemTime", "wall-clock time enters as event data"),
    ("HashMap", "its order differs from run to run"),
    ("HashSet", "its order differs from run to run"),
    ("async fn", "deciding is synchronous"),
    ("unsafe ", "nothing here needs it"),
];

#[test]
fn core_depends_on_nothing_that_waits_draws_or_talks() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            "niyanta-core",
            "-e",
            "normal,build",
            "--target",
            "all",
        ])
        .args(["--all-features", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(
        names.contains(&"niyanta-core"),
        "cargo tree says something else: {tree}"
    );
    for name in names.into_iter().filter(|&name| name != "niyanta-core") {
        assert!(
            CORE_MAY_DEPEND_ON.contains(&name),
            "niyanta-core depends on {name}:\n{tree}"
        );
    }
}

#[test]
fn core_is_no_std_without_unsafe_code() {
    let lib = code(&root().join("core/src/lib.rs"));
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        assert!(lib.contains(attribute), "core/src/lib.rs lacks {attribute}");
    }
}

#[test]
fn core_names_no_clock_no_random_order_and_no_std() {
    for (path, text) in sources("core/src") {
        let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
        for (wrong, reason) in NOT_IN_CORE.into_iter().filter(|_| !is_test) {
            deny(&path, without_tests(&text), wrong, reason);
        }
    }
}

#[test]
fn only_the_adapters_know_sqlx_and_async_nats() {
    for (path, text) in sources("runtime/src") {
        let path = path.strip_prefix("runtime/src/").unwrap().to_owned();
        if !path.starts_with("store") {
            deny(
                &path,
                &text,
                "sqlx",
                "only runtime/src/store* knows the database's client",
            );
        }
        if !path.starts_with("broker") {
            deny(
                &path,
                &text,
                "async_nats",
                "only runtime/src/broker* knows the broker's client",
            );
        }
    }
}

#[test]
fn every_select_states_its_order() {
    for (path, text) in sources("runtime/src") {
        for (at, _) in text.match_indices(concat!("select", "!")) {
            let body = text[at..].split_once('{').map_or("", |(_, body)| body);
            let line = text[..at].lines().count();
            assert!(
                body.trim_start().starts_with("biased;"),
                "{path}:{line}: say `biased;`"
            );
        }
    }
}

#[test]
fn nothing_unfinished_is_left_lying_about() {
    for folder in ["core", "runtime", "sim", "tests", "fuzz"] {
        for (path, text) in sources(folder) {
            for (wrong, reason) in NOWHERE {
                deny(&path, &text, wrong, reason);
            }
        }
    }
}

#[test]
fn files_stay_within_their_budget() {
    let mut long = Vec::new();
    for folder in ["core", "runtime", "sim", "tests"] {
        for (path, text) in sources(folder) {
            let lines = without_tests(&text)
                .lines()
                .filter(|line| !line.trim().is_empty())
                .count();
            if lines > FILE_BUDGET && !OVER_BUDGET.iter().any(|(listed, _)| *listed == path) {
                long.push(format!("{path}: {lines} lines of code"));
            }
        }
    }
    assert!(
        long.is_empty(),
        "split by responsibility (at most {FILE_BUDGET}): {long:#?}"
    );
}

#[test]
fn every_module_says_what_it_owns() {
    let mut silent = Vec::new();
    for folder in ["core/src", "runtime/src", "sim/src", "tests"] {
        for path in files(&root().join(folder), "rs") {
            // The names of unit tests say what they are about.
            let path_text = relative(&path);
            if path_text.ends_with("/tests.rs")
                || path_text.contains("src/") && path_text.contains("/tests/")
            {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let first = text
                .lines()
                .find(|line| !line.starts_with("#!") && !line.is_empty());
            if !first.is_some_and(|line| line.starts_with("//!")) {
                silent.push(path_text);
            }
        }
    }
    assert!(silent.is_empty(), "open with a `//!` header: {silent:#?}");
}

#[test]
fn every_migration_says_why() {
    let migrations = files(&root().join("migrations"), "sql");
    assert!(!migrations.is_empty(), "there are no migrations");
    for path in migrations {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("-- "),
            "{}: open with a comment",
            relative(&path)
        );
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (number, verb) = name.split_once('_').unwrap_or((name, ""));
        let numbered = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        assert!(
            numbered && !verb.is_empty(),
            "{}: NNNN_verb_noun.sql",
            relative(&path)
        );
    }
}

#[test]
fn the_readmes_scripts_exist() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut found = 0;
    for word in readme.split(|c: char| c.is_whitespace() || "`()\"'".contains(c)) {
        let script = word.trim_start_matches("./");
        if script.starts_with("scripts/") {
            assert!(
                root().join(script).is_file(),
                "README.md names {script}, which is not there"
            );
            found += 1;
        }
    }
    assert!(found > 0, "README.md names the test command scripts/test");
    let ci = fs::read_to_string(root().join(".ci/run")).unwrap();
    assert!(
        ci.contains("scripts/test"),
        ".ci/run runs the README's test command"
    );
}

#[test]
fn no_version_is_pinned_outside_of_the_root() {
    let packages = ["core", "runtime", "sim", "tests"];
    let simulators = [
        "sim/exhaustive",
        "sim/probes",
        "sim/planted/core",
        "sim/planted/runtime",
        "tests/chaos",
    ];
    for package in packages.into_iter().chain(simulators) {
        let path = format!("{package}/Cargo.toml");
        let manifest = fs::read_to_string(root().join(&path)).unwrap();
        let mut in_dependencies = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            } else if in_dependencies && line.contains('=') && !line.trim().starts_with('#') {
                let inherits = line.contains("workspace") || line.contains("path = \"");
                assert!(
                    inherits,
                    "{path}: {line}: versions live in the root Cargo.toml"
                );
            }
        }
    }
}

fn deny(path: &str, text: &str, wrong: &str, reason: &str) {
    if let Some(at) = text.find(wrong) {
        let line = text[..at].lines().count().max(1);
        panic!("{path}:{line}: `{wrong}`: {reason}");
    }
}

/// Every Rust source below a folder, its comments blanked out, with its path from the root.
fn sources(folder: &str) -> Vec<(String, String)> {
    let found: Vec<(String, String)> = files(&root().join(folder), "rs")
        .into_iter()
        .map(|path| (relative(&path), code(&path)))
        .collect();
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// A source up to its test module, which stands last.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests")
        .next()
        .unwrap_or_default()
}

/// A source without its line comments, its lines where they were.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            }
        })
        .map(|line| format!("{line}\n"))
        .collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
