//! The configuration file of a new folder, with a comment for whatever an operator may want to change.

use std::fmt::Write as _;
use std::path::Path;

use super::{ADMIN, CA, CA_KEY, CERTIFICATE, KEYS, MINIO, PRIVATE_KEY, RECOVERY_KEY, SEALING_KEY};

/// Where keys are to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Sealed files in the folder itself.
    Fs,
    /// HashiCorp Vault or OpenBao, K/V engine.
    Vault,
    /// AWS Secrets Manager.
    Aws,
    /// Azure Key Vault.
    Azure,
}

/// What the file says.
pub(super) struct Facts<'f> {
    /// The folder in its final place.
    pub(super) folder: &'f Path,
    pub(super) address: &'f str,
    pub(super) admin: &'f str,
    pub(super) minio: &'f str,
    pub(super) backend: Backend,
    /// Of the sealed store, if there is one already.
    pub(super) store_id: Option<&'f str>,
}

/// The line that names the folder the paths were written for. [`super::moved`] reads it.
pub(super) const FOLDER_LINE: &str = "# Folder: ";

/// The whole file.
pub(super) fn config(facts: &Facts<'_>) -> String {
    let Facts { folder, address, admin, minio, backend, store_id } = facts;
    let path = |name: &str| quoted(&folder.join(name).display().to_string());
    let mut text = format!(
        "# Configuration of kes. Every key, with its default: docs/configuration.md. After a change: nothing to do, the server
# reads this file again within seconds (`address` needs a restart). `kes-server --config` serves it, too.
{FOLDER_LINE}{folder}
version: v1

# Where to listen: [ip]:port, the one port of this server. 0.0.0.0:7373 is all addresses; clients on other machines also
# need a name in the certificate: `kes server --quick FOLDER --dns kes.example.net` adds one, at any start.
address: {address}

# Who may do everything. The API key is in {ADMIN}: KES_API_KEY=@{ADMIN} KES_CA_PATH={CA} kes key ls
admin:
  identity: {admin}

tls:
  key: {key}
  cert: {cert}
  # The authority that made the certificate renews it, half of its 90 days before it expires. Clients trust {CA}.
  # Leave this out for a certificate from elsewhere.
  renew:
    ca: {ca}
    key: {ca_key}

policy:
  # What MinIO needs, and nothing more: it can make keys and use them, but not delete, import or export any. Key names
  # are MinIO's users' (`mc admin kms key create`), hence the *; `my-prefix-*` instead of it allows only such names.
  minio:
    allow:
    - /v1/key/create/*   # the default key at the first start, `mc admin kms key create`
    - /v1/key/generate/* # a data key for every object, IAM and configuration
    - /v1/key/decrypt/*
    - /v1/key/describe/* # asked for every ten seconds
    - /v1/key/list/*     # `mc admin kms key list`
    - /v1/key/hmac/*     # root credentials made from the key, where none are set
    - /v1/status         # `mc admin info`
    - /v1/metrics
    - /v1/api
    identities:
    - {minio} # its API key is in {MINIO}

",
        folder = folder.display(),
        address = quoted(address),
        key = path(PRIVATE_KEY),
        cert = path(CERTIFICATE),
        ca = path(CA),
        ca_key = path(CA_KEY),
    );
    text += &store(*backend, &path);
    text += &seal(*backend, *store_id, &path);
    text += "
# How long keys stay in memory. `offline` keeps them while the key store cannot be reached.
# cache:
#   expiry: {any: 5m, unused: 30s, offline: 0s}

# A record for each request goes to standard output, or to a file, or nowhere (audit: off).
# log:
#   audit: on
#   audit_file: {path: /var/log/kes/audit.log}
";
    text
}

fn store(backend: Backend, path: &impl Fn(&str) -> String) -> String {
    let block = match backend {
        Backend::Vault => VAULT,
        Backend::Aws => AWS,
        Backend::Azure => AZURE,
        Backend::Fs => {
            let comment = "One file for each key, sealed: worthless without the sealing key. Back up the folder, and that key elsewhere.";
            return format!("keystore:\n  # {comment}\n  fs:\n    path: {}\n", path(KEYS));
        }
    };
    block.to_owned()
}

fn seal(backend: Backend, store_id: Option<&str>, path: &impl Fn(&str) -> String) -> String {
    let sealing_key = path(SEALING_KEY);
    let mut text = match backend {
        Backend::Fs => "  seal:\n".to_owned(),
        _ => "  # What is stored there is sealed, so that whoever runs the store need not be trusted. Without this block keys are stored
  # as MinIO KES stores them.
  seal:
"
        .to_owned(),
    };
    let _ = write!(
        text,
        "    # Keep it apart from the keys: move the file and change this line, or replace this slot by a passphrase, a systemd
    # credential, a container's secret or a key in the cloud: docs/sealed-store.md.
    key_file: {sealing_key}
"
    );
    let _ = match (backend, store_id) {
        (Backend::Fs, Some(id)) => write!(
            text,
            "    # The store that must be there. A path that is wrong or not mounted stops the start, instead of making a new store.
    store: {id}
"
        ),
        _ => write!(
            text,
            "    # The first start seals the store with this key as well. Then put it on paper and delete the file.
    recovery: {}
    # store: ID from `kes seal status`: another store, or none, then stops the start.
",
            path(RECOVERY_KEY)
        ),
    };
    text
}

const VAULT: &str = "keystore:
  # HashiCorp Vault or OpenBao. Enable the engine: vault secrets enable -path=kes -version=2 kv
  vault:
    endpoint: https://vault.example.net:8200 # CHANGE
    engine: kes
    version: v2
    # namespace: team-a
    # prefix: production
    # One login. A file with a token, which is read again at each login, as a Vault Agent writes it:
    token:
      file: /run/vault/token # CHANGE
    # approle:
    #   id: ${VAULT_ROLE_ID}
    #   secret: ${VAULT_SECRET_ID}
    # kubernetes:
    #   role: kes
    #   jwt: /var/run/secrets/kubernetes.io/serviceaccount/token
    # The login's policy: create, read and delete on kes/data/*, list, read and delete on kes/metadata/*.
    # tls:
    #   ca: /etc/kes/vault-ca.crt
";

const AWS: &str = "keystore:
  # AWS Secrets Manager. Without `credentials` those of the environment, the profile, the container or the instance.
  aws:
    secretsmanager:
      endpoint: secretsmanager.eu-central-1.amazonaws.com # CHANGE
      region: eu-central-1 # CHANGE
      # kmskey: alias/kes # the key that AWS encrypts new secrets with
      # prefix: kes/      # what the names of the secrets begin with
      # The role needs secretsmanager:CreateSecret, GetSecretValue, DescribeSecret, DeleteSecret and ListSecrets.
      # credentials:
      #   accesskey: ${AWS_ACCESS_KEY_ID}
      #   secretkey: ${AWS_SECRET_ACCESS_KEY}
";

const AZURE: &str = "keystore:
  # Azure Key Vault. Without a login the environment's, a workload's or the machine's identity.
  azure:
    keyvault:
      endpoint: https://kes-example.vault.azure.net # CHANGE
      # names: map # secrets have no `_` in their names: map them reversibly; strict refuses such keys
      # The identity needs Get, List, Set, Delete and Purge on secrets (role Key Vault Secrets Officer): docs/azure.md.
      # managed_identity:
      #   client_id: ${AZURE_CLIENT_ID}
      # credentials:
      #   tenant_id: ${AZURE_TENANT_ID}
      #   client_id: ${AZURE_CLIENT_ID}
      #   client_secret: ${AZURE_CLIENT_SECRET}
";

/// A YAML scalar: bare where nothing in it can be misread.
fn quoted(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~' | '+');
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let address = |c: char| bare(c) || c == ':';
    let is_bare = text.chars().all(bare) || (text.chars().all(address) && !text.ends_with(':'));
    if starts_well && is_bare { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kes_config::{File, keystore};

    const ID: &str = "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23";
    const MINIO_ID: &str = "74602e4362478de4fee63216813c84f1a94e0bd99ee14275b8146f57faf206ba";

    fn read(folder: &str, address: &str, backend: Backend) -> kes_config::Config {
        let store_id = (backend == Backend::Fs).then_some("00112233445566778899aabbccddeeff");
        let facts = Facts { folder: Path::new(folder), address, admin: ID, minio: MINIO_ID, backend, store_id };
        let loaded = File::from_text("config.yml", config(&facts)).environment(|_| None).load().unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        loaded.config
    }

    #[test]
    fn the_file_of_every_backend_loads_without_a_warning() {
        for (backend, name) in
            [(Backend::Fs, "fs"), (Backend::Vault, "vault"), (Backend::Aws, "aws"), (Backend::Azure, "azure")]
        {
            let config = read("/var/lib/kes", "0.0.0.0:7373", backend);
            assert_eq!(config.store.backend().name(), name);
            assert_eq!(config.admin.as_str(), ID);
            let seal = config.store.seal().unwrap();
            assert_eq!(seal.key_file.as_deref(), Some(Path::new("/var/lib/kes/sealing.key")));
            assert_eq!((seal.store.is_some(), seal.recovery.is_some()), (name == "fs", name != "fs"));
        }
    }

    #[test]
    fn every_path_and_address_survives() {
        for folder in ["/srv/my keys: #1", "/srv/it's", "/srv/ü", "/srv/a: b", "/srv/\"x\"", "/123"] {
            for address in ["127.0.0.1:7373", "[::1]:7373", ":7373"] {
                let config = read(folder, address, Backend::Fs);
                let keystore::Backend::Fs(fs) = config.store.backend() else { panic!() };
                assert_eq!(fs.path, Path::new(folder).join("keys"));
                assert_eq!(config.tls.renew.unwrap().ca, Path::new(folder).join("ca.crt"));
                assert_eq!(config.address.as_str(), address);
            }
        }
    }

    #[test]
    fn minio_is_granted_what_it_needs_and_no_more() {
        let config = read("/f", "127.0.0.1:7373", Backend::Fs);
        let may = |path: &str| config.policies.decide(&MINIO_ID.parse().unwrap(), path).is_allowed();
        for path in ["create/a", "generate/a", "decrypt/a", "describe/a", "hmac/a", "list/", "list/a"] {
            assert!(may(&format!("/v1/key/{path}")), "{path}");
        }
        assert!(may("/v1/status") && may("/v1/metrics") && may("/v1/api"));
        for path in ["key/delete/a", "key/import/a", "key/encrypt/a", "key/bulk/decrypt/a", "policy/list/", "log/audit"]
        {
            assert!(!may(&format!("/v1/{path}")), "{path}");
        }
    }
}
