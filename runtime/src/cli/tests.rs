#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;

use clap::CommandFactory;

use super::*;
use crate::config::KEYS;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_is_there_and_says_what_it_does() {
    let command = Cli::command();
    let names: BTreeSet<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    for name in [
        "dev",
        "serve",
        "worker",
        "migrate",
        "submit",
        "get",
        "list",
        "cancel",
        "pause",
        "resume",
        "logs",
        "audit",
        "watch",
        "workers",
        "drain",
        "undrain",
        "coordinators",
        "customers",
        "keys",
        "bench",
    ] {
        assert!(names.contains(name), "{name}");
    }
    for sub in command.get_subcommands() {
        assert!(sub.get_about().is_some(), "{}", sub.get_name());
    }
}

#[test]
fn each_configuration_key_has_its_flag_where_it_is_used() {
    for command in ["dev", "serve", "migrate"] {
        for key in &KEYS {
            let flag = key.flag();
            let line = format!("niyanta {command} --config x.yaml --{flag} 1");
            assert!(parse(&line).is_ok(), "{line}");
        }
    }
    assert!(parse("niyanta serve --enable-ha --server-port 0").is_ok());
    assert!(parse("niyanta dev --data-dir x").is_ok());
}

#[test]
fn connection_flags_stand_before_or_after_the_command() {
    for line in [
        "niyanta --server http://h:1 --api-key k --output json get wl_1",
        "niyanta get wl_1 --server http://h:1 --api-key k --output json",
        "niyanta workers --server http://h:1 --api-key k",
        "niyanta workers remove w1 --api-key k",
        "niyanta submit sleep --customer cus_1 --api-key k --wait",
        "niyanta keys create --customer cus_1 --name ci --api-key k",
        "niyanta keys create --admin",
        "niyanta customers set-limits cus_1 --max-queue-depth default",
        "niyanta worker --nats-url nats://h:1 --id w --capacity 2 --type exec --tag a=b \
         --state-dir /x",
        "niyanta guard --anything -x -- y",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn wrong_usage_is_found_before_anything_is_sent() {
    for line in [
        "niyanta",
        "niyanta submit",
        "niyanta submit Upper",
        "niyanta submit sleep --priority 1001",
        "niyanta submit sleep --label nonsense",
        "niyanta submit sleep --run-after tomorrow",
        "niyanta list --status DONE",
        "niyanta list --limit 101",
        "niyanta keys create --name x",
        "niyanta keys create --customer c",
        "niyanta keys create --customer c --admin --name x",
        "niyanta worker --nats-url embedded",
        "niyanta worker --nats-url nats://h --capacity 0",
        "niyanta worker --nats-url nats://h --id a/b",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

/// The examples in a command's help, each as the words that a shell would hand over.
fn examples(command: &clap::Command) -> Vec<Vec<String>> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    let lines = lines.filter_map(|line| line.rfind("niyanta ").map(|at| &line[at..]));
    lines.map(words).collect()
}

/// Up to a pipe, a redirection, a closing parenthesis or a remark.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut blanks) = (false, 0);
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                blanks += 1;
                if blanks > 1 {
                    break;
                }
                words.push(String::new());
                continue;
            }
            '|' | '>' | ')' if !quoted => break,
            other => words.last_mut().unwrap().push(other),
        }
        blanks = 0;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_teaches_by_examples_that_are_understood() {
    fn walk(command: &clap::Command, path: &str, of_parent: &[Vec<String>]) {
        let own = examples(command);
        for example in &own {
            Cli::try_parse_from(example).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        let wanted: Vec<&str> = path.split(' ').collect();
        let shown = |all: &[Vec<String>]| {
            all.iter().any(|example| {
                example
                    .iter()
                    .zip(&wanted)
                    .filter(|(is, wanted)| is == *wanted)
                    .count()
                    == wanted.len()
            })
        };
        let is_leaf = !command.has_subcommands();
        assert!(
            !is_leaf || shown(&own) || shown(of_parent),
            "{path} has no example"
        );
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            walk(sub, &format!("{path} {}", sub.get_name()), &own);
        }
    }
    walk(&Cli::command(), "niyanta", &[]);
}
