//! The command line, as clap reads it.
//!
//! Every old spelling is kept: flags and positionals may be mixed, booleans take `=true` and `=false`, commands of
//! v0.17 are hidden aliases, `-e/--enclave` is accepted and ignored. Help comes from here.

use std::collections::HashSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::commands::seal::arguments as seal;
use crate::duration;

/// Keys for object stores: create and use them, see who may, run the server.
#[derive(Debug, Parser)]
#[command(name = "kes", disable_version_flag = true, disable_help_flag = true, arg_required_else_help = true)]
#[command(after_help = TOP_EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    /// Print version information
    #[arg(short = 'v', long, visible_short_alias = 'V', action = ArgAction::SetTrue, exclusive = true)]
    pub(crate) version: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

/// Options of every command that talks to a server or prints.
#[derive(Debug, Args, Clone)]
pub(crate) struct Global {
    /// Servers, separated by commas [env: MINIO_KES_SERVER, KES_SERVER, MINIO_KMS_KES_ENDPOINT] [default: 127.0.0.1:7373]
    #[arg(long, global = true, value_name = "HOST[:PORT]", help_heading = "Connection")]
    pub(crate) server: Option<String>,
    /// API key; `@FILE` or `-` reads it [env: MINIO_KES_API_KEY, KES_API_KEY, MINIO_KMS_KES_API_KEY]
    #[arg(long, global = true, value_name = "KEY", hide_env_values = true, help_heading = "Connection")]
    pub(crate) api_key: Option<String>,
    /// Private key of a client certificate [env: MINIO_KES_KEY_FILE, KES_CLIENT_KEY, MINIO_KMS_KES_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) client_key: Option<PathBuf>,
    /// Client certificate [env: MINIO_KES_CERT_FILE, KES_CLIENT_CERT, MINIO_KMS_KES_CERT_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) client_cert: Option<PathBuf>,
    /// File with the password of the private key [env: KES_KEY_PASSWORD holds the password itself]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) password_file: Option<PathBuf>,
    /// CA certificates to trust instead of the system's, or the server's own certificate [env: MINIO_KES_CA_PATH,
    /// KES_CA_PATH, MINIO_KMS_KES_CAPATH]
    #[arg(long, alias = "ca", global = true, value_name = "FILE|DIR", help_heading = "Connection")]
    pub(crate) ca_path: Option<PathBuf>,
    /// Skip the check of the server's certificate
    #[arg(short = 'k', long, global = true, help_heading = "Connection")]
    pub(crate) insecure: bool,
    /// Give up after this time, such as 10s or 1m30s [default: 60s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse_positive, help_heading = "Connection")]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Output as text, JSON or YAML
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, help_heading = "Output")]
    pub(crate) output: Option<Format>,
    /// Same as `--output json`
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,
    /// When to use colors; NO_COLOR, CLICOLOR and CLICOLOR_FORCE are honored
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        ignore_case = true,
        default_value = "auto",
        help_heading = "Output"
    )]
    pub(crate) color: When,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[value(alias = "table")]
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    Yaml,
}

/// When to use colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Never,
    Always,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a KES server; the same as the program `kes-server`
    Server(Server),
    /// List keys, policies or identities
    Ls(Ls),
    /// Manage and use keys
    #[command(subcommand, arg_required_else_help = true)]
    Key(Key),
    /// Make API keys and certificates, tell who they are
    Identity(Identity),
    /// Make everything that a server needs in one folder
    Init(Init),
    /// Tell an object store how to use a server, and prove that it can
    #[command(subcommand, arg_required_else_help = true)]
    Connect(Connect),
    /// Seal a key store: slots, recovery key, migration of an old directory
    Seal(seal::Seal),
    /// Write a whole key store into one authenticated file
    Backup(seal::Backup),
    /// Bring keys back from such a file
    Restore(seal::Restore),
    /// Print the status of the server
    Status(Status),
    /// Print version information
    Version,
    #[command(subcommand, hide = true)]
    Tool(Tool),
}

/// For the list of commands: `kes server` is passed on before clap reads anything.
#[derive(Debug, Args)]
pub(crate) struct Server {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(after_help = INIT_EXAMPLES)]
pub(crate) struct Init {
    /// The folder: a new or an empty one
    pub(crate) folder: Option<PathBuf>,
    /// Where keys are to live
    #[arg(long, value_enum, default_value = "fs")]
    pub(crate) backend: Backend,
    /// Address to listen on
    #[arg(long, value_name = "[IP]:PORT", default_value = "0.0.0.0:7373")]
    pub(crate) addr: String,
    /// DNS name that the certificate is to have beside this host's; repeatable, or several separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) dns: Vec<String>,
    /// IP address that the certificate is to have beside this host's; repeatable, or several separated by commas
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = ip)]
    pub(crate) ip: Vec<IpAddr>,
}

/// Where keys can live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// Sealed files in the folder
    Fs,
    /// HashiCorp Vault or OpenBao
    Vault,
    /// AWS Secrets Manager
    Aws,
    /// Azure Key Vault
    Azure,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Connect {
    /// Print MinIO's settings, then make a key, seal and open as MinIO would
    #[command(after_help = CONNECT_EXAMPLES)]
    Minio(ConnectMinio),
}

#[derive(Debug, Args)]
pub(crate) struct ConnectMinio {
    /// The folder of `kes server --quick` or `kes init`
    pub(crate) folder: Option<PathBuf>,
    /// URL at which MinIO reaches the server; several separated by commas [default: from the folder's settings]
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// Name of MinIO's default key [default: minio-key, or the key that MinIO's data was sealed with]
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    /// A drive of this MinIO: refuse if what lies there was sealed with another key; repeatable, {1...4} is expanded
    #[arg(long, value_name = "PATH")]
    pub(crate) minio_data: Vec<String>,
    /// A Docker Compose file
    #[arg(long, group = "form")]
    pub(crate) compose: bool,
    /// Kubernetes objects
    #[arg(long, alias = "kubernetes", group = "form")]
    pub(crate) k8s: bool,
    /// A systemd drop-in
    #[arg(long, group = "form")]
    pub(crate) systemd: bool,
}

#[derive(Debug, Args)]
#[command(after_help = LS_EXAMPLES)]
pub(crate) struct Ls {
    /// API key; `@FILE` or `-` reads it
    #[arg(short = 'a', long, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// Servers, separated by commas
    #[arg(short = 's', long, value_name = "HOST[:PORT]")]
    pub(crate) server: Option<String>,
    /// List identities
    #[arg(short = 'i', long)]
    pub(crate) identity: bool,
    /// List policies
    #[arg(short = 'p', long)]
    pub(crate) policy: bool,
    /// Only names that begin with this; with a wildcard (*, ?, [a-z]): only names that match
    pub(crate) pattern: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Create keys
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Names),
    /// Create a key from 32 bytes of your own
    #[command(after_help = IMPORT_EXAMPLES)]
    Import(Import),
    /// Show what is known of a key
    #[command(alias = "describe")]
    Info(Name),
    /// List keys
    #[command(alias = "list", after_help = KEY_LS_EXAMPLES)]
    Ls(Pattern),
    /// Delete keys; what they sealed never opens again
    #[command(alias = "delete")]
    Rm(Remove),
    /// Encrypt a message
    #[command(after_help = ENCRYPT_EXAMPLES)]
    Encrypt(Encrypt),
    /// Decrypt a ciphertext
    #[command(after_help = DECRYPT_EXAMPLES)]
    Decrypt(Decrypt),
    /// Make a data key: 32 bytes to encrypt with, plain and sealed
    #[command(alias = "derive", after_help = DEK_EXAMPLES)]
    Dek(Dek),
}

/// Scripts of 2023 pass it; it selects nothing any more.
#[derive(Debug, Args)]
pub(crate) struct Enclave {
    #[arg(short, long, hide = true, value_name = "NAME")]
    enclave: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Names {
    /// Names of the keys
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
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
pub(crate) struct Pattern {
    /// Only names that begin with this; with a wildcard (*, ?, [a-z]): only names that match
    pub(crate) pattern: Option<String>,
    /// At most so many names
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Encrypt {
    /// Name of the key
    pub(crate) name: Option<String>,
    /// The message; `@FILE` or `-` reads it
    pub(crate) message: Option<String>,
    /// Associated data in base64, needed again for decryption
    pub(crate) context: Option<String>,
    /// Take the message literally, also if it is `-` or begins with `@`
    #[arg(long)]
    pub(crate) text: bool,
    /// The message is base64
    #[arg(long, conflicts_with = "text")]
    pub(crate) base64: bool,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Decrypt {
    /// Name of the key
    pub(crate) name: Option<String>,
    /// The ciphertext in base64; `@FILE` or `-` reads it
    pub(crate) ciphertext: Option<String>,
    /// The associated data that was used for encryption, in base64
    pub(crate) context: Option<String>,
    /// Write the plaintext as it is, not in base64
    #[arg(long, conflicts_with_all = ["json", "output"])]
    pub(crate) raw: bool,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Dek {
    /// Name of the key
    pub(crate) name: Option<String>,
    /// Associated data in base64, needed again to open the sealed form
    pub(crate) context: Option<String>,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = IDENTITY_EXAMPLES)]
pub(crate) struct Identity {
    /// An API key, a certificate, or a private key file whose API key is wanted; nothing: make a new API key
    pub(crate) argument: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<IdentityCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make a new API key, and a certificate if wanted
    New(Box<New>),
    /// Tell the identity of an API key or certificate
    #[command(after_help = OF_EXAMPLES)]
    Of(Of),
}

#[derive(Debug, Args)]
#[command(after_help = NEW_EXAMPLES)]
pub(crate) struct New {
    /// Common name of the certificate; the identity if not given
    pub(crate) subject: Option<String>,
    /// Write the private key here
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Write the certificate here
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// IP address that the certificate is valid for; repeatable, or several separated by commas
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = ip)]
    pub(crate) ip: Vec<IpAddr>,
    /// DNS name that the certificate is valid for; repeatable, or several separated by commas
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    pub(crate) dns: Vec<String>,
    /// How long the certificate is valid [default: 720h]
    #[arg(long, alias = "time", value_name = "DURATION", value_parser = duration::parse, allow_hyphen_values = true)]
    pub(crate) expiry: Option<time::Duration>,
    /// Encrypt the private key with a password: asked for twice, or from `--password-file` or KES_KEY_PASSWORD
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Overwrite existing files
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print only the API key
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Of {
    /// API keys and certificate files; `-` reads one of them
    #[arg(value_name = "API-KEY|CERTIFICATE")]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print the first line only
    #[arg(short, long)]
    pub(crate) short: bool,
    /// List the routes of the server
    #[arg(long)]
    pub(crate) api: bool,
}

/// Names up to v0.17.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// Now `kes identity`
    #[command(subcommand)]
    Identity(IdentityCommand),
}

impl Cli {
    /// Reads the arguments, the program's name first.
    pub(crate) fn read(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let mut flags = HashSet::new();
        collect_flags(&Self::command(), &mut flags);
        let mut literal = false;
        // Everywhere else `-o` is the form of output; a backup has none but its file.
        let is_backup = arguments.iter().skip(1).find(|word| Self::command().find_subcommand(word).is_some());
        let is_backup = is_backup.is_some_and(|command| command == "backup");
        let to = OsString::from("--to");
        let arguments = arguments.iter().map(|word| if is_backup && word == "-o" { &to } else { word });
        let arguments = arguments.filter_map(|argument| {
            literal |= argument == "--";
            if literal { Some(argument.clone()) } else { plain_flag(argument, &flags) }
        });
        Self::try_parse_from(arguments)
    }
}

/// Compat: the old parser took booleans as `--json=true` and `-k=false` too. True is the flag alone, false is none.
fn plain_flag(argument: &OsString, flags: &HashSet<String>) -> Option<OsString> {
    let boolean = argument.to_str().and_then(|text| text.split_once('=')).filter(|(flag, _)| flags.contains(*flag));
    match boolean {
        Some((flag, "true" | "TRUE" | "True" | "t" | "T" | "1")) => Some(flag.into()),
        Some((_, "false" | "FALSE" | "False" | "f" | "F" | "0")) => None,
        _ => Some(argument.clone()),
    }
}

/// All flags without value, of all commands.
fn collect_flags(command: &clap::Command, flags: &mut HashSet<String>) {
    for argument in command.get_arguments().filter(|argument| matches!(argument.get_action(), ArgAction::SetTrue)) {
        flags.extend(argument.get_long().map(|long| format!("--{long}")));
        flags.extend(argument.get_short().map(|short| format!("-{short}")));
    }
    for command in command.get_subcommands() {
        collect_flags(command, flags);
    }
}

fn ip(text: &str) -> Result<IpAddr, String> {
    text.trim().parse().map_err(|_| format!("invalid string being converted to IP address: {text}"))
}

const TOP_EXAMPLES: &str =
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 exists already, 5 not authorized,
6 no connection or no trust, 7 key store unavailable, 130 interrupted.

Examples:
  kes server --quick ./kes             from nothing to a server
  kes connect minio ./kes              what to tell MinIO, and a proof that it works
  kes identity new                     make an API key
  export KES_SERVER=127.0.0.1:7373 KES_API_KEY=kes:v1:...
  kes status                           see that the server is there
  kes key create my-key                make a key
  kes key dek my-key                   make a data key sealed by it";

const INIT_EXAMPLES: &str = "Examples:
  kes init /etc/kes/one --dns kes.example.net
  kes init --backend vault /etc/kes/two

It never overwrites anything. `kes server --config FOLDER/config.yml` starts the server.";

const CONNECT_EXAMPLES: &str = "Examples:
  kes connect minio ./kes > minio.settings
  kes connect minio ./kes --minio-data '/mnt/drive{1...4}'
  kes connect minio ./kes --k8s --endpoint https://kes.example.net:7373 | kubectl apply -f -

The settings go to standard output, the proof to standard error.";

const LS_EXAMPLES: &str = "Examples:
  kes ls
  kes ls 'my-*'
  kes ls -i";

const CREATE_EXAMPLES: &str = "Examples:
  kes key create my-key
  kes key create my-key-1 my-key-2";

const IMPORT_EXAMPLES: &str = "Examples:
  head -c 32 /dev/urandom | base64 | kes key import my-key -
  kes key import my-key @key.base64
  kes key import --minio-static @/run/secrets/minio-key --config /etc/kes/config.yml";

const KEY_LS_EXAMPLES: &str = "Examples:
  kes key ls
  kes key ls 'my-key*'
  kes key ls --json --limit 10 my-";

const ENCRYPT_EXAMPLES: &str = "Examples:
  kes key encrypt my-key \"Hello World\"
  kes key encrypt my-key @secret.bin
  printf %s \"$PASSWORD\" | kes key encrypt my-key -";

const DECRYPT_EXAMPLES: &str = "Examples:
  kes key decrypt my-key \"$CIPHERTEXT\"
  kes key encrypt my-key hello | jq -r .ciphertext | kes key decrypt my-key --raw -";

const DEK_EXAMPLES: &str = "Examples:
  kes key dek my-key
  kes key dek my-key \"$(printf %s bucket/object | base64)\"";

const IDENTITY_EXAMPLES: &str = "Examples:
  kes identity                         make an API key; in a pipe only the key is printed
  kes identity kes:v1:...              whose API key is this?
  kes identity client.crt              whose certificate is this?
  kes identity private.key             the API key of a private key";

const NEW_EXAMPLES: &str = "Examples:
  kes identity new
  kes identity new --key client.key --cert client.crt my-app
  kes identity new --key server.key --cert server.crt --ip 10.0.0.92 --dns kes.example.com --expiry 8760h kes";

const OF_EXAMPLES: &str = "Examples:
  kes identity of kes:v1:...
  kes identity of client.crt
  kes identity of - < api-key.txt";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Cli {
        let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
        Cli::read(&arguments).unwrap()
    }

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn booleans_take_the_old_form() {
        assert!(read("kes key ls --json=true").global.json);
        assert!(!read("kes key ls --json=false").global.json);
        assert!(read("kes key ls -k=1").global.insecure);
        assert!(read("kes key rm --yes=true a").global.output.is_none());
        let Some(Command::Key(Key::Encrypt(encrypt))) = read("kes key encrypt k -- --json=true").command else {
            panic!()
        };
        assert_eq!(encrypt.message.as_deref(), Some("--json=true"));
    }

    #[test]
    fn options_may_stand_anywhere() {
        for line in
            ["kes -k status -s", "kes status -sk", "kes status --short -k", "kes key -k ls a", "kes key ls a -k"]
        {
            assert!(read(line).global.insecure, "{line}");
        }
    }

    #[test]
    fn ls_has_its_own_short_names() {
        let cli = read("kes ls -s a:1 -a key -p pre");
        let Some(Command::Ls(ls)) = cli.command else { panic!() };
        assert!(ls.policy && ls.pattern.as_deref() == Some("pre"));
        assert_eq!((cli.global.server.as_deref(), cli.global.api_key.as_deref()), (Some("a:1"), Some("key")));
    }

    #[test]
    fn old_spellings_are_known() {
        assert!(matches!(read("kes key list").command, Some(Command::Key(Key::Ls(_)))));
        assert!(matches!(read("kes key delete a").command, Some(Command::Key(Key::Rm(_)))));
        assert!(matches!(read("kes key derive a").command, Some(Command::Key(Key::Dek(_)))));
        assert!(matches!(read("kes tool identity of a").command, Some(Command::Tool(_))));
        assert!(matches!(read("kes key dek -e x a").command, Some(Command::Key(Key::Dek(_)))));
        assert!(read("kes --ca x status").global.ca_path.is_some());
    }

    #[test]
    fn an_expiry_may_be_negative() {
        let Some(Command::Identity(identity)) = read("kes identity new --expiry -24h").command else { panic!() };
        let Some(IdentityCommand::New(new)) = identity.command else { panic!() };
        assert_eq!(new.expiry, Some(time::Duration::hours(-24)));
    }
}
