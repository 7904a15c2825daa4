//! Moving entries into the seal and out of it, key by key.
//!
//! Each key takes the same steps, and after each of them it is whole under its name:
//!
//! 1. the new value is made and opened again in memory;
//! 2. on the way in, the value from before is copied aside, to the entry `-kes-plain-<name>`;
//! 3. the value is [replaced](super::swap);
//! 4. it is read back from the store, opened, and compared with the value from before.
//!
//! Whoever is killed on the way makes the same call again. The copies stay until [`Unlocked::finish`], or until the key
//! is deleted.

use super::entry;
use super::survey::{Form, form, names};
use super::table::Entries;
use super::{Error, Unlocked, swap, table};
use crate::{KeyName, KeyStore, Value};

/// What has become of the entries of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many entries were changed now.
    pub changed: usize,
    /// How many were already as they should be.
    pub unchanged: usize,
    /// What was left alone, with the reason: it is no key, or cannot be read.
    pub left: Vec<(KeyName, String)>,
}

/// Is told of each entry that was changed.
pub type Progress<'a> = dyn FnMut(&KeyName) + Send + 'a;

impl Unlocked {
    /// Seals every key that is not sealed under the current root key. Each is verified, and a copy from before is kept
    /// of those that were not sealed at all. With `accept_plain`, a store that takes sealed keys only takes others
    /// again, which are then sealed: say so only if you know where they come from.
    ///
    /// # Errors
    /// [`Error::Unfinished`] if there are keys in a store that takes sealed ones only; [`Error::Entry`] if one key cannot
    /// be moved safely; [`Error::Changed`], [`Error::Store`]. Keys before that are sealed; another call goes on.
    pub async fn migrate(&mut self, accept_plain: bool, progress: &mut Progress<'_>) -> Result<Report, Error> {
        if self.table.entries == Entries::Sealed {
            let survey = self.survey().await?;
            let plain: Vec<_> = survey.entries.iter().filter(|(_, form)| *form == Form::Plain).collect();
            if let (Some((first, _)), false) = (plain.first(), accept_plain) {
                return Err(Error::Unfinished { count: plain.len(), first: first.to_string() });
            }
            if !plain.is_empty() {
                self.set_entries(Entries::Mixed).await?;
            }
        }
        if self.table.entries == Entries::Unsealing {
            self.set_entries(Entries::Mixed).await?;
        }
        let mut report = Report::default();
        for name in names(self.inner.as_ref()).await? {
            let Some(value) = self.read(&name, &mut report).await? else { continue };
            match form(Some(&self.keys), &name, &value) {
                Form::Sealed => report.unchanged += 1,
                Form::NoKey => report.left.push((name, "it is no key".to_owned())),
                Form::Unreadable(problem) => report.left.push((name, problem)),
                before @ (Form::Plain | Form::Retired) => {
                    match self.seal_one(&name, &value, before == Form::Plain).await? {
                        Moved::Done => {
                            progress(&name);
                            report.changed += 1;
                        }
                        Moved::Deleted => {}
                        Moved::Left(problem) => report.left.push((name, problem.to_owned())),
                    }
                }
            }
        }
        Ok(report)
    }

    /// Puts every key back as MinIO KES stores it, and removes the seal: afterwards the store is not sealed. Keys sealed
    /// from the beginning, and those whose copies are gone, are opened; the others get the bytes they had.
    ///
    /// # Errors
    /// [`Error::Entry`] if a key cannot be opened: then the seal stays; [`Error::Changed`], [`Error::Store`]. Keys before
    /// that are not sealed any more; another call goes on.
    pub async fn undo(mut self, progress: &mut Progress<'_>) -> Result<Report, Error> {
        if self.table.entries != Entries::Unsealing {
            self.set_entries(Entries::Unsealing).await?;
        }
        let mut report = Report::default();
        for name in names(self.inner.as_ref()).await? {
            let Some(value) = self.read(&name, &mut report).await? else { continue };
            match form(Some(&self.keys), &name, &value) {
                Form::Plain => {
                    forget_copy(self.inner.as_ref(), &name).await?;
                    report.unchanged += 1;
                }
                Form::NoKey => report.left.push((name, "it is no key".to_owned())),
                Form::Unreadable(problem) => return Err(Error::Entry { name: name.to_string(), problem }),
                Form::Sealed | Form::Retired => {
                    if self.unseal_one(&name, &value).await? {
                        progress(&name);
                        report.changed += 1;
                    }
                }
            }
        }
        let left = self.survey().await?.count(|form| !matches!(form, Form::Plain | Form::NoKey));
        if let (true, Some((name, problem))) = (left > 0, report.left.first()) {
            return Err(Error::Entry { name: name.to_string(), problem: problem.clone() });
        }
        if left > 0 {
            return Err(Error::Changed { store: self.inner.describe() });
        }
        self.inner.delete(&table::name()).await?;
        Ok(report)
    }

    /// Ends a migration or rotation: the copies from before the seal go, after each was compared with its sealed key; root
    /// keys of before are forgotten; from now on the store takes sealed keys only.
    ///
    /// # Errors
    /// [`Error::Unfinished`] if a key is not sealed under the current root key; [`Error::Entry`] if a copy is not what is
    /// sealed; [`Error::Changed`], [`Error::Store`].
    pub async fn finish(&mut self) -> Result<Report, Error> {
        let survey = self.survey().await?;
        let is_open = |form: &Form| matches!(form, Form::Plain | Form::Retired);
        if let Some((first, _)) = survey.entries.iter().find(|(_, form)| is_open(form)) {
            return Err(Error::Unfinished { count: survey.count(is_open), first: first.to_string() });
        }
        for (name, form) in &survey.entries {
            // The copy may be all that is left of such a key.
            if let (Form::Unreadable(problem), true) = (form, self.has_copy(name).await?) {
                return Err(refused(name, &format!("{problem}, and its copy from before the seal is still there")));
            }
        }
        let mut report = Report::default();
        for (name, form) in survey.entries {
            match form {
                Form::Sealed if self.finish_one(&name).await? => report.changed += 1,
                Form::Sealed => report.unchanged += 1,
                Form::NoKey => report.left.push((name, "it is no key".to_owned())),
                Form::Unreadable(problem) => report.left.push((name, problem)),
                Form::Plain | Form::Retired => {}
            }
        }
        if self.table.entries != Entries::Sealed || !self.keys.retired.is_empty() {
            self.keys.retired.clear();
            let mut table = self.table.clone();
            table.entries = Entries::Sealed;
            table.retire(&self.keys)?;
            self.write(table).await?;
        }
        Ok(report)
    }

    async fn set_entries(&mut self, entries: Entries) -> Result<(), Error> {
        let mut table = self.table.clone();
        table.entries = entries;
        self.write(table).await
    }

    /// `None` if the key was deleted meanwhile, or cannot be read, which the report then says.
    async fn read(&self, name: &KeyName, report: &mut Report) -> Result<Option<Value>, Error> {
        match swap::get(self.inner.as_ref(), name).await {
            Ok(value) => Ok(Some(value)),
            Err(crate::Error::NotFound) => Ok(None),
            Err(error @ crate::Error::Damaged { .. }) => {
                report.left.push((name.clone(), error.to_string()));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn seal_one(&self, name: &KeyName, before: &Value, was_plain: bool) -> Result<Moved, Error> {
        let opened;
        let value = if was_plain {
            before
        } else {
            opened =
                entry::open(&self.keys, name, before.expose()).map_err(|broken| refused(name, broken.problem()))?;
            &opened
        };
        let sealed = entry::seal(&self.keys, name, value.expose())?;
        self.compare(name, &sealed, value)?;
        if was_plain {
            self.keep_copy(name, before).await?;
        }
        let refused = match self.swap(name, before.expose(), &sealed).await {
            Ok(true) => None,
            Ok(false) => Some(Moved::Deleted),
            Err(Error::Store(crate::Error::Damaged { problem, .. })) => Some(Moved::Left(problem)),
            Err(error) => return Err(error),
        };
        if let Some(refused) = refused {
            if was_plain {
                forget_copy(self.inner.as_ref(), name).await?;
            }
            return Ok(refused);
        }
        match swap::get(self.inner.as_ref(), name).await {
            Ok(stored) => self.compare(name, stored.expose(), value).map(|()| Moved::Done),
            // Deleted in this instant, by a server that does not know of the copy.
            Err(crate::Error::NotFound) => {
                forget_copy(self.inner.as_ref(), name).await?;
                Ok(Moved::Deleted)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn unseal_one(&self, name: &KeyName, before: &Value) -> Result<bool, Error> {
        let value = entry::open(&self.keys, name, before.expose()).map_err(|broken| refused(name, broken.problem()))?;
        match self.inner.get(&copy_of(name)).await {
            Ok(copy) if copy.expose() != value.expose() => {
                return Err(refused(name, "its copy from before the seal is another key"));
            }
            Ok(_) | Err(crate::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        if !self.swap(name, before.expose(), value.expose()).await? {
            return Ok(false);
        }
        match swap::get(self.inner.as_ref(), name).await {
            Ok(stored) if stored.expose() == value.expose() => {}
            Ok(_) => return Err(refused(name, "the store does not return what was written")),
            Err(crate::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        forget_copy(self.inner.as_ref(), name).await?;
        Ok(true)
    }

    async fn has_copy(&self, name: &KeyName) -> Result<bool, Error> {
        match self.inner.get(&copy_of(name)).await {
            Ok(_) => Ok(true),
            Err(crate::Error::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there was a copy.
    async fn finish_one(&self, name: &KeyName) -> Result<bool, Error> {
        let copy = match self.inner.get(&copy_of(name)).await {
            Ok(copy) => copy,
            Err(crate::Error::NotFound) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        match swap::get(self.inner.as_ref(), name).await {
            Ok(stored) => self.compare(name, stored.expose(), &copy)?,
            Err(crate::Error::NotFound) => {}
            Err(error) => return Err(error.into()),
        }
        forget_copy(self.inner.as_ref(), name).await?;
        Ok(true)
    }

    /// Opens an entry and holds it against the value it must have.
    fn compare(&self, name: &KeyName, sealed: &[u8], value: &Value) -> Result<(), Error> {
        match entry::open(&self.keys, name, sealed) {
            Ok(opened) if opened.expose() == value.expose() => Ok(()),
            Ok(_) => Err(refused(name, "what is sealed is another key than its copy from before")),
            Err(broken) => Err(refused(name, broken.problem())),
        }
    }

    async fn keep_copy(&self, name: &KeyName, value: &Value) -> Result<(), Error> {
        let copy = copy_of(name);
        let there_already = match self.inner.create(&copy, value.expose()).await {
            Ok(()) => false,
            Err(crate::Error::Exists) => true,
            Err(error) => return Err(error.into()),
        };
        match self.inner.get(&copy).await {
            Ok(stored) if stored.expose() == value.expose() => Ok(()),
            Ok(_) if there_already => {
                Err(refused(name, "there is a copy of another key of that name, '-kes-plain-…': look at it"))
            }
            Ok(_) => Err(refused(name, "the store does not return what was written")),
            // A server is deleting the key in this instant, its copy first.
            Err(crate::Error::NotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the value was replaced; not if the key was deleted meanwhile.
    async fn swap(&self, name: &KeyName, old: &[u8], new: &[u8]) -> Result<bool, Error> {
        match swap::replace(self.inner.as_ref(), name, old, new).await {
            Ok(()) => Ok(true),
            Err(crate::Error::NotFound) => Ok(false),
            Err(crate::Error::Exists) => Err(Error::Changed { store: self.inner.describe() }),
            Err(error) => Err(error.into()),
        }
    }
}

/// What became of a key that was to be sealed.
enum Moved {
    /// It is sealed, and was read back.
    Done,
    /// It was deleted meanwhile.
    Deleted,
    /// The store cannot replace it, for this reason; it is as it was.
    Left(&'static str),
}

fn refused(name: &KeyName, problem: &str) -> Error {
    Error::Entry { name: name.to_string(), problem: problem.to_owned() }
}

/// Where the value from before the seal is kept.
pub(super) fn copy_of(name: &KeyName) -> KeyName {
    KeyName::reserved(&format!("-kes-plain-{name}"))
}

/// Deletes that copy, if there is one.
pub(super) async fn forget_copy(store: &dyn KeyStore, name: &KeyName) -> Result<(), crate::Error> {
    match store.delete(&copy_of(name)).await {
        Err(crate::Error::NotFound) => Ok(()),
        deleted => deleted,
    }
}
