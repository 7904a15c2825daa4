//! `kes key …`.

use kes_client::wire::{KeyInfo, SecretBytes};
use kes_client::{Error, KeyType};
use kes_crypto::{base64, rfc3339};
use kes_identity::ApiKey;
use kes_keystore::KeyName;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::args::{Algorithm, Decrypt, Dek, Encrypt, Global, Hmac, Import, Key, Name, Names, Remove};
use crate::commands::policy_change::agreed;
use crate::commands::{apply, date, import_static, list};
use crate::failure::{Failure, Outcome};
use crate::input::{self, Secret};
use crate::online;
use crate::output::{self, Output};

pub(crate) fn run(global: &Global, output: &Output, command: Key) -> Outcome {
    match command {
        Key::Apply(apply) => apply::run(global, output, &apply),
        Key::Create(names) => create(global, output, &names),
        Key::Import(import) if import.minio_static.is_some() => import_static::run(&import),
        Key::Import(import) => self::import(global, output, &import),
        Key::Info(name) => info(global, output, &name),
        Key::Ls(pattern) => list::keys(global, output, &pattern),
        Key::Rm(remove) => rm(global, output, &remove),
        Key::Encrypt(encrypt) => self::encrypt(global, output, &encrypt),
        Key::Decrypt(decrypt) => self::decrypt(global, output, &decrypt),
        Key::Dek(dek) => self::dek(global, output, &dek),
        Key::Hmac(hmac) => self::hmac(global, output, &hmac),
    }
}

/// Which keys are new, and which were there already.
#[derive(Serialize, Default)]
struct Created<'n> {
    created: Vec<&'n str>,
    existed: Vec<&'n str>,
}

fn create(global: &Global, output: &Output, Names { names, if_not_exists, .. }: &Names) -> Outcome {
    if names.is_empty() {
        return Err(missing("key name", "create"));
    }
    // A wrong name is told before any key is made: the client refuses it without asking the server.
    let wrong = names.iter().find(|name| name.parse::<KeyName>().is_err());
    let names = wrong.map_or(names.as_slice(), std::slice::from_ref);
    let done = online(global, async |client| {
        let mut done = Created::default();
        for name in names {
            match client.create_key(name).await {
                Ok(()) => done.created.push(name.as_str()),
                Err(error) if *if_not_exists && error.is_key_exists() => done.existed.push(name.as_str()),
                Err(error) => {
                    return Err(not_created(name, error));
                }
            }
        }
        Ok(done)
    })?;
    output.done(&done)
}

/// Up to v0.17 the bytes of a key could stand behind its name. They are not repeated.
fn not_created(name: &str, error: Error) -> Failure {
    match base64::decode(name.as_bytes()).map(Zeroizing::new) {
        Ok(bytes) if bytes.len() == 32 => {
            Failure::new("failed to create key: one name is no name, but 32 bytes in base64")
                .hint("`kes key import NAME -` makes a key from 32 bytes of your own, read from standard input")
        }
        _ => Failure::from(error).while_doing(format_args!("failed to create key \"{name}\"")),
    }
}

fn import(global: &Global, output: &Output, import: &Import) -> Outcome {
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
    })?;
    output.done(&Created { created: vec![name], existed: Vec::new() })
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
    [
        ("Name", &info.name),
        ("Algorithm", &info.algorithm),
        ("Date", &date(&info.created_at)),
        ("Owner", &info.created_by),
    ]
    .map(|(label, value)| format!("{label:<12}{value}\n"))
    .concat()
}

fn rm(global: &Global, output: &Output, remove: &Remove) -> Outcome {
    let names = &remove.names;
    if names.is_empty() {
        return Err(missing("key name", "rm"));
    }
    agreed(remove.yes, &format!("Delete {}? What was sealed with it never opens again.", names.join(", ")))?;
    online(global, async |client| {
        for name in names {
            let deleted = client.delete_key(name).await;
            deleted
                .map_err(|error| Failure::from(error).while_doing(format_args!("failed to remove key \"{name}\"")))?;
        }
        Ok(())
    })?;
    output.done(&json!({ "removed": names }))
}

fn encrypt(global: &Global, output: &Output, encrypt: &Encrypt) -> Outcome {
    let name = encrypt.name.as_ref().ok_or_else(|| missing("key name", "encrypt"))?;
    let message = encrypt.message.as_ref().ok_or_else(|| missing("message", "encrypt"))?;
    let stdin_is_taken = message == "-" && !encrypt.text;
    let message = self::message(message, encrypt.text, encrypt.base64, "encrypt")?;
    let context = context(encrypt.context.as_deref(), stdin_is_taken, "encrypt")?;
    let ciphertext = online(global, async |client| {
        let sealed = client.encrypt(name, secret(&message), &context).await;
        sealed.map_err(|error| Failure::from(error).while_doing("failed to encrypt message"))
    })?;
    if encrypt.raw {
        return output::print(ciphertext);
    }
    values(output, &[("ciphertext", &ciphertext)])
}

fn decrypt(global: &Global, output: &Output, decrypt: &Decrypt) -> Outcome {
    let name = decrypt.name.as_ref().ok_or_else(|| missing("key name", "decrypt"))?;
    let argument = decrypt.ciphertext.as_ref().ok_or_else(|| missing("ciphertext", "decrypt"))?;
    let ciphertext = match decrypt.binary {
        true => input::value(argument)?,
        false => decode(&input::text(argument)?, "ciphertext", "decrypt")?,
    };
    let context = context(decrypt.context.as_deref(), argument == "-", "decrypt")?;
    let plaintext = online(global, async |client| {
        let opened = client.decrypt(name, &ciphertext, &context).await;
        opened.map_err(|error| Failure::from(error).while_doing("failed to decrypt ciphertext"))
    })?;
    if decrypt.raw {
        return output::print(plaintext.expose());
    }
    if decrypt.text {
        let text = std::str::from_utf8(plaintext.expose())
            .map_err(|_| Failure::new("the plaintext is not text").hint("--raw writes it as it is"))?;
        return output::print(Zeroizing::new(format!("{text}\n")).as_bytes());
    }
    values(output, &[("plaintext", plaintext.expose())])
}

fn dek(global: &Global, output: &Output, dek: &Dek) -> Outcome {
    let name = dek.name.as_ref().ok_or_else(|| missing("key name", "dek"))?;
    let context = context(dek.context.as_deref(), false, "dek")?;
    let key = online(global, async |client| {
        let generated = client.generate_key(name, &context).await;
        generated.map_err(|error| Failure::from(error).while_doing("failed to derive key"))
    })?;
    values(output, &[("plaintext", key.plaintext.expose()), ("ciphertext", &key.ciphertext)])
}

fn hmac(global: &Global, output: &Output, hmac: &Hmac) -> Outcome {
    let name = hmac.name.as_ref().ok_or_else(|| missing("key name", "hmac"))?;
    let message = hmac.message.as_ref().ok_or_else(|| missing("message", "hmac"))?;
    let message = self::message(message, hmac.text, hmac.base64, "hmac")?;
    let sum = online(global, async |client| {
        let sum = client.hmac(name, secret(&message)).await;
        sum.map_err(|error| Failure::from(error).while_doing("failed to compute HMAC"))
    })?;
    if hmac.raw {
        return output::print(sum.expose());
    }
    values(output, &[("hmac", sum.expose())])?;
    // Only the commands that the old program had end without a line break in a pipe.
    if output.is_pipe_form() { output::print("\n") } else { Ok(()) }
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

/// The message that an argument stands for: itself, `-` or `@FILE`, and in which form it is there.
fn message(argument: &str, literal: bool, is_base64: bool, command: &str) -> Outcome<Secret> {
    let message = if literal { Zeroizing::new(argument.as_bytes().to_vec()) } else { input::value(argument)? };
    if is_base64 { decode(as_text(&message)?, "message", command) } else { Ok(message) }
}

/// The context, in base64; `@FILE` and `-` are no base64, so they cannot be meant literally.
fn context(argument: Option<&str>, stdin_is_taken: bool, command: &str) -> Outcome<Secret> {
    let argument = argument.unwrap_or_default();
    if argument == "-" && stdin_is_taken {
        return Err(Failure::usage("standard input can be read only once", &format!("kes key {command}")));
    }
    decode(&input::text(argument)?, "context", command)
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
