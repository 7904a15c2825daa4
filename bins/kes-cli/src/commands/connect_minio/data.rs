//! What lies on a MinIO's drives, and with which key it was sealed: what `kes verify` finds, one of each key.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kes_client::{Client, Error as ClientError, Reason};
use kes_server::quick::Folder;

use super::super::verify::minio::{self, SYSTEM};
use super::super::verify::sealed::Sealed;
use crate::environment;
use crate::failure::{Failure, Outcome};
use crate::input;

/// Objects of a bucket that are looked at; sealed ones are met long before, or there are none worth speaking of.
const MAX_OBJECTS: usize = 20_000;

/// One sealed data key for each key that was met.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Of settings and users, which are sealed with MinIO's default key.
    system: BTreeMap<String, Sealed>,
    /// Of objects.
    objects: BTreeMap<String, Sealed>,
}

impl Evidence {
    /// The name of MinIO's default key: that of settings and users, which MinIO before May 2021 did not seal so, and then
    /// that of the objects, if they have but one.
    pub(super) fn key_name(&self) -> Option<&str> {
        let keys = if self.system.is_empty() { &self.objects } else { &self.system };
        match keys.len() {
            1 => keys.keys().next().map(String::as_str),
            _ => None,
        }
    }
}

/// Looks at the drives. A drive that MinIO has never used is fine.
pub(super) fn evidence(drives: &[String]) -> Outcome<Evidence> {
    let drives: Vec<PathBuf> = drives.iter().flat_map(|drive| environment::expand(drive)).map(PathBuf::from).collect();
    let mut used = Vec::new();
    for drive in drives {
        let unlisted =
            |error: std::io::Error| Failure::new(format!("open {}: {}", drive.display(), input::reason(&error)));
        let is_empty =
            fs::read_dir(&drive).map_err(unlisted)?.flatten().all(|entry| entry.file_name() == LOST_AND_FOUND);
        if !is_empty {
            used.push(drive);
        }
    }
    let mut evidence = Evidence::default();
    let seen = minio::walk(&used, MAX_OBJECTS, &mut |sealed| {
        if sealed.malformed.is_none() {
            let is_system = sealed.source.starts_with(SYSTEM);
            let list = if is_system { &mut evidence.system } else { &mut evidence.objects };
            list.entry(sealed.key.clone()).or_insert(sealed);
        }
    })?;
    let expected = used.iter().map(|drive| drives_of_set(drive)).max().unwrap_or(1);
    match seen.spread_config.first() {
        Some(file) if evidence.system.is_empty() && used.len() < expected => {
            Err(Failure::new(format!("cannot tell with which key {file} was sealed: that stands on another drive"))
                .hint(format!(
                    "this MinIO has {expected} drives: name all of them, as --minio-data '/mnt/drive{{1...{expected}}}'"
                )))
        }
        _ => Ok(evidence),
    }
}

/// What a new file system has in its root.
const LOST_AND_FOUND: &str = "lost+found";

/// Asks the server to open what was found, as MinIO would.
pub(super) async fn verify(client: &Client, evidence: &Evidence, folder: &Folder) -> Outcome {
    for sealed in evidence.system.values().chain(evidence.objects.values()) {
        let Err(error) = client.decrypt(&sealed.key, &sealed.ciphertext, &sealed.context).await else { continue };
        let file = &sealed.source;
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
                return Err(super::refused(error, folder).while_doing(doing));
            }
        };
        return Err(Failure::new(text).hint(
            "with this server it would not start, or not read what it has. Its own key, from MINIO_KMS_SECRET_KEY or \
             MINIO_SSE_MASTER_KEY, can be taken over: kes key import --minio-static; from another server, move that one's store",
        ));
    }
    Ok(())
}

/// How many drives the set of this one has: `format.json` names all of them.
fn drives_of_set(drive: &Path) -> usize {
    let text = fs::read(drive.join(SYSTEM).join("format.json")).unwrap_or_default();
    let format: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    let sets = format["xl"]["sets"].as_array().into_iter().flatten();
    sets.map(|set| set.as_array().map_or(0, Vec::len)).sum::<usize>().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drives that MinIO has written, of several years: see the README there.
    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sealed").join(name)
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let target = to.join(entry.file_name().unwrap());
            if entry.is_dir() {
                copy(&entry, &target);
            } else {
                fs::copy(&entry, &target).unwrap();
            }
        }
    }

    #[test]
    fn the_keys_of_every_age_are_found() {
        for (name, default, objects) in [
            ("minio-2026", Some("k1"), &["k1", "k2"][..]),
            ("minio-2026-drives/{1...4}", Some("k1"), &["k2"]),
            ("minio-2021", Some("k1"), &["k1"]),
            ("minio-2021-single", Some("k1"), &["k1"]),
        ] {
            let found = evidence(&[fixture(name).display().to_string()]).unwrap();
            assert_eq!(found.key_name(), default, "{name}");
            assert_eq!(found.objects.keys().map(String::as_str).collect::<Vec<_>>(), objects, "{name}");
        }
    }

    #[test]
    fn a_part_that_does_not_say_is_no_proof() {
        let sets = r#"{"version":"1","xl":{"sets":[["a","b","c","d"]]}}"#;
        let mut refused = 0;
        for number in 1..=4 {
            let drive = tempfile::tempdir().unwrap();
            copy(&fixture("minio-2026-drives").join(number.to_string()), drive.path());
            fs::write(drive.path().join(SYSTEM).join("format.json"), sets).unwrap();
            let Err(failure) = evidence(&[drive.path().display().to_string()]) else { continue };
            assert!(failure.text.contains("stands on another drive"), "{}", failure.text);
            assert!(failure.hint.unwrap().contains("{1...4}"));
            refused += 1;
        }
        assert!(refused >= 2, "two drives of four hold no beginning: {refused}");
    }

    #[test]
    fn a_new_drive_is_fine_and_a_folder_of_others_is_none() {
        let drive = tempfile::tempdir().unwrap();
        let look = || evidence(&[drive.path().display().to_string()]);
        fs::create_dir(drive.path().join(LOST_AND_FOUND)).unwrap();
        assert!(look().unwrap().key_name().is_none());
        fs::create_dir(drive.path().join("drive1")).unwrap();
        let failure = look().unwrap_err();
        assert!(failure.text.contains("is no data folder of MinIO"), "{}", failure.text);
        assert!(evidence(&["/no/such/drive".to_owned()]).unwrap_err().text.contains("no such file"));
    }
}
