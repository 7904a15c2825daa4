//! Globs as Go's `path.Match` reads them, compiled once.
//!
//! Policies of releases up to 2023-10-03 were written for that function, so its corner cases are ours: the whole path
//! must match, `*` and `?` never match `/` but a class may, `?` and classes take a Unicode code point while `*` runs
//! over bytes, and a byte that is no UTF-8 counts as U+FFFD. There is no `**` and there are no braces.
//!
//! Matching keeps two positions and one point of return, the last star. An earlier star needs no second chance: the
//! first place where the stretch after it fits leaves the most for what follows. So nothing is ever exponential, and
//! the number of steps is at most (length of the path + 1) × (longest stretch between two stars + 1), and one for each
//! token: linear in the path, which is at most 64 KiB, while the pattern is the operator's.

use std::fmt;

/// One element of a compiled glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Exactly this byte; a literal outside ASCII is several tokens.
    Byte(u8),
    /// `?`: any one code point but `/`.
    AnyChar,
    /// `[…]`: one code point inside the ranges, or outside of them if negated.
    Class { negated: bool, ranges: Box<[(char, char)]> },
    /// `*`: any run of bytes without `/`, also none.
    Star,
}

/// Why a pattern is no glob. Positions are byte offsets into the pattern, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The `[` at this position has no `]`.
    UnclosedClass(usize),
    /// The class that opens at this position is empty, or starts with a `]` that should be written `\]`.
    EmptyClass(usize),
    /// The class that opens at this position has a `-` without a start or an end; a literal one is written `\-`.
    OpenRange(usize),
    /// The pattern ends in a `\` that escapes nothing.
    TrailingBackslash(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnclosedClass(at) => write!(f, "the `[` at position {at} is never closed"),
            Self::EmptyClass(at) => write!(f, "the class at position {at} is empty (a literal `]` is written `\\]`)"),
            Self::OpenRange(at) => {
                write!(
                    f,
                    "the class at position {at} has a range without start or end (a literal `-` is written `\\-`)"
                )
            }
            Self::TrailingBackslash(at) => write!(f, "the `\\` at position {at} escapes nothing"),
        }
    }
}

/// Compiles `pattern`, or says why it is malformed.
pub(crate) fn compile(pattern: &str) -> Result<Box<[Token]>, Malformed> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut chars = pattern.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::AnyChar),
            '[' => tokens.push(class(&mut chars, at)?),
            '\\' => push_literal(&mut tokens, chars.next().ok_or(Malformed::TrailingBackslash(at))?.1),
            c => push_literal(&mut tokens, c),
        }
    }
    Ok(tokens.into())
}

fn push_literal(tokens: &mut Vec<Token>, c: char) {
    tokens.extend(c.encode_utf8(&mut [0; 4]).bytes().map(Token::Byte));
}

/// Reads a class whose `[` stands at `open` and has been consumed.
fn class(chars: &mut std::str::CharIndices<'_>, open: usize) -> Result<Token, Malformed> {
    let negated = chars.as_str().starts_with('^');
    if negated {
        chars.next();
    }
    let mut ranges = Vec::new();
    loop {
        if chars.as_str().starts_with(']') {
            chars.next();
            return match ranges.is_empty() {
                true => Err(Malformed::EmptyClass(open)),
                false => Ok(Token::Class { negated, ranges: ranges.into() }),
            };
        }
        let low = class_member(chars, open)?;
        let high = match chars.as_str().starts_with('-') {
            true => {
                chars.next();
                class_member(chars, open)?
            }
            false => low,
        };
        ranges.push((low, high));
    }
}

/// One end of a range, escaped or not. `-` and `]` must be escaped here.
fn class_member(chars: &mut std::str::CharIndices<'_>, open: usize) -> Result<char, Malformed> {
    match chars.next() {
        None => Err(Malformed::UnclosedClass(open)),
        Some((_, '-' | ']')) => Err(Malformed::OpenRange(open)),
        Some((at, '\\')) => chars.next().map(|(_, c)| c).ok_or(Malformed::TrailingBackslash(at)),
        Some((_, c)) => Ok(c),
    }
}

/// Writes tokens as a pattern again, with escapes where a character would mean something else.
pub(crate) fn text<'a>(tokens: impl Iterator<Item = &'a Token>) -> String {
    let mut out = Vec::new();
    for token in tokens {
        match token {
            Token::Byte(byte) => {
                if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
                    out.push(b'\\');
                }
                out.push(*byte);
            }
            Token::AnyChar => out.push(b'?'),
            Token::Star => out.push(b'*'),
            Token::Class { negated, ranges } => {
                out.extend(if *negated { "[^" } else { "[" }.bytes());
                for (low, high) in ranges {
                    out.extend(class_end(*low).into_bytes());
                    if low != high {
                        out.push(b'-');
                        out.extend(class_end(*high).into_bytes());
                    }
                }
                out.push(b']');
            }
        }
    }
    // The bytes come from a pattern, which is text; only a cut inside a character would not be.
    String::from_utf8_lossy(&out).into_owned()
}

fn class_end(c: char) -> String {
    match c {
        '-' | ']' | '\\' | '^' => format!("\\{c}"),
        c => c.to_string(),
    }
}

/// Whether the glob matches the whole of `path`.
pub(crate) fn matches(glob: &[Token], path: &[u8]) -> bool {
    walk(glob, path, || ())
}

/// [`matches`], calling `on_step` once for each token tried, which is what the tests of its cost count.
fn walk(glob: &[Token], path: &[u8], mut on_step: impl FnMut()) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None; // the token after it, and where its run ends at present
    loop {
        on_step();
        match glob.get(token) {
            Some(Token::Star) => {
                token += 1;
                last_star = Some((token, at));
                continue;
            }
            Some(one) => {
                if let Some(length) = one.accepts(&path[at..]) {
                    token += 1;
                    at += length;
                    continue;
                }
            }
            None if at == path.len() => return true,
            None => {}
        }
        match last_star {
            Some((after, end)) if path.get(end).is_some_and(|byte| *byte != b'/') => {
                last_star = Some((after, end + 1));
                (token, at) = (after, end + 1);
            }
            _ => return false,
        }
    }
}

impl Token {
    /// How many bytes at the start of `rest` this token takes; `None` if it does not match there. Not for stars.
    fn accepts(&self, rest: &[u8]) -> Option<usize> {
        let first = *rest.first()?;
        match self {
            Self::Byte(byte) => (first == *byte).then_some(1),
            Self::AnyChar if first == b'/' => None,
            Self::AnyChar => Some(first_char(rest).1),
            Self::Class { .. } => {
                let (c, length) = first_char(rest);
                self.class_contains(c).then_some(length)
            }
            Self::Star => None,
        }
    }

    /// Whether this is a class that matches `c`. A reversed range contains nothing.
    pub(crate) fn class_contains(&self, c: char) -> bool {
        match self {
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
            _ => false,
        }
    }
}

/// The first code point of `bytes`, which must not be empty, and its length; U+FFFD of length 1 for a byte that
/// starts no UTF-8 sequence.
fn first_char(bytes: &[u8]) -> (char, usize) {
    if bytes[0].is_ascii() {
        return (char::from(bytes[0]), 1);
    }
    let window = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&window[..e.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Steps taken for one match.
    fn steps(pattern: &str, path: &str) -> usize {
        let mut count = 0;
        walk(&compile(pattern).unwrap(), path.as_bytes(), || count += 1);
        count
    }

    /// The bound the module promises, from the pattern's text.
    fn bound(pattern: &str, path: &str) -> usize {
        let longest = pattern.split('*').map(str::len).max().unwrap_or(0);
        let stars = pattern.matches('*').count();
        (path.len() + 1) * (longest + 1) + pattern.len() + stars + 1
    }

    #[test]
    fn many_stars_do_not_multiply() {
        let path = "a".repeat(60_000);
        let pattern = "a*".repeat(40) + "b";
        assert!(steps(&pattern, &path) <= bound(&pattern, &path));
        assert!(steps(&pattern, &path) < 4 * path.len());
    }

    #[test]
    fn the_worst_case_is_one_long_stretch_after_a_star() {
        let path = "a".repeat(5_000);
        let pattern = format!("*{}b", "a".repeat(99));
        let taken = steps(&pattern, &path);
        assert!(taken <= bound(&pattern, &path), "{taken}");
        assert!(taken > 50 * path.len(), "this pattern is meant to be the expensive one: {taken}");
    }

    #[test]
    fn a_star_stops_at_the_slash_at_once() {
        let path = format!("/v1/{}", "x/".repeat(10_000));
        assert!(steps("/v1/*/create/?", &path) < 100);
    }

    #[test]
    fn a_star_runs_over_bytes_and_may_end_inside_a_character() {
        // The same as Go: the star takes the first byte of ä, the class the second one as U+FFFD.
        assert!(matches(&compile("*[^ä]").unwrap(), "ä".as_bytes()));
        assert!(!matches(&compile("[^ä]").unwrap(), "ä".as_bytes()));
    }

    #[test]
    fn bytes_outside_utf8_count_as_one_character_each() {
        assert!(matches(&compile("a??").unwrap(), b"a\xff\xc3"));
        assert!(matches(&compile("a[\u{fffd}]").unwrap(), b"a\xff"));
        assert!(matches(&compile("a?b").unwrap(), "a\u{10ffff}b".as_bytes()));
        assert!(!matches(&compile("a?b").unwrap(), b"a\xe2\x98b"));
    }

    #[test]
    fn malformed_patterns_say_where() {
        for (pattern, why) in [
            ("/v1/[", Malformed::UnclosedClass(4)),
            ("/v1/[a", Malformed::UnclosedClass(4)),
            ("/v1/[a-", Malformed::UnclosedClass(4)),
            ("[]", Malformed::EmptyClass(0)),
            ("[^]", Malformed::EmptyClass(0)),
            ("[]a]", Malformed::EmptyClass(0)),
            ("x[-a]", Malformed::OpenRange(1)),
            ("x[a-]", Malformed::OpenRange(1)),
            ("x[a--]", Malformed::OpenRange(1)),
            ("ä\\", Malformed::TrailingBackslash(2)),
            ("[\\", Malformed::TrailingBackslash(1)),
        ] {
            assert_eq!(compile(pattern), Err(why), "{pattern}");
        }
    }

    /// The definition, word for word: each star tries every run. Exponential and obviously right.
    fn slow(glob: &[Token], path: &[u8]) -> bool {
        match glob {
            [] => path.is_empty(),
            [Token::Star, rest @ ..] => {
                let run = path.iter().position(|b| *b == b'/').unwrap_or(path.len());
                (0..=run).any(|end| slow(rest, &path[end..]))
            }
            [one, rest @ ..] => {
                let Some(length) = (!path.is_empty()).then(|| slow_one(one, path)).flatten() else { return false };
                slow(rest, &path[length..])
            }
        }
    }

    fn slow_one(one: &Token, path: &[u8]) -> Option<usize> {
        let (c, length) = slow_first(path);
        let fits = match one {
            Token::Byte(byte) => return (path[0] == *byte).then_some(1),
            Token::AnyChar => c != '/',
            Token::Class { negated: false, ranges } => ranges.iter().any(|(low, high)| *low <= c && c <= *high),
            Token::Class { negated: true, ranges } => !ranges.iter().any(|(low, high)| *low <= c && c <= *high),
            Token::Star => unreachable!("handled by the caller"),
        };
        fits.then_some(length)
    }

    fn slow_first(path: &[u8]) -> (char, usize) {
        (1..=path.len().min(4))
            .find_map(|n| std::str::from_utf8(&path[..n]).ok())
            .and_then(|text| text.chars().next())
            .map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
    }

    fn class_takes_slash(glob: &[Token]) -> bool {
        glob.iter().any(|token| token.class_contains('/'))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn agrees_with_the_definition(pattern in r"[ab/*?ä\[\]^\\-]{0,10}", path in "[ab/ä^-]{0,9}") {
            let Ok(glob) = compile(&pattern) else { return Ok(()) };
            let (fast, slow) = (matches(&glob, path.as_bytes()), slow(&glob, path.as_bytes()));
            // A class that takes `/` is the one case where going back to the last star only can miss a match.
            // Go's function misses the same ones, so they stay.
            if class_takes_slash(&glob) {
                prop_assert!(slow || !fast, "{pattern} {path}");
            } else {
                prop_assert_eq!(fast, slow, "{} {}", pattern, path);
            }
        }

        #[test]
        fn agrees_with_the_definition_on_stars(pattern in "[ab*?]{0,14}", path in "[ab]{0,12}") {
            let glob = compile(&pattern).unwrap();
            prop_assert_eq!(matches(&glob, path.as_bytes()), slow(&glob, path.as_bytes()));
        }

        #[test]
        fn agrees_with_the_definition_on_any_bytes(pattern in "[a*?ä]{0,6}", path in prop::collection::vec(any::<u8>(), 0..8)) {
            let glob = compile(&pattern).unwrap();
            prop_assert_eq!(matches(&glob, &path), slow(&glob, &path));
        }

        #[test]
        fn cost_stays_below_the_promise(pattern in "[ab*?/]{0,40}", path in "[ab/]{0,200}") {
            prop_assert!(steps(&pattern, &path) <= bound(&pattern, &path));
        }

        #[test]
        fn text_without_special_characters_matches_itself(text in r"[^*?\[\\]{0,40}") {
            let glob = compile(&text).unwrap();
            prop_assert!(matches(&glob, text.as_bytes()));
            let longer = text + "x";
            prop_assert!(!matches(&glob, longer.as_bytes()));
        }

        #[test]
        fn escaped_text_matches_itself(text in "\\PC{0,20}") {
            let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert!(matches(&compile(&escaped).unwrap(), text.as_bytes()));
        }

        #[test]
        fn compiling_never_panics(pattern in "\\PC{0,40}") {
            let _ = compile(&pattern);
        }
    }
}
