//! What a policy says about the names on one route: which keys may be created, which may be opened.
//!
//! A decision needs a path; an auditor asks the other way round, "which keys?". The answer is the rules with the
//! route's path taken off, brought into the shortest form that says the same.

use std::fmt;

use crate::glob::{self, Token};

/// Names of keys, policies or identities, as a rule speaks of them. For people; [`Names::matches`] says which they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Names {
    /// Every name; on a route that no name follows, the route itself.
    All,
    /// The names that begin so. Not empty.
    Prefix(String),
    /// This name alone. On a list route it is the text behind the route, of which `my-*` is one.
    Exact(String),
    /// The names that match a glob.
    Glob(String),
}

impl Names {
    pub(crate) fn glob<'a>(tokens: impl Iterator<Item = &'a Token>) -> Self {
        Self::Glob(glob::text(tokens))
    }

    /// Whether `name` is one of them.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(start) => name.starts_with(start),
            Self::Exact(text) => name == text,
            Self::Glob(pattern) => glob::compile(pattern).is_ok_and(|glob| glob::matches(&glob, name.as_bytes())),
        }
    }

    /// Whether every name that is one of the others is one of these. `false` may also mean that it is hard to say.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Prefix(start), Self::Prefix(text) | Self::Exact(text)) => text.starts_with(start),
            (Self::Prefix(start), Self::Glob(pattern)) => literal_start(pattern).starts_with(start.as_bytes()),
            (_, Self::Exact(text)) => self.matches(text),
            _ => self == other,
        }
    }

    /// Whether a name can be one of both. `true` may also mean that it is hard to say.
    fn may_meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(text), names) | (names, Self::Exact(text)) => names.matches(text),
            _ => {
                let (one, other) = (self.start(), other.start());
                one.starts_with(&other) || other.starts_with(&one)
            }
        }
    }

    /// What all of them begin with.
    fn start(&self) -> Vec<u8> {
        match self {
            Self::All => Vec::new(),
            Self::Prefix(text) | Self::Exact(text) => text.clone().into_bytes(),
            Self::Glob(pattern) => literal_start(pattern),
        }
    }
}

/// As one would write it behind the route: `*`, `my-*`, `my-key`, `key-?`.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Prefix(start) => write!(f, "{start}*"),
            Self::Exact(text) | Self::Glob(text) => f.write_str(text),
        }
    }
}

/// What every match of a glob begins with.
fn literal_start(pattern: &str) -> Vec<u8> {
    let glob = glob::compile(pattern).unwrap_or_default();
    let bytes = glob.iter().map_while(|token| match token {
        Token::Byte(byte) => Some(*byte),
        _ => None,
    });
    bytes.collect()
}

/// What a policy says about the names on one route, without what has no effect there.
///
/// ```
/// use kes_policy::{Matching, Policy, ROUTES};
///
/// let (policy, _) = Policy::new("app".parse()?, &["/v1/key/*"], &["/v1/key/*/internal*"], Matching::Both);
/// let create = ROUTES.iter().find(|route| route.path == "/v1/key/create/").expect("it is there");
/// let reach = policy.reach(create);
/// assert_eq!(reach.to_string(), "* but internal*");
/// # Ok::<(), kes_policy::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// The names that are allowed, each with the position of its rule under `allow`. Empty: nothing is.
    pub allow: Vec<(Names, usize)>,
    /// The names among them that are not, each with the position of its rule under `deny`.
    pub deny: Vec<(Names, usize)>,
}

impl Reach {
    /// Leaves out what other rules say already, and refusals of what nothing allows.
    pub(crate) fn new(allow: Vec<(Names, usize)>, deny: Vec<(Names, usize)>) -> Self {
        let refused = |names: &Names| deny.iter().any(|(denied, _)| denied.covers(names));
        let allow = shortest(allow.into_iter().filter(|(names, _)| !refused(names)).collect());
        let matters = |names: &Names| allow.iter().any(|(allowed, _)| allowed.may_meet(names));
        let deny = shortest(deny.iter().filter(|(names, _)| matters(names)).cloned().collect());
        Self { allow, deny }
    }

    /// Whether no request on the route passes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty()
    }

    /// Whether every request on the route passes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.deny.is_empty() && self.allow.iter().any(|(names, _)| *names == Names::All)
    }

    /// Whether a request on the route that names `name` passes.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        let any = |names: &[(Names, usize)]| names.iter().any(|(names, _)| names.matches(name));
        any(&self.allow) && !any(&self.deny)
    }
}

/// `*`, `my-* a-key but my-internal*`, or nothing.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (names, _)) in self.allow.iter().enumerate() {
            write!(f, "{}{names}", if at > 0 { " " } else { "" })?;
        }
        for (at, (names, _)) in self.deny.iter().enumerate() {
            write!(f, " {}{names}", if at > 0 { "" } else { "but " })?;
        }
        Ok(())
    }
}

/// Without those that others cover; of two that say the same the first stays.
fn shortest(all: Vec<(Names, usize)>) -> Vec<(Names, usize)> {
    let is_covered = |at: usize| {
        let (own, _) = &all[at];
        let covers = |(other, (names, _)): (usize, &(Names, usize))| {
            other != at && names.covers(own) && (other < at || !own.covers(names))
        };
        all.iter().enumerate().any(covers)
    };
    (0..all.len()).filter(|at| !is_covered(*at)).map(|at| all[at].clone()).collect()
}

#[cfg(test)]
mod tests;
