//! Looking at every entry of a store.

use super::keyring::Keyring;
use super::{Error, entry, swap};
use crate::{KeyName, KeyStore, Value};
use kes_crypto::KeyVersion;

/// In which form a key lies in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Form {
    /// Sealed under the current root key.
    Sealed,
    /// Sealed under a root key of before.
    Retired,
    /// A key as MinIO KES stores it.
    Plain,
    /// Something else under the name of a key: no key, so it is left alone.
    NoKey,
    /// It cannot be read or opened, for this reason.
    Unreadable(String),
}

/// The forms of all entries of a store, by name.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In the order of the names.
    pub entries: Vec<(KeyName, Form)>,
}

impl Survey {
    /// How many entries have such a form.
    #[must_use]
    pub fn count(&self, is: impl Fn(&Form) -> bool) -> usize {
        self.entries.iter().filter(|(_, form)| is(form)).count()
    }

    /// Reads every entry of a store, sealed or not. Sealed ones are told by their looks; [`Unlocked::survey`] opens them.
    ///
    /// [`Unlocked::survey`]: super::Unlocked::survey
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn of(store: &dyn KeyStore) -> Result<Self, Error> {
        Self::take(store, None).await
    }

    /// Reads every entry; without keys, sealed ones are told by their looks.
    pub(super) async fn take(store: &dyn KeyStore, keys: Option<&Keyring>) -> Result<Self, Error> {
        let mut entries = Vec::new();
        for name in names(store).await? {
            match swap::get(store, &name).await {
                Ok(value) => entries.push((name.clone(), form(keys, &name, &value))),
                // Deleted meanwhile.
                Err(crate::Error::NotFound) => {}
                Err(error @ crate::Error::Damaged { .. }) => entries.push((name, Form::Unreadable(error.to_string()))),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { entries })
    }
}

impl super::Unlocked {
    /// Reads and opens every entry.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn survey(&self) -> Result<Survey, Error> {
        Survey::take(self.inner.as_ref(), Some(&self.keys)).await
    }
}

/// All names of a store.
pub(super) async fn names(store: &dyn KeyStore) -> Result<Vec<KeyName>, crate::Error> {
    let (mut names, mut from) = (Vec::new(), None::<KeyName>);
    loop {
        let page = store.list("", from.as_ref().map(KeyName::as_str), 1000).await?;
        names.extend(page.names);
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(names),
        }
    }
}

pub(super) fn form(keys: Option<&Keyring>, name: &KeyName, value: &Value) -> Form {
    let value = value.expose();
    if !entry::is_sealed(value) {
        return if KeyVersion::parse(value).is_ok() { Form::Plain } else { Form::NoKey };
    }
    let Some(keys) = keys else { return Form::Sealed };
    match entry::open(keys, name, value) {
        Ok(_) if entry::claims_root(value, &keys.current.id) => Form::Sealed,
        Ok(_) => Form::Retired,
        Err(broken) => Form::Unreadable(broken.problem().to_owned()),
    }
}
