//! `kes policy check`: may they, and which rule says so?

mod overview;
mod request;
mod subject;
mod text;
mod verdict;
mod who;

use clap::{Args, ValueEnum};
use kes_policy::Matching;

use crate::args::Global;
use crate::failure::{Failure, Outcome, Status};
use crate::output::{self, Output};
use crate::policies::PolicyConfig;

use request::Request;
use subject::{Asked, Ruleset};
use verdict::Verdict;

/// What is asked.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Configuration of a server, `-` for standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<String>,
    /// Who asks: an identity, a certificate file, or `@FILE` with an API key
    #[arg(short, long, value_name = "ID")]
    identity: Option<String>,
    /// How patterns are read [default: as the configuration says, else both]
    #[arg(long, value_name = "READING", value_enum, ignore_case = true)]
    policy_match: Option<Reading>,
    /// A policy: a file, `-`, or a name (in the configuration, else on the server); then a method and a path
    #[arg(value_name = "POLICY|METHOD|PATH", num_args = 0..=3)]
    words: Vec<String>,
}

/// Values of `compat.policy_match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Reading {
    /// Deny by either reading, allow by today's and by what is plainly a glob
    Both,
    /// As releases since 2023-10-24
    Head,
    /// As releases up to 2023-10-03
    Glob,
}

impl From<Reading> for Matching {
    fn from(reading: Reading) -> Self {
        match reading {
            Reading::Both => Self::Both,
            Reading::Head => Self::Head,
            Reading::Glob => Self::Glob,
        }
    }
}

const NAME: &str = "kes policy check";

pub(crate) const HELP: &str =
    "Exit status: 0 allowed, 5 denied, 1 nothing answers such a request, or it cannot be told.

Without a path: everything that the policy or identity may do. Without policy and identity: whether you may, by the
server's own answer; with a configuration, who may.

Examples:
  kes policy check --config config.yml --identity client.crt PUT /v1/key/create/my-key
  kes policy check --config config.yml --identity @api-key.txt
  kes policy check --config config.yml GET /v1/metrics
  kes policy check policy.json /v1/key/decrypt/my-key
  kes policy check my-app PUT /v1/key/create/my-key     the policy of that name on the server
  kes policy check /v1/key/create/my-key                may I?";

/// Exit status 0: allowed; 5: denied.
pub(crate) fn run(global: &Global, output: &Output, check: &Check) -> Outcome {
    let Words { policy, method, path } = Words::read(check)?;
    let config = check.config.as_deref().map(PolicyConfig::read).transpose()?;
    let request = path.as_deref().map(|path| Request::parse(method.as_deref(), path)).transpose()?;
    let identity = check.identity.as_deref();
    let identity = identity.map(|argument| subject::identity_of(argument, config.as_ref())).transpose()?;
    let own = config.as_ref().map(|config| config.loaded.config.compat.policy_match);
    let matching = check.policy_match.map(Into::into).or(own).unwrap_or_default();

    let asked = match &config {
        Some(config) if identity.is_none() && policy.is_none() => {
            let request = request.ok_or_else(|| {
                Failure::usage("nothing is asked: name an identity, a policy or a path", NAME)
                    .hint("`kes policy matrix --config FILE` shows everything")
            })?;
            return who::run(output, config, &request, matching);
        }
        Some(config) => Asked::of_config(config, identity.as_ref(), policy.as_deref(), matching)?,
        None => match policy.as_deref().filter(|policy| is_file(policy)) {
            Some(_) if identity.is_some() => {
                let text = "a policy in a file of its own names no identities";
                return Err(Failure::usage(text, NAME).hint("--config FILE says who has which policy"));
            }
            Some(file) => Asked::of_file(file, matching)?,
            None => Asked::of_server(global, identity.as_ref(), policy.as_deref(), matching)?,
        },
    };
    let Some(request) = request else { return overview::run(output, &asked) };
    let others = config.as_ref().map(|config| all(config, matching)).unwrap_or_default();
    let verdict = Verdict::of(&asked, &request, &others);
    let document = output.document(&verdict)?;
    output::print(document.unwrap_or_else(|| text::verdict(output, &verdict)))?;
    ended(verdict.allowed)
}

/// All policies of a configuration.
fn all(config: &PolicyConfig, matching: Matching) -> Vec<Ruleset> {
    config.loaded.policies.iter().map(|source| Ruleset::of(config, source, matching)).collect()
}

/// The answer stands on stdout; the exit status is for scripts.
fn ended(allowed: bool) -> Outcome {
    match allowed {
        true => Ok(()),
        false => Err(Failure { status: Status::NotAuthorized, ..Failure::new("") }),
    }
}

/// What the words of the command line are.
struct Words {
    policy: Option<String>,
    method: Option<String>,
    path: Option<String>,
}

impl Words {
    fn read(check: &Check) -> Outcome<Self> {
        let mut words = check.words.clone();
        let behind_method = words.len() > 1 && request::is_method(&words[words.len() - 2]);
        let path =
            words.pop_if(|last| behind_method || request::is_path(last) && !std::path::Path::new(last).is_file());
        let method = words.pop_if(|last| path.is_some() && request::is_method(last));
        let policy = words.pop();
        let why = match (&policy, words.first()) {
            (Some(_), Some(_)) => "too many arguments: a policy, a method and a path are the most",
            (Some(_), _) if check.config.is_some() && check.identity.is_some() => {
                "an identity has one policy: name the identity or the policy"
            }
            (Some(word), _) if check.config.is_some() && is_file(word) => {
                "'--config' and a file with a policy exclude each other"
            }
            _ => return Ok(Self { policy, method, path }),
        };
        Err(Failure::usage(why, NAME))
    }
}

/// Whether a word names a file rather than a policy.
fn is_file(word: &str) -> bool {
    let has_ending = [".json", ".yml", ".yaml"].iter().any(|ending| word.to_ascii_lowercase().ends_with(ending));
    word == "-" || word.contains(['/', '\\']) || has_ending || std::path::Path::new(word).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: bool, identity: bool, words: &str) -> Result<[Option<String>; 3], String> {
        let check = Check {
            config: config.then(|| "c.yml".to_owned()),
            identity: identity.then(|| "id".to_owned()),
            policy_match: None,
            words: words.split_whitespace().map(str::to_owned).collect(),
        };
        Words::read(&check).map(|words| [words.policy, words.method, words.path]).map_err(|failure| failure.text)
    }

    #[test]
    fn words_are_told_apart() {
        let some = |word: &str| Some(word.to_owned());
        for (words, expected) in [
            ("", [None, None, None]),
            ("/v1/status", [None, None, some("/v1/status")]),
            ("GET /v1/status", [None, some("GET"), some("/v1/status")]),
            ("p.json PUT /v1/key/create/x", [some("p.json"), some("PUT"), some("/v1/key/create/x")]),
            ("my-app /v1/key/create/x", [some("my-app"), None, some("/v1/key/create/x")]),
            ("- get /v1/x", [some("-"), some("get"), some("/v1/x")]),
            ("/etc/policy.json", [some("/etc/policy.json"), None, None]),
            ("get", [some("get"), None, None]),
            ("GET /foo", [None, some("GET"), some("/foo")]),
            ("GET /v1/foo", [None, some("GET"), some("/v1/foo")]),
        ] {
            assert_eq!(read(false, false, words), Ok(expected), "{words}");
        }
        assert!(read(false, false, "a b /v1/status").unwrap_err().contains("too many arguments"));
        assert!(read(true, true, "p /v1/status").unwrap_err().contains("an identity has one policy"));
        assert!(read(true, false, "p.json /v1/status").unwrap_err().contains("exclude each other"));
    }
}
