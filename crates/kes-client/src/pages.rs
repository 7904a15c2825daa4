//! Lists, complete.
//!
//! The wire has one text for "names that begin with" and "go on at". Our server tells them apart, so its pages follow
//! each other. The old one takes the text always as a prefix and answers at most 1024 or 1025 names: there the rest is
//! found by asking for the prefixes that sort behind the last name, character by character.

use std::collections::{HashSet, VecDeque};

use kes_api::wire::{IdentityNames, KeyNames, PolicyNames};
use serde::Deserialize;

use crate::Client;
use crate::error::{Cause, Error, ServerError};
use crate::name;
use crate::transport::{Answer, Request};

/// The bytes of names, in their order. `-` is left out: it sorts first, so it is never behind another.
const AFTER_DASH: &[u8; 63] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

/// What is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    Keys,
    Policies,
    Identities,
}

impl Listing {
    fn path(self, text: &str) -> String {
        let what = match self {
            Self::Keys => "key",
            Self::Policies => "policy",
            Self::Identities => "identity",
        };
        // With its slash: the old server answers a redirect without.
        format!("/v1/{what}/list/{text}")
    }
}

/// Names, sorted, fetched page by page. Call [`Names::next`] until it gives `None`, or [`Names::all`].
#[derive(Debug)]
pub struct Names {
    client: Client,
    listing: Listing,
    prefix: String,
    /// What to ask next, last first.
    steps: Vec<Step>,
    ready: VecDeque<String>,
    last: String,
    ephemeral: HashSet<String>,
}

#[derive(Debug)]
enum Step {
    /// All names that begin with this.
    Prefix(String),
    /// The names from `at` on, which begin with `scope`, after a page of `before` names.
    Continue { at: String, scope: String, before: usize },
}

/// One answer.
struct Page {
    names: Vec<String>,
    continue_at: String,
    ephemeral: Vec<String>,
}

impl Names {
    pub(crate) fn new(client: Client, listing: Listing, prefix: &str) -> Result<Self, Error> {
        let steps = vec![Step::Prefix(name::listable(prefix).to_owned())];
        let (ready, last) = (VecDeque::new(), String::new());
        Ok(Self { client, listing, prefix: prefix.to_owned(), steps, ready, last, ephemeral: HashSet::new() })
    }

    /// Whether a policy or an identity that [`Names::next`] has given was made or changed over the API, and so is gone
    /// after a restart or a reload of the server. MinIO KES never says so.
    #[must_use]
    pub fn is_ephemeral(&self, name: &str) -> bool {
        self.ephemeral.contains(name)
    }

    /// The next name, or `None` after the last.
    ///
    /// # Errors
    /// [`Error`]; a further call tries the same page again.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(name) = self.ready.pop_front() {
                return Ok(Some(name));
            }
            if !self.fetch().await? {
                return Ok(None);
            }
        }
    }

    /// All names that are left.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn all(mut self) -> Result<Vec<String>, Error> {
        while self.fetch().await? {}
        Ok(self.ready.into())
    }

    /// Takes one step; false if none is left.
    async fn fetch(&mut self) -> Result<bool, Error> {
        let Some(step) = self.steps.last() else { return Ok(false) };
        let text = match step {
            Step::Prefix(text) => text.clone(),
            Step::Continue { at, .. } => at.clone(),
        };
        let page = self.page(&text).await?;
        let step = self.steps.pop();
        let scope = match step {
            Some(Step::Continue { at, scope, before }) => {
                let literal = page.names.iter().all(|name| name.starts_with(&at));
                if literal && matches!(before, 1024 | 1025) {
                    self.search_behind(&at, &scope);
                    at
                } else {
                    scope
                }
            }
            _ => text,
        };
        if !page.continue_at.is_empty() {
            self.steps.push(Step::Continue { at: page.continue_at, scope, before: page.names.len() });
        }
        self.ephemeral.extend(page.ephemeral);
        self.take(page.names);
        Ok(true)
    }

    /// Asks for every prefix inside `scope` that sorts behind `name` and is no beginning of it.
    fn search_behind(&mut self, name: &str, scope: &str) {
        let first = |at: usize| name.as_bytes().get(at).copied().unwrap_or_default();
        for at in scope.len()..name.len() {
            for &byte in AFTER_DASH.iter().rev().take_while(|byte| **byte > first(at)) {
                let prefix = format!("{}{}", &name[..at], char::from(byte));
                if prefix == "_" {
                    // No server lists a lone `_`. Names that begin with `_-` stay unseen on the old one.
                    self.steps
                        .extend(AFTER_DASH.iter().rev().map(|next| Step::Prefix(format!("_{}", char::from(*next)))));
                } else {
                    self.steps.push(Step::Prefix(prefix));
                }
            }
        }
    }

    /// Keeps what is new and wanted. Names come in order, so "new" is "behind the last".
    fn take(&mut self, names: Vec<String>) {
        for name in names {
            if name.starts_with(&self.prefix) && (self.last.is_empty() || name > self.last) {
                self.last.clone_from(&name);
                self.ready.push_back(name);
            }
        }
    }

    async fn page(&self, text: &str) -> Result<Page, Error> {
        let request = Request::get(self.listing.path(text));
        let answer = self.client.accepted(&request).await?;
        let read = if answer.content_type == "application/x-ndjson" { lines(&answer)? } else { self.object(&answer) };
        read.map_err(|error| self.client.misunderstood(&request, Cause::of(error)))
    }

    fn object(&self, answer: &Answer) -> Result<Page, serde_json::Error> {
        Ok(match self.listing {
            Listing::Keys => {
                let KeyNames { names, continue_at } = serde_json::from_slice(&answer.body)?;
                Page { names, continue_at, ephemeral: Vec::new() }
            }
            Listing::Policies => {
                let PolicyNames { names, continue_at, ephemeral } = serde_json::from_slice(&answer.body)?;
                Page { names, continue_at, ephemeral }
            }
            Listing::Identities => {
                let IdentityNames { identities: names, continue_at, ephemeral } = serde_json::from_slice(&answer.body)?;
                Page { names, continue_at, ephemeral }
            }
        })
    }
}

/// A line of the lists before 2023-10-24, which were neither sorted nor paged.
#[derive(Deserialize)]
struct Line {
    #[serde(default, alias = "Name", alias = "identity")]
    name: String,
    #[serde(default)]
    error: String,
}

fn lines(answer: &Answer) -> Result<Result<Page, serde_json::Error>, Error> {
    let mut names = Vec::new();
    for line in serde_json::Deserializer::from_slice(&answer.body).into_iter::<Line>() {
        match line {
            Ok(Line { error, .. }) if !error.is_empty() => return Err(ServerError::new(500, error).into()),
            Ok(Line { name, .. }) => names.push(name),
            Err(error) => return Ok(Err(error)),
        }
    }
    names.sort_unstable();
    Ok(Ok(Page { names, continue_at: String::new(), ephemeral: Vec::new() }))
}

#[cfg(test)]
#[path = "pages/tests.rs"]
mod tests;
