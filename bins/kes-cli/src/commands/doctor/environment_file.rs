//! A file of environment variables, as systemd and shells read them: MinIO's `/etc/default/minio`.
//!
//! Read are `NAME=value` and `export NAME=value`, quotes of both kinds, backslashes, comments, and lines that go on behind a
//! backslash. Nothing is substituted: systemd does not do that either.

use zeroize::Zeroizing;

/// The variables of a file. Values may be secrets: no `Debug`, and wiped on drop.
#[derive(Default)]
pub(super) struct EnvironmentFile {
    variables: Vec<Variable>,
    /// Lines that are no assignment, from 1.
    pub(super) odd_lines: Vec<usize>,
}

struct Variable {
    name: String,
    value: Zeroizing<String>,
    line: usize,
}

impl EnvironmentFile {
    pub(super) fn parse(text: &str) -> Self {
        let mut file = Self::default();
        let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let mut whole = Zeroizing::new(line.to_owned());
            while is_open(&whole)
                && let Some((_, next)) = lines.next()
            {
                whole.push('\n');
                whole.push_str(next);
            }
            file.take(&whole, index + 1);
        }
        file
    }

    fn take(&mut self, text: &str, line: usize) {
        let text = text.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            return;
        }
        let text = text.strip_prefix("export ").unwrap_or(text).trim_start();
        let is_name = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && name.starts_with(|first: char| !first.is_ascii_digit())
        };
        match text.split_once('=').map(|(name, value)| (name.trim_end(), value)).filter(|(name, _)| is_name(name)) {
            Some((name, value)) => {
                self.variables.retain(|variable| variable.name != name); // the last one counts
                self.variables.push(Variable { name: name.to_owned(), value: unquoted(value), line });
            }
            None => self.odd_lines.push(line),
        }
    }

    /// The value of a variable, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let variable = self.variables.iter().find(|variable| variable.name == name)?;
        Some(variable.value.as_str()).filter(|value| !value.is_empty())
    }

    /// The line that a variable stands on.
    pub(super) fn line(&self, name: &str) -> usize {
        self.variables.iter().find(|variable| variable.name == name).map_or(0, |variable| variable.line)
    }

    /// The names of all variables that are set to something.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().filter(|variable| !variable.value.is_empty()).map(|variable| variable.name.as_str())
    }
}

/// Whether the text ends within quotes or behind a backslash, so that the next line belongs to it.
fn is_open(text: &str) -> bool {
    if text.trim_start().starts_with(['#', ';']) {
        return false;
    }
    let (mut quote, mut escaped) = (None, false);
    let mut before = ' ';
    for c in text.chars() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '#') if before.is_whitespace() => return false,
            (None, '"' | '\'') => quote = Some(c),
            _ => {}
        }
        before = c;
    }
    quote.is_some() || escaped
}

/// A value without its quotes, escapes and the comment behind it.
fn unquoted(text: &str) -> Zeroizing<String> {
    let mut value = Zeroizing::new(String::with_capacity(text.len()));
    let mut quote = None;
    let mut kept = 0; // blanks at the end count only within quotes
    let mut chars = text.trim_start().chars();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => match chars.next() {
                Some('\n') | None => {}
                Some(next) => {
                    // In double quotes a backslash is one, unless it has something to protect.
                    if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                        value.push('\\');
                    }
                    value.push(next);
                    kept = value.len();
                }
            },
            (Some(open), c) if c == open => quote = None,
            (None, '#') if before.is_whitespace() && !value.is_empty() => break,
            (None, '"' | '\'') => quote = Some(c),
            (quote, c) => {
                value.push(c);
                if quote.is_some() || !c.is_whitespace() {
                    kept = value.len();
                }
            }
        }
        before = c;
    }
    value.truncate(kept);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_such_files() {
        let file = EnvironmentFile::parse(
            "\u{feff}# MinIO\r\n; and systemd's other comment\r\n\r\nPLAIN=a b  # a comment\r\nexport EXPORTED=x\n  export  BLANKS = y\n\
             DOUBLE=\"a # b \\\" \\$c \\d\" # end\nSINGLE='a \"b\" \\n'\nMIXED=a'b'\"c\"\nEMPTY=\nHASH=a#b\n\
             OPTS=\"--address :9000 \\\n  --console-address :9001\"\nLONG=a\\\nb\nURL=https://kes{1...4}:7373/?a=b\n\
             TWICE=1\nTWICE=2\nnonsense\n1X=2\nKEY='first\nsecond'\nLAST=z",
        );
        let values = [
            ("PLAIN", "a b"),
            ("EXPORTED", "x"),
            ("BLANKS", "y"),
            ("DOUBLE", "a # b \" $c \\d"),
            ("SINGLE", "a \"b\" \\n"),
            ("MIXED", "abc"),
            ("HASH", "a#b"),
            ("OPTS", "--address :9000   --console-address :9001"),
            ("LONG", "ab"),
            ("URL", "https://kes{1...4}:7373/?a=b"),
            ("TWICE", "2"),
            ("KEY", "first\nsecond"),
            ("LAST", "z"),
        ];
        for (name, value) in values {
            assert_eq!(file.get(name), Some(value), "{name}");
        }
        assert_eq!((file.get("EMPTY"), file.get("MISSING")), (None, None));
        assert_eq!(file.odd_lines, [19, 20]);
        assert_eq!((file.line("PLAIN"), file.line("LAST")), (4, 23));
        assert_eq!(file.names().count(), 13);
    }

    #[test]
    fn an_open_quote_at_the_end_is_no_trouble() {
        assert_eq!(EnvironmentFile::parse("A='x\ny").get("A"), Some("x\ny"));
        assert_eq!(EnvironmentFile::parse("A=x\\").get("A"), Some("x"));
    }
}
