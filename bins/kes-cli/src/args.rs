//! The command line, as clap reads it.
//!
//! Every old spelling is kept: flags and positionals may be mixed, booleans take `=true` and `=false`, commands of
//! v0.17 are hidden aliases, `-e/--enclave` is accepted and ignored. Help, completions and man pages come from here.

mod identity;
mod key;

use std::collections::HashSet;
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgAction, Args, ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use identity::{Forget, Identity, IdentityCommand, New, Of, Who};
pub(crate) use key::{Algorithm, Decrypt, Dek, Encrypt, Hmac, Import, Key, Name, Names, Remove};

use crate::commands::log::Log;
use crate::commands::metric::Metric;
use crate::commands::migrate::Migrate;
use crate::commands::policy::Policy;
use crate::commands::seal::arguments as seal;
use crate::commands::verify;
use crate::environment::{self, Lookup};
use crate::failure::Outcome;
use crate::{duration, help};

/// Keys for object stores: create and use them, see who may, run the server.
#[derive(Debug, Parser)]
#[command(name = "kes", disable_version_flag = true, disable_help_flag = true, disable_help_subcommand = true)]
#[command(arg_required_else_help = true, after_help = help::TOP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    /// Print version information
    #[arg(short = 'v', long, visible_short_alias = 'V', action = ArgAction::SetTrue)]
    pub(crate) version: bool,
    /// Now `kes completion`
    #[arg(long, hide = true, action = ArgAction::SetTrue)]
    pub(crate) auto_completion: bool,
    /// Up to v0.17; now answered as `kes update` is
    #[arg(short, long, hide = true, action = ArgAction::SetTrue)]
    pub(crate) update: bool,
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
    #[arg(short, long, global = true, value_name = "HOST[:PORT]", help_heading = CONNECTION)]
    pub(crate) server: Option<String>,
    /// API key; `@FILE` or `-` reads it [env: MINIO_KES_API_KEY, KES_API_KEY, MINIO_KMS_KES_API_KEY]
    #[arg(short, long, global = true, value_name = "KEY", help_heading = CONNECTION)]
    pub(crate) api_key: Option<String>,
    /// A server of the file of servers (`kes servers` lists them)
    #[arg(short, long, global = true, value_name = "NAME", help_heading = CONNECTION)]
    pub(crate) connection: Option<String>,
    /// The file of servers [env: KES_CLI_CONFIG] [default: ~/.config/kes/config.toml]
    #[arg(long, global = true, value_name = "FILE", help_heading = CONNECTION)]
    pub(crate) cli_config: Option<PathBuf>,
    /// Private key of a client certificate [env: MINIO_KES_KEY_FILE, KES_CLIENT_KEY, MINIO_KMS_KES_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = CONNECTION)]
    pub(crate) client_key: Option<PathBuf>,
    /// Client certificate [env: MINIO_KES_CERT_FILE, KES_CLIENT_CERT, MINIO_KMS_KES_CERT_FILE]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = CONNECTION)]
    pub(crate) client_cert: Option<PathBuf>,
    /// File with the password of the private key [env: KES_KEY_PASSWORD holds the password itself]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = CONNECTION)]
    pub(crate) password_file: Option<PathBuf>,
    /// CA certificates to trust instead of the system's, or the server's own certificate [env: MINIO_KES_CA_PATH,
    /// KES_CA_PATH, MINIO_KMS_KES_CAPATH]
    #[arg(long, alias = "ca", global = true, value_name = "FILE|DIR", value_hint = clap::ValueHint::AnyPath, help_heading = CONNECTION)]
    pub(crate) ca_path: Option<PathBuf>,
    /// Trust the server by its key: what `kes identity of server.crt` prints on the server [env: KES_SERVER_FINGERPRINT]
    #[arg(long, global = true, value_name = "SHA256", help_heading = CONNECTION)]
    pub(crate) server_fingerprint: Option<String>,
    /// Skip the check of the server's certificate [env: KES_INSECURE=on]
    #[arg(short = 'k', long, global = true, help_heading = CONNECTION)]
    pub(crate) insecure: bool,
    /// Give up after this time, such as 10s or 1m30s [env: KES_TIMEOUT] [default: 60s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration::parse_positive, help_heading = CONNECTION)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Form of the output [env: KES_OUTPUT]
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, ignore_case = true, help_heading = OUTPUT)]
    pub(crate) output: Option<Format>,
    /// Same as `--output json`
    #[arg(long, global = true, help_heading = OUTPUT)]
    pub(crate) json: bool,
    /// When to use colors [env: NO_COLOR, CLICOLOR, CLICOLOR_FORCE]
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        ignore_case = true,
        default_value = "auto",
        help_heading = OUTPUT
    )]
    pub(crate) color: When,
}

const CONNECTION: &str = "Connection";
const OUTPUT: &str = "Output";

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; `table` is the same
    #[value(alias = "table")]
    Text,
    /// One JSON document
    Json,
    /// One YAML document
    #[value(alias = "yml")]
    Yaml,
    /// Comma-separated values; only of `kes policy matrix`
    #[value(hide = true)]
    Csv,
    /// One page for browsers; only of `kes policy matrix`
    #[value(hide = true)]
    Html,
    /// Prometheus's text format; `kes metric` only
    #[value(hide = true)]
    Prometheus,
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
    #[command(after_help = help::LS)]
    Ls(Ls),
    /// Manage and use keys
    #[command(subcommand, arg_required_else_help = true, after_help = help::KEY)]
    Key(Key),
    /// Show and change policies: who may do what
    #[command(subcommand, arg_required_else_help = true, after_help = help::POLICY)]
    Policy(Policy),
    /// Make API keys and certificates, tell who is who
    Identity(Identity),
    /// Make everything that a server needs in one folder
    Init(Init),
    /// Tell an object store how to use a server, and prove that it can
    #[command(subcommand, arg_required_else_help = true, after_help = help::CONNECT)]
    Connect(Connect),
    /// Seal a key store: slots, recovery key, migration of an old directory
    Seal(seal::Seal),
    /// Write a whole key store into one authenticated file
    Backup(seal::Backup),
    /// Bring keys back from such a file
    Restore(seal::Restore),
    /// Print the status of the server
    #[command(after_help = help::STATUS)]
    Status(Status),
    /// Find out why a server cannot be reached, trusted or used, and what to do about it
    Doctor(Doctor),
    /// Ask whether the server can serve: exit status 0 if it can
    #[command(after_help = help::READY)]
    Ready,
    /// Send any request, for what has no command
    #[command(after_help = help::API)]
    Api(Api),
    /// List the servers that `-c NAME` knows
    #[command(after_help = help::SERVERS)]
    Servers,
    /// Follow the audit or error log
    Log(Log),
    /// Watch the server at work
    Metric(Metric),
    /// Copy all keys from one key store to another, and prove it
    Migrate(Migrate),
    /// Open real sealed keys, before a cut-over, and say which fail
    #[command(after_help = verify::HELP)]
    Verify(verify::Verify),
    /// Print version information
    #[command(after_help = help::VERSION)]
    Version,
    /// Print completions for a shell
    #[command(after_help = help::COMPLETION)]
    Completion(Completion),
    /// Print the manual page, or write all of them to a folder
    #[command(after_help = help::MAN)]
    Man(Man),
    /// Print the help of a command, or on exit-codes, environment or servers-file
    Help(Topic),
    #[command(subcommand, hide = true)]
    Tool(Tool),
}

/// For the list of commands: `kes server` is passed on before clap reads anything.
#[derive(Debug, Args)]
pub(crate) struct Server {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

/// For the list of commands: `kes help` is answered before clap reads anything.
#[derive(Debug, Args)]
pub(crate) struct Topic {
    #[arg(value_name = "COMMAND|TOPIC")]
    topics: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = help::INIT)]
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
    #[arg(long, value_name = "IP", value_delimiter = ',', value_parser = identity::ip)]
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
    #[command(after_help = help::CONNECT_MINIO)]
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
pub(crate) struct Ls {
    /// List identities
    #[arg(short = 'i', long)]
    pub(crate) identity: bool,
    /// List policies
    #[arg(short = 'p', long)]
    pub(crate) policy: bool,
    #[command(flatten)]
    pub(crate) pattern: Pattern,
}

/// Which names to list.
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

/// Scripts of 2023 pass it; it selects nothing any more.
#[derive(Debug, Default, Args)]
pub(crate) struct Enclave {
    #[arg(short, long, hide = true, value_name = "NAME")]
    enclave: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print the first line only
    #[arg(short, long)]
    pub(crate) short: bool,
    /// List the routes of the server
    #[arg(long)]
    pub(crate) api: bool,
    /// Only tell by the exit status whether the server is ready: 0, else 7 for its key store, 6 for no connection; with a
    /// URL, ask its `probe.address` in plain HTTP, which needs no credentials
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["api", "short"])]
    pub(crate) probe: Option<String>,
    // Compat: `-s` is "short" here, so the global option has only its long name.
    /// Servers, separated by commas [env: MINIO_KES_SERVER, KES_SERVER, MINIO_KMS_KES_ENDPOINT] [default: 127.0.0.1:7373]
    #[arg(long, value_name = "HOST[:PORT]", help_heading = CONNECTION)]
    server: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = help::DOCTOR)]
pub(crate) struct Doctor {
    /// See it as MinIO does: take server, credentials and key from its environment file, such as /etc/default/minio
    #[arg(long, value_name = "FILE")]
    pub(crate) minio_env: Option<PathBuf>,
    /// First check this configuration file of the server
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Try this key [env: MINIO_KMS_KES_KEY_NAME]
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    /// Create the key if it does not exist, as MinIO does when it starts
    #[arg(long)]
    pub(crate) create: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Api {
    /// Path of the route, such as `/v1/status`
    pub(crate) path: String,
    /// Body of the request; `@FILE` or `-` reads it
    pub(crate) body: Option<String>,
    /// GET without a body, PUT with one, unless another is named
    #[arg(short = 'X', long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write all pages here (`kes.1`, `kes-key.1`, ..., `kes-server.1`)
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) folder: Option<PathBuf>,
}

/// Names up to v0.17.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// Now `kes identity`
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Now `kes migrate`
    Migrate(Migrate),
}

/// Commands that ask no server, and which options of a connection they use all the same.
const OFFLINE: &[(&[&str], &[&str])] = &[
    (&["init"], &[]),
    (&["seal"], &[]),
    (&["backup"], &[]),
    (&["restore"], &[]),
    (&["migrate"], &["timeout"]),
    (&["policy", "matrix"], &[]),
    (&["identity", "new"], &["password_file"]),
    (&["identity", "of"], &[]),
    (&["version"], &[]),
    (&["completion"], &[]),
    (&["man"], &[]),
];

impl Cli {
    /// The definitions, ready for parsing, help, completions and pages: options that say nothing to a command are taken by
    /// it, as ever, and not shown.
    pub(crate) fn definition() -> clap::Command {
        let mut root = Self::command().version(env!("CARGO_PKG_VERSION"));
        root.build();
        for (path, used) in OFFLINE {
            let command = path.iter().try_fold(&mut root, |command, name| command.find_subcommand_mut(name));
            hide_connection(command.expect("the table names commands"), used);
        }
        root
    }

    /// Reads the arguments, the program's name first. `color` is for help.
    pub(crate) fn read(arguments: &[OsString], color: When) -> Result<Self, clap::Error> {
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
        let command = Self::definition().color(match color {
            When::Auto => ColorChoice::Auto,
            When::Never => ColorChoice::Never,
            When::Always => ColorChoice::Always,
        });
        command.try_get_matches_from(arguments).and_then(|matches| Self::from_arg_matches(&matches))
    }
}

fn hide_connection(command: &mut clap::Command, used: &[&str]) {
    let taken = std::mem::take(command);
    *command = taken.mut_args(|argument| {
        let is_shown = argument.get_help_heading() != Some(CONNECTION) || used.contains(&argument.get_id().as_str());
        if is_shown { argument } else { argument.hide(true) }
    });
    for command in command.get_subcommands_mut() {
        hide_connection(command, used);
    }
}

impl Global {
    /// Adds what the environment says about the output; what it says about the connection is read with the rest of that.
    pub(crate) fn complete(&mut self, lookup: Lookup<'_>) -> Outcome {
        let Some(value) = environment::first(&[environment::OUTPUT], lookup).filter(|_| self.output.is_none()) else {
            return Ok(());
        };
        let format = Format::from_str(&value, true)
            .map_err(|_| environment::invalid(environment::OUTPUT, &value, "it must be text, json or yaml"))?;
        self.output = Some(format);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Cli {
        let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
        Cli::read(&arguments, When::Auto).unwrap()
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
        assert!(ls.policy && ls.pattern.pattern.as_deref() == Some("pre"));
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
