//! Where the store, and the keys for these commands, come from.

use std::path::PathBuf;

use kes_config::{Config, File};
use kes_keystore::sealed::{Argon2Costs, Error, NewSlot, RecoveryKey, SealingKey, Unlocked};

use super::arguments::{Access, NewKey};
use crate::environment;
use crate::failure::{Failure, Outcome, Status};
use crate::input::{self, Secret};

/// The store that a configuration names, and what the command line says to open it with.
pub(crate) struct Place {
    pub(crate) config: Config,
    recovery: Option<SealingKey>,
}

impl Place {
    /// Reads the configuration file, and the recovery key if one was named.
    pub(crate) fn find(access: &Access, command: &str) -> Outcome<Self> {
        let named = || environment::first(&["KES_CONFIG"], &environment::process).map(PathBuf::from);
        let Some(path) = access.config.clone().or_else(named) else {
            let failure = Failure::usage("no configuration file specified", command);
            return Err(failure.hint("add --config FILE of the server, or set KES_CONFIG"));
        };
        let loaded = File::read(&path).and_then(|file| file.load()).map_err(|error| refused(&error))?;
        let recovery = access.recovery_key.as_deref().map(recovery_key).transpose()?;
        Ok(Self { config: loaded.config, recovery })
    }

    /// The recovery key of the command line, then the keys that the configuration names. Those may be what was lost, so
    /// a key file that is not there any more is no failure beside a recovery key.
    pub(crate) async fn keys(&mut self) -> Outcome<Vec<SealingKey>> {
        let configured = self.config.store.sealing_keys().await;
        match self.recovery.take() {
            None => configured.map_err(|error| refused(&error)),
            Some(recovery) => Ok(std::iter::once(recovery).chain(configured.unwrap_or_default()).collect()),
        }
    }

    /// Opens the seal of the store.
    pub(crate) async fn unlock(&mut self) -> Outcome<(Unlocked, Vec<SealingKey>)> {
        let inner = self.config.store.open_beneath().await.map_err(|error| refused(&error))?;
        let keys = self.keys().await?;
        let opened = Unlocked::open(inner, &keys).await.map_err(|error| self.failed(error))?;
        self.check_id(&opened.table().store)?;
        Ok((opened, keys))
    }

    /// A configuration that names one store must not change another.
    pub(crate) fn check_id(&self, found: &str) -> Outcome {
        match self.config.store.seal().and_then(|seal| seal.store.as_deref()) {
            Some(expected) if expected != found => Err(self.failed(Error::OtherStore {
                store: self.config.store.backend().to_string(),
                expected: expected.to_owned(),
                found: format!("it is the store {found}"),
            })),
            _ => Ok(()),
        }
    }

    pub(crate) fn failed(&self, error: Error) -> Failure {
        let status = match &error {
            Error::AlreadySealed { .. } | Error::SameKey(_) | Error::Conflict { .. } => Status::Exists,
            Error::NoSlot(_) => Status::NotFound,
            Error::Store(_) | Error::External { .. } => Status::StoreUnavailable,
            _ => Status::General,
        };
        let hint = match &error {
            Error::Unfinished { .. } => Some("'kes seal migrate --config FILE' seals them"),
            Error::MissingKeys { .. } => {
                Some("give them with --passphrase, --key or --recovery-key, or drop those slots with --drop SLOT")
            }
            Error::LastSlot(_) => Some("add another slot first: kes seal add"),
            _ => None,
        };
        let is_about_opening = matches!(
            error,
            Error::WrongKey { .. }
                | Error::OtherStore { .. }
                | Error::NotSealed { .. }
                | Error::TableMissing { .. }
                | Error::Damaged { .. }
                | Error::External { .. }
        );
        let failure =
            if is_about_opening { refused(&self.config.store.seal_error(error)) } else { Failure::of(&error) };
        let failure = Failure { status, ..failure };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// `1 key`, `2 keys`.
pub(crate) fn keys(count: usize) -> String {
    if count == 1 { "1 key".to_owned() } else { format!("{count} keys") }
}

/// What the configuration is refused for, in its own form: text, place and hint.
pub(crate) fn refused(error: &kes_config::Error) -> Failure {
    Failure::new(error.to_string())
}

/// The secret that a source stands for. A secret itself is no source: process lists and shell histories show it.
fn secret(source: &str, what: &str) -> Outcome<Secret> {
    if let Some(name) = source.strip_prefix("env:") {
        let value =
            environment::process(name).ok_or_else(|| Failure::new(format!("the variable {name} is not set")))?;
        return Ok(Secret::new(value.into_bytes()));
    }
    if source != "-" && !source.starts_with('@') {
        let failure = Failure::new(format!("{what} must not stand on the command line"));
        return Err(Failure { status: Status::Usage, ..failure }
            .hint("write - to read it from standard input, @FILE from a file, or env:NAME from a variable"));
    }
    input::value(source)
}

/// How messages and slots name a source.
fn name(source: &str, what: &str) -> String {
    match source {
        "" | "-" => what.to_owned(),
        _ => source.trim_start_matches('@').to_owned(),
    }
}

/// A passphrase that opens something; without a source it is asked for.
pub(crate) fn passphrase(source: &str) -> Outcome<SealingKey> {
    let text = match source {
        "" => Secret::new(ask("Passphrase: ", "--passphrase")?.as_bytes().to_vec()),
        _ => secret(source, "a passphrase")?,
    };
    SealingKey::passphrase(name(source, "passphrase"), &text).map_err(|error| Failure::of(&error))
}

pub(crate) fn key(source: &str) -> Outcome<SealingKey> {
    let content = secret(source, "a key")?;
    let key = SealingKey::key_from(name(source, "key"), &content).map_err(|error| Failure::of(&error));
    key.map_err(|failure| failure.hint("this makes one: head -c 32 /dev/urandom | base64"))
}

fn recovery_key(source: &str) -> Outcome<SealingKey> {
    let text = match source {
        "" => ask("Recovery key: ", "--recovery-key")?,
        _ => {
            let bytes = secret(source, "a recovery key")?;
            let text = std::str::from_utf8(&bytes).map_err(|_| Failure::new("the recovery key is no text"))?;
            zeroize::Zeroizing::new(text.to_owned())
        }
    };
    let key = RecoveryKey::parse(&text).map_err(|error| Failure::of(&error))?;
    Ok(SealingKey::recovery(name(source, "recovery key"), key))
}

fn ask(prompt: &str, flag: &str) -> Outcome<zeroize::Zeroizing<String>> {
    if !input::is_interactive() {
        let failure = Failure::new("there is no terminal to ask on");
        return Err(failure.hint(format!("write {flag} @FILE, {flag} - or {flag} env:NAME")));
    }
    input::password(prompt)
}

/// A slot to be made, and its recovery key if it is one: that is to be shown before the slot is made.
pub(crate) fn new_slot(new: &NewKey, command: &str) -> Outcome<(NewSlot, Option<RecoveryKey>)> {
    let (key, recovery) = match (&new.passphrase, &new.key, new.recovery) {
        (Some(source), _, _) if source.is_empty() => (new_passphrase()?, None),
        (Some(source), _, _) => (passphrase(source)?, None),
        (_, Some(source), _) => (key(source)?, None),
        (_, _, true) => {
            let (key, shown) = new_recovery_key()?;
            (key, Some(shown))
        }
        _ => {
            let failure = Failure::usage("nothing to open the slot with", command);
            return Err(failure.hint("add --passphrase, --key SOURCE or --recovery"));
        }
    };
    let costs = Argon2Costs { memory_kib: new.memory << 10, passes: new.passes, lanes: 1 };
    Ok((NewSlot { key, label: new.label.clone().unwrap_or_default(), costs }, recovery))
}

fn new_passphrase() -> Outcome<SealingKey> {
    let first = ask("New passphrase: ", "--passphrase")?;
    if *first != *ask("Again: ", "--passphrase")? {
        return Err(Failure::new("the two passphrases differ"));
    }
    SealingKey::passphrase("passphrase", first.as_bytes()).map_err(|error| Failure::of(&error))
}

/// Twice the same recovery key: one to seal with, one to show.
pub(crate) fn new_recovery_key() -> Outcome<(SealingKey, RecoveryKey)> {
    let shown = RecoveryKey::generate().map_err(|error| Failure::of(&error))?;
    let sealing = RecoveryKey::parse(&shown.to_text()).expect("what it writes it reads");
    Ok((SealingKey::recovery("recovery key", sealing), shown))
}
