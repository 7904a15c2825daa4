//! Listing keys over a wire that has one parameter for two things (http-api 4, decisions 8).
//!
//! A client sends the `continue_at` of one answer as the prefix of its next request. So every `continue_at` that was
//! handed out is remembered with the prefix it came from; the same caller asking for exactly that text gets the names
//! from there on that carry the original prefix. Any other text is a plain prefix.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use kes_keystore::{Cache, Error, KeyName};

use crate::wire::KeyNames;

/// Bytes of names in one answer; clients read at most 1 MiB.
const MAX_BODY: usize = 1_000_000;
/// Names asked of the store at once.
const PAGE: usize = 10_000;
/// Answers remembered.
const REMEMBERED: usize = 1024;

/// Where lists were cut.
#[derive(Debug, Default)]
pub(super) struct Continuations(Mutex<VecDeque<Cut>>);

#[derive(Debug, PartialEq, Eq)]
struct Cut {
    caller: String,
    prefix: String,
    start: String,
}

impl Continuations {
    fn prefix_of(&self, caller: &str, start: &str) -> Option<String> {
        let cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.iter().rev().find(|cut| cut.caller == caller && cut.start == start).map(|cut| cut.prefix.clone())
    }

    fn remember(&self, caller: &str, prefix: &str, start: &str) {
        let cut = Cut { caller: caller.to_owned(), prefix: prefix.to_owned(), start: start.to_owned() };
        let mut cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cuts.contains(&cut) {
            return;
        }
        if cuts.len() >= REMEMBERED {
            cuts.pop_front();
        }
        cuts.push_back(cut);
    }

    /// The names that `caller` asks for with `text`: a prefix, or where an earlier answer was cut.
    pub(super) async fn list(&self, keys: &Cache, caller: &str, text: &str) -> Result<KeyNames, Error> {
        let (prefix, mut from) = match self.prefix_of(caller, text) {
            Some(prefix) => (prefix, Some(text.to_owned())),
            None => (text.to_owned(), None),
        };
        let mut answer = KeyNames::default();
        let mut bytes = 0;
        loop {
            let page = keys.list(&prefix, from.as_deref(), PAGE).await?;
            for name in &page.names {
                bytes += name.as_str().len() + 3;
                if bytes > MAX_BODY {
                    self.remember(caller, &prefix, name.as_str());
                    name.as_str().clone_into(&mut answer.continue_at);
                    return Ok(answer);
                }
                answer.names.push(name.as_str().to_owned());
            }
            match page.next {
                Some(next) => from = Some(next.as_str().to_owned()),
                None => return Ok(answer),
            }
        }
    }
}

/// Hands every name with a prefix to `take`: for the form that has no place to say that there is more.
pub(super) async fn all(keys: &Cache, prefix: &str, mut take: impl FnMut(&str)) -> Result<(), Error> {
    let mut from: Option<KeyName> = None;
    loop {
        let page = keys.list(prefix, from.as_ref().map(KeyName::as_str), PAGE).await?;
        page.names.iter().for_each(|name| take(name.as_str()));
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

/// The text of a listing pattern: a prefix, with or without `*` at its end. `None` if it is not one.
pub(super) fn prefix(pattern: &[u8]) -> Option<&str> {
    if pattern.len() > 80 {
        return None;
    }
    let prefix = pattern.strip_suffix(b"*").unwrap_or(pattern);
    let allowed = prefix.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let lone = pattern == b"_" || pattern.starts_with(b"-") || pattern.ends_with(b"-");
    if !allowed || lone {
        return None;
    }
    std::str::from_utf8(prefix).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kes_keystore::{KeyStore, cache, memory};

    use super::*;

    #[test]
    fn patterns_are_prefixes() {
        for (pattern, expected) in [
            ("", Some("")),
            ("*", Some("")),
            ("app", Some("app")),
            ("app*", Some("app")),
            ("a-*", Some("a-")),
            ("_a", Some("_a")),
            ("a-", None),
            ("-", None),
            ("-a", None),
            ("_", None),
            ("**", None),
            ("*a", None),
            ("a*b", None),
            ("a.b", None),
            ("é", None),
        ] {
            assert_eq!(prefix(pattern.as_bytes()), expected, "{pattern}");
        }
        assert!(prefix(&[b'a'; 80]).is_some() && prefix(&[b'a'; 81]).is_none());
    }

    #[tokio::test]
    async fn a_list_beyond_one_answer_goes_on_with_its_prefix() {
        let store = Arc::new(memory::Store::default());
        for index in 0..13_000 {
            let name = KeyName::parse(&format!("app-{index:05}{}", "x".repeat(70))).unwrap();
            store.create(&name, b"v").await.unwrap();
        }
        store.create(&KeyName::parse("zoo").unwrap(), b"v").await.unwrap();
        let keys = Cache::new(store, cache::Settings::default());
        let lists = Continuations::default();
        let first = lists.list(&keys, "me", "app").await.unwrap();
        assert!(first.names.len() > 11_000 && first.names.len() < 13_000);
        let rest = lists.list(&keys, "me", &first.continue_at).await.unwrap();
        assert_eq!(first.names.len() + rest.names.len(), 13_000, "all of the prefix, and not zoo");
        assert_eq!(rest.continue_at, "");
        let other = lists.list(&keys, "another", &first.continue_at).await.unwrap();
        assert_eq!(other.names.len(), 1, "for others it is a plain prefix");
    }
}
