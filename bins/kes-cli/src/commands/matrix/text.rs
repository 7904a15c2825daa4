//! The matrix for a terminal, as wide as that is, or for a pipe, as wide as it has to be.

use std::fmt::Write;
use std::io::IsTerminal;

use super::model::{Allowed, Matrix, Row};
use crate::output::Output;
use crate::terminal;

/// Widest column of a table on a terminal; longer names are broken.
const MAX_COLUMN: usize = 24;

/// Digits of an identity that are shown on a terminal: enough to tell identities apart and to find them in the file.
const DIGITS: usize = 16;

/// The tables, and what there is to say about them.
pub(super) fn tables(output: &Output, matrix: &Matrix) -> String {
    let width = std::io::stdout().is_terminal().then(|| terminal::size().0.max(60));
    tables_within(output, matrix, width)
}

fn tables_within(output: &Output, matrix: &Matrix, width: Option<usize>) -> String {
    let mut text = head(output, matrix);
    for (title, on_keys) in [("Keys", true), ("Server", false)] {
        let columns: Vec<_> = matrix.operations(on_keys).map(|(column, _)| column).collect();
        let (granted, denied): (Vec<_>, Vec<_>) = columns.into_iter().partition(|column| matrix.is_granted(*column));
        let _ = writeln!(text, "\n{}", output.bold(title));
        for (position, panel) in panels(matrix, &granted, width).iter().enumerate() {
            // Who they are stands in the first table, and all policies do; the others show who may do what there.
            text += &table(output, matrix, panel, width, on_keys && position == 0);
        }
        let names: Vec<_> = denied.iter().map(|column| matrix.operations[*column].name.as_str()).collect();
        if !names.is_empty() {
            let who = if matrix.administrator.is_some() { "only the administrator may" } else { "nobody may" };
            text += &wrapped(&format!("{who}: {}", names.join(", ")), width);
        }
    }
    text += "\n*  all      x*  names that begin so      !x  but not these      empty  denied\n";
    for finding in &matrix.findings {
        let hint = finding.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let line = format!("{}:{}: {}{hint}", matrix.file, finding.line, finding.message);
        let _ = write!(text, "\n{} {}", output.red("warning:"), wrapped(&safe(&line), width));
    }
    text
}

fn head(output: &Output, matrix: &Matrix) -> String {
    let mut text = format!(
        "{}  {}\nsha256 {}\npatterns are read as policy_match: {}\n",
        output.bold(&safe(&matrix.file)),
        matrix.created_at,
        matrix.sha256,
        matrix.policy_match
    );
    text += &match &matrix.administrator {
        Some(admin) => format!("the administrator may do everything: {admin}\n"),
        None => "there is no administrator\n".to_owned(),
    };
    for proxy in &matrix.proxies {
        let _ = writeln!(text, "a TLS proxy, which acts for its clients: {proxy}");
    }
    if !matrix.open_routes.is_empty() {
        let _ = writeln!(text, "without authentication: {}", matrix.open_routes.join(", "));
    }
    if !matrix.unset.is_empty() {
        let names: Vec<_> = matrix.unset.iter().map(|variable| format!("${{{variable}}}")).collect();
        let _ = writeln!(text, "not set here: {}", names.join(", "));
    }
    text
}

/// Columns that fit beside each other.
fn panels(matrix: &Matrix, columns: &[usize], width: Option<usize>) -> Vec<Vec<usize>> {
    let Some(width) = width else { return vec![columns.to_vec()] };
    let first = first_width(matrix, Some(width));
    let mut panels: Vec<Vec<usize>> = vec![Vec::new()];
    let mut used = first;
    for column in columns {
        let needed = 2 + column_width(matrix, *column, true);
        if used + needed > width && panels.last().is_some_and(|panel| !panel.is_empty()) {
            panels.push(Vec::new());
            used = first;
        }
        used += needed;
        panels.last_mut().expect("there is one").push(*column);
    }
    panels
}

fn table(output: &Output, matrix: &Matrix, columns: &[usize], width: Option<usize>, is_first: bool) -> String {
    let first = first_width(matrix, width);
    let bounded = width.is_some();
    let widths: Vec<_> = columns.iter().map(|column| column_width(matrix, *column, bounded)).collect();
    let mut header = pad("", first);
    for (column, width) in columns.iter().zip(&widths) {
        header += &format!("  {}", pad(&matrix.operations[*column].name, *width));
    }
    let mut text = format!("{}\n", output.underline(header.trim_end()));
    let has_any = |row: &&Row| is_first || columns.iter().any(|column| row.cells[*column].allowed != Allowed::None);
    for row in matrix.policies.iter().filter(has_any) {
        let cells: Vec<_> = columns.iter().zip(&widths).map(|(column, width)| lines(row, *column, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default().max(1);
        for line in 0..height {
            let label = pad(if line == 0 { &row.policy } else { "" }, first);
            let mut printed = if line == 0 { output.bold(&label) } else { label };
            for (cell, width) in cells.iter().zip(&widths) {
                printed += &format!("  {}", pad(cell.get(line).map(String::as_str).unwrap_or_default(), *width));
            }
            text += printed.trim_end();
            text.push('\n');
        }
        for person in people(row, bounded).iter().filter(|_| is_first) {
            text += &format!("{}\n", output.faint(person));
        }
    }
    text
}

/// The lines of a cell: one for each name, broken where it is too long.
fn lines(row: &Row, column: usize, width: usize) -> Vec<String> {
    let cell = &row.cells[column];
    let broken = |word: &String| {
        let chars: Vec<char> = safe(word).chars().collect();
        chars.chunks(width.max(1)).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>()
    };
    match cell.allowed {
        Allowed::None => Vec::new(),
        _ => cell.words().iter().flat_map(broken).collect(),
    }
}

/// Who has a policy, each on a line.
fn people(row: &Row, bounded: bool) -> Vec<String> {
    let shown = |identity: &str| match identity.char_indices().nth(DIGITS) {
        Some((at, _)) if bounded && identity.len() == 64 => format!("{}…", &identity[..at]),
        _ => identity.to_owned(),
    };
    let person = |person: &super::model::Person| {
        let name = person.name.as_ref().map(|name| format!("  {}", safe(name))).unwrap_or_default();
        format!("  {}{name}", shown(&person.identity))
    };
    match row.identities.is_empty() {
        true => vec!["  nobody has it".to_owned()],
        false => row.identities.iter().map(person).collect(),
    }
}

fn first_width(matrix: &Matrix, width: Option<usize>) -> usize {
    let longest = matrix.policies.iter().map(|row| row.policy.len()).max().unwrap_or_default();
    longest.max(6).min(width.map_or(usize::MAX, |width| width / 2))
}

fn column_width(matrix: &Matrix, column: usize, bounded: bool) -> usize {
    let words = matrix.policies.iter().flat_map(|row| row.cells[column].words());
    let longest = words.map(|word| safe(&word).chars().count()).max().unwrap_or_default();
    let longest = if bounded { longest.min(MAX_COLUMN) } else { longest };
    longest.max(matrix.operations[column].name.len())
}

fn pad(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

/// A sentence, broken at blanks.
fn wrapped(text: &str, width: Option<usize>) -> String {
    let width = width.unwrap_or(usize::MAX).saturating_sub(4);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines.join("\n    ") + "\n"
}

/// Text of the file without anything that a terminal acts upon.
fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
