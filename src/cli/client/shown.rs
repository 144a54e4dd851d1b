//! Answers on a terminal: a table for people, the documents for machines.

use std::process::ExitCode;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

use super::many::SUMMARY;
use super::{Output, Said, exit_code};
use crate::cli::{CliError, print};

/// The answer for one task.
pub(super) fn one(said: &Said, output: Output) -> Result<(), CliError> {
    match output {
        Output::Json => document(&said.document),
        Output::Table => {
            let mut table = table();
            let members = said.document.as_object();
            let rows = members.into_iter().flatten().filter(|(_, value)| !value.is_null());
            // What people look for first.
            let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
            let mut rows: Vec<_> = rows.collect();
            rows.sort_by_key(|(name, _)| rank(name));
            for (name, value) in rows {
                table.add_row([name.clone(), text(value)]);
            }
            print(&format!("{}\n", lines(&table)))
        }
    }
}

/// What a vendor would get; the exit code says whether the call would be sent.
pub(super) fn preview(said: &Said, output: Output) -> Result<ExitCode, CliError> {
    let would_be_sent = said.document.get("request").is_some();
    match (output, would_be_sent) {
        (Output::Table, false) => one(said, output)?,
        (Output::Table | Output::Json, _) => document(&said.document)?,
    }
    Ok(if would_be_sent {
        ExitCode::SUCCESS
    } else {
        exit_code(said.outcome)
    })
}

/// What came of many tasks, in their order.
pub(super) fn many(batch: &Value, output: Output) -> Result<(), CliError> {
    if output == Output::Json {
        return document(batch);
    }
    let mut table = table();
    table.set_header(["TASK", "OUTCOME", "STATE", "REASON", "DETAIL"]);
    for item in batch.get("results").and_then(Value::as_array).into_iter().flatten() {
        let member = |pointer: &str| item.pointer(pointer).filter(|value| !value.is_null()).map(text).unwrap_or_default();
        let detail = match member("/error/detail") {
            detail if detail.is_empty() => member("/message"),
            detail => detail,
        };
        table.add_row([
            member("/task").trim_start_matches("tasks/").to_owned(),
            member("/outcome"),
            member("/state"),
            member("/error/reason"),
            detail,
        ]);
    }
    let counts = SUMMARY.map(|word| format!("{} {word}", batch.pointer(&format!("/summary/{word}")).unwrap_or(&Value::Null)));
    print(&format!("{}\n\n{}\n", lines(&table), counts.join(", ")))
}

fn document(document: &Value) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(document).map_err(|error| CliError::system("the answer cannot be written", error))?;
    print(&format!("{text}\n"))
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    // Not on a terminal the lines are as long as they are.
    if let Some((width, _)) = terminal_size::terminal_size() {
        table.set_width(width.0);
    }
    table
}

/// Without the blanks that fill the last column.
fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// Text without its quotes, and without what would move the cursor: the vendor's words are in it.
fn text(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

const FIRST: [&str; 8] = ["task", "action", "outcome", "state", "reason", "detail", "message", "operation"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_word_of_a_vendor_moves_the_cursor() {
        assert_eq!(text(&json!("a\u{1b}[2Jb\r\nc")), "a [2Jb  c");
        assert_eq!(
            (text(&json!(5)), text(&json!({ "status": 200 }))),
            ("5".to_owned(), "{\"status\":200}".to_owned())
        );
    }
}
