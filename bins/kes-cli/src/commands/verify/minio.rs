//! Sealed keys in MinIO's own files: the metadata of objects, and the head of its sealed configuration (users, policies).
//!
//! What is read was learnt from files that MinIO has written. A data folder holds
//!
//! - `<bucket>/<object>/xl.meta` for every object; `xl.json` before 2020,
//! - `.minio.sys/buckets/<bucket>/<object>/fs.json` on single drives up to 2022,
//! - `.minio.sys/config/…`: the configuration, each file beginning with the sealed key that it was encrypted with.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use kes_crypto::{Fingerprint, base64};
use serde::Deserialize;

use super::sealed::{Sealed, minio_context};
use super::xl_meta::{self, Version, XlMeta};
use crate::failure::{Failure, Outcome};
use crate::input;

/// Bigger metadata is none: ten thousand versions take some ten megabytes.
const MAX_META: u64 = 256 << 20;

/// How much of a sealed configuration file is read: its head has some 200 bytes.
const HEAD: usize = 4096;

/// Before the bytes of a part stands their checksum.
const CHECKSUM: usize = 32;

pub(in crate::commands) const SYSTEM: &str = ".minio.sys";

/// What there was beside sealed keys.
#[derive(Debug, Default)]
pub(in crate::commands) struct Seen {
    /// Versions of objects that are not sealed by a KMS.
    pub(super) unsealed: usize,
    /// Configuration files that are not sealed by a KMS.
    pub(super) plain_config: usize,
    /// Configuration files whose head lies on drives that were not named.
    pub(in crate::commands) spread_config: Vec<String>,
}

/// Walks the drives and hands over each sealed key once; of a bucket, so many objects at most.
pub(in crate::commands) fn walk(drives: &[PathBuf], limit: usize, found: &mut dyn FnMut(Sealed)) -> Outcome<Seen> {
    let mut walk = Walk { drives, limit, is_new: Distinct::new(drives.len() > 1), seen: Seen::default(), found };
    for drive in drives {
        walk.drive(drive)?;
    }
    Ok(walk.seen)
}

/// Tells what was there before, where something can be there twice.
struct Distinct(Option<HashSet<Fingerprint>>);

impl Distinct {
    fn new(is_needed: bool) -> Self {
        Self(is_needed.then(HashSet::new))
    }

    fn is_new(&mut self, what: &[u8]) -> bool {
        self.0.as_mut().is_none_or(|seen| seen.insert(Fingerprint::of(what)))
    }
}

struct Walk<'w> {
    drives: &'w [PathBuf],
    /// Objects of a bucket.
    limit: usize,
    is_new: Distinct,
    seen: Seen,
    found: &'w mut dyn FnMut(Sealed),
}

impl Walk<'_> {
    fn drive(&mut self, drive: &Path) -> Outcome {
        if !drive.join(SYSTEM).is_dir() {
            let failure = Failure::new(format!("{} is no data folder of MinIO: it has no {SYSTEM}", drive.display()));
            let below = entries(drive).unwrap_or_default().into_iter().find(|path| path.join(SYSTEM).is_dir());
            return Err(match below {
                Some(below) => failure.hint(format!("name the folder of each drive, such as {}", below.display())),
                None => failure.hint("name a folder that `minio server` was started with"),
            });
        }
        for bucket in entries(drive)?.into_iter().filter(|path| path.is_dir() && !path.ends_with(SYSTEM)) {
            self.objects(&bucket, &name(&bucket), &["xl.meta", "xl.json"])?;
        }
        let buckets = drive.join(SYSTEM).join("buckets");
        for bucket in entries(&buckets).unwrap_or_default().into_iter().filter(|path| path.is_dir()) {
            if !name(&bucket).starts_with('.') {
                self.objects(&bucket, &name(&bucket), &["fs.json"])?;
            }
        }
        self.config(drive)
    }

    /// All objects of a bucket; their metadata has one of these names.
    fn objects(&mut self, folder: &Path, bucket: &str, metadata: &[&str]) -> Outcome {
        let mut open = vec![folder.to_path_buf()];
        let mut left = self.limit;
        while let Some(next) = open.pop() {
            for path in entries(&next)?.into_iter().rev() {
                let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
                if is_folder {
                    open.push(path);
                } else if metadata.iter().any(|name| path.ends_with(name)) {
                    let object = next.strip_prefix(folder).map(|object| object.to_string_lossy().into_owned());
                    self.object(&path, bucket, &object_name(&object.unwrap_or_default()));
                    left -= 1;
                    if left == 0 {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn object(&mut self, path: &Path, bucket: &str, object: &str) {
        let shown = format!("{bucket}/{object}");
        let versions = match read(path, MAX_META) {
            Err(why) => return self.report(Sealed::malformed(shown, why)),
            Ok(bytes) if path.ends_with("xl.meta") => xl_meta::parse(&bytes).map(|meta| meta.versions),
            Ok(bytes) => json_version(&bytes).map(|version| vec![version]),
        };
        let Some(versions) = versions else {
            return self.report(Sealed::malformed(shown, format!("{} is not of a form that is known", path.display())));
        };
        for version in &versions {
            match of_version(version, bucket, object) {
                Some(sealed) => self.report(sealed),
                None if self.is_new.is_new(format!("{shown}?{}", version.id).as_bytes()) => self.seen.unsealed += 1,
                None => {}
            }
        }
    }

    /// Several drives hold the same metadata.
    fn report(&mut self, sealed: Sealed) {
        let is_new = self.is_new.is_new(&[sealed.source.as_bytes(), b"\0", &sealed.ciphertext].concat());
        if is_new {
            (self.found)(sealed);
        }
    }

    /// MinIO's configuration, users and policies.
    fn config(&mut self, drive: &Path) -> Outcome {
        let root = drive.join(SYSTEM).join("config");
        let mut open = vec![root];
        while let Some(next) = open.pop() {
            for path in entries(&next).unwrap_or_default().into_iter().rev() {
                if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                    open.push(path);
                } else if path.ends_with("xl.meta") {
                    let folder = next.strip_prefix(drive).unwrap_or(&next);
                    self.config_file(&folder.to_string_lossy(), self.gather(folder));
                } else if !next.join("xl.meta").exists() && !name(&path).starts_with("part.") {
                    // Single drives up to 2022 hold the file as it is.
                    let file = path.strip_prefix(drive).unwrap_or(&path);
                    let head = head(&path).unwrap_or_default();
                    self.config_file(&file.to_string_lossy(), Head::of(head));
                }
            }
        }
        Ok(())
    }

    fn config_file(&mut self, path: &str, head: Head) {
        let path = path.replace('\\', "/");
        match head {
            Head::Sealed { key, ciphertext } => {
                let context = minio_context(BTreeMap::new(), Some(SYSTEM), path.strip_prefix(".minio.sys/"));
                let sealed = match base64::decode(&ciphertext) {
                    Ok(ciphertext) => Sealed { source: path, key, ciphertext, context, malformed: None },
                    Err(_) => Sealed { key, ..Sealed::malformed(path, "its sealed key is no base64") },
                };
                self.report(sealed);
            }
            Head::Plain if self.is_new.is_new(path.as_bytes()) => self.seen.plain_config += 1,
            Head::Plain => {}
            Head::Cut if self.is_new.is_new(path.as_bytes()) => self.seen.spread_config.push(path),
            Head::Cut => {}
        }
    }

    /// The beginning of a file of the configuration, put together from the drives that were named.
    fn gather(&self, folder: &Path) -> Head {
        let mut shards: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
        let mut needed = 0;
        for drive in self.drives {
            let path = drive.join(folder);
            let Ok(bytes) = read(&path.join("xl.meta"), MAX_META) else { continue };
            let Some(meta) = xl_meta::parse(&bytes) else { continue };
            let Some(version) = meta.versions.first() else { continue };
            needed = version.data_shards.max(1);
            if let Some(bytes) = shard(&path, version, &meta) {
                shards.insert(version.shard, bytes);
            }
        }
        // The data lies in the first parts, one after the other; the parts behind them restore lost ones.
        let here = (1..=needed).map_while(|number| shards.remove(&number)).collect::<Vec<_>>();
        let is_whole = here.len() as i64 == needed;
        match Head::of(here.concat()) {
            Head::Plain if here.is_empty() && !is_whole => Head::Cut,
            Head::Cut if is_whole => Head::Plain,
            head => head,
        }
    }
}

/// What a file of the configuration begins with.
enum Head {
    /// `1`, the length of a JSON object (4 bytes, little endian), the object.
    Sealed { key: String, ciphertext: String },
    /// Something else.
    Plain,
    /// A sealed one, whose end is elsewhere.
    Cut,
}

impl Head {
    fn of(bytes: Vec<u8>) -> Self {
        #[derive(Deserialize)]
        struct Json {
            keyid: String,
            kmskey: String,
        }
        let [1, a, b, c, d, rest @ ..] = bytes.as_slice() else { return Self::Plain };
        let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
        if length > HEAD || !rest.starts_with(&b"{\"keyid\""[..rest.len().min(8)]) {
            return Self::Plain;
        }
        let Some(json) = rest.get(..length) else { return Self::Cut };
        match serde_json::from_slice(json) {
            Ok(Json { keyid, kmskey }) => Self::Sealed { key: key_name(&keyid).to_owned(), ciphertext: kmskey },
            Err(_) => Self::Plain,
        }
    }
}

/// The part of an object's bytes that lies on this drive, its beginning at least.
fn shard(folder: &Path, version: &Version, meta: &XlMeta) -> Option<Vec<u8>> {
    let bytes = match &meta.inline {
        Some(inline) => inline.clone(),
        None => head(&folder.join(version.folder.as_ref()?).join("part.1")).ok()?,
    };
    bytes.get(CHECKSUM..).map(<[u8]>::to_vec)
}

/// The sealed key of a version of an object; `None` if no KMS has sealed it.
fn of_version(version: &Version, bucket: &str, object: &str) -> Option<Sealed> {
    let sealed = version.header("s3-kms-sealed-key")?;
    let source = match version.id.as_str() {
        "" => format!("{bucket}/{object}"),
        id => format!("{bucket}/{object}?versionId={id}"),
    };
    let key = String::from_utf8_lossy(version.header("s3-kms-key-id").unwrap_or_default()).into_owned();
    let malformed = |why: &str| Sealed { key: key.clone(), ..Sealed::malformed(source.clone(), why) };
    let map = match version.header("context").map(base64::decode) {
        None => BTreeMap::new(),
        Some(Err(_)) => return Some(malformed("its context is no base64")),
        Some(Ok(json)) => match serde_json::from_slice(&json) {
            Ok(map) => map,
            Err(_) => return Some(malformed("its context is no map of texts")),
        },
    };
    let Ok(ciphertext) = base64::decode(sealed) else {
        return Some(malformed("its sealed key is no base64"));
    };
    let context = minio_context(map, Some(bucket), Some(object));
    Some(Sealed { source, key: key_name(&key).to_owned(), ciphertext, context, malformed: None })
}

/// `xl.json` and `fs.json`.
fn json_version(bytes: &[u8]) -> Option<Version> {
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        meta: BTreeMap<String, String>,
    }
    let file: File = serde_json::from_slice(bytes).ok()?;
    let mut version = Version::default();
    for (name, value) in &file.meta {
        version.take(name.as_bytes(), value.as_bytes());
    }
    Some(version)
}

/// `arn:aws:kms:my-key` is what S3 shows of `my-key`.
fn key_name(id: &str) -> &str {
    id.strip_prefix("arn:aws:kms:").unwrap_or(id)
}

/// A folder `a/__XLDIR__` is the object `a/`.
fn object_name(path: &str) -> String {
    let path = path.replace('\\', "/");
    match path.strip_suffix("__XLDIR__") {
        Some(folder) => format!("{folder}/"),
        None => path,
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What lies in a folder, sorted, so that two runs see the same.
fn entries(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |error: std::io::Error| Failure::new(format!("open {}: {}", folder.display(), input::reason(&error)));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("open {}: {}", path.display(), input::reason(&error));
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn head(path: &Path) -> Result<Vec<u8>, String> {
    read(path, (HEAD + CHECKSUM) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_s3_shows() {
        assert_eq!(object_name("a/b"), "a/b");
        assert_eq!(object_name("a/b__XLDIR__"), "a/b/");
        assert_eq!(key_name("arn:aws:kms:k"), "k");
    }

    #[test]
    fn a_sealed_configuration_is_known_by_its_head() {
        let json = br#"{"keyid":"k1","kmskey":"AAEC","algorithm":"AES-256-GCM","nonce":"UPWj/7bVsJM="}"#;
        let mut file = vec![1, json.len() as u8, 0, 0, 0];
        file.extend_from_slice(json);
        file.extend_from_slice(b"sealed");
        assert!(
            matches!(Head::of(file.clone()), Head::Sealed { key, ciphertext } if key == "k1" && ciphertext == "AAEC")
        );
        assert!(matches!(Head::of(file[..40].to_vec()), Head::Cut));
        for plain in [&b"{}"[..], b"", &[1, 0xff, 0xff, 0xff, 0xff], &[1, 5, 0, 0, 0, b'x', b'x', b'x', b'x', b'x']] {
            assert!(matches!(Head::of(plain.to_vec()), Head::Plain), "{plain:?}");
        }
    }
}
