//! `kes key …`.

use kes_client::KeyType;
use kes_client::wire::{KeyInfo, SecretBytes};
use kes_crypto::{base64, rfc3339};
use kes_identity::ApiKey;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::{Algorithm, Decrypt, Dek, Encrypt, Global, Import, Key, Name, Names, Remove};
use crate::commands::{import_static, list};
use crate::failure::{Failure, Outcome};
use crate::input::{self, Secret};
use crate::online;
use crate::output::{self, Output};

pub(crate) fn run(global: &Global, output: &Output, command: Key) -> Outcome {
    match command {
        Key::Create(names) => create(global, &names),
        Key::Import(import) if import.minio_static.is_some() => import_static::run(&import),
        Key::Import(import) => self::import(global, &import),
        Key::Info(name) => info(global, output, &name),
        Key::Ls(pattern) => list::keys(global, output, &pattern),
        Key::Rm(remove) => rm(global, &remove),
        Key::Encrypt(encrypt) => self::encrypt(global, output, &encrypt),
        Key::Decrypt(decrypt) => self::decrypt(global, output, &decrypt),
        Key::Dek(dek) => self::dek(global, output, &dek),
    }
}

fn create(global: &Global, Names { names, .. }: &Names) -> Outcome {
    if names.is_empty() {
        return Err(missing("key name", "create"));
    }
    online(global, async |client| {
        for name in names {
            let created = client.create_key(name).await;
            created
                .map_err(|error| Failure::from(error).while_doing(format_args!("failed to create key \"{name}\"")))?;
        }
        Ok(())
    })
}

fn import(global: &Global, import: &Import) -> Outcome {
    if import.config.is_some() {
        return Err(Failure::usage("'--config' goes with '--minio-static'", "kes key import"));
    }
    let name = import.name.as_ref().ok_or_else(|| missing("key name", "import"))?;
    let key = import.key.as_ref().ok_or_else(|| missing("crypto key", "import"))?;
    let key = decode(&input::text(key)?, "key", "import")?;
    let cipher = match import.algorithm {
        Algorithm::Aes256 => KeyType::Aes256,
        Algorithm::ChaCha20 => KeyType::ChaCha20,
    };
    online(global, async |client| {
        let imported = client.import_key(name, cipher, secret(&key)).await;
        imported.map_err(|error| Failure::from(error).while_doing(format_args!("failed to import \"{name}\"")))
    })
}

/// What `info` prints, in the order of the labels.
#[derive(Serialize)]
struct Info {
    name: String,
    algorithm: String,
    created_at: String,
    created_by: String,
}

fn info(global: &Global, output: &Output, Name { name, .. }: &Name) -> Outcome {
    let name = name.as_ref().ok_or_else(|| missing("key name", "info"))?;
    let info = online(global, async |client| {
        client.describe_key(name).await.map_err(|error| Failure::from(error).while_doing("failed to describe keys"))
    })?;
    let KeyInfo { name, algorithm, created_at, created_by } = info;
    let info = Info { name, algorithm, created_at: rfc3339::format(created_at), created_by };
    let text = output.document(&info)?.unwrap_or_else(|| info_text(&info));
    output::print(text)
}

fn info_text(info: &Info) -> String {
    // `2025-05-26T22:04:48.635350787Z` without its fraction and zone.
    let date = info.created_at.get(..19).unwrap_or(&info.created_at).replace('T', " ");
    [("Name", &info.name), ("Algorithm", &info.algorithm), ("Date", &date), ("Owner", &info.created_by)]
        .map(|(label, value)| format!("{label:<12}{value}\n"))
        .concat()
}

fn rm(global: &Global, remove: &Remove) -> Outcome {
    let names = &remove.names;
    if names.is_empty() {
        return Err(missing("key name", "rm"));
    }
    if !remove.yes && input::is_interactive() {
        let question = format!("Delete {}? What was sealed with it never opens again. [y/N] ", names.join(", "));
        if !input::confirm(&question)? {
            return Err(Failure::new("nothing was deleted"));
        }
    }
    online(global, async |client| {
        for name in names {
            let deleted = client.delete_key(name).await;
            deleted
                .map_err(|error| Failure::from(error).while_doing(format_args!("failed to remove key \"{name}\"")))?;
        }
        Ok(())
    })
}

fn encrypt(global: &Global, output: &Output, encrypt: &Encrypt) -> Outcome {
    let name = encrypt.name.as_ref().ok_or_else(|| missing("key name", "encrypt"))?;
    let message = encrypt.message.as_ref().ok_or_else(|| missing("message", "encrypt"))?;
    let message = if encrypt.text { Zeroizing::new(message.as_bytes().to_vec()) } else { input::value(message)? };
    let message = if encrypt.base64 { decode(as_text(&message)?, "message", "encrypt")? } else { message };
    let context = context(encrypt.context.as_deref(), "encrypt")?;
    let ciphertext = online(global, async |client| {
        let sealed = client.encrypt(name, secret(&message), &context).await;
        sealed.map_err(|error| Failure::from(error).while_doing("failed to encrypt message"))
    })?;
    values(output, &[("ciphertext", &ciphertext)])
}

fn decrypt(global: &Global, output: &Output, decrypt: &Decrypt) -> Outcome {
    let name = decrypt.name.as_ref().ok_or_else(|| missing("key name", "decrypt"))?;
    let ciphertext = decrypt.ciphertext.as_ref().ok_or_else(|| missing("ciphertext", "decrypt"))?;
    let ciphertext = decode(&input::text(ciphertext)?, "ciphertext", "decrypt")?;
    let context = context(decrypt.context.as_deref(), "decrypt")?;
    let plaintext = online(global, async |client| {
        let opened = client.decrypt(name, &ciphertext, &context).await;
        opened.map_err(|error| Failure::from(error).while_doing("failed to decrypt ciphertext"))
    })?;
    if decrypt.raw {
        return output::print(plaintext.expose());
    }
    values(output, &[("plaintext", plaintext.expose())])
}

fn dek(global: &Global, output: &Output, dek: &Dek) -> Outcome {
    let name = dek.name.as_ref().ok_or_else(|| missing("key name", "dek"))?;
    let context = context(dek.context.as_deref(), "dek")?;
    let key = online(global, async |client| {
        let generated = client.generate_key(name, &context).await;
        generated.map_err(|error| Failure::from(error).while_doing("failed to derive key"))
    })?;
    values(output, &[("plaintext", key.plaintext.expose()), ("ciphertext", &key.ciphertext)])
}

/// Prints the values of a value command in base64. In a pipe: the JSON of the old command, without newline.
fn values(output: &Output, values: &[(&str, &[u8])]) -> Outcome {
    use crate::args::Format;
    let width = values.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 1;
    let length: usize = values.iter().map(|(name, value)| name.len() + base64::encoded_len(value.len()) + 16).sum();
    // One buffer of the right size: a buffer that grows would leave secrets behind.
    let mut text = Zeroizing::new(Vec::with_capacity(length + 16));
    let json = output.is_pipe_form() || output.format() == Format::Json;
    for (at, (name, value)) in values.iter().enumerate() {
        let head = match output.format() {
            _ if json => format!("{}\"{name}\":\"", if at == 0 { "{" } else { "," }),
            Format::Yaml => format!("{name}: "),
            _ => format!("{}{:<width$} ", if at == 0 { "\n" } else { "" }, format!("{name}:")),
        };
        text.extend_from_slice(head.as_bytes());
        base64::encode_into(value, &mut text);
        text.extend_from_slice(if json { b"\"" } else { b"\n" });
    }
    if json {
        text.extend_from_slice(if output.is_pipe_form() { b"}" } else { b"}\n" });
    }
    output::print(text.as_slice())
}

fn missing(what: &str, command: &str) -> Failure {
    Failure::usage(format!("no {what} specified"), &format!("kes key {command}"))
}

fn context(argument: Option<&str>, command: &str) -> Outcome<Secret> {
    decode(argument.unwrap_or_default(), "context", command)
}

fn decode(text: &str, what: &str, command: &str) -> Outcome<Secret> {
    base64::decode(text).map(Zeroizing::new).map_err(|_| {
        // Compat: the old text names the offset of the first wrong character, which the reader of API keys knows.
        let why = text.parse::<ApiKey>().err().map(|error| error.to_string()).unwrap_or_default();
        Failure::usage(format!("invalid {what}: {why}"), &format!("kes key {command}"))
    })
}

fn as_text(bytes: &[u8]) -> Outcome<&str> {
    std::str::from_utf8(bytes).map(str::trim).map_err(|_| Failure::new("the message is not text, so it is not base64"))
}

fn secret(bytes: &Secret) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_errors_are_the_old_ones() {
        for (text, offset) in [("AAA!", 3), ("Zm9", 0), ("!!", 0), ("Zm9v*", 4)] {
            let expected =
                format!("invalid key: illegal base64 data at input byte {offset}. See 'kes key import --help'");
            assert_eq!(decode(text, "key", "import").unwrap_err().text, expected);
        }
    }

    #[test]
    fn info_has_the_old_columns() {
        let info = Info {
            name: "a".into(),
            algorithm: "AES256".into(),
            created_at: "2025-05-26T22:04:48.635350787Z".into(),
            created_by: "b94c".into(),
        };
        assert_eq!(
            info_text(&info),
            "Name        a\nAlgorithm   AES256\nDate        2025-05-26 22:04:48\nOwner       b94c\n"
        );
    }
}
