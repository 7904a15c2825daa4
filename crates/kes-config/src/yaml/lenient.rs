//! What the old decoder reads and this parser refuses, put right.
//!
//! The old decoder does not mind how lines within brackets or quotes are indented, nor a tab behind a colon; YAML 1.2
//! does. Each such refusal tells where it is, and there blanks are put in whose number means nothing: between brackets, at
//! the beginning of a quoted scalar's next line, behind a colon. Lines keep their numbers.

use saphyr_parser::ScanError;
use zeroize::Zeroizing;

/// Deeper than anything that is indented on purpose.
const BLANKS: &str =
    "                                                                                                    ";

/// The text with the place of the refusal put right. `None` if it is a true mistake.
pub(super) fn repair(text: &str, error: &ScanError) -> Option<Zeroizing<String>> {
    if text.replace("\r\n", "").contains('\r') {
        return None; // lines would be counted differently
    }
    let line = start_of_line(text, error.marker().line())?;
    let column = text[line..].chars().take(error.marker().col()).map(char::len_utf8).sum::<usize>();
    match error.info() {
        "invalid indentation" | "invalid indentation in flow construct" | "tab cannot be used as indentation" => {
            indented(text, &[line])
        }
        "invalid indentation in quoted scalar" => indented(text, &lines_within_quotes(text, line + column)?),
        "':' must be followed by a valid YAML whitespace" => {
            let before = &text[line..line + column];
            let kept = before.trim_end_matches(['\t', ' ']).len();
            let mut repaired = Zeroizing::new(text.to_owned());
            repaired.replace_range(line + kept..line + column, &" ".repeat(column - kept));
            (*repaired != *text).then_some(repaired)
        }
        _ => None,
    }
}

/// Where the line with that number begins, from 1.
fn start_of_line(text: &str, line: usize) -> Option<usize> {
    match line.checked_sub(2) {
        Some(breaks) => text.match_indices('\n').nth(breaks).map(|(at, _)| at + 1),
        None => Some(0),
    }
}

/// Puts blanks at the beginnings of these lines, unless they are there already.
fn indented(text: &str, lines: &[usize]) -> Option<Zeroizing<String>> {
    let missing = lines.iter().filter(|at| !text[**at..].starts_with(BLANKS));
    let mut repaired = Zeroizing::new(String::with_capacity(text.len() + lines.len() * BLANKS.len()));
    let mut done = 0;
    for at in missing {
        repaired.push_str(&text[done..*at]);
        repaired.push_str(BLANKS);
        done = *at;
    }
    repaired.push_str(&text[done..]);
    (repaired.len() > text.len()).then_some(repaired)
}

/// Where the lines begin that a quoted scalar goes on to.
fn lines_within_quotes(text: &str, start: usize) -> Option<Vec<usize>> {
    let quote = text[start..].chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut lines = Vec::new();
    let mut characters = text[start + 1..].char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' if quote == '"' => {
                // An escaped line break is one as well.
                if let Some((at, '\n')) = characters.next() {
                    lines.push(start + 1 + at + 1);
                }
            }
            '\n' => lines.push(start + 1 + at + 1),
            '\'' if quote == '\'' && characters.next_if(|(_, next)| *next == '\'').is_some() => {}
            c if c == quote => return Some(lines),
            _ => {}
        }
    }
    None
}
