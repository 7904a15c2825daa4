//! Pages of a listing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::KeyName;

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The names, bytewise ascending, without duplicates.
    pub names: Vec<KeyName>,
    /// The first name left out; `None` if this is the last page. It is the `from` of the next call.
    pub next: Option<KeyName>,
}

impl Page {
    /// The page of these names, which may come in any order and more than once: those with the prefix, at or after
    /// `from`, at most `limit`. For stores that can only list everything.
    #[must_use]
    pub fn select(names: impl IntoIterator<Item = KeyName>, prefix: &str, from: Option<&str>, limit: usize) -> Self {
        Self::cut(wanted(names, prefix, from), limit).0
    }

    /// The first of these names, and the rest.
    fn cut(mut names: Vec<KeyName>, limit: usize) -> (Self, Vec<KeyName>) {
        let rest = names.split_off(limit.min(names.len()));
        (Self { names, next: rest.first().cloned() }, rest)
    }
}

fn wanted(names: impl IntoIterator<Item = KeyName>, prefix: &str, from: Option<&str>) -> Vec<KeyName> {
    let is_wanted = |name: &KeyName| name.as_str().starts_with(prefix) && from.is_none_or(|from| name.as_str() >= from);
    let mut names: Vec<KeyName> = names.into_iter().filter(is_wanted).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// For how long what was read serves the pages that follow.
const LISTING_LIVES: Duration = Duration::from_secs(30);
/// So many walks at once; more read everything again for a page.
const MAX_LISTINGS: usize = 16;

/// Listings that were handed out in part, for stores that can only list everything, and slowly: a walk from page to page
/// reads it once. Each rest serves one call, within 30 seconds, and none that begins a walk.
#[derive(Debug, Default)]
pub struct Listings(Mutex<Vec<Listing>>);

#[derive(Debug)]
struct Listing {
    prefix: String,
    rest: Vec<KeyName>,
    read: Instant,
}

impl Listings {
    /// The page that follows one which was handed out just now.
    #[must_use]
    pub fn resume(&self, prefix: &str, from: Option<&str>, limit: usize) -> Option<Page> {
        let from = from?;
        let Listing { rest, read, .. } = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|listing| listing.read.elapsed() < LISTING_LIVES);
            let follows = |listing: &Listing| listing.prefix == prefix && listing.rest[0].as_str() == from;
            let at = all.iter().position(follows)?;
            all.remove(at)
        };
        Some(self.keep(prefix, rest, read, limit))
    }

    /// [`Page::select`] of all names there are. What it leaves out is kept for [`Listings::resume`].
    #[must_use]
    pub fn select(
        &self,
        names: impl IntoIterator<Item = KeyName>,
        prefix: &str,
        from: Option<&str>,
        limit: usize,
    ) -> Page {
        self.keep(prefix, wanted(names, prefix, from), Instant::now(), limit)
    }

    /// The names have changed.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn keep(&self, prefix: &str, names: Vec<KeyName>, read: Instant, limit: usize) -> Page {
        let (page, rest) = Page::cut(names, limit);
        if !rest.is_empty() {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MAX_LISTINGS {
                all.remove(0);
            }
            all.push(Listing { prefix: prefix.to_owned(), rest, read });
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<KeyName> {
        texts.iter().map(|text| KeyName::parse(text).unwrap()).collect()
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let all = names(&["b", "a-2", "A", "a", "a-1", "a", "_x"]);
        let first = Page::select(all.clone(), "", None, 2);
        assert_eq!(first, Page { names: names(&["A", "_x"]), next: names(&["a"]).pop() });
        let second = Page::select(all, "", Some("a"), 9);
        assert_eq!(second, Page { names: names(&["a", "a-1", "a-2", "b"]), next: None });
    }

    #[test]
    fn prefix_and_start_are_independent() {
        let all = names(&["a", "ab", "abc", "b"]);
        assert_eq!(Page::select(all.clone(), "ab", None, 9).names, names(&["ab", "abc"]));
        assert_eq!(Page::select(all.clone(), "a", Some("ab"), 9).names, names(&["ab", "abc"]));
        // A start need not be a name that exists, nor carry the prefix.
        assert_eq!(Page::select(all.clone(), "b", Some("aaa"), 9).names, names(&["b"]));
        assert_eq!(Page::select(all, "", Some("abb"), 9).names, names(&["abc", "b"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_walk_reads_once_and_whoever_begins_reads_anew() {
        let listings = Listings::default();
        let all = names(&["a", "b", "c", "d", "e"]);
        assert_eq!(listings.resume("", Some("c"), 2), None);
        assert_eq!(listings.select(all.clone(), "", None, 2), Page::select(all.clone(), "", None, 2));
        assert_eq!(listings.resume("", None, 2), None, "the first page");
        assert_eq!(listings.resume("", Some("b"), 2), None, "no page that was left out");
        assert_eq!(listings.resume("c", Some("c"), 2), None, "another prefix");
        assert_eq!(listings.resume("", Some("c"), 2), Some(Page::select(all.clone(), "", Some("c"), 2)));
        assert_eq!(listings.resume("", Some("c"), 2), None, "once");
        assert_eq!(listings.resume("", Some("e"), 2), Some(Page { names: names(&["e"]), next: None }));

        let _ = listings.select(all.clone(), "", None, 2);
        listings.clear();
        assert_eq!(listings.resume("", Some("c"), 2), None, "after a change");
        let _ = listings.select(all, "", None, 2);
        tokio::time::advance(LISTING_LIVES).await;
        assert_eq!(listings.resume("", Some("c"), 2), None, "too late");
    }

    #[test]
    fn a_limit_of_zero_yields_only_the_next_name() {
        assert_eq!(Page::select(names(&["b", "a"]), "", None, 0), Page { names: vec![], next: names(&["a"]).pop() });
    }
}
