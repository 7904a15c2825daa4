//! Lists of names: `kes ls`, `kes key ls`.

use kes_client::Names;

use crate::args::{Global, Ls, Pattern};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output};
use crate::{glob, online};

/// What is listed: its header, and how errors call it.
#[derive(Clone, Copy)]
enum What {
    Keys,
    Identities,
    Policies,
}

/// A name, and whether it is there, or as it is, only until the server restarts or reads its configuration again.
struct Listed {
    name: String,
    is_ephemeral: bool,
}

impl Listed {
    fn line(&self) -> String {
        format!("{}{}\n", self.name, if self.is_ephemeral { "  ephemeral" } else { "" })
    }
}

/// `kes ls`.
pub(crate) fn all(global: &Global, output: &Output, ls: &Ls) -> Outcome {
    let what = match (ls.policy, ls.identity) {
        (true, true) => {
            let text = "'-p / --policy' and '-i / --identity' must not be used at the same time";
            return Err(Failure { status: crate::failure::Status::Usage, ..Failure::new(text) });
        }
        (true, false) => What::Policies,
        (false, true) => What::Identities,
        (false, false) => What::Keys,
    };
    let names = fetch(global, what, &ls.pattern, |failure| failure)?;
    show(output, what, &names)
}

/// `kes key ls`.
pub(crate) fn keys(global: &Global, output: &Output, pattern: &Pattern) -> Outcome {
    let names = fetch(global, What::Keys, pattern, |failure| failure.while_doing("failed to list keys"))?;
    show(output, What::Keys, &names)
}

/// `kes policy ls`.
///
/// Departs from upstream: there the header is `Key`, and errors speak of keys.
pub(crate) fn policies(global: &Global, output: &Output, pattern: &Pattern) -> Outcome {
    let names = fetch(global, What::Policies, pattern, |failure| failure.while_doing("failed to list policies"))?;
    show(output, What::Policies, &names)
}

/// `kes identity ls`.
pub(crate) fn identities(global: &Global, output: &Output, pattern: &Pattern) -> Outcome {
    let names = fetch(global, What::Identities, pattern, |failure| failure.while_doing("failed to list identities"))?;
    show(output, What::Identities, &names)
}

/// `words` puts what was tried before an answer of the server; a mistake in the credentials is told without.
fn fetch(global: &Global, what: What, pattern: &Pattern, words: impl Fn(Failure) -> Failure) -> Outcome<Vec<Listed>> {
    let limit = pattern.limit.unwrap_or(usize::MAX);
    let pattern = pattern.pattern.as_deref().unwrap_or_default();
    let is_glob = glob::is_glob(pattern);
    let prefix = if is_glob { glob::literal_prefix(pattern) } else { pattern };
    online(global, async |client| {
        let failed = |error: kes_client::Error| words(error.into());
        let mut list: Names = match what {
            What::Keys => client.list_keys(prefix),
            What::Identities => client.list_identities(prefix),
            What::Policies => client.list_policies(prefix),
        }
        .map_err(failed)?;
        let mut names = Vec::new();
        while names.len() < limit
            && let Some(name) = list.next().await.map_err(failed)?
        {
            if !is_glob || glob::matches(pattern, &name) {
                let is_ephemeral = list.is_ephemeral(&name);
                names.push(Listed { name, is_ephemeral });
            }
        }
        Ok(names)
    })
}

fn show(output: &Output, what: What, names: &[Listed]) -> Outcome {
    let plain: Vec<&str> = names.iter().map(|listed| listed.name.as_str()).collect();
    if let Some(document) = output.document(&plain)? {
        return output::print(document);
    }
    if names.is_empty() {
        return Ok(());
    }
    let header = match what {
        What::Keys => "Key",
        What::Identities => "Identity",
        What::Policies => "Policy",
    };
    let lines: String = names.iter().map(Listed::line).collect();
    output::print(format!("{}\n{lines}", output.underline(header)))
}
