//! The matrix as comma-separated values (RFC 4180): one line for each identity, so that a spreadsheet can filter.

use super::model::Matrix;

/// A header line, then one line for each identity; a policy that nobody has gets one without.
pub(super) fn table(matrix: &Matrix) -> String {
    let mut text = String::new();
    let operations = matrix.operations.iter().map(|operation| operation.name.as_str());
    line(&mut text, ["policy", "identity", "name", "line"].into_iter().chain(operations));
    if let Some(admin) = &matrix.administrator {
        let everything = matrix.operations.iter().map(|_| "*");
        line(&mut text, ["(administrator)", admin, "", ""].into_iter().chain(everything));
    }
    for row in &matrix.policies {
        let cells: Vec<String> = row.cells.iter().map(|cell| cell.words().join(" ")).collect();
        let cells = || cells.iter().map(String::as_str);
        for person in &row.identities {
            let (name, number) = (person.name.as_deref().unwrap_or_default(), person.line.to_string());
            line(&mut text, [row.policy.as_str(), &person.identity, name, &number].into_iter().chain(cells()));
        }
        if row.identities.is_empty() {
            line(&mut text, [row.policy.as_str(), "", "", &row.line.to_string()].into_iter().chain(cells()));
        }
    }
    text
}

fn line<'f>(text: &mut String, fields: impl Iterator<Item = &'f str>) {
    for (position, field) in fields.enumerate() {
        if position > 0 {
            text.push(',');
        }
        text.push_str(&quoted(field));
    }
    text.push_str("\r\n");
}

/// A field, quoted where it must be. Spreadsheets take a field that begins with one of `=+-@` for a formula and run it;
/// an apostrophe before it makes it text.
fn quoted(field: &str) -> String {
    let field = match field.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{field}"),
        _ => field.to_owned(),
    };
    match field.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_are_no_formulas() {
        for (field, expected) in [
            ("a", "a"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("*", "*"),
        ] {
            assert_eq!(quoted(field), expected);
        }
    }
}
