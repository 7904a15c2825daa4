//! `kes key import --minio-static`: MinIO's built-in key, put into the key store that a configuration file names.
//!
//! The API cannot carry such a key: an imported one gets a random HMAC key, and MinIO's root credentials may hang on the
//! static key's own. So the record is written by this command itself, into any store, a sealed one included.

use std::path::{Path, PathBuf};

use kes_config::Config;
use kes_crypto::KeyVersion;
use kes_crypto::static_key::StaticKey;
use kes_keystore::{ErrorKind, KeyName, KeyStore};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::args::Import;
use crate::environment::{self, Lookup};
use crate::failure::{Failure, Outcome, Status};
use crate::{input, offline};

/// MinIO's variables for such a key, and whether they name a file.
const VARIABLES: &[(&str, bool)] = &[
    ("MINIO_KMS_SECRET_KEY", false),
    ("MINIO_KMS_SECRET_KEY_FILE", true),
    ("MINIO_KMS_MASTER_KEY", false),
    ("MINIO_SSE_MASTER_KEY", false),
    ("MINIO_SSE_MASTER_KEY_FILE", true),
];

/// Where Docker and Podman put secrets.
const SECRETS: &str = "/run/secrets";

pub(crate) fn run(import: &Import) -> Outcome {
    let path =
        import.config.clone().or_else(|| environment::first(&["KES_CONFIG"], &environment::process).map(PathBuf::from));
    let Some(path) = path else {
        return Err(Failure::usage("no configuration file specified", "kes key import").hint(
            "MinIO's key is written into the store itself, since the API would give it another HMAC key: \
             add --config FILE of the server",
        ));
    };
    let Words { name, source } = words(import)?;
    let key = match source {
        Some(source) => parse(&input::text(&source)?, if source == "-" { "standard input" } else { &source[1..] })?,
        None => from_environment(&environment::process)?,
    };
    if let Some(name) = name.filter(|name| *name != key.name()) {
        let text = format!("MinIO's key is named '{}', not '{name}'", key.name());
        return Err(Failure::new(text).hint("MinIO asks for a key by its own name: leave the name out"));
    }
    let name = KeyName::parse(key.name()).map_err(|error| {
        Failure::new(format!("MinIO's key has a name that cannot be used: {error}"))
            .hint("names have 1 to 80 letters, digits, '-' and '_'; keep such a MinIO on its own key")
    })?;
    let config = load(&path)?;
    offline(async {
        let store = config.open_store().await.map_err(|error| Failure::new(error.to_string()))?;
        write(store.as_ref(), &config, &name, &key).await?;
        // Perhaps it is this command that has sealed the store.
        store.notices().iter().try_for_each(|notice| input::say(&format!("WARNING: {notice}\n")))
    })
}

/// What stands on the command line. The key itself must not.
struct Words<'w> {
    name: Option<&'w str>,
    source: Option<String>,
}

fn words(import: &Import) -> Outcome<Words<'_>> {
    let mut found = Words { name: None, source: None };
    let given = [import.minio_static.as_deref(), import.name.as_deref(), import.key.as_deref()];
    for word in given.into_iter().flatten().filter(|word| !word.is_empty()) {
        let slot_is_free = match word {
            word if word == "-" || word.starts_with('@') => found.source.replace(word.to_owned()).is_none(),
            word if word.contains([':', '=', '/', '+']) => {
                return Err(Failure::usage("the key must not stand on the command line", "kes key import")
                    .hint("write - to read it from standard input, @FILE from a file, or set MINIO_KMS_SECRET_KEY"));
            }
            word => found.name.replace(word).is_none(),
        };
        if !slot_is_free {
            return Err(Failure::usage("too many arguments", "kes key import"));
        }
    }
    Ok(found)
}

/// The key of MinIO's own variables. Several must hold the same key.
fn from_environment(lookup: Lookup<'_>) -> Outcome<StaticKey> {
    let mut found: Option<(&str, StaticKey)> = None;
    for (variable, is_file) in VARIABLES {
        let Some(value) = environment::first(&[variable], lookup).map(Zeroizing::new) else { continue };
        let text = if *is_file { input::text(&format!("@{}", secret_file(&value).display()))? } else { value };
        let key = parse(&text, variable)?;
        match &found {
            Some((other, first)) if !first.is_same_as(&key) => {
                let text = format!("{other} and {variable} hold different keys");
                return Err(Failure::new(text).hint("keep the one that MinIO used"));
            }
            Some(_) => {}
            None => found = Some((variable, key)),
        }
    }
    found.map(|(_, key)| key).ok_or_else(|| {
        Failure::usage("no crypto key specified", "kes key import")
            .hint("set MINIO_KMS_SECRET_KEY as MinIO had it, or write - or @FILE behind --minio-static")
    })
}

/// A path, or the name of a container's secret.
fn secret_file(name: &str) -> PathBuf {
    let path = Path::new(name);
    if name.contains('/') || path.exists() { path.to_owned() } else { Path::new(SECRETS).join(path) }
}

fn parse(text: &str, source: &str) -> Outcome<StaticKey> {
    StaticKey::parse(text).map_err(|error| {
        Failure::new(format!("{source}: {error}"))
            .hint("MinIO has it as <name>:<base64 of 32 bytes> or <name>:<64 hex digits>")
    })
}

fn load(path: &Path) -> Outcome<Config> {
    let loaded = kes_config::File::read(path).and_then(|file| file.load());
    Ok(loaded.map_err(|error| Failure::new(error.to_string()))?.config)
}

async fn write(store: &dyn KeyStore, config: &Config, name: &KeyName, key: &StaticKey) -> Outcome {
    let record = key.to_key_version(OffsetDateTime::now_utc(), config.admin.as_str());
    let record = record.encode().map_err(|error| Failure::of(&error))?;
    let failed = |error: kes_keystore::Error| {
        let status = match error.kind() {
            ErrorKind::Exists => Status::Exists,
            ErrorKind::Unreachable | ErrorKind::Timeout => Status::StoreUnavailable,
            _ => Status::General,
        };
        let doing = format!("failed to import \"{name}\"");
        Failure { status, ..Failure::of(&error) }.while_doing(doing)
    };
    match store.create(name, record.expose()).await {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::Exists => {
            let stored = store.get(name).await.map_err(failed)?;
            if !is_same(stored.expose(), key) {
                return Err(failed(error).hint(
                    "the store has another key of that name, which would not open what MinIO sealed: \
                     if nothing was sealed with it yet, remove it first (kes key rm)",
                ));
            }
        }
        Err(error) => return Err(failed(error)),
    }
    if config.store.seal().is_none() && matches!(config.store.backend(), kes_config::keystore::Backend::Fs(_)) {
        input::say(&format!("WARNING: the key now lies in {}, which is not sealed\n", store.describe()))?;
    }
    Ok(())
}

/// Whether a stored record is this key, as this command writes it.
fn is_same(stored: &[u8], key: &StaticKey) -> bool {
    let Ok(version) = KeyVersion::parse(stored) else { return false };
    let static_key = |bytes: &[u8]| bytes == key.expose();
    static_key(version.key().expose()) && version.hmac_key().is_some_and(|hmac| static_key(hmac.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, Key};
    use clap::Parser;

    fn import(line: &str) -> Import {
        let line = ["kes", "key", "import"].into_iter().chain(line.split(' '));
        let Some(Command::Key(Key::Import(import))) = Cli::try_parse_from(line).unwrap().command else { panic!() };
        import
    }

    #[test]
    fn name_and_source_may_stand_anywhere() {
        for line in [
            "--minio-static @f my-key",
            "--minio-static my-key @f",
            "my-key --minio-static @f",
            "my-key @f --minio-static",
            "--minio-static=@f my-key",
            "my-key @f --minio-static --config c",
        ] {
            let import = import(line);
            let words = words(&import).unwrap();
            assert_eq!((words.name, words.source.as_deref()), (Some("my-key"), Some("@f")), "{line}");
        }
        for line in ["--minio-static -", "- --minio-static", "--minio-static=-"] {
            assert_eq!(words(&import(line)).unwrap().source.as_deref(), Some("-"), "{line}");
        }
        let bare = import("--minio-static");
        assert!(words(&bare).unwrap().source.is_none());
        for line in ["--minio-static @f - x", "a b --minio-static"] {
            assert!(words(&import(line)).is_err(), "{line}");
        }
    }

    #[test]
    fn a_key_on_the_command_line_is_refused_and_not_repeated() {
        for secret in ["my-key:c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI=", "c2VjcmV0/cmV0"] {
            let failure = words(&import(&format!("--minio-static {secret}"))).err().unwrap();
            assert!(!failure.text.contains(secret) && !failure.hint.unwrap_or_default().contains(secret));
            assert_eq!(failure.status, Status::Usage);
        }
    }

    #[test]
    fn minios_variables_are_read_and_must_agree() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let hex = format!("k:{}", "61".repeat(32));
        let base64 = format!("k:{}", kes_crypto::base64::encode(&[b'a'; 32]));
        let other = format!("k:{}", "62".repeat(32));
        std::fs::write(&file, format!("{base64}\n")).unwrap();
        let file = file.display().to_string();
        let read = |variables: &[(&str, &str)]| {
            let lookup =
                |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            from_environment(&lookup).map(|key| key.name().to_owned()).map_err(|failure| failure.text)
        };
        for (variable, is_file) in VARIABLES {
            assert_eq!(read(&[(variable, if *is_file { &file } else { &hex })]).as_deref(), Ok("k"), "{variable}");
        }
        assert!(read(&[("MINIO_KMS_SECRET_KEY", &base64), ("MINIO_SSE_MASTER_KEY", &hex)]).is_ok());
        assert_eq!(
            read(&[("MINIO_KMS_SECRET_KEY_FILE", &file), ("MINIO_SSE_MASTER_KEY", &other)]).unwrap_err(),
            "MINIO_KMS_SECRET_KEY_FILE and MINIO_SSE_MASTER_KEY hold different keys"
        );
        assert_eq!(
            read(&[("MINIO_KMS_SECRET_KEY", "")]).unwrap_err(),
            "no crypto key specified. See 'kes key import --help'"
        );
        let failure = read(&[("MINIO_KMS_SECRET_KEY", "k:not-a-key")]).unwrap_err();
        assert!(failure.starts_with("MINIO_KMS_SECRET_KEY: ") && !failure.contains("not-a-key"), "{failure}");
        assert!(
            read(&[("MINIO_KMS_SECRET_KEY_FILE", "no-such-secret")])
                .unwrap_err()
                .contains("/run/secrets/no-such-secret")
        );
    }
}
