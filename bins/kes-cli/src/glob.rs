//! Patterns of `kes key ls 'my-*'`, matched here: the servers know prefixes only.

/// Whether the pattern has wildcards; without any it is a prefix, as it always was.
pub(crate) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

/// What every name that matches begins with.
pub(crate) fn literal_prefix(pattern: &str) -> &str {
    pattern.split(['*', '?', '[', '\\']).next().unwrap_or_default()
}

/// `*` is any run of characters, `?` any one, `[a-c]` one of these, `[^a-c]` one of the others, `\x` x itself. A class
/// that does not end matches nothing. Names are ASCII, so bytes are characters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on if this way fails: behind the last star, one character further.
    let mut again: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            again = Some((p, n));
            continue;
        }
        if p == pattern.len() && n == name.len() {
            return true;
        }
        if let Some(&byte) = name.get(n)
            && let Some(length) = one(&pattern[p..], byte)
        {
            (p, n) = (p + length, n + 1);
            continue;
        }
        match again {
            Some((star, from)) if from < name.len() => {
                (p, n) = (star, from + 1);
                again = Some((star, from + 1));
            }
            _ => return false,
        }
    }
}

/// Length of the pattern's first element, if it matches this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [b'[', class @ ..] => {
            let end = class.iter().position(|c| *c == b']').filter(|end| *end > 0)?;
            in_class(&class[..end], byte).then_some(end + 2)
        }
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (negated, mut class) = match class {
        [b'^', rest @ ..] => (true, rest),
        all => (false, all),
    };
    let mut found = false;
    while let [first, rest @ ..] = class {
        if let [b'-', last, rest @ ..] = rest {
            found |= (*first..=*last).contains(&byte);
            class = rest;
        } else {
            found |= *first == byte;
            class = rest;
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("my-*", "my-key", true),
            ("my-*", "your-key", false),
            ("*-key", "my-key", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[ab", "a", false),
            ("[]", "a", false),
            ("\\*", "*", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_are_matched_in_no_time() {
        assert!(!matches(&"*a".repeat(40), &"a".repeat(39)));
    }

    #[test]
    fn the_servers_part_is_what_stands_before_the_first_wildcard() {
        assert_eq!(literal_prefix("my-[ab]*"), "my-");
        assert_eq!(literal_prefix("*"), "");
        assert!(is_glob("a?") && !is_glob("a"));
    }
}
