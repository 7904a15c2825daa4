//! Nothing that formats a configuration, an error or a warning shows a secret.

use crate::support::{file_with, load};

const SECRET: &str = "s3cr3t-in-the-file";

#[test]
fn debug_of_a_whole_configuration() {
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
        "generic: {endpoint: 'https://X@e'}",
        "kes: {endpoint: ['https://u:X@e'], tls: {key: k, cert: c}}",
        "static: {key: X}",
        "fs: {path: p}, seal: {passphrase: X, key: X, vault: {endpoint: 'https://u:X@e', key: k, token: {value: X}}}",
    ];
    for store in stores {
        let store = format!("keystore: {{{}}}", store.replace('X', SECRET));
        let text = file_with(&[&format!("tls: {{key: k, cert: c, password: {SECRET}}}"), &store]);
        let loaded = load(&text, &[]).unwrap();
        let shown = format!("{loaded:?} {loaded:#?} {}", loaded.config.store.backend());
        assert!(!shown.contains(SECRET), "{shown}");
    }
    let file = kes_config::File::from_text("kes.yml", file_with(&[&format!("tls: {{password: {SECRET}}}")]));
    assert!(!format!("{file:?}").contains(SECRET));
}

#[test]
fn errors_and_warnings() {
    let mistakes = [
        // A password that stands a level too high, or in a list, or next to a mistake.
        format!("keystore: {{entrust: {{keycontrol: {{credentials: {SECRET}}}}}}}"),
        format!("keystore: {{gemalto: {{keysecure: {SECRET}}}}}"),
        format!("keystore: {{vault: {{endpoint: e, approle: [{SECRET}]}}}}"),
        format!("keystore: {{vault: {{endpoint: e, approle: {{secret: {SECRET}}}}}}}"),
        format!("keystore: {{fs: {{path: p}}, passwort: \"{SECRET}${{X}}\"}}"),
        format!("root: a\nrot: {SECRET}\nkeystore: {{static: {{key: {SECRET}, file: /dev/null}}}}"),
    ];
    for mistake in mistakes {
        let text = file_with(&[&mistake]);
        let shown = match load(&text, &[]) {
            Err(error) => format!("{error} {error:?}"),
            Ok(loaded) => format!("{:?}", loaded.warnings),
        };
        assert!(!shown.contains(SECRET), "{shown}");
    }
}
