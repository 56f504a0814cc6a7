//! The page of the configuration keys is made from their table.

use super::{KEYS, Key};
use std::fmt::Write as _;

fn table() -> String {
    let mut table =
        "| key | environment | flag | default | allowed | for |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for key in &KEYS {
        let Key {
            name,
            env,
            allowed,
            doc,
            ..
        } = key;
        let (flag, default) = (key.flag(), key.default_text());
        writeln!(
            table,
            "| `{name}` | `{env}` | `--{flag}` | {default} | {allowed} | {doc} |"
        )
        .unwrap();
    }
    table
}

#[test]
fn the_page_of_the_configuration_is_the_table_of_keys() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let table = table();
    assert!(
        page.contains(&table),
        "docs/configuration.md must hold this table:\n{table}"
    );
}
