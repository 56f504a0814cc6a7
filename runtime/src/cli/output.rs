//! Everything the command line writes: data to standard output, words to standard error.
//!
//! The macros of the standard library are not used: they panic when the reader of a pipe has gone,
//! and `niyanta list | head` is no reason to panic. What came from a server, and so perhaps from
//! somebody else's workload, is cleaned of control characters before a terminal may act on them.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde_json::Value;

use super::failure::{Failure, Outcome};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// As the server sent it
    Json,
}

/// Writes one line of data.
pub(super) fn line(text: &str) -> Outcome<()> {
    raw(|out| {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    })
}

/// Writes whatever `fill` put into the buffer.
pub(super) fn raw(fill: impl FnOnce(&mut Vec<u8>)) -> Outcome<()> {
    let mut buffer = Vec::new();
    fill(&mut buffer);
    let mut out = io::stdout().lock();
    out.write_all(&buffer)
        .and_then(|()| out.flush())
        .map_err(|error| {
            if error.kind() == io::ErrorKind::BrokenPipe {
                Failure::OutputClosed
            } else {
                Failure::failed(format!("cannot write to standard output: {error}"))
            }
        })
}

/// Says something to people.
pub(super) fn say(text: &str) {
    // When standard error itself is gone, there is nobody left to tell.
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// One JSON document, readable.
pub(super) fn json(value: &Value) -> Outcome<()> {
    line(&format!("{value:#}"))
}

/// One JSON document on one line, for streams of them.
pub(super) fn json_line(value: &Value) -> Outcome<()> {
    line(&value.to_string())
}

/// Columns under a heading. Wrapped to the terminal's width; never wrapped when piped.
pub(super) fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Outcome<()> {
    line(&render(heading, rows, io::stdout().is_terminal()))
}

/// Names and values, one pair a line.
pub(super) fn details(pairs: &[(String, String)]) -> Outcome<()> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    raw(|out| {
        for (name, value) in pairs {
            let line = format!("{name:width$}  {}", clean(value));
            out.extend_from_slice(line.trim_end().as_bytes());
            out.push(b'\n');
        }
    })
}

fn render(
    heading: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
    is_terminal: bool,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(if is_terminal {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    table.set_header(heading.iter().map(|name| Cell::new(name.to_uppercase())));
    for row in rows {
        table.add_row(row.iter().map(|text| clean(text)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// The text without what a terminal would obey or a table would break on.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if matches!(c, '\n' | '\t') {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piped_table_has_one_line_a_row_however_long() {
        let long = "x".repeat(500);
        let text = render(
            &["id", "message"],
            [vec!["wl_1".into(), long.clone()]],
            false,
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("ID    MESSAGE"), "{text}");
        assert_eq!(lines[1], format!("wl_1  {long}"));
    }

    #[test]
    fn a_workload_cannot_steer_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\nc\u{9b}d"), "a\u{fffd}[2Jb c\u{fffd}d");
    }
}
