//! The matrix as one page that an auditor can open, print and keep: no other file, no network, no script needed. The
//! little script there is shows a filter; the page's own policy allows that script and nothing else.

use std::fmt::Write;

use super::model::{Allowed, Cell, Matrix, Row};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// SHA-256 of the script, for the page's content security policy.
const SCRIPT_HASH: &str = "Ez4aJnH5xFtqZGXsqnOOpdmUg5UEm2pn06FzBAxdWGM=";

/// Operations whose every use is grave: what was sealed never opens again, or somebody else knows the key.
const GRAVE: [&str; 2] = ["delete", "import"];

/// The whole page.
pub(super) fn page(matrix: &Matrix) -> String {
    let mut page = String::with_capacity(64 << 10);
    let file = escaped(&matrix.file);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'sha256-{SCRIPT_HASH}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>Who may do what: {file}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<h1>Who may do what to which keys</h1>\n"
    );
    facts(&mut page, matrix);
    page += "</header>\n<main>\n";
    page += "<p id=\"filter\"><label>Filter <input type=\"search\" placeholder=\"policy, identity, name or key\"></label> \
             <output class=\"soft\"></output></p>\n";
    page += "<h2 id=\"keys\">Keys</h2>\n";
    legend(&mut page);
    table(&mut page, matrix, true);
    page += "<h2 id=\"server\">Server, policies and logs</h2>\n";
    table(&mut page, matrix, false);
    findings(&mut page, matrix);
    let _ = write!(page, "</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

fn facts(page: &mut String, matrix: &Matrix) {
    let reading = match matrix.policy_match {
        "head" => "as text with an optional * at the end, as releases since 2023-10-24 (policy_match: head)",
        "glob" => "as globs, as releases up to 2023-10-03 (policy_match: glob)",
        _ => "a deny rule by either reading, an allow rule as text or as a plain glob (policy_match: both)",
    };
    let administrator = match &matrix.administrator {
        Some(identity) => format!("{} may do everything", code(identity)),
        None => "none: nobody passes without a policy".to_owned(),
    };
    let identities: usize = matrix.policies.iter().map(|row| row.identities.len()).sum();
    let mut lines = vec![
        ("Configuration", code(&matrix.file)),
        ("SHA-256", code(&matrix.sha256)),
        ("Made at", escaped(&matrix.created_at)),
        ("Policies", format!("{}, held by {}", count(matrix.policies.len(), "policy", "policies"), people(identities))),
        ("Administrator", administrator),
        ("Patterns are read", reading.to_owned()),
    ];
    if !matrix.proxies.is_empty() {
        lines.push(("TLS proxies", matrix.proxies.iter().map(|proxy| code(proxy)).collect::<Vec<_>>().join("<br>")));
    }
    if !matrix.open_routes.is_empty() {
        let routes: Vec<_> = matrix.open_routes.iter().map(|route| code(route)).collect();
        lines.push(("Without authentication", routes.join(" ")));
    }
    if !matrix.unset.is_empty() {
        let names: Vec<_> = matrix.unset.iter().map(|name| code(&format!("${{{name}}}"))).collect();
        lines.push(("Not set where this was made", names.join(" ")));
    }
    if !matrix.findings.is_empty() {
        let number = count(matrix.findings.len(), "thing to look at", "things to look at");
        lines.push(("Warnings", format!("<a href=\"#warnings\">{number}</a>")));
    }
    page.push_str("<dl>\n");
    for (term, definition) in lines {
        let _ = writeln!(page, "<dt>{term}</dt><dd>{definition}</dd>");
    }
    page.push_str("</dl>\n");
}

fn findings(page: &mut String, matrix: &Matrix) {
    if matrix.findings.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2 id=\"warnings\">Warnings ({})</h2>\n<ul class=\"findings\">", matrix.findings.len());
    for finding in &matrix.findings {
        let hint = finding.hint.as_ref().map(|hint| format!("<br><span class=\"soft\">{}</span>", escaped(hint)));
        let (message, hint) = (escaped(&finding.message), hint.unwrap_or_default());
        let _ = writeln!(page, "<li>Line {}: {message}{hint}</li>", finding.line);
    }
    page.push_str("</ul>\n");
}

fn legend(page: &mut String) {
    page.push_str(
        "<ul class=\"legend\">\n\
         <li><span class=\"chip all\">all</span> every key</li>\n\
         <li><code class=\"chip some\">my-*</code> keys whose names begin so</li>\n\
         <li><code class=\"chip some\">my-key</code> this key alone</li>\n\
         <li><span class=\"not\">not <code>my-x</code></span> but not this one</li>\n\
         <li><span class=\"chip grave\">all</span> delete and import: grave</li>\n\
         <li><span class=\"none\">–</span> denied</li>\n</ul>\n",
    );
}

fn table(page: &mut String, matrix: &Matrix, on_keys: bool) {
    let columns: Vec<_> = matrix.operations(on_keys).collect();
    let caption = if on_keys { "Operations on keys, by policy and identity" } else { "Other operations, by policy" };
    // Where columns are narrow, headings stand upright.
    let class = if columns.len() > 12 { " class=\"many\"" } else { "" };
    let _ = write!(page, "<table{class}>\n<caption>{caption}</caption>\n<colgroup><col class=\"who\">");
    page.push_str(&"<col>".repeat(columns.len()));
    page.push_str("</colgroup>\n<thead><tr><th scope=\"col\">Policy</th>");
    for (_, operation) in &columns {
        let _ = write!(page, "<th scope=\"col\" title=\"{}\"><span>{}</span></th>", operation.path, operation.name);
    }
    page.push_str("</tr></thead>\n");
    if let Some(administrator) = &matrix.administrator {
        page.push_str("<tbody>\n<tr class=\"policy\"><th scope=\"row\"><b>Administrator</b></th>");
        for (_, operation) in &columns {
            let everything = Cell { allowed: Allowed::All, names: Vec::new(), except: Vec::new() };
            cell(page, &everything, &operation.name, on_keys);
        }
        page.push_str("</tr>\n");
        if on_keys {
            person(page, columns.len() + 1, administrator, None, None);
        }
        page.push_str("</tbody>\n");
    }
    for row in &matrix.policies {
        policy(page, row, &columns, on_keys);
    }
    page.push_str("</table>\n");
}

fn policy(page: &mut String, row: &Row, columns: &[(usize, &super::model::Operation)], on_keys: bool) {
    let name = escaped(&row.policy);
    // The other table does not repeat who they are, but is found by them.
    let ids = match on_keys {
        true => String::new(),
        false => {
            let ids: Vec<_> = row.identities.iter().map(|person| escaped(&person.identity)).collect();
            format!(" data-ids=\"{}\"", ids.join(" "))
        }
    };
    let _ = write!(
        page,
        "<tbody data-policy=\"{name}\"{ids}>\n<tr class=\"policy\"><th scope=\"row\"><b>{name}</b> \
         <span class=\"soft\">line {}, {}</span></th>",
        row.line,
        people(row.identities.len())
    );
    for (column, operation) in columns {
        cell(page, &row.cells[*column], &operation.name, on_keys);
    }
    page.push_str("</tr>\n");
    if on_keys {
        for one in &row.identities {
            person(page, columns.len() + 1, &one.identity, one.name.as_deref(), Some(one.line));
        }
    }
    page.push_str("</tbody>\n");
}

fn person(page: &mut String, span: usize, identity: &str, name: Option<&str>, line: Option<usize>) {
    let name = name.map(|name| format!("<span class=\"name\">{}</span>", escaped(name))).unwrap_or_default();
    let line = line.map(|line| format!(" <span class=\"soft\">line {line}</span>")).unwrap_or_default();
    let identity = escaped(identity);
    let _ = writeln!(
        page,
        "<tr class=\"person\"><th scope=\"row\" colspan=\"{span}\"><span class=\"id\">{identity}</span>{name}{line}</th></tr>"
    );
}

fn cell(page: &mut String, cell: &Cell, operation: &str, on_keys: bool) {
    let grave = GRAVE.contains(&operation);
    let class = |usual| if grave { "grave" } else { usual };
    let (kind, content) = match cell.allowed {
        Allowed::None => ("no", "<span class=\"none\" title=\"denied\">–</span>".to_owned()),
        Allowed::All => {
            let word = if on_keys { "all" } else { "yes" };
            ("yes", format!("<span class=\"chip {}\">{word}</span>", class("all")))
        }
        Allowed::Some => {
            let names = cell.names.iter().map(|name| {
                let shown = if name == "*" { "all" } else { name };
                format!("<code class=\"chip {}\">{}</code>", class("some"), escaped(shown))
            });
            let except =
                cell.except.iter().map(|name| format!("<span class=\"not\">not <code>{}</code></span>", escaped(name)));
            ("yes", names.chain(except).collect())
        }
    };
    let _ = write!(page, "<td class=\"{kind}\" data-op=\"{operation}\"><div>{content}</div></td>");
}

fn people(number: usize) -> String {
    count(number, "identity", "identities")
}

fn count(number: usize, one: &str, many: &str) -> String {
    match number {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escaped(text))
}

/// Text that is nothing but text, between tags and within quoted attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // Neither line breaks nor marks that turn the direction of what follows.
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                out.push('\u{fffd}')
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use kes_crypto::{Fingerprint, base64};

    #[test]
    fn the_page_allows_its_own_script_only() {
        let hex = Fingerprint::of(SCRIPT.as_bytes()).to_hex();
        let hash: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        assert_eq!(base64::encode(&hash), SCRIPT_HASH, "write this into SCRIPT_HASH");
    }

    #[test]
    fn markup_in_the_file_stays_text() {
        assert_eq!(
            escaped("<script>\"'&</script>\u{202e}\n"),
            "&lt;script&gt;&quot;&#39;&amp;&lt;/script&gt;\u{fffd}\u{fffd}"
        );
        assert!(!STYLE.contains("</style") && !SCRIPT.contains("</script"));
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains("//"));
    }
}
