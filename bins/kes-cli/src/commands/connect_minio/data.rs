//! What lies on a MinIO's drives, and with which key it was sealed.
//!
//! Everything here was found by looking at what MinIO writes. Below `.minio.sys/config` it keeps its settings, users and
//! policies, each in a folder of its own with a file `xl.meta`, which holds the content of small files. Content that was
//! sealed begins with a line of JSON, in clear: `{"keyid":"<name>","kmskey":"<sealed data key, base64>",…}`. The data
//! key is bound to `{".minio.sys":".minio.sys/<path>"}`. With several drives each holds a part of the content, so that the
//! line stands on one of them only. An object's sealed data key stands in its `xl.meta` on every drive.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kes_client::{Client, Error as ClientError, Reason};
use kes_crypto::{base64, static_key};
use serde::Deserialize;

use crate::environment;
use crate::failure::{Failure, Outcome};
use crate::input;

const SYSTEM: &str = ".minio.sys";
const METADATA: &str = "xl.meta";
const KEY_ID: &[u8] = b"X-Minio-Internal-Server-Side-Encryption-S3-Kms-Key-Id";
const SEALED_KEY: &[u8] = b"X-Minio-Internal-Server-Side-Encryption-S3-Kms-Sealed-Key";

/// Files that are looked at for objects; sealed ones are met long before, or there are none worth speaking of.
const MAX_OBJECTS: usize = 20_000;

/// A data key that MinIO keeps beside what it sealed.
#[derive(Debug)]
struct Sealed {
    key: String,
    ciphertext: Vec<u8>,
    context: Vec<u8>,
    file: PathBuf,
}

/// One sealed data key for each key that was met.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Of settings and users, which are sealed with MinIO's default key.
    system: BTreeMap<String, Sealed>,
    /// Of objects.
    objects: BTreeMap<String, Sealed>,
}

impl Evidence {
    /// The name of the key that settings and users are sealed with, if that is one.
    pub(super) fn key_name(&self) -> Option<&str> {
        match self.system.len() {
            1 => self.system.keys().next().map(String::as_str),
            _ => None,
        }
    }
}

/// Looks at the drives. A drive that MinIO has never used is fine.
pub(super) fn evidence(drives: &[String]) -> Outcome<Evidence> {
    let drives: Vec<PathBuf> = drives.iter().flat_map(|drive| environment::expand(drive)).map(PathBuf::from).collect();
    let mut evidence = Evidence::default();
    let mut unreadable = None;
    let mut expected = 0;
    for drive in &drives {
        let unlisted =
            |error: std::io::Error| Failure::new(format!("open {}: {}", drive.display(), input::reason(&error)));
        fs::read_dir(drive).map_err(unlisted)?;
        expected = expected.max(drives_of_set(drive));
        let config = drive.join(SYSTEM).join("config");
        walk(&config, &mut MAX_OBJECTS.clone(), &mut |file, content| match header(drive, file, content) {
            Some(sealed) => {
                evidence.system.entry(sealed.key.clone()).or_insert(sealed);
            }
            None if !is_plain(content) => unreadable = Some(file.to_owned()),
            None => {}
        });
        for bucket in buckets(drive) {
            walk(&bucket, &mut MAX_OBJECTS.clone(), &mut |file, content| {
                if let Some(sealed) = object(drive, file, content) {
                    evidence.objects.entry(sealed.key.clone()).or_insert(sealed);
                }
            });
        }
    }
    match unreadable {
        // With all drives at hand, what has no such line was sealed with MinIO's root credentials, as before May 2021.
        Some(file) if evidence.system.is_empty() && drives.len() < expected => Err(Failure::new(format!(
            "cannot tell with which key {} was sealed: that stands on another drive",
            file.display()
        ))
        .hint(format!(
            "this MinIO has {expected} drives: name all of them, as --minio-data '/mnt/drive{{1...{expected}}}'"
        ))),
        _ => Ok(evidence),
    }
}

/// Asks the server to open what was found, as MinIO would.
pub(super) async fn verify(client: &Client, evidence: &Evidence) -> Outcome {
    for sealed in evidence.system.values().chain(evidence.objects.values()) {
        let Err(error) = client.decrypt(&sealed.key, &sealed.ciphertext, &sealed.context).await else { continue };
        let file = sealed.file.display();
        let reason = match &error {
            ClientError::Server(refusal) => refusal.reason(),
            _ => None,
        };
        let text = match reason {
            Some(Reason::KeyNotFound) => {
                format!("this MinIO was sealed with a key '{}' that the server does not have ({file})", sealed.key)
            }
            Some(Reason::Decrypt) => {
                format!("this MinIO was sealed with another key '{}' than the server's ({file})", sealed.key)
            }
            _ => {
                let doing = format!("cannot tell whether the server opens {file}");
                return Err(super::unreachable(Failure::from(error)).while_doing(doing));
            }
        };
        return Err(Failure::new(text).hint(
            "with this server it would not start, or not read what it has. Its own key, from MINIO_KMS_SECRET_KEY or \
             MINIO_SSE_MASTER_KEY, can be taken over: kes key import --minio-static; from another server, move that one's store",
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Header {
    keyid: String,
    kmskey: String,
}

/// The line before sealed content of settings and users.
fn header(drive: &Path, file: &Path, content: &[u8]) -> Option<Sealed> {
    let begin = find(content, b"{\"keyid\":")?;
    let header: Header = serde_json::Deserializer::from_slice(&content[begin..]).into_iter().next()?.ok()?;
    let path = file.parent()?.strip_prefix(drive).ok()?.to_str()?.to_owned();
    Some(Sealed {
        key: header.keyid,
        ciphertext: base64::decode(&header.kmskey).ok()?,
        context: static_key::context([(SYSTEM, path)]),
        file: file.to_owned(),
    })
}

/// The data key of an object, if it is sealed by a KMS and bound to bucket and object alone.
fn object(drive: &Path, file: &Path, content: &[u8]) -> Option<Sealed> {
    if find(content, b"X-Minio-Internal-Server-Side-Encryption-Context").is_some() {
        return None;
    }
    let key = String::from_utf8(member(content, KEY_ID)?.to_vec()).ok()?;
    let path = file.parent()?.strip_prefix(drive).ok()?.to_str()?;
    let (bucket, _) = path.split_once('/')?;
    Some(Sealed {
        ciphertext: base64::decode(std::str::from_utf8(member(content, SEALED_KEY)?).ok()?).ok()?,
        context: static_key::context([(bucket, path)]),
        file: file.to_owned(),
        key: key.strip_prefix("arn:aws:kms:").unwrap_or(&key).to_owned(),
    })
}

/// The value behind a name in a message-pack map: up to 255 bytes (`c4`), or 65535 (`c5`).
fn member<'c>(content: &'c [u8], name: &[u8]) -> Option<&'c [u8]> {
    let rest = &content[find(content, name)? + name.len()..];
    match rest {
        [0xc4, length, value @ ..] => value.get(..usize::from(*length)),
        [0xc5, high, low, value @ ..] => value.get(..usize::from(u16::from_be_bytes([*high, *low]))),
        _ => None,
    }
}

/// Whether settings or users lie there in clear: then their JSON is to be seen in what follows the metadata.
fn is_plain(content: &[u8]) -> bool {
    let tail = &content[content.len() / 2..];
    let text = tail.iter().filter(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()).count();
    text * 10 >= tail.len() * 9
}

/// How many drives the set of this one has: `format.json` names all of them.
fn drives_of_set(drive: &Path) -> usize {
    let text = fs::read(drive.join(SYSTEM).join("format.json")).unwrap_or_default();
    let format: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let sets = format["xl"]["sets"].as_array().into_iter().flatten();
    sets.map(|set| set.as_array().map_or(0, Vec::len)).sum::<usize>().max(1)
}

/// The folders of buckets on a drive.
fn buckets(drive: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(drive).into_iter().flatten().flatten();
    let mut buckets: Vec<_> = entries.filter(|entry| entry.file_name() != SYSTEM).map(|entry| entry.path()).collect();
    buckets.retain(|path| path.is_dir());
    buckets.sort();
    buckets
}

/// Calls `look` with every `xl.meta` below a folder. What cannot be read is left out: there is more of the same.
fn walk(folder: &Path, left: &mut usize, look: &mut impl FnMut(&Path, &[u8])) {
    let mut entries: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links lead elsewhere, perhaps in a circle.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            walk(&path, left, look);
        } else if entry.file_name() == METADATA {
            let Some(now) = left.checked_sub(1) else { return };
            *left = now;
            if let Ok(content) = fs::read(&path) {
                look(&path, &content);
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drive with one settings file of this content.
    fn drive(name: &str, content: &[u8], drives: usize) -> tempfile::TempDir {
        let drive = tempfile::tempdir().unwrap();
        let folder = drive.path().join(SYSTEM).join("config").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(METADATA), content).unwrap();
        let ids: Vec<_> = (0..drives).map(|id| format!("\"{id}\"")).collect();
        let format = format!("{{\"version\":\"1\",\"xl\":{{\"sets\":[[{}]]}}}}", ids.join(","));
        fs::write(drive.path().join(SYSTEM).join("format.json"), format).unwrap();
        drive
    }

    fn look(drive: &tempfile::TempDir) -> Outcome<Evidence> {
        evidence(&[drive.path().display().to_string()])
    }

    #[test]
    fn sealed_settings_name_their_key() {
        let line = b"XL2 \x01junk{\"keyid\":\"my-key\",\"kmskey\":\"AAEC\",\"algorithm\":\"AES-256-GCM\",\"nonce\":\"x\"}\xff\xfe";
        let found = look(&drive("iam/users/u/identity.json", line, 1)).unwrap();
        assert_eq!(found.key_name(), Some("my-key"));
        let sealed = &found.system["my-key"];
        assert_eq!(sealed.ciphertext, [0, 1, 2]);
        assert_eq!(sealed.context, br#"{".minio.sys":".minio.sys/config/iam/users/u/identity.json"}"#);
    }

    #[test]
    fn objects_name_their_key() {
        let drive = drive("config.json", b"XL2 {\"region\":{}}                                ", 1);
        let folder = drive.path().join("bucket/a/b");
        fs::create_dir_all(&folder).unwrap();
        let mut content = b"XL2 ".to_vec();
        for (name, value) in [(SEALED_KEY, &b"AAEC"[..]), (KEY_ID, b"arn:aws:kms:k1")] {
            content.extend_from_slice(name);
            content.extend([0xc4, u8::try_from(value.len()).unwrap()]);
            content.extend_from_slice(value);
        }
        fs::write(folder.join(METADATA), content).unwrap();
        let found = look(&drive).unwrap();
        assert_eq!(found.key_name(), None);
        assert_eq!(found.objects["k1"].context, br#"{"bucket":"bucket/a/b"}"#);
    }

    #[test]
    fn a_part_that_does_not_say_is_no_proof() {
        let noise: Vec<u8> = (0..400u32).map(|at| (at * 151 % 256) as u8 | 0x80).collect();
        let failure = look(&drive("config.json", &noise, 4)).unwrap_err();
        assert!(failure.text.contains("stands on another drive"), "{}", failure.text);
        assert!(failure.hint.unwrap().contains("{1...4}"));
        // All there is, and no word of a key: sealed with root credentials, as before May 2021.
        assert!(look(&drive("config.json", &noise, 1)).unwrap().system.is_empty());
    }

    #[test]
    fn new_and_plain_drives_are_fine() {
        let empty = tempfile::tempdir().unwrap();
        assert!(look(&empty).unwrap().system.is_empty());
        let plain = drive(
            "config.json",
            b"XL2 \x01\x02{\"api\":{\"_\":[{\"key\":\"requests_max\",\"value\":\"0\"}]}}      ",
            4,
        );
        assert!(look(&plain).unwrap().system.is_empty());
        assert!(evidence(&["/no/such/drive".to_owned()]).unwrap_err().text.contains("no such file"));
    }

    #[test]
    fn damaged_files_do_no_harm() {
        for content in
            [&b""[..], b"{\"keyid\":", b"{\"keyid\":\"a\",\"kmskey\":\"", b"{\"keyid\":\"a\",\"kmskey\":\"!\"}"]
        {
            let _ = look(&drive("config.json", content, 1));
        }
        assert_eq!(member(b"name\xc4\xff12", b"name"), None);
        assert_eq!(member(b"name\xc5", b"name"), None);
    }
}
