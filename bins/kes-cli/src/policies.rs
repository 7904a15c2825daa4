//! The policies of a configuration file, with what people want to know of them beside the rules: which line says so, and
//! whose identity 64 hexadecimal digits are.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::sync::{Arc, Mutex};

use kes_config::{Error, ErrorKind, File, IdentitySource, Loaded, PolicySource, Warning};
use kes_crypto::Fingerprint;
use kes_identity::Identity;

use crate::failure::{Failure, Outcome};
use crate::input;

/// Longer files are no configurations.
const MAX_LEN: u64 = 4 << 20;

/// Longer names do not help anybody.
const MAX_NAME: usize = 60;

/// A configuration file that was read for its policies.
pub(crate) struct PolicyConfig {
    /// The file as it was named.
    pub(crate) name: String,
    /// Of the file's bytes, in hex.
    pub(crate) sha256: String,
    pub(crate) loaded: Loaded,
    /// Variables that the file refers to and that are not set here: the server has other values for them.
    pub(crate) unset: Vec<String>,
    names: HashMap<Identity, String>,
}

impl PolicyConfig {
    /// Reads a file, or standard input for `-`. No key store and no TLS file is opened.
    ///
    /// The server's variables are often not set where somebody asks about its policies; what only they know is left open.
    pub(crate) fn read(name: &str) -> Outcome<Self> {
        let bytes = bytes(name)?;
        let shown = if name == "-" { "standard input" } else { name };
        let file = |environment: Option<Unset>| {
            // From memory, so that what is judged is what is hashed; only a text that is no UTF-8 is read by the library.
            let file = match std::str::from_utf8(&bytes) {
                Ok(text) => File::from_text(shown, text),
                Err(_) => File::read(name)?,
            };
            match environment {
                Some(unset) => file.environment(move |variable| unset.look_up(variable)).load(),
                None => file.load(),
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        let unset = Unset { text: Arc::from(&*text), names: Arc::default() };
        let loaded = match file(None) {
            // The mistake counts if the file is wrong whatever the variables say.
            Err(error) if error.kind() == ErrorKind::Unset => file(Some(unset.clone())).map_err(|_| refused(&error)),
            result => result.map_err(|error| refused(&error)),
        }?;
        let names = names(&text, &loaded.policies);
        let sha256 = Fingerprint::of(&bytes).to_hex();
        Ok(Self { name: shown.to_owned(), sha256, loaded, unset: unset.names(), names })
    }

    /// What the file says beside an identity: its comment, else the variable that holds it.
    pub(crate) fn name_of(&self, identity: &Identity) -> Option<&str> {
        self.names.get(identity).map(String::as_str)
    }

    /// The identity as it should be shown: `${NAME}` if nobody here knows it.
    pub(crate) fn show(&self, identity: &str) -> String {
        match self.unset.iter().any(|variable| variable == identity) {
            true => format!("${{{identity}}}"),
            false => identity.to_owned(),
        }
    }

    /// Whether the identity is a variable's that is not set here.
    pub(crate) fn is_open(&self, identity: &str) -> bool {
        self.unset.iter().any(|variable| variable == identity)
    }

    /// Where a policy stands.
    pub(crate) fn source(&self, policy: &str) -> Option<&PolicySource> {
        self.loaded.policies.iter().find(|source| source.name.as_str() == policy)
    }

    /// Where an identity is given its policy.
    pub(crate) fn member(&self, identity: &Identity) -> Option<&IdentitySource> {
        let members = self.loaded.policies.iter().flat_map(|source| &source.identities);
        members.into_iter().find(|member| member.identity == *identity)
    }

    /// The warnings about policies, in the order of the file; not those about identities that only the server knows.
    pub(crate) fn findings(&self) -> Vec<&Warning> {
        let about_policies = |warning: &&Warning| warning.place.key.starts_with("policy");
        let open = |warning: &&Warning| {
            self.unset.iter().any(|variable| warning.message.contains(&format!("the identity '{variable}'")))
        };
        self.loaded.warnings.iter().filter(about_policies).filter(|warning| !open(warning)).collect()
    }
}

/// The configuration's own words, place and advice.
pub(crate) fn refused(error: &Error) -> Failure {
    let text = match error.place() {
        Some(place) => format!("{}\n --> {place}", error.message()),
        None => error.message().to_owned(),
    };
    let failure = Failure::new(text);
    match error.advice() {
        Some(advice) => failure.hint(advice),
        None => failure,
    }
}

/// The bytes of a file, or of standard input for `-`.
pub(crate) fn bytes(name: &str) -> Outcome<Vec<u8>> {
    let failed = |what: &str, error: &std::io::Error| Failure::new(format!("{what} {name}: {}", input::reason(error)));
    let mut bytes = Vec::new();
    let read = match name {
        "-" => std::io::stdin().lock().take(MAX_LEN + 1).read_to_end(&mut bytes),
        _ => {
            let file = std::fs::File::open(name).map_err(|error| failed("open", &error))?;
            file.take(MAX_LEN + 1).read_to_end(&mut bytes)
        }
    };
    read.map_err(|error| failed("read", &error))?;
    match bytes.len() as u64 > MAX_LEN {
        true => Err(Failure::new(format!("{name} is longer than {MAX_LEN} bytes"))),
        false => Ok(bytes),
    }
}

/// Variables that the file refers to and that are not set.
#[derive(Clone)]
struct Unset {
    text: Arc<str>,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl Unset {
    /// The value, or the variable's own name: as an identity that is one which nobody has. What the reader asks for of
    /// its own accord (systemd's variables) is no matter of the file.
    fn look_up(&self, variable: &str) -> Option<String> {
        std::env::var(variable).ok().or_else(|| {
            self.text.contains(variable).then(|| {
                self.names.lock().expect("no holder panics").insert(variable.to_owned());
                variable.to_owned()
            })
        })
    }

    fn names(&self) -> Vec<String> {
        self.names.lock().expect("no holder panics").iter().cloned().collect()
    }
}

/// What stands beside the identities in the file.
fn names(text: &str, policies: &[PolicySource]) -> HashMap<Identity, String> {
    let lines: Vec<&str> = text.lines().collect();
    let line = |number: usize| number.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or_default();
    let members: Vec<_> = policies.iter().flat_map(|policy| &policy.identities).collect();
    let mut names = HashMap::new();
    for member in &members {
        let at = member.place.line;
        let alone = members.iter().filter(|other| other.place.line == at).count() == 1;
        let beside = trailing_comment(line(at)).filter(|_| alone);
        let above = whole_comment(line(at - 1)).filter(|_| alone && at > 1 && whole_comment(line(at - 2)).is_none());
        let variable = member.variable.as_ref().map(|variable| format!("${{{variable}}}"));
        if let Some(name) = beside.or(above).map(shortened).or(variable) {
            names.insert(member.identity.clone(), name);
        }
    }
    names
}

/// `text` of `- value # text`.
fn trailing_comment(line: &str) -> Option<&str> {
    let at = line.find(" #").or_else(|| line.find("\t#"))?;
    Some(line[at + 2..].trim_start_matches('#').trim()).filter(|text| !text.is_empty() && !line.trim().starts_with('#'))
}

/// `text` of `# text`, unless that is a line that was commented out.
fn whole_comment(line: &str) -> Option<&str> {
    let text = line.trim().strip_prefix('#')?.trim_start_matches('#').trim();
    (!text.is_empty() && !text.starts_with("- ") && !text.ends_with(':')).then_some(text)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_NAME) {
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_name_identities() {
        for (line, beside, above) in [
            ("  - 339e # MinIO, site A", Some("MinIO, site A"), None),
            ("  - 339e", None, None),
            ("  - '339e'\t# x", Some("x"), None),
            ("  # the backup job", None, Some("the backup job")),
            ("  # - 339e", None, None),
            ("  # identities:", None, None),
            ("  - a#b", None, None),
            ("#", None, None),
            ("", None, None),
        ] {
            assert_eq!(trailing_comment(line), beside, "{line}");
            assert_eq!(whole_comment(line), above, "{line}");
        }
        assert_eq!(shortened(&"ä".repeat(70)), format!("{}…", "ä".repeat(60)));
    }
}
