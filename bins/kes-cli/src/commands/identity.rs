//! `kes identity`, `kes identity of`: who is this, and what is its API key.

use kes_identity::{ApiKey, Identity, SecretText, pem};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::{self, Global, IdentityCommand, Of};
use crate::commands::{list, new_identity, policy_change, who};
use crate::connect::given_password;
use crate::environment;
use crate::failure::{Failure, Outcome};
use crate::input;
use crate::nearest::nearest;
use crate::output::{self, Output};

pub(crate) fn run(global: &Global, output: &Output, identity: args::Identity) -> Outcome {
    match (identity.command, identity.argument) {
        (Some(command), _) => sub(global, output, command),
        (None, None) => new_identity::bare(output),
        (None, Some(argument)) => recognise(global, output, &argument),
    }
}

pub(crate) fn sub(global: &Global, output: &Output, command: IdentityCommand) -> Outcome {
    match command {
        IdentityCommand::New(new) => new_identity::new(global, output, &new),
        IdentityCommand::Of(of) => self::of(output, &of),
        IdentityCommand::Info(who) => who::run(global, output, &who),
        IdentityCommand::Rm(forget) => policy_change::forget(global, output, &forget),
        IdentityCommand::Assign(assign) => policy_change::assign(global, output, &assign.turned()),
        IdentityCommand::Ls(pattern) => list::identities(global, output, &pattern),
    }
}

/// Prints a line, in a pipe without newline, as all identity commands do there.
pub(crate) fn line(output: &Output, text: &str) -> Outcome {
    let end = if output.is_pipe_form() { "" } else { "\n" };
    output::print(Zeroizing::new(format!("{text}{end}")).as_bytes())
}

/// What may stand behind `kes identity` beside an API key or file.
const SUBCOMMANDS: [&str; 5] = ["new", "of", "info", "ls", "rm"];

/// `kes identity ARG`: an API key (prefix or not), a certificate, or a private key whose API key is wanted.
fn recognise(global: &Global, output: &Output, argument: &str) -> Outcome {
    if let Ok(key) = argument.parse::<ApiKey>() {
        return show(output, key.identity());
    }
    let (name, text) = source(argument).map_err(|failure| match nearest(argument, SUBCOMMANDS) {
        Some(meant) => failure.hint(format!("did you mean 'kes identity {meant}'?")),
        None => failure,
    })?;
    if let Ok(key) = as_text(&text).parse::<ApiKey>() {
        return show(output, key.identity());
    }
    let first =
        pem::blocks(&text).filter_map(Result::ok).find(|block| block.is_certificate() || block.is_private_key());
    match first {
        None => Err(Failure::new(format!("'{name}' contains no valid PEM certificate or private key"))),
        Some(block) if block.is_certificate() => {
            let identity = Identity::of_certificate(block.contents());
            show(output, &identity.map_err(|error| unreadable(&name, &error))?)
        }
        Some(block) => show_key(output, &private_key(global, &name, &text, block.is_encrypted())?),
    }
}

/// The API key of a private key file.
fn private_key(global: &Global, name: &str, text: &[u8], encrypted: bool) -> Outcome<SecretText> {
    let password = match given_password(global, &environment::process)? {
        None if encrypted => Some(input::password("Enter password for private key: ")?),
        given => given,
    };
    let key =
        pem::private_key(text, password.as_ref().map(|password| password.as_str())).map_err(|error| match error {
            pem::Error::WrongPassword => Failure::new("incorrect password"),
            error => Failure::new(format!("failed to parse private key in '{name}': {error}")),
        })?;
    let key = ApiKey::from_pkcs8(key.expose().secret_der()).map_err(|_| {
        let text = format!("'{name}' contains unsupported private key. Only ed25519 private keys are supported");
        Failure::new(text)
    })?;
    Ok(key.to_text())
}

#[derive(Serialize)]
struct KeyDocument<'d> {
    api_key: &'d str,
}

fn show_key(output: &Output, key: &SecretText) -> Outcome {
    match output.document(&KeyDocument { api_key: key.expose() })?.map(Zeroizing::new) {
        Some(document) => output::print(document.as_bytes()),
        None => line(output, key.expose()),
    }
}

/// `kes identity of`. Compat: arguments behind the first are ignored.
fn of(output: &Output, Of { arguments }: &Of) -> Outcome {
    let Some(argument) = arguments.first() else {
        return Err(Failure::usage("no API key or certificate specified", "kes identity of"));
    };
    show(output, &owner(argument)?)
}

/// Whose an API key or a certificate file is; `-` reads one of them.
pub(crate) fn owner(argument: &str) -> Outcome<Identity> {
    if argument.starts_with("kes:v1:") {
        let key: ApiKey = argument.parse().map_err(|error| Failure::of(&error))?;
        return Ok(key.identity().clone());
    }
    let (name, text) = source(argument)?;
    if let Ok(key) = ApiKey::parse_prefixed(as_text(&text)) {
        return Ok(key.identity().clone());
    }
    let certificates = pem::certificates(&text).map_err(|error| unreadable(&name, &error))?;
    let first = certificates.first().ok_or_else(|| unreadable(&name, &pem::Error::NotPem))?;
    Identity::of_certificate(first).map_err(|error| unreadable(&name, &error))
}

/// An identity as it is, or that of an API key or certificate file.
pub(crate) fn named(argument: &str) -> Outcome<Identity> {
    match argument.parse::<Identity>() {
        Ok(identity) if identity.is_hash() || !std::path::Path::new(argument).exists() => Ok(identity),
        _ => owner(argument),
    }
}

fn unreadable(name: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(format!("failed to parse certificate in '{name}': {error}"))
}

/// The content of a file, or of standard input for `-`, and what errors call it.
fn source(argument: &str) -> Outcome<(String, input::Secret)> {
    if argument == "-" {
        return Ok(("standard input".into(), input::value("-")?));
    }
    Ok((argument.to_owned(), input::value(&format!("@{argument}"))?))
}

fn as_text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default().trim()
}

#[derive(Serialize)]
struct Document<'d> {
    identity: &'d str,
}

fn show(output: &Output, identity: &Identity) -> Outcome {
    if output.is_pipe_form() {
        return output::print(identity.as_str());
    }
    let text = match output.document(&Document { identity: identity.as_str() })? {
        Some(document) => document,
        None => format!("Identity:\n\n   {}\n", output.bold(identity.as_str())),
    };
    output::print(text)
}
