//! The file of servers, `~/.config/kes/config.toml`: several servers, each with a name.
//!
//! It is read with positions, so that every complaint says where. A key that nobody knows is warned about with the one
//! that was probably meant; a value of the wrong kind is an error.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use crate::duration;
use crate::environment::{self, Lookup};
use crate::failure::{Failure, Outcome, Status};
use crate::input;
use crate::nearest::nearest;

/// The keys of an entry, in the order of the documentation.
const KEYS: &[&str] = &[
    "endpoints",
    "api_key",
    "api_key_file",
    "api_key_command",
    "client_key",
    "client_cert",
    "password_file",
    "password_command",
    "ca_path",
    "fingerprint",
    "insecure",
    "timeout",
];

/// The whole file.
#[derive(Default)]
pub(crate) struct ServersFile {
    pub(crate) path: Option<PathBuf>,
    pub(crate) default: Option<String>,
    /// In alphabetical order.
    pub(crate) entries: Vec<Entry>,
    /// What deserves a look, in one line each.
    pub(crate) warnings: Vec<String>,
}

/// One server, or several of one cluster.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) endpoints: Vec<String>,
    pub(crate) api_key: Option<Source>,
    pub(crate) client_key: Option<PathBuf>,
    pub(crate) client_cert: Option<PathBuf>,
    pub(crate) password: Option<Source>,
    pub(crate) ca_path: Option<PathBuf>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) insecure: bool,
    pub(crate) timeout: Option<Duration>,
}

/// Where a secret comes from.
pub(crate) enum Source {
    /// It stands in the file itself.
    Text(Zeroizing<String>),
    File(PathBuf),
    /// Program and arguments; what it prints is the secret.
    Command(Vec<String>),
}

impl ServersFile {
    /// Reads the file that the flag, the environment or the home folder names. None at all is an empty one.
    pub(crate) fn read(flag: Option<&Path>, lookup: Lookup<'_>) -> Outcome<Self> {
        let Some((path, is_named)) = path(flag, lookup) else { return Ok(Self::default()) };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => {
                return Ok(Self { path: Some(path), ..Self::default() });
            }
            Err(error) => return Err(Failure::new(format!("open {}: {}", path.display(), input::reason(&error)))),
        };
        let mut file = Reader { path: &path, text: &text, home: lookup("HOME") }.file()?;
        if file.entries.iter().any(|entry| matches!(entry.api_key, Some(Source::Text(_)))) && is_open(&path) {
            file.warnings.push(format!(
                "{} holds an API key and can be read by others; run: chmod 600 {}",
                path.display(),
                path.display()
            ));
        }
        Ok(Self { path: Some(path), ..file })
    }

    /// The entry that `-c NAME` means.
    pub(crate) fn named(&self, name: &str) -> Outcome<&Entry> {
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| self.unknown(name))
    }

    /// The entry that counts when nothing else is said.
    pub(crate) fn default_entry(&self) -> Option<&Entry> {
        let default = self.default.as_deref()?;
        self.entries.iter().find(|entry| entry.name == default)
    }

    fn unknown(&self, name: &str) -> Failure {
        let place = self.path.as_ref().map_or_else(|| "no file of servers".into(), |path| path.display().to_string());
        let failure = Failure { status: Status::Usage, ..Failure::new(format!("no server '{name}' in {place}")) };
        let names: Vec<_> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
        match nearest(name, names.iter().copied()) {
            Some(meant) => failure.hint(format!("did you mean '{meant}'?")),
            None if names.is_empty() => failure.hint("`kes help servers-file` tells how it is written"),
            None => failure.hint(format!("it has {}", names.join(", "))),
        }
    }
}

/// The path, and whether somebody has named it.
fn path(flag: Option<&Path>, lookup: Lookup<'_>) -> Option<(PathBuf, bool)> {
    if let Some(path) =
        flag.map(PathBuf::from).or_else(|| environment::first(&["KES_CLI_CONFIG"], lookup).map(Into::into))
    {
        return Some((path, true));
    }
    // A relative XDG_CONFIG_HOME is to be ignored, says its specification.
    let xdg = environment::first(&["XDG_CONFIG_HOME"], lookup).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = xdg.or_else(|| environment::first(&["HOME"], lookup).map(|home| Path::new(&home).join(".config")))?;
    Some((folder.join("kes/config.toml"), false))
}

fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|facts| facts.permissions().mode() & 0o044 != 0)
}

struct Reader<'r> {
    path: &'r Path,
    text: &'r str,
    home: Option<String>,
}

type Value<'v> = Spanned<DeValue<'v>>;

impl Reader<'_> {
    fn file(&self) -> Outcome<ServersFile> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(error.message().lines().next().unwrap_or("not TOML").to_owned(), at, "")
        })?;
        let mut file = ServersFile::default();
        let mut warnings = Vec::new();
        for (key, value) in table.get_ref() {
            let at = key.span().start;
            match key.get_ref().as_ref() {
                "default" => file.default = Some(self.string(value, "default")?.to_owned()),
                "servers" => {
                    for (name, entry) in self.table(value, "servers")? {
                        let entry = self.entry(name.get_ref(), entry, &mut warnings)?;
                        file.entries.push(entry);
                    }
                }
                other => warnings.push((at, self.unknown(other, at, "", &["default", "servers"]))),
            }
        }
        warnings.sort();
        file.warnings = warnings.into_iter().map(|(_, text)| text).collect();
        file.entries.sort_by(|a, b| a.name.cmp(&b.name));
        match &file.default {
            Some(default) if file.default_entry().is_none() => {
                let failure = file.unknown(default);
                Err(Failure { text: format!("the default server is '{default}', which is not there"), ..failure })
            }
            _ => Ok(file),
        }
    }

    fn entry(&self, name: &str, value: &Value<'_>, warnings: &mut Vec<(usize, String)>) -> Outcome<Entry> {
        let mut entry = Entry { name: name.to_owned(), ..Entry::default() };
        let place = format!("servers.{name}");
        for (key, value) in self.table(value, &place)? {
            let at = key.span().start;
            let key = key.get_ref().as_ref();
            let place = format!("{place}.{key}");
            let twice = |what: &str| self.wrong(format!("{what} is given twice, in different ways"), at, &place);
            match key {
                "endpoints" => entry.endpoints = self.endpoints(value, &place)?,
                "api_key" | "api_key_file" | "api_key_command" => {
                    if entry.api_key.replace(self.source(key, value, &place)?).is_some() {
                        return Err(twice("the API key"));
                    }
                }
                "password_file" | "password_command" => {
                    if entry.password.replace(self.source(key, value, &place)?).is_some() {
                        return Err(twice("the password"));
                    }
                }
                "client_key" => entry.client_key = Some(self.file_path(value, &place)?),
                "client_cert" => entry.client_cert = Some(self.file_path(value, &place)?),
                "ca_path" => entry.ca_path = Some(self.file_path(value, &place)?),
                "fingerprint" => entry.fingerprint = Some(self.string(value, &place)?.to_owned()),
                "insecure" => entry.insecure = self.boolean(value, &place)?,
                "timeout" => {
                    let text = self.string(value, &place)?;
                    let limit =
                        duration::parse_positive(text).map_err(|why| self.wrong(why, value.span().start, &place))?;
                    entry.timeout = Some(limit);
                }
                other => warnings.push((at, self.unknown(other, at, &format!("servers.{name}."), KEYS))),
            }
        }
        if entry.endpoints.is_empty() {
            return Err(self.wrong("a server needs endpoints".into(), value.span().start, &place));
        }
        Ok(entry)
    }

    /// One text, or a list of texts.
    fn endpoints(&self, value: &Value<'_>, place: &str) -> Outcome<Vec<String>> {
        let texts = match value.get_ref() {
            DeValue::Array(_) => self.strings(value, place)?,
            _ => vec![self.string(value, place)?.to_owned()],
        };
        Ok(environment::server_list(&texts.join(",")))
    }

    fn source(&self, key: &str, value: &Value<'_>, place: &str) -> Outcome<Source> {
        Ok(match key {
            "api_key" => Source::Text(Zeroizing::new(self.string(value, place)?.to_owned())),
            "api_key_file" | "password_file" => Source::File(self.file_path(value, place)?),
            _ => match self.strings(value, place)? {
                words if words.first().is_none_or(String::is_empty) => {
                    return Err(self.wrong("a command needs a program".into(), value.span().start, place));
                }
                words => Source::Command(words),
            },
        })
    }

    fn file_path(&self, value: &Value<'_>, place: &str) -> Outcome<PathBuf> {
        let text = self.string(value, place)?;
        if let (Some(rest), Some(home)) = (text.strip_prefix("~/"), &self.home) {
            return Ok(Path::new(home).join(rest));
        }
        Ok(self.path.with_file_name("").join(text))
    }

    fn table<'v>(&self, value: &'v Value<'v>, place: &str) -> Outcome<&'v DeTable<'v>> {
        match value.get_ref() {
            DeValue::Table(table) => Ok(table),
            _ => Err(self.kind("a table", value, place)),
        }
    }

    fn string<'v>(&self, value: &'v Value<'_>, place: &str) -> Outcome<&'v str> {
        value.get_ref().as_str().ok_or_else(|| self.kind("a text in quotes", value, place))
    }

    fn strings(&self, value: &Value<'_>, place: &str) -> Outcome<Vec<String>> {
        let wrong = || self.kind("a list of texts", value, place);
        let list = value.get_ref().as_array().ok_or_else(wrong)?;
        list.iter().map(|text| text.get_ref().as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    fn boolean(&self, value: &Value<'_>, place: &str) -> Outcome<bool> {
        value.get_ref().as_bool().ok_or_else(|| self.kind("true or false", value, place))
    }

    fn kind(&self, wanted: &str, value: &Value<'_>, place: &str) -> Failure {
        self.wrong(format!("'{place}' must be {wanted}"), value.span().start, place)
    }

    fn wrong(&self, what: String, at: usize, place: &str) -> Failure {
        let place = if place.is_empty() { String::new() } else { format!(": {place}") };
        let failure = Failure::new(format!("{what}\n --> {}:{}{place}", self.path.display(), self.line(at)));
        failure.hint("`kes help servers-file` tells how the file is written")
    }

    fn unknown(&self, key: &str, at: usize, before: &str, known: &[&str]) -> String {
        let meant = nearest(key, known.iter().copied()).map(|key| format!("; did you mean '{key}'?"));
        format!("{}:{}: unknown key '{before}{key}'{}", self.path.display(), self.line(at), meant.unwrap_or_default())
    }

    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(flag: Option<&str>, variables: &[(&str, &str)]) -> Option<PathBuf> {
        let lookup =
            |asked: &str| variables.iter().find(|(name, _)| *name == asked).map(|(_, value)| value.to_string());
        path(flag.map(Path::new), &lookup).map(|(path, _)| path)
    }

    #[test]
    fn the_file_is_where_the_first_of_them_says() {
        let home = ("HOME", "/home/me");
        assert_eq!(at(None, &[]), None);
        assert_eq!(at(None, &[home]), Some("/home/me/.config/kes/config.toml".into()));
        assert_eq!(at(None, &[home, ("XDG_CONFIG_HOME", "/xdg")]), Some("/xdg/kes/config.toml".into()));
        assert_eq!(at(None, &[home, ("XDG_CONFIG_HOME", "xdg")]), Some("/home/me/.config/kes/config.toml".into()));
        assert_eq!(at(None, &[home, ("KES_CLI_CONFIG", "c.toml")]), Some("c.toml".into()));
        assert_eq!(at(None, &[home, ("KES_CLI_CONFIG", "")]), Some("/home/me/.config/kes/config.toml".into()));
        assert_eq!(at(Some("f.toml"), &[home, ("KES_CLI_CONFIG", "c.toml")]), Some("f.toml".into()));
    }

    fn read(text: &str) -> Outcome<ServersFile> {
        Reader { path: Path::new("/etc/kes/config.toml"), text, home: Some("/home/me".into()) }.file()
    }

    #[test]
    fn an_entry_is_read_with_paths_of_all_kinds() {
        let file = read(
            "[servers.a]\nendpoints = 'https://a:7373, b:7373'\nclient_key = 'a.key'\nclient_cert = '~/a.crt'\n\
             ca_path = '/ca'\npassword_command = ['pass', 'show', 'a']\ntimeout = '1m30s'\ninsecure = true\n",
        )
        .unwrap();
        let entry = &file.entries[0];
        assert_eq!(entry.endpoints, ["https://a:7373", "https://b:7373"]);
        assert_eq!(entry.client_key.as_deref(), Some(Path::new("/etc/kes/a.key")));
        assert_eq!(entry.client_cert.as_deref(), Some(Path::new("/home/me/a.crt")));
        assert_eq!(entry.ca_path.as_deref(), Some(Path::new("/ca")));
        assert!(matches!(&entry.password, Some(Source::Command(words)) if words[1..] == ["show", "a"]));
        assert_eq!((entry.timeout, entry.insecure), (Some(Duration::from_secs(90)), true));
        assert!(file.warnings.is_empty() && file.default_entry().is_none());
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let head = "[servers.a]\nendpoints = 'a'\n";
        for (text, expected) in [
            ("default = 'b'\n[servers.a]\nendpoints = 'a'\n", "the default server is 'b', which is not there"),
            ("[servers.a]\n", "a server needs endpoints\n --> /etc/kes/config.toml:1: servers.a"),
            ("servers = 1\n", "'servers' must be a table\n --> /etc/kes/config.toml:1: servers"),
            (
                &format!("{head}api_key = 'x'\napi_key_file = 'y'\n"),
                "the API key is given twice, in different ways\n --> /etc/kes/config.toml:4: servers.a.api_key_file",
            ),
            (
                &format!("{head}api_key_command = 'pass show'\n"),
                "'servers.a.api_key_command' must be a list of texts\n --> /etc/kes/config.toml:3: servers.a.api_key_command",
            ),
            (
                &format!("{head}api_key_command = []\n"),
                "a command needs a program\n --> /etc/kes/config.toml:3: servers.a.api_key_command",
            ),
            (
                &format!("{head}insecure = 'yes'\n"),
                "'servers.a.insecure' must be true or false\n --> /etc/kes/config.toml:3: servers.a.insecure",
            ),
            (&format!("{head}timeout = '0s'\n"), "it must be above 0\n --> /etc/kes/config.toml:3: servers.a.timeout"),
        ] {
            assert_eq!(read(text).err().unwrap().text, expected, "{text}");
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_warned_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, "[servers.a]\nendpoints = 'a'\napi_key = 'x'\n").unwrap();
        let warnings = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            ServersFile::read(Some(&path), &|_| None).unwrap().warnings
        };
        assert!(warnings(0o644)[0].contains("chmod 600"));
        assert_eq!(warnings(0o640).len(), 1);
        assert!(warnings(0o600).is_empty());
    }
}
