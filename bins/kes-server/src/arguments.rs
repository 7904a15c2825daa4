//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

/// Serve encryption keys to object stores and other clients.
///
/// Clients prove who they are by TLS certificates, a policy says what they may do, and keys are kept in the store that
/// the configuration names.
#[derive(Debug, Parser)]
#[command(name = "kes-server", version = VERSION, after_help = EXAMPLES, args_override_self = true)]
pub(crate) struct Arguments {
    /// Configuration file
    #[arg(
        long,
        value_name = "FILE",
        env = "KES_CONFIG",
        conflicts_with_all = ["dev", "quick"],
        required_unless_present_any = ["dev", "quick", "probe"]
    )]
    pub(crate) config: Option<PathBuf>,

    /// Everything in one folder: makes it at the first start, finds it at the next ones
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["dev", "root"])]
    pub(crate) quick: Option<PathBuf>,

    /// With --quick: DNS name that the certificate is to have; repeatable, or several separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with_all = ["config", "dev"])]
    pub(crate) dns: Vec<String>,

    /// With --quick: IP address that the certificate is to have; repeatable, or several separated by commas
    #[arg(long, value_name = "IP", value_delimiter = ',', conflicts_with_all = ["config", "dev"])]
    pub(crate) ip: Vec<std::net::IpAddr>,

    /// Try it out: keys in memory, a certificate and an admin API key made for this run
    #[arg(long)]
    pub(crate) dev: bool,

    /// Ask a running server, at its `probe.address` or that of --config, whether it is ready; exit status 0 if so, else 1
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["dev", "quick"])]
    pub(crate) probe: Option<String>,

    /// Only check the file: `kes-server check --help` tells more
    #[arg(long)]
    check: bool,

    /// Address to listen on; wins over the file's `address` [default: 0.0.0.0:7373, with --dev and --quick
    /// 127.0.0.1:7373]
    #[arg(long, value_name = "[IP]:PORT")]
    pub(crate) addr: Option<String>,

    /// Administrator, if the file names none
    #[arg(long, value_name = "IDENTITY", hide = true)]
    pub(crate) root: Option<String>,

    #[arg(long, value_name = "FILE", hide = true)]
    key: Option<String>,

    #[arg(long, value_name = "FILE", hide = true)]
    cert: Option<String>,

    #[arg(long, value_name = "on|off", hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    auth: Option<String>,

    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    mlock: Option<String>,

    #[arg(long, short, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    quiet: Option<String>,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " commit=", env!("KES_COMMIT"));

const EXAMPLES: &str = "Examples:
  kes-server --quick ./kes                    from nothing to a server for MinIO: `kes connect minio ./kes` goes on
  kes-server --config /etc/kes/config.yaml
  kes-server --dev
  kes-server check --config /etc/kes/config.yaml
  kes-server --probe http://127.0.0.1:7374/live

Signals: SIGHUP reloads the configuration in one step; SIGUSR1 opens the audit file again; SIGTERM and SIGINT let requests
in flight finish, then stop.";

impl Arguments {
    /// Reads the arguments behind the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments = join_auth(arguments.into_iter().collect());
        Self::try_parse_from(std::iter::once(OsString::from("kes-server")).chain(arguments))
    }

    /// Flags of older releases that no longer do anything, each with where to say it instead.
    pub(crate) fn deprecated(&self) -> Vec<String> {
        let flags = [
            (self.key.is_some(), "--key", "Specify the private key in the config file"),
            (self.cert.is_some(), "--cert", "Specify the certificate in the config file"),
            (self.auth.is_some(), "--auth", "Specify the client certificate verification in the config file"),
            (self.mlock.is_some(), "--mlock", "Memory is always locked where the system permits it"),
            (self.quiet.is_some(), "--quiet", "Set 'log' in the config file"),
        ];
        flags
            .into_iter()
            .filter(|(given, ..)| *given)
            .map(|(_, flag, remedy)| format!("'{flag}' flag is deprecated and no longer honored. {remedy}"))
            .collect()
    }
}

/// Departs from upstream: there a bare `--auth` swallowed the next argument, such as `--config=…`. Here it takes `=value`
/// or a following bare `on` or `off`, and nothing else.
pub(crate) fn join_auth(arguments: Vec<OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let follows = joined.last().is_some_and(|last| last == "--auth");
        if follows && (argument == "on" || argument == "off") {
            let last = joined.last_mut().expect("just looked at");
            last.push("=");
            last.push(argument);
        } else {
            joined.push(argument);
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn auth_never_eats_the_next_argument() {
        for line in [
            "--auth --config=f",
            "--auth=off --config f",
            "--auth off --config f",
            "--config f --auth",
            "--auth on --config f",
        ] {
            let arguments = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(arguments.config, Some(PathBuf::from("f")), "{line}");
            assert_eq!(arguments.deprecated().len(), 1, "{line}");
        }
        assert!(parse("--auth maybe --config f").is_err(), "a stray word");
    }

    #[test]
    fn old_flags_are_accepted_and_warned_about() {
        let arguments = parse("--config f --key k --cert c --mlock -q --addr :1").expect("accepted");
        assert_eq!(arguments.deprecated().len(), 4);
        assert_eq!(arguments.addr.as_deref(), Some(":1"));
        for line in ["--mlock=true --config f", "-q --config f", "--quiet=false --config f"] {
            assert_eq!(parse(line).expect(line).deprecated().len(), 1, "{line}");
        }
    }

    #[test]
    fn a_file_or_dev_and_not_both() {
        assert!(parse("--dev").is_ok());
        assert!(parse("--dev --config f").is_err());
        assert!(parse("--quick d").is_ok() && parse("--quick d --dns a,b --ip ::1 --addr :1").is_ok());
        for line in ["--quick d --config f", "--quick d --dev", "--dns a --config f", "--ip x --quick d"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
