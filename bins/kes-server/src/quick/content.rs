//! What a new folder gets: keys, certificates, identities, the sealed store, the configuration file.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use kes_crypto::{base64, random};
use kes_identity::{ApiKey, Authority, KeyKind};
use kes_keystore::sealed::{NewSlot, RecoveryKey, SealingKey, Unlocked};
use kes_keystore::{KeyStore, fs};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::disk::{Disk, words};
use super::template::{Backend, Facts};
use super::{
    ADMIN, CA, CA_KEY, CERTIFICATE, CONFIG, Folder, KEYS, MINIO, MINIO_API_KEY, PRIVATE_KEY, Plan, RECOVERY_KEY,
    SEALING_KEY,
};
use super::{names, template};
use crate::renew;

/// How long an authority is valid. Its certificate lies with every client, so this is not renewed.
const AUTHORITY_LIFETIME: Duration = Duration::days(3653);

/// Fills the staging folder; `config.yml` appears in it last and whole.
pub(super) async fn fill(
    folder: &Folder,
    plan: &Plan,
    staging: &Path,
    disk: &Disk<'_>,
    mut tell: impl FnMut(&str) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let write = |name: &str, content: &[u8], mode| {
        let written = disk.file(&staging.join(name), content, mode);
        written.map_err(|error| anyhow!("cannot write '{}': {}", folder.path().join(name).display(), words(&error)))
    };
    let names = names::of_server(&plan.address, &plan.names)?;
    certificates(&names, &write)?;
    let admin = ApiKey::generate()?;
    write(ADMIN, line(admin.to_text().expose()).as_bytes(), 0o600)?;
    let minio = ApiKey::generate()?;
    write(MINIO, line(&Zeroizing::new(format!("{MINIO_API_KEY}={}", minio.to_text().expose()))).as_bytes(), 0o600)?;
    let sealing_key = new_sealing_key()?;
    write(SEALING_KEY, &sealing_key, 0o600)?;
    let recovery = RecoveryKey::generate()?;
    let store_id = match plan.backend {
        Backend::Fs => Some(sealed_store(staging, disk, &sealing_key, &recovery).await?),
        Backend::Vault | Backend::Aws | Backend::Azure => {
            // The store cannot be reached yet: the first start of the server seals it by both keys.
            write(RECOVERY_KEY, line(&recovery.to_text()).as_bytes(), 0o600)?;
            None
        }
    };
    // What is shown once is shown before it counts: nobody can own a store whose recovery key was never seen.
    tell(&recovery_text(folder, plan.backend, &recovery)).context("cannot show the recovery key")?;
    let facts = Facts {
        folder: folder.path(),
        address: &plan.address,
        admin: admin.identity().as_str(),
        minio: minio.identity().as_str(),
        backend: plan.backend,
        store_id: store_id.as_deref(),
    };
    let part = format!("{CONFIG}.part");
    write(&part, template::config(&facts).as_bytes(), 0o644)?;
    super::disk::sync(staging).and_then(|()| disk.rename(&staging.join(part), &staging.join(CONFIG)))?;
    Ok(super::disk::sync(staging)?)
}

fn certificates(names: &[String], write: &impl Fn(&str, &[u8], u32) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let now = OffsetDateTime::now_utc();
    // The host's name tells authorities apart in lists of them; two of one host differ by their keys.
    let name = format!("kes authority of {}", names::host_name().as_deref().unwrap_or("this host"));
    let authority = Authority::generate(&name, now - Duration::HOUR, now + AUTHORITY_LIFETIME)?;
    let template = renew::template(names, now, authority.facts().not_after);
    let server = authority.issue(KeyKind::EcdsaP256, &template).context("cannot make the server's certificate")?;
    for (certificate, file, key_file) in [(authority.as_certificate()?, CA, CA_KEY), (server, CERTIFICATE, PRIVATE_KEY)]
    {
        write(key_file, certificate.key_to_pem().expose().as_bytes(), 0o600)?;
        write(file, certificate.to_pem().as_bytes(), 0o644)?;
    }
    Ok(())
}

/// 32 random bytes as a line of base64.
fn new_sealing_key() -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new([0; 32]);
    random(&mut *key)?;
    let mut text = Zeroizing::new(Vec::with_capacity(base64::encoded_len(key.len()) + 1));
    base64::encode_into(&*key, &mut text);
    text.push(b'\n');
    Ok(text)
}

/// An empty store with two slots, the sealing key and the recovery key. The answer is its id.
async fn sealed_store(
    staging: &Path,
    disk: &Disk<'_>,
    sealing_key: &[u8],
    recovery: &RecoveryKey,
) -> anyhow::Result<String> {
    let slots = vec![
        NewSlot::of(SealingKey::key_from(SEALING_KEY, sealing_key)?),
        NewSlot::of(SealingKey::recovery("recovery key", RecoveryKey::parse(&recovery.to_text())?)),
    ];
    disk.step()?;
    let store: Arc<dyn KeyStore> = Arc::new(fs::Store::open(staging.join(KEYS)).await?);
    disk.step()?;
    let sealed = Unlocked::init(store, slots).await.context("cannot seal the key store")?;
    disk.step()?;
    Ok(sealed.table().store)
}

fn recovery_text(folder: &Folder, backend: Backend, recovery: &RecoveryKey) -> Zeroizing<String> {
    let file = match backend {
        Backend::Fs => String::new(),
        Backend::Vault | Backend::Aws | Backend::Azure => {
            let file = folder.path().join(RECOVERY_KEY);
            format!(
                "It also lies in {} until the first start has sealed the store with it: then delete it.\n\n",
                file.display()
            )
        }
    };
    Zeroizing::new(format!(
        "Recovery key of {}, shown this once. Write it down and keep it elsewhere: it opens\n\
         the keys when the sealing key is lost.\n\n    {}\n\n{file}",
        folder,
        recovery.to_text().as_str()
    ))
}

fn line(text: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{text}\n"))
}
