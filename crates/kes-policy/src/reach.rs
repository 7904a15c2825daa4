//! Which routes a reading of a pattern can reach at all.
//!
//! Exact rather than by samples: the pattern is run, as a set of positions, over the fixed part of the route and then
//! over "any character of a name", as often as a name is long. Only used when a configuration is loaded.

use crate::glob::Token;
use crate::name;
use crate::routes::{ROUTES, Route, Tail};
use crate::rule::Rule;

/// One step of a pattern in either reading.
enum Step<'a> {
    Token(&'a Token),
    Byte(u8),
    /// HEAD's trailing `*`: anything, `/` included.
    Rest,
}

/// A way to read one pattern.
pub(crate) struct Reading<'a>(Vec<Step<'a>>);

impl<'a> Reading<'a> {
    /// The reading of releases since 2023-10-24; `None` for the empty pattern, which matches nothing.
    pub(crate) fn head(rule: &'a Rule) -> Option<Self> {
        let text = rule.as_str().as_bytes();
        let (start, rest) = match text.strip_suffix(b"*") {
            Some(start) => (start, Some(Step::Rest)),
            None if text.is_empty() => return None,
            None => (text, None),
        };
        Some(Self(start.iter().copied().map(Step::Byte).chain(rest).collect()))
    }

    /// The reading of releases up to 2023-10-03; `None` if the pattern is malformed.
    pub(crate) fn glob(rule: &'a Rule) -> Option<Self> {
        Some(Self(rule.glob()?.iter().map(Step::Token).collect()))
    }

    /// The routes of which at least one well-formed request matches, in the order of [`ROUTES`].
    pub(crate) fn routes(&self) -> impl Iterator<Item = &'static Route> + '_ {
        ROUTES.iter().filter(|route| self.reaches(route))
    }

    fn reaches(&self, route: &Route) -> bool {
        let mut at = Positions::start(&self.0);
        for byte in route.path.bytes() {
            at.advance(&[byte]);
            if at.nowhere() {
                return false;
            }
        }
        match route.tail {
            Tail::Nothing => at.at_end(),
            Tail::Name => at.end_within(name::CHARACTERS, 1, name::MAX_LENGTH),
            Tail::Anything => at.end_within(b"0Aa_-./", 0, 2 * name::MAX_LENGTH),
            Tail::Listing => {
                at.clone().end_after_star(name::MAX_LENGTH) || at.end_within(name::CHARACTERS, 0, name::MAX_LENGTH)
            }
        }
    }
}

/// The set of positions in a reading that some text so far can have led to.
#[derive(Clone)]
struct Positions<'a> {
    steps: &'a [Step<'a>],
    is_at: Vec<bool>,
}

impl<'a> Positions<'a> {
    fn start(steps: &'a [Step<'a>]) -> Self {
        let mut is_at = vec![false; steps.len() + 1];
        is_at[0] = true;
        let mut positions = Self { steps, is_at };
        positions.skip_stars();
        positions
    }

    fn at_end(&self) -> bool {
        self.is_at.last().is_some_and(|end| *end)
    }

    /// Whether no further text can match.
    fn nowhere(&self) -> bool {
        !self.is_at.contains(&true)
    }

    /// Reads one character, any of `choices`.
    fn advance(&mut self, choices: &[u8]) {
        let mut next = vec![false; self.is_at.len()];
        for (at, step) in self.steps.iter().enumerate().filter(|(at, _)| self.is_at[*at]) {
            if choices.iter().any(|byte| step.takes(*byte)) {
                next[if step.repeats() { at } else { at + 1 }] = true;
            }
        }
        self.is_at = next;
        self.skip_stars();
    }

    /// A star may also match nothing.
    fn skip_stars(&mut self) {
        for (at, step) in self.steps.iter().enumerate() {
            if self.is_at[at] && step.repeats() {
                self.is_at[at + 1] = true;
            }
        }
    }

    /// Whether the end can be reached by `least` to `most` further characters, each any of `choices`.
    fn end_within(&mut self, choices: &[u8], least: usize, most: usize) -> bool {
        for read in 0..=most {
            if read >= least && self.at_end() {
                return true;
            }
            self.advance(choices);
        }
        false
    }

    /// Whether the end can be reached by some characters of a name and one `*`, together at most `most`.
    fn end_after_star(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let before = self.is_at.clone();
            self.advance(b"*");
            if self.at_end() {
                return true;
            }
            self.is_at = before;
            self.advance(name::CHARACTERS);
        }
        false
    }
}

impl Step<'_> {
    fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) | Self::Token(Token::Byte(own)) => *own == byte,
            Self::Token(Token::AnyChar | Token::Star) => byte != b'/',
            Self::Token(class @ Token::Class { .. }) => class.class_contains(char::from(byte)),
            Self::Rest => true,
        }
    }

    fn repeats(&self) -> bool {
        matches!(self, Self::Rest | Self::Token(Token::Star))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_glob(pattern: &str) -> Vec<&'static str> {
        let rule = Rule::parse(pattern);
        Reading::glob(&rule).map(|reading| reading.routes().map(|route| route.path).collect()).unwrap_or_default()
    }

    fn by_head(pattern: &str) -> Vec<&'static str> {
        let rule = Rule::parse(pattern);
        Reading::head(&rule).map(|reading| reading.routes().map(|route| route.path).collect()).unwrap_or_default()
    }

    #[test]
    fn heads_star_crosses_the_slash_and_the_globs_does_not() {
        assert_eq!(by_head("/v1/key/de*"), ["/v1/key/describe/", "/v1/key/delete/", "/v1/key/decrypt/"]);
        assert!(by_glob("/v1/key/de*").is_empty());
        assert_eq!(by_glob("/v1/key/de*/*"), ["/v1/key/describe/", "/v1/key/delete/", "/v1/key/decrypt/"]);
        assert!(by_head("/v1/key/de*/*").is_empty());
        assert_eq!(by_head("*").len(), ROUTES.len());
    }

    #[test]
    fn only_names_that_can_exist_count() {
        assert_eq!(by_glob("/v1/key/create/my-key"), ["/v1/key/create/"]);
        assert!(by_glob("/v1/key/create/my.key").is_empty());
        assert!(by_glob("/v1/key/create/").is_empty());
        assert!(by_glob("/v1/key/create/[^a-zA-Z0-9_-]*").is_empty());
        assert_eq!(by_glob("/v1/key/create/[.x]"), ["/v1/key/create/"]);
        assert_eq!(by_glob(&format!("/v1/key/create/{}", "?".repeat(80))), ["/v1/key/create/"]);
        assert!(by_glob(&format!("/v1/key/create/{}", "?".repeat(81))).is_empty());
        assert!(by_head("/v1/key/create/a/*").is_empty());
    }

    #[test]
    fn lists_take_an_empty_tail_and_a_star_at_the_end() {
        assert_eq!(by_head("/v1/key/list/"), ["/v1/key/list/"]);
        assert_eq!(by_glob("/v1/key/list/my\\*"), ["/v1/key/list/"]);
        assert_eq!(by_glob("/v1/key/list/[*]"), ["/v1/key/list/"]);
        assert!(by_glob("/v1/key/list/\\*a").is_empty());
        assert!(by_glob(&format!("/v1/key/list/{}\\*", "?".repeat(80))).is_empty());
    }

    #[test]
    fn a_class_may_stand_for_the_slash() {
        assert_eq!(by_glob("/v1[/]status"), ["/v1/status"]);
    }
}
