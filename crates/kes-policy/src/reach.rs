//! Which routes a reading of a pattern can reach at all.
//!
//! Exact rather than by samples: the pattern is run, as a set of positions, over the fixed part of the route and then
//! over "any character of a name", as often as a name is long. Only used when a configuration is loaded.

use crate::glob::Token;
use crate::name;
use crate::names::Names;
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
        self.after(route).is_some_and(|mut at| at.ends_in(route.tail))
    }

    /// What may stand behind the route's path. More than one only for a pattern with several ways to match that path,
    /// such as two stars in a row; empty if no well-formed request on the route matches.
    pub(crate) fn names(&self, route: &Route) -> Vec<Names> {
        let Some(after) = self.after(route) else { return Vec::new() };
        let mut names = Vec::new();
        for at in (0..after.is_at.len()).filter(|at| after.is_at[*at]) {
            // Behind a star that is itself among them: the star says the same and more.
            let is_skipped_star = at > 0 && after.is_at[at - 1] && self.0[at - 1].repeats();
            if !is_skipped_star && Positions::at(&self.0, at).ends_in(route.tail) {
                names.push(self.tail(at, route.tail));
            }
        }
        names
    }

    /// The positions behind the fixed part of a route, if that matches.
    fn after(&self, route: &Route) -> Option<Positions<'_>> {
        let mut at = Positions::start(&self.0);
        for byte in route.path.bytes() {
            at.advance(&[byte]);
            if at.nowhere() {
                return None;
            }
        }
        Some(at)
    }

    /// The rest of the reading from `at` on, as a pattern for names.
    fn tail(&self, at: usize, tail: Tail) -> Names {
        let rest = &self.0[at..];
        if tail == Tail::Nothing {
            return Names::All;
        }
        let (literal, open) = match rest {
            [literal @ .., last] if last.repeats() => (literal, true),
            literal => (literal, false),
        };
        let bytes: Option<Vec<u8>> = literal.iter().map(Step::literal).collect();
        let text = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        match (text, open) {
            (Some(text), true) if text.is_empty() => Names::All,
            (Some(text), true) => Names::Prefix(text),
            (Some(text), false) => Names::Exact(text),
            (None, _) => Names::glob(rest.iter().filter_map(Step::token)),
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
        Self::at(steps, 0)
    }

    fn at(steps: &'a [Step<'a>], position: usize) -> Self {
        let mut is_at = vec![false; steps.len() + 1];
        is_at[position] = true;
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

    /// Whether the end can be reached by something that may follow a route.
    fn ends_in(&mut self, tail: Tail) -> bool {
        match tail {
            Tail::Nothing => self.at_end(),
            Tail::Name => self.end_within(name::CHARACTERS, 1, name::MAX_LENGTH),
            Tail::Anything => self.end_within(b"0Aa_-./", 0, 2 * name::MAX_LENGTH),
            Tail::Listing => {
                self.clone().end_after_star(name::MAX_LENGTH) || self.end_within(name::CHARACTERS, 0, name::MAX_LENGTH)
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
    /// The one byte that it stands for.
    fn literal(&self) -> Option<u8> {
        match self {
            Self::Byte(byte) | Self::Token(Token::Byte(byte)) => Some(*byte),
            Self::Token(_) | Self::Rest => None,
        }
    }

    fn token(&self) -> Option<&Token> {
        match self {
            Self::Token(token) => Some(token),
            Self::Byte(_) | Self::Rest => None,
        }
    }

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
