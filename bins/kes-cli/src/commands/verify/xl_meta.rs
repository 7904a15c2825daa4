//! MinIO's `xl.meta`: what stands beside an object on a drive, as it shows itself in files that MinIO has written.
//!
//! ```text
//! "XL2 "  major (2 bytes, little endian)  minor (2 bytes)
//! since minor 3:  bin { header version, meta version, number,  number × ( bin { header }, bin { version } ) }
//! minor 2:        bin { map "Versions": [ version … ] }
//! before:         map "Versions": [ version … ]
//! since minor 1:  checksum (a number)  data version (1 byte)  map { version id: the object's bytes, if they are few }
//! ```
//!
//! All message-pack. A version is a map with `V2Obj` (or `V1Obj`): a map with the erasure code's `EcM` and `EcIndex`, the
//! data folder `DDir`, and `MetaSys` with MinIO's own headers, where sealed keys stand.

use super::message_pack::{Reader, Value};

/// Prefix of MinIO's own headers about encryption.
const SSE: &str = "x-minio-internal-server-side-encryption-";

/// The versions of an object, and its bytes if they are few.
#[derive(Debug, Default)]
pub(super) struct XlMeta {
    pub(super) versions: Vec<Version>,
    /// Of the newest version that has any: what lies on this drive, a checksum of 32 bytes before it.
    pub(super) inline: Option<Vec<u8>>,
}

/// One version of an object, or of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Version {
    /// As S3 shows it; empty without versioning.
    pub(super) id: String,
    /// The headers about encryption, their names in lower case and without prefix.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    /// On how many drives the object's bytes are spread.
    pub(super) data_shards: i64,
    /// Which of the parts lies here, from 1.
    pub(super) shard: i64,
    /// The folder beside `xl.meta` with the object's bytes, if they are many.
    pub(super) folder: Option<String>,
}

impl Version {
    /// A header about encryption, such as `s3-kms-key-id`.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())
    }

    /// Takes a header over if it is about encryption.
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if let Some(name) = name.strip_prefix(SSE) {
            self.headers.push((name.to_owned(), value.to_vec()));
        }
    }
}

/// Reads a file. `None` if it is not of this form.
pub(super) fn parse(file: &[u8]) -> Option<XlMeta> {
    let rest = file.strip_prefix(b"XL2 ")?;
    let mut reader = Reader(rest.get(4..)?);
    let first = reader.value()?;
    let mut meta = XlMeta::default();
    match first.bytes() {
        Some(inner) => versions(inner, &mut meta)?,
        None => listed(&first, &mut meta)?,
    }
    meta.inline = inline(&mut reader);
    Some(meta)
}

fn versions(bytes: &[u8], meta: &mut XlMeta) -> Option<()> {
    let mut reader = Reader(bytes);
    let first = reader.value()?;
    if first.int().is_none() {
        return listed(&first, meta);
    }
    let _meta_version = reader.value()?;
    let number = reader.value()?.int()?;
    for _ in 0..number {
        let _header = reader.value()?;
        let version = reader.value()?;
        meta.versions.extend(version_of(&Reader(version.bytes()?).value()?));
    }
    Some(())
}

fn listed(value: &Value<'_>, meta: &mut XlMeta) -> Option<()> {
    meta.versions.extend(value.get("Versions")?.items().iter().filter_map(version_of));
    Some(())
}

/// `None` for a deletion.
fn version_of(value: &Value<'_>) -> Option<Version> {
    let object = ["V2Obj", "V1Obj"].iter().find_map(|name| value.get(name))?;
    let id = object.get("ID").and_then(Value::bytes).filter(|id| id.iter().any(|byte| *byte != 0));
    let mut version = Version {
        id: id.map(uuid).unwrap_or_default(),
        data_shards: object.get("EcM").and_then(Value::int).unwrap_or_default(),
        shard: object.get("EcIndex").and_then(Value::int).unwrap_or_default(),
        folder: object.get("DDir").and_then(Value::bytes).map(uuid),
        ..Version::default()
    };
    for name in ["MetaSys", "MetaUsr", "Meta"] {
        for (name, value) in object.get(name).map(Value::entries).unwrap_or_default() {
            if let (Some(name), Some(value)) = (name.bytes(), value.bytes()) {
                version.take(name, value);
            }
        }
    }
    Some(version)
}

/// The first of the small objects behind the metadata.
fn inline(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let _checksum = reader.value()?.int()?;
    let _data_version = reader.value()?.int()?;
    let objects = reader.value()?;
    objects.entries().first().and_then(|(_, bytes)| bytes.bytes()).map(<[u8]>::to_vec)
}

/// `c441ab2c-e28b-4d85-9f66-656468e89d4c`.
fn uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text += &format!("{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSIONS: &[u8] = include_bytes!("../../../tests/sealed/minio-2026/ver/v/xl.meta");
    const OLD: &[u8] = include_bytes!("../../../tests/sealed/minio-2021/bkt/x/y/xl.meta");
    const CONFIG: &[u8] = include_bytes!(
        "../../../tests/sealed/minio-2026-drives/2/.minio.sys/config/iam/users/user1/identity.json/xl.meta"
    );

    #[test]
    fn what_minio_writes_is_read() {
        let meta = parse(VERSIONS).unwrap();
        assert_eq!(meta.versions.len(), 3, "the fourth is a deletion");
        assert_eq!(meta.versions[1].id, "f4038afc-7139-4fc5-b30a-ae4877142e02");
        assert_eq!(meta.versions[1].header("s3-kms-key-id"), Some(&b"k2"[..]));
        assert_eq!(meta.versions[1].header("s3-kms-sealed-key").map(<[u8]>::len), Some(104));

        let meta = parse(OLD).unwrap();
        assert_eq!(meta.versions.len(), 1);
        assert_eq!((meta.versions[0].id.as_str(), meta.versions[0].header("s3-kms-key-id")), ("", Some(&b"k1"[..])));

        let meta = parse(CONFIG).unwrap();
        assert_eq!(meta.versions[0].data_shards, 2);
        assert!((1..=4).contains(&meta.versions[0].shard) && meta.inline.is_some());
    }

    #[test]
    fn damage_is_no_panic() {
        for file in [VERSIONS, OLD, CONFIG] {
            for cut in 0..file.len() {
                let _ = parse(&file[..cut]);
            }
            for at in 0..file.len() {
                for change in [0x01, 0x80, 0xff] {
                    let mut file = file.to_vec();
                    file[at] ^= change;
                    let _ = parse(&file);
                }
            }
        }
        assert!(parse(b"").is_none() && parse(b"XL2 ").is_none() && parse(b"{}").is_none());
    }
}
