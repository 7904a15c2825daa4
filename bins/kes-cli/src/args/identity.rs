//! `kes identity …`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Enclave, Pattern};
use crate::commands::policy_change::Assign;
use crate::{duration, help};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = help::IDENTITY)]
pub(crate) struct Identity {
    /// An API key, a certificate, or a private key file whose API key is wanted; nothing: make a new API key
    pub(crate) argument: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<IdentityCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make a new API key, and a certificate if wanted
    #[command(after_help = help::IDENTITY_NEW)]
    New(Box<New>),
    /// Tell the identity of an API key or certificate
    #[command(after_help = help::IDENTITY_OF)]
    Of(Of),
    /// Show what a server knows of an identity: its policy, or that it is the administrator
    #[command(alias = "describe", after_help = help::IDENTITY_INFO)]
    Info(Who),
    /// Take the policy away from identities, until the server restarts
    #[command(aliases = ["forget", "delete"], after_help = help::IDENTITY_RM)]
    Rm(Forget),
    /// Up to v0.17; now `kes policy assign POLICY IDENTITY`
    #[command(hide = true)]
    Assign(Turned),
    /// List the identities that a server knows
    #[command(alias = "list", after_help = help::IDENTITY_LS)]
    Ls(Pattern),
}

#[derive(Debug, Args)]
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
    /// An API key or a certificate file; `-` reads either
    #[arg(value_name = "API-KEY|CERTIFICATE")]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Who {
    /// An identity, an API key or a certificate file; nothing: yourself
    pub(crate) identity: Option<String>,
    #[command(flatten)]
    enclave: Enclave,
}

#[derive(Debug, Args)]
pub(crate) struct Forget {
    /// Identities, API keys or certificate files
    #[arg(value_name = "IDENTITY")]
    pub(crate) identities: Vec<String>,
    /// Do not ask (a terminal is asked otherwise)
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    enclave: Enclave,
}

/// The order of arguments of v0.17.
#[derive(Debug, Args)]
pub(crate) struct Turned {
    identity: Option<String>,
    policy: Option<String>,
    #[command(flatten)]
    enclave: Enclave,
}

impl Turned {
    pub(crate) fn turned(self) -> Assign {
        Assign::new(self.policy, self.identity)
    }
}

pub(super) fn ip(text: &str) -> Result<IpAddr, String> {
    text.trim().parse().map_err(|_| format!("invalid string being converted to IP address: {text}"))
}
