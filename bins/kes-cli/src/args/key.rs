//! `kes key …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{Enclave, Pattern};
use crate::commands::apply;
use crate::help;

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Create the keys of a file that are not there yet
    #[command(after_help = apply::HELP)]
    Apply(apply::Apply),
    /// Create keys
    #[command(after_help = help::KEY_CREATE)]
    Create(Names),
    /// Create a key from 32 bytes of your own
    #[command(after_help = help::KEY_IMPORT)]
    Import(Import),
    /// Show what is known of a key
    #[command(alias = "describe", after_help = help::KEY_INFO)]
    Info(Name),
    /// List keys
    #[command(alias = "list", after_help = help::KEY_LS)]
    Ls(Pattern),
    /// Delete keys; what they sealed never opens again
    #[command(alias = "delete", after_help = help::KEY_RM)]
    Rm(Remove),
    /// Encrypt a message
    #[command(after_help = help::KEY_ENCRYPT)]
    Encrypt(Encrypt),
    /// Decrypt a ciphertext
    #[command(after_help = help::KEY_DECRYPT)]
    Decrypt(Decrypt),
    /// Make a data key: 32 bytes to encrypt with, plain and sealed
    #[command(alias = "derive", after_help = help::KEY_DEK)]
    Dek(Dek),
    /// Make a keyed checksum (HMAC-SHA256) of a message
    #[command(after_help = help::KEY_HMAC)]
    Hmac(Hmac),
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Names of the keys
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// A key that is there already is fine
    #[arg(long, visible_alias = "exist-ok")]
    pub(crate) if_not_exists: bool,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// Name of the key
    pub(crate) name: Option<String>,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Names of the keys
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Do not ask (a terminal is asked otherwise)
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Name of the key
    pub(crate) name: Option<String>,
    /// 32 bytes in base64; `@FILE` or `-` reads them and keeps them out of the process list
    pub(crate) key: Option<String>,
    /// Cipher of the key
    #[arg(long, alias = "cipher", value_enum, ignore_case = true, default_value = "AES256")]
    pub(crate) algorithm: Algorithm,
    /// The key is the one that MinIO had built in, as `<name>:<base64>` or `<name>:<hex>`: read from `-`, `@FILE` or
    /// MinIO's variables (MINIO_KMS_SECRET_KEY, MINIO_SSE_MASTER_KEY, ..._FILE); needs --config
    #[arg(long, value_name = "-|@FILE", num_args = 0..=1, default_missing_value = "")]
    pub(crate) minio_static: Option<String>,
    /// With --minio-static: the server's configuration file, which names the store to write to [env: KES_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// Ciphers, in the spelling of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Algorithm {
    #[value(name = "AES256", alias = "AES256-GCM_SHA256")]
    Aes256,
    #[value(name = "ChaCha20", alias = "XCHACHA20-POLY1305")]
    ChaCha20,
}

#[derive(Debug, Args)]
pub(crate) struct Encrypt {
    /// Name of the key
    pub(crate) name: Option<String>,
    /// The message; `@FILE` or `-` reads it
    pub(crate) message: Option<String>,
    /// Associated data in base64, needed again for decryption; `@FILE` or `-` reads it
    pub(crate) context: Option<String>,
    /// Take the message literally, also if it is `-` or begins with `@`
    #[arg(long)]
    pub(crate) text: bool,
    /// The message is base64
    #[arg(long, conflicts_with = "text")]
    pub(crate) base64: bool,
    /// Write the ciphertext as it is, not in base64
    #[arg(long, conflicts_with_all = ["json", "output"])]
    pub(crate) raw: bool,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Decrypt {
    /// Name of the key
    pub(crate) name: Option<String>,
    /// The ciphertext in base64; `@FILE` or `-` reads it
    pub(crate) ciphertext: Option<String>,
    /// The associated data that was used for encryption, in base64; `@FILE` or `-` reads it
    pub(crate) context: Option<String>,
    /// The ciphertext is base64; it is by default
    #[arg(long, conflicts_with = "binary")]
    base64: bool,
    /// The ciphertext is not base64, as `encrypt --raw` wrote it
    #[arg(long)]
    pub(crate) binary: bool,
    /// Write the plaintext as it is, not in base64
    #[arg(long, conflicts_with_all = ["json", "output"])]
    pub(crate) raw: bool,
    /// Write the plaintext as a line of text
    #[arg(long, conflicts_with_all = ["json", "output", "raw"])]
    pub(crate) text: bool,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Dek {
    /// Name of the key
    pub(crate) name: Option<String>,
    /// Associated data in base64, needed again to open the sealed form; `@FILE` or `-` reads it
    pub(crate) context: Option<String>,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Hmac {
    /// Name of the key
    pub(crate) name: Option<String>,
    /// The message; `@FILE` or `-` reads it
    pub(crate) message: Option<String>,
    /// Take the message literally, also if it is `-` or begins with `@`
    #[arg(long)]
    pub(crate) text: bool,
    /// The message is base64
    #[arg(long, conflicts_with = "text")]
    pub(crate) base64: bool,
    /// Write the 32 bytes as they are, not in base64
    #[arg(long, conflicts_with_all = ["json", "output"])]
    pub(crate) raw: bool,
    #[command(flatten)]
    enclave: Enclave,
}
