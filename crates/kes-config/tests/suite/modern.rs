//! `Inspection::modern`: the file written anew says the same, and shows no secret.

use crate::published::{configs, environment};
use crate::support::{file_with, load};
use kes_config::{Config, File};

fn inspect(name: &str, text: &str) -> kes_config::Inspection {
    File::from_text(name, text).environment(environment).inspect()
}

/// The whole configuration as sorted lines of text, without what differs by nature: lines, file names, and the hash of
/// credentials. Sorted, because members of policies come in no order; they are named with their policies besides.
fn shown(config: &Config) -> Vec<String> {
    let text = format!("{config:#?}");
    let differs = |line: &str| ["line: ", "file: \"", "fingerprint: "].iter().any(|start| line.starts_with(start));
    let lines = text.lines().map(str::trim).filter(|line| !differs(line)).map(str::to_owned);
    let members = config.policies.members().map(|(identity, policy)| format!("{identity} has {}", policy.name()));
    let mut lines: Vec<_> = lines.chain(members).collect();
    lines.sort();
    lines
}

#[test]
fn every_file_reads_back_as_the_same_configuration() {
    for path in configs() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let before = inspect(name, &std::fs::read_to_string(&path).unwrap());
        let Some(modern) = before.modern.clone() else { continue };
        let Some(config) = before.into_config() else { continue };
        let after = inspect(name, &modern);
        assert!(after.errors.is_empty(), "{name}: {:?}\n{modern}", after.errors);
        assert_eq!(shown(&inspect(name, &modern).into_config().unwrap()), shown(&config), "{name}\n{modern}");
        for warning in &after.warnings {
            assert!(!warning.message.contains("old spelling"), "{name}: {warning}\n{modern}");
        }
        // Written anew once more, only the comments about the first file are gone.
        let keys = |text: &str| -> Vec<String> {
            text.lines().filter(|line| !line.trim_start().starts_with('#')).map(str::to_owned).collect()
        };
        assert_eq!(keys(after.modern.as_deref().unwrap()), keys(&modern), "{name}");
    }
}

/// Readable beside the files: what the migration makes of each.
#[test]
fn every_file_is_written_anew_as_it_should_be() {
    for path in configs() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let modern = inspect(name, &std::fs::read_to_string(&path).unwrap()).modern.unwrap_or_default();
        let expected = path.with_extension("modern");
        if std::env::var_os("KES_BLESS").is_some() {
            std::fs::write(&expected, &modern).unwrap();
        }
        assert_eq!(modern, std::fs::read_to_string(&expected).unwrap_or_default(), "{}", path.display());
    }
}

const SECRET: &str = "s3cr3t-in-the-file";

/// Every key that holds a secret, in files that load and in files that do not.
#[test]
fn no_secret_is_shown() {
    let stores = [
        "vault: {endpoint: 'https://u:X@v', approle: {id: i, secret: X}}",
        "vault: {endpoint: e, kubernetes: {jwt: X}}",
        "vault: {endpoint: e, token: {value: X}}",
        "aws: {secretsmanager: {endpoint: e, region: r, credentials: {accesskey: a, secretkey: X, token: X}}}",
        "aws: {kms: {key: k, credentials: {accesskey: a, secretkey: X, token: X}}}",
        "azure: {keyvault: {endpoint: e, credentials: {tenant_id: t, client_id: c, client_secret: X}}}",
        "gcp: {secretmanager: {project_id: p, credentials: {client_email: e, client_id: i, private_key_id: k, private_key: X}}}",
        "fortanix: {sdkms: {endpoint: 'https://u:X@e', credentials: {key: X}}}",
        "gemalto: {keysecure: {endpoint: e, credentials: {token: X}}}",
        "entrust: {keycontrol: {endpoint: e, vault_id: v, box_id: b, credentials: {username: u, password: X}}}",
        "generic: {endpoint: 'X:X@e'}",
        "kes: {endpoint: ['https://u:X@e'], tls: {key: k, cert: c}}",
        "static: {key: X}",
        "fs: {path: p}, seal: {passphrase: X, key: X, vault: {endpoint: 'https://u:X@e', key: k, token: {value: X}}}",
        "fs: {path: p}, seal: {aws: {key: k, credentials: {secretkey: X}}}",
        "fs: {path: p}, passwort: X, vault: {token: X}",
        "vault: {endpoint: [X], approle: [X], token: {value: [X], value: {a: X}}}",
        "vault: X",
        "aws: {secrets_manager: {address: e, region: r, credentials: {secret_key: X, session_token: X}}}",
        "secretsmanager: {endpoint: e, region: r, credentials: {secretkey: X}}",
    ];
    for store in stores {
        let store = format!("keystore: {{{}}}", store.replace('X', SECRET));
        let text = file_with(&[&format!("tls: {{key: k, cert: c, password: {SECRET}}}"), &store]);
        let modern = inspect("kes.yml", &text).modern.unwrap();
        assert!(!modern.contains(SECRET), "{modern}");
        assert!(
            modern.contains(
                "password: \"<masked>\" # put the secret here, or set a variable and write ${KES_TLS_PASSWORD}"
            )
        );
    }
    // A mask says where to put the secret; a reference is none.
    let text = file_with(&["keystore: {vault: {endpoint: e, approle: {id: i, secret: '${VAULT_SECRET}'}}}"]);
    let modern = inspect("kes.yml", &text).modern.unwrap();
    assert!(modern.contains("      secret: ${VAULT_SECRET}\n"), "{modern}");
    let path = file_with(&["keystore: {vault: {endpoint: e, kubernetes: {jwt: /dev/null}}}"]);
    assert!(inspect("kes.yml", &path).modern.unwrap().contains("jwt: /dev/null\n"));
}

#[test]
fn a_static_key_beside_its_file_is_left_out() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("key");
    let key = "my-key:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    std::fs::write(&file, key).unwrap();
    let text = file_with(&[&format!("keystore: {{static: {{key: '{key}', file: {}}}}}", file.display())]);
    let modern = inspect("kes.yml", &text).modern.unwrap();
    assert!(modern.contains("    # key: left out, 'file' holds the same\n"), "{modern}");
    assert!(load(&modern, &[]).is_ok());
}

#[test]
fn a_variable_that_is_not_set_does_not_keep_the_file_from_being_written() {
    let text = file_with(&["root: '${UNSET_ROOT}'", "keystore: {fs: {path: '${UNSET_DIR}'}}"])
        .replace("admin: {identity: disabled}\n", "");
    let inspection = inspect("kes.yml", &text);
    assert_eq!(inspection.errors.len(), 2);
    let modern = inspection.modern.unwrap();
    assert!(modern.contains("admin:\n  # was 'root' (line 3)\n  identity: ${UNSET_ROOT}\n"), "{modern}");
}
