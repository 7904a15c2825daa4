//! All names of a store.

use std::time::Duration;

use kes_keystore::{Error, KeyName, KeyStore, Operation};

use super::copy::{is_outage, limited, patiently};

/// Names asked for at once. Stores with smaller pages of their own gather them.
pub(super) const PAGE: usize = 10_000;

/// A listing may take longer than a single key.
const LIMIT: Duration = Duration::from_secs(120);

/// Every name that begins with `prefix`, in order, whatever the number.
///
/// # Errors
/// The store's, or that its pages lead nowhere: a name that is left out would be a key that is lost.
pub(super) async fn names(store: &dyn KeyStore, prefix: &str, page: usize) -> Result<Vec<KeyName>, Error> {
    let mut names: Vec<KeyName> = Vec::new();
    let mut from: Option<KeyName> = None;
    loop {
        let start = from.as_ref().map(KeyName::as_str);
        let list = || limited(store, Operation::List, LIMIT, store.list(prefix, start, page));
        let answer = patiently(list, is_outage).await?;
        let behind = names.len();
        names.extend(answer.names.into_iter().filter(|name| start.is_none_or(|start| name.as_str() >= start)));
        names[behind..].sort_unstable();
        names.dedup();
        match answer.next {
            None => return Ok(names),
            Some(next) if from.as_ref().is_none_or(|from| next > *from) => from = Some(next),
            Some(_) => {
                return Err(Error::Failed {
                    entry: store.describe(),
                    operation: Operation::List,
                    remedy: "its pages do not end: nothing was migrated",
                    source: None,
                });
            }
        }
    }
}
