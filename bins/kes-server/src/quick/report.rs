//! What an operator is told about a folder at every start.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::bail;
use kes_config::Config;

use super::template::FOLDER_LINE;
use super::{CONFIG, Folder, KEYS, Outcome};

/// Refuses a folder whose file still names the place where it was made, if that is gone: every path in it leads nowhere.
pub(crate) fn moved(folder: &Folder) -> anyhow::Result<()> {
    // What cannot be read here is refused with more words by whoever loads it.
    let text = std::fs::read_to_string(folder.config()).unwrap_or_default();
    let Some(old) = text.lines().find_map(|line| line.strip_prefix(FOLDER_LINE)) else { return Ok(()) };
    if Path::new(old) == folder.path() || Path::new(old).exists() {
        return Ok(());
    }
    bail!(
        "folder '{folder}' was made as '{old}', and {CONFIG} names files there\nhint: {}",
        replace(old, &folder.path().display().to_string(), &folder.config())
    )
}

/// What is where, and how to go on.
pub(crate) fn started(folder: &Folder, config: &Config, outcome: Outcome) -> String {
    let mut text = match outcome {
        Outcome::Found => format!("Using {folder}, which was made earlier.\n"),
        Outcome::Made => format!("Made {folder}: an authority and a certificate, identities, a sealed key store.\n"),
        Outcome::Completed => {
            format!("Completed {folder}, whose making had been interrupted. Its recovery key was shown then.\n")
        }
    };
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "  {label:<14}{value}");
    };
    line("Settings", &format!("{}  (kes-server --config serves it as well)", folder.config().display()));
    let word = |path: PathBuf| shell(&path.display().to_string());
    let environment = format!("export KES_API_KEY=@{} KES_CA_PATH={}", word(folder.admin()), word(folder.ca()));
    line("Administrator", &format!("{environment}{}", server(config)));
    if let Some(key) = config.store.seal().and_then(|seal| seal.key_file.as_deref()) {
        line("Sealing key", &key.display().to_string());
        if key.starts_with(folder.path()) {
            line(
                "",
                &format!(
                    "It lies beside what it seals ({}). This line moves it away:",
                    folder.path().join(KEYS).display()
                ),
            );
            line("", &move_line(folder, key));
        }
    }
    line(
        "MinIO",
        &format!("kes connect minio {}  (what to tell it, and a proof)", shell(&folder.path().display().to_string())),
    );
    text
}

/// What the command line has to be told about the server's address, if anything.
fn server(config: &Config) -> String {
    let address = config.address.socket_addr();
    let ip = match address.ip() {
        ip if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    match SocketAddr::new(ip, address.port()).to_string().as_str() {
        super::ADDRESS => String::new(),
        other => format!(" KES_SERVER={other}"),
    }
}

/// One line for a shell that moves the sealing key to where the settings of programs are, and says so in the file. The
/// running server takes the change up.
fn move_line(folder: &Folder, key: &Path) -> String {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let place = match (absolute("XDG_CONFIG_HOME"), absolute("HOME")) {
        (Some(settings), _) => settings.join("kes"),
        (None, Some(home)) if !rustix::process::geteuid().is_root() => home.join(".config/kes"),
        _ => PathBuf::from("/etc/kes"),
    };
    // The folder's path tells the keys of several folders apart.
    let name = folder.path().display().to_string();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = name.trim_matches('/').chars().rev().take(100).map(plain).collect();
    let name: String = name.chars().rev().collect();
    let new = place.join(format!("{name}.sealing.key"));
    let (old, new) = (key.display().to_string(), new.display().to_string());
    format!(
        "mkdir -p -m 700 {} && test ! -e {new_word} && mv {} {new_word} && {}",
        shell(&place.display().to_string()),
        shell(&old),
        replace(&old, &new, &folder.config()),
        new_word = shell(&new),
    )
}

/// The command that replaces a text by another in a file, on GNU and BSD alike.
fn replace(old: &str, new: &str, file: &Path) -> String {
    let escape = |text: &str, special: &[char]| {
        text.chars().flat_map(|c| special.contains(&c).then_some('\\').into_iter().chain([c])).collect::<String>()
    };
    let pattern = escape(old, &['\\', '|', '.', '*', '[', ']', '^', '$']);
    let text = escape(new, &['\\', '|', '&']);
    format!("sed -i.old {} {}", shell(&format!("s|{pattern}|{text}|")), shell(&file.display().to_string()))
}

/// A word for a shell.
fn shell(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | ':' | '+' | '=' | '@' | ',');
    if !text.is_empty() && text.chars().all(bare) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacements_are_literal() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("it's a file");
        let (old, new) = ("/a.b/[x]|$y*", "/n&w/\\z/it's");
        std::fs::write(&file, format!("key: {old}\nno: /aXb/[x]|$y*\n")).unwrap();
        let status = std::process::Command::new("sh").arg("-c").arg(replace(old, new, &file)).status().unwrap();
        assert!(status.success());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("key: {new}\nno: /aXb/[x]|$y*\n"));
    }
}
