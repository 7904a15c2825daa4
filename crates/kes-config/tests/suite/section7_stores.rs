//! config.md 7: the key stores, their fields and their texts.

use crate::support::{ENVIRONMENT, file_with, load, refusal};
use kes_config::ErrorKind;
use kes_config::keystore::{AwsCredentials, AzureLogin, Backend, VaultAuth, VaultVersion};
use std::time::Duration;

const APPROLE: &str = "approle: {id: i, secret: s}";

/// What is wrong with a store, with the key it is told for.
fn refused(store: &str) -> (String, String) {
    let error = refusal(&file_with(&[&format!("keystore: {{{store}}}")]), ENVIRONMENT);
    assert_eq!(error.kind(), ErrorKind::Invalid);
    (error.message().to_owned(), error.place().unwrap().key.clone())
}

fn loaded(store: &str) -> kes_config::Store {
    let text = file_with(&[&format!("keystore: {{{store}}}")]);
    let loaded = load(&text, ENVIRONMENT).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(loaded.warnings, [], "{text}");
    loaded.config.store
}

#[test]
fn every_text() {
    let cases = [
        ("", "kesconf: no keystore specified", ""),
        ("aws: {}", "kesconf: no keystore specified", ".aws"),
        ("aws: {secretsmanager: }", "kesconf: no keystore specified", ".aws"),
        ("etcd: {endpoint: x}", "kesconf: no keystore specified", ".etcd"),
        ("FS: {path: x}", "kesconf: no keystore specified", ".FS"),
        ("fs: {path: ''}", "kesconf: no keystore specified", ".fs"),
        ("fs: {path: '${EMPTY}'}", "kesconf: invalid fs keystore: no path specified", ".fs.path"),
        ("fs: {pth: x}", "kesconf: invalid fs keystore: no path specified", ".fs.path"),
        (
            "fs: {path: x}, vault: {endpoint: x}",
            "kesconf: invalid keystore config: more than once keystore specified",
            ".vault",
        ),
        (
            "aws: {secretsmanager: {endpoint: x}, kms: {key: x}}",
            "kesconf: invalid keystore config: more than once keystore specified",
            ".aws.kms",
        ),
        (
            "aws: {secretsmanager: {region: r}}",
            "kesconf: invalid AWS secretsmanager keystore: no endpoint specified",
            ".aws.secretsmanager.endpoint",
        ),
        (
            "aws: {secretsmanager: {endpoint: e}}",
            "kesconf: invalid AWS secretsmanager keystore: no region specified",
            ".aws.secretsmanager.region",
        ),
        (
            "gcp: {secretmanager: {endpoint: e}}",
            "kesconf: invalid GCP secretmanager keystore: no project ID specified",
            ".gcp.secretmanager.project_id",
        ),
        (
            "fortanix: {sdkms: {credentials: {key: k}}}",
            "kesconf: invalid fortanix SDKMS keystore: no endpoint specified",
            ".fortanix.sdkms.endpoint",
        ),
        (
            "fortanix: {sdkms: {endpoint: e}}",
            "kesconf: invalid fortanix SDKMS keystore: no API key specified",
            ".fortanix.sdkms.credentials.key",
        ),
        (
            "gemalto: {keysecure: {credentials: {token: t}}}",
            "kesconf: invalid gemalto keysecure keystore: no endpoint specified",
            ".gemalto.keysecure.endpoint",
        ),
        (
            "gemalto: {keysecure: {endpoint: e}}",
            "kesconf: invalid gemalto keysecure keystore: no token specified",
            ".gemalto.keysecure.credentials.token",
        ),
        ("static: {key: '${EMPTY}'}", "kesconf: invalid static keystore: no key specified", ".static.key"),
        (
            "static: {file: /no/such/file}",
            "kesconf: failed to read static key from '/no/such/file': no such file or directory",
            ".static.file",
        ),
        (
            "static: {file: no-such-secret}",
            "kesconf: failed to read static key from '/run/secrets/no-such-secret': no such file or directory",
            ".static.file",
        ),
        ("generic: {tls: {ca: x}}", "kesconf: invalid generic keystore: no endpoint specified", ".generic.endpoint"),
        ("kes: {enclave: x}", "edge: invalid kes keystore: no endpoint specified", ".kes.endpoint"),
        ("kes: {endpoint: [e]}", "edge: invalid kes keystore: no TLS private key specified", ".kes.tls.key"),
        (
            "kes: {endpoint: [e], tls: {key: k}}",
            "edge: invalid kes keystore: no TLS certificate specified",
            ".kes.tls.cert",
        ),
        (
            "fs: {path: x}, seal: {recovery: r}",
            "kesconf: invalid keystore seal: nothing to seal with specified",
            ".seal.passphrase",
        ),
        ("seal: {passphrase: x}", "kesconf: no keystore specified", ""),
    ];
    for (store, message, key) in cases {
        assert_eq!(refused(store), (message.to_owned(), format!("keystore{key}")), "{store}");
    }
}

#[test]
fn vault_texts() {
    let cases = [
        (APPROLE.to_owned(), "no endpoint specified", "endpoint"),
        ("endpoint: e".to_owned(), "no authentication method specified", "approle"),
        (
            format!("endpoint: e, {APPROLE}, kubernetes: {{jwt: j}}"),
            "more than one authentication method specified",
            "kubernetes",
        ),
        (format!("endpoint: e, {APPROLE}, agent: on"), "more than one authentication method specified", "agent"),
        (
            "endpoint: e, approle: {secret: s}".to_owned(),
            "invalid approle config: no approle ID specified",
            "approle.id",
        ),
        (
            "endpoint: e, approle: {id: i}".to_owned(),
            "invalid approle config: no approle secret specified",
            "approle.secret",
        ),
        (
            "endpoint: e, approle: {id: i, secret: '${EMPTY}'}".to_owned(),
            "invalid approle config: no approle secret specified",
            "approle.secret",
        ),
        (
            "endpoint: e, kubernetes: {role: r}".to_owned(),
            "invalid kubernetes config: no JWT specified",
            "kubernetes.jwt",
        ),
        (
            format!("endpoint: e, {APPROLE}, transit: {{engine: t}}"),
            "invalid transit config: no key name specified",
            "transit.key",
        ),
        (
            format!("endpoint: e, {APPROLE}, tls: {{key: k}}"),
            "invalid tls config: no TLS certificate provided",
            "tls.cert",
        ),
        (
            format!("endpoint: e, {APPROLE}, tls: {{cert: c}}"),
            "invalid tls config: no TLS private key provided",
            "tls.key",
        ),
        (
            "endpoint: e, token: {value: v, file: f}".to_owned(),
            "invalid token config: more than one token specified",
            "token.file",
        ),
        (
            "endpoint: e, token: {value: '${EMPTY}'}".to_owned(),
            "invalid token config: no token specified",
            "token.value",
        ),
    ];
    for (fields, message, key) in cases {
        let expected = (format!("kesconf: invalid vault keystore: {message}"), format!("keystore.vault.{key}"));
        assert_eq!(refused(&format!("vault: {{{fields}}}")), expected);
    }
    let (message, key) = refused(&format!("vault: {{endpoint: e, version: v3, {APPROLE}}}"));
    assert_eq!((message.as_str(), key.as_str()), ("vault: invalid engine API version 'v3'", "keystore.vault.version"));
    let (message, _) = refused("vault: {endpoint: e, kubernetes: {jwt: /no/such/token}}");
    assert_eq!(
        message,
        "kesconf: failed to read vault kubernetes JWT from '/no/such/token': open /no/such/token: no such file or directory"
    );
}

#[test]
fn azure_gcp_and_entrust_texts() {
    let login = "credentials: {tenant_id: t, client_id: c, client_secret: s}";
    let azure = [
        (login.to_owned(), "no endpoint specified", "endpoint"),
        (
            format!("endpoint: e, {login}, managed_identity: {{client_id: c}}"),
            "more than one authentication method specified",
            "managed_identity",
        ),
        ("endpoint: e, credentials: {client_id: c}".to_owned(), "no tenant ID specified", "credentials.tenant_id"),
        ("endpoint: e, credentials: {tenant_id: c}".to_owned(), "no client ID specified", "credentials.client_id"),
        (
            "endpoint: e, credentials: {tenant_id: t, client_id: c}".to_owned(),
            "no client secret specified",
            "credentials.client_secret",
        ),
        (
            "endpoint: e, managed_identity: {client_id: '${EMPTY}'}".to_owned(),
            "no client ID specified",
            "managed_identity.client_id",
        ),
    ];
    for (fields, message, key) in azure {
        let expected =
            (format!("kesconf: invalid Azure keyvault keystore: {message}"), format!("keystore.azure.keyvault.{key}"));
        assert_eq!(refused(&format!("azure: {{keyvault: {{{fields}}}}}")), expected);
    }
    let gcp = [
        ("client_id: i", "gcp: no client email provided", "client_email"),
        ("client_email: e", "gcp: no client ID provided", "client_id"),
        ("client_email: e, client_id: i", "gcp: no client private key provided", "private_key"),
        ("client_email: e, client_id: i, private_key: k", "gcp: no client private key ID provided", "private_key_id"),
    ];
    for (fields, message, key) in gcp {
        let store = format!("gcp: {{secretmanager: {{project_id: p, credentials: {{{fields}}}}}}}");
        let key = format!("keystore.gcp.secretmanager.credentials.{key}");
        assert_eq!(refused(&store), (message.to_owned(), key));
    }
    let entrust = [
        ("vault_id: v", "no endpoint specified", "endpoint"),
        ("endpoint: e", "no vault ID specified", "vault_id"),
        ("endpoint: e, vault_id: v", "no box ID specified", "box_id"),
        // The old server crashes here.
        ("endpoint: e, vault_id: v, box_id: b", "no username specified", "credentials.username"),
        (
            "endpoint: e, vault_id: v, box_id: b, credentials: {username: u}",
            "no password specified",
            "credentials.password",
        ),
    ];
    for (fields, message, key) in entrust {
        let expected = (
            format!("kesconf: invalid Entrust KeyControl keystore: {message}"),
            format!("keystore.entrust.keycontrol.{key}"),
        );
        assert_eq!(refused(&format!("entrust: {{keycontrol: {{{fields}}}}}")), expected);
    }
}

#[test]
fn vault_fields() {
    let store = loaded(&format!("vault: {{endpoint: 'https://v', {APPROLE}}}"));
    let Backend::Vault(vault) = store.backend() else { panic!() };
    assert_eq!((vault.engine.as_str(), vault.version, vault.prefix.as_str()), ("kv", VaultVersion::V1, ""));
    assert_eq!((vault.namespace.as_deref(), vault.ping), (None, Duration::from_secs(15)));
    let VaultAuth::AppRole { engine, id, secret } = &vault.login.auth else { panic!() };
    assert_eq!((engine.as_str(), id.as_str(), secret.expose()), ("approle", "i", "s"));

    let namespaces = [("", None), ("namespace: n,", Some("n"))];
    for (outer, inherited) in namespaces {
        for (inner, meant) in [("", inherited), (", namespace: /", None), (", namespace: m", Some("m"))] {
            let store = loaded(&format!("vault: {{endpoint: e, {outer} approle: {{id: i, secret: s{inner}}}}}"));
            let Backend::Vault(vault) = store.backend() else { panic!() };
            assert_eq!(vault.login.namespace.as_deref(), meant, "{outer} {inner}");
        }
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "a.b.c").unwrap();
    let login = |fields: &str| {
        let store = loaded(&format!("vault: {{endpoint: e, {fields}}}"));
        let Backend::Vault(vault) = store.backend() else { panic!() };
        format!("{:?}", vault.login.auth)
    };
    let file = path.display();
    assert!(login(&format!("kubernetes: {{role: r, jwt: {file}}}")).contains(&format!("jwt: File({:?})", path)));
    assert!(login("kubernetes: {jwt: a.b.c}").contains("jwt: Token(Secret(..))"));
    assert_eq!(login("token: {value: v}"), "Token(Value(Secret(..)))");
    assert_eq!(login("token: {file: f}"), "Token(File(\"f\"))");
    assert_eq!(login("cert: {role: r}"), "Cert { engine: \"cert\", role: \"r\" }");
    assert_eq!(login("agent: on"), "Agent");
}

#[test]
fn fields_of_the_others() {
    let store = loaded("azure: {keyvault: {endpoint: kv.vault.azure.net, names: map, purge: on}}");
    let Backend::Azure(azure) = store.backend() else { panic!() };
    assert_eq!((azure.endpoint.expose(), azure.purge), ("https://kv.vault.azure.net", true));
    assert!(matches!(azure.login, AzureLogin::Default));

    let store = loaded(
        "gcp: {secretmanager: {project_id: p, endpoint: 'secretmanager.googleapis.com:443', scopes: [s], \
                        credentials: {client_email: e, client_id: i, private_key_id: k, private_key: 'a\\nb'}}}",
    );
    let Backend::Gcp(gcp) = store.backend() else { panic!() };
    assert_eq!(gcp.endpoint.as_ref().unwrap().expose(), "https://secretmanager.googleapis.com:443");
    assert_eq!(gcp.credentials.as_ref().unwrap().private_key.expose(), "a\nb");

    let store = loaded(
        "aws: {secretsmanager: {endpoint: e, region: r, prefix: p-, tags: {team: storage}, \
         credentials: {accesskey: a, secretkey: s}}}",
    );
    let Backend::AwsSecretsManager(aws) = store.backend() else { panic!() };
    assert_eq!((aws.prefix.as_str(), aws.tags["team"].as_str()), ("p-", "storage"));
    assert_eq!(aws.region, "r");
    let AwsCredentials { accesskey, secretkey, token, .. } = aws.credentials.as_ref().unwrap();
    assert_eq!((accesskey.as_str(), secretkey.as_ref().unwrap().expose(), token.is_none()), ("a", "s", true));
}

#[test]
fn the_region_of_an_endpoint_of_aws_need_not_be_written_again() {
    for (endpoint, region) in [
        ("secretsmanager.eu-central-1.amazonaws.com", "eu-central-1"),
        ("'https://secretsmanager-fips.us-gov-west-1.amazonaws.com:443/'", "us-gov-west-1"),
        ("vpce-0a1b.secretsmanager.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
    ] {
        let store = loaded(&format!("aws: {{secretsmanager: {{endpoint: {endpoint}}}}}"));
        let Backend::AwsSecretsManager(aws) = store.backend() else { panic!() };
        assert_eq!(aws.region, region);
    }
}

#[test]
fn a_key_that_never_leaves_aws() {
    let store = loaded("aws: {kms: {key: alias/k}}");
    let Backend::AwsKms(aws) = store.backend() else { panic!() };
    assert_eq!((aws.key.as_str(), aws.prefix.as_str(), aws.mac_key.is_none()), ("alias/k", "kes/", true));
    let store = loaded("aws: {kms: {key: k, mac_key: m, prefix: team-, region: r, endpoint: e}}");
    let Backend::AwsKms(aws) = store.backend() else { panic!() };
    assert_eq!((aws.mac_key.as_deref(), aws.prefix.as_str(), aws.region.as_deref()), (Some("m"), "team-", Some("r")));
}

#[test]
fn banners() {
    let cases = [
        ("fs: {path: ./keys}", "Filesystem: ./keys"),
        ("vault: {endpoint: 'https://u:p@v:8200', agent: on}", "Hashicorp Vault: https://v:8200"),
        ("aws: {secretsmanager: {endpoint: e, region: r}}", "AWS SecretsManager: e"),
        ("gemalto: {keysecure: {endpoint: e, credentials: {token: t}}}", "Gemalto KeySecure: e"),
        ("gcp: {secretmanager: {project_id: p}}", "GCP SecretManager: Project=p"),
        ("azure: {keyvault: {endpoint: 'https://e'}}", "Azure KeyVault: https://e"),
        ("fortanix: {sdkms: {endpoint: e, credentials: {key: k}}}", "Fortanix SDKMS: e"),
        (
            "entrust: {keycontrol: {endpoint: e, vault_id: v, box_id: b, credentials: {username: u, password: p}}}",
            "Entrust KeyControl: e",
        ),
        ("generic: {endpoint: e}", "Generic: e"),
        ("kes: {endpoint: [e, f], tls: {key: k, cert: c}}", "KES: e, f"),
    ];
    for (store, banner) in cases {
        assert_eq!(loaded(store).backend().to_string(), banner);
    }
}

#[test]
fn decision_30_empty_blocks() {
    loaded("fs: {path: p}, vault: {endpoint: '', approle: {id: '', secret: '', retry: ''}, tls: {key: '', cert: ''}}");
    loaded(&format!("vault: {{endpoint: e, {APPROLE}, kubernetes: {{engine: '', jwt: ''}}, transit: {{key: ''}}}}"));
    loaded("azure: {keyvault: {endpoint: e, credentials: {tenant_id: ''}, managed_identity: {client_id: ''}}}");
    let (message, _) = refused("fs: {path: p}, vault: {endpoint: '${EMPTY}'}");
    assert_eq!(message, "kesconf: invalid keystore config: more than once keystore specified");
    let (message, _) = refused(&format!("vault: {{endpoint: e, {APPROLE}, transit: {{key: '${{EMPTY}}'}}}}"));
    assert_eq!(message, "kesconf: invalid vault keystore: invalid transit config: no key name specified");
}

#[test]
fn decision_11_two_sources_must_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "name:value\n").unwrap();
    let file = path.display();
    for fields in [format!("file: {file}"), format!("key: 'name:value', file: {file}"), "key: 'name:value'".to_owned()]
    {
        let store = loaded(&format!("static: {{{fields}}}"));
        let Backend::Static(key) = store.backend() else { panic!() };
        assert_eq!(key.key.expose(), "name:value");
    }
    let (message, key) = refused(&format!("static: {{key: 'name:other', file: {file}}}"));
    assert_eq!(message, "kesconf: invalid static keystore: 'key' and 'file' hold different keys");
    assert_eq!(key, "keystore.static.file");
}

#[tokio::test]
async fn opening_a_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/keys");
    let store = loaded(&format!("fs: {{path: {}}}", path.display())).open().await.unwrap();
    assert_eq!(store.describe(), format!("Filesystem: {}", path.display()));
    assert!(path.is_dir());

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = loaded(&format!("fs: {{path: {}}}", path.display())).open().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(std::error::Error::source(&error).is_some_and(|source| source.is::<kes_keystore::Error>()));
        assert_eq!(error.place().unwrap().key, "keystore.fs.path");
        let text = match path == file {
            true => format!("fs: '{}' is not a directory", file.display()),
            false => format!("stat {}: not a directory", path.display()),
        };
        assert_eq!(error.message(), text);
        assert!(error.advice().is_some());
    }
    #[cfg(target_os = "linux")]
    {
        let error = loaded("fs: {path: /proc/nowhere/keys}").open().await.err().unwrap();
        assert_eq!(error.message(), "mkdir /proc/nowhere: no such file or directory");
    }
}

#[tokio::test]
async fn decision_16_stores_that_are_not_built() {
    let error = loaded("gcp: {secretmanager: {project_id: p}}").open().await.err().unwrap();
    assert_eq!(error.message(), "this release has no 'gcp' support");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let seal = "azure: {endpoint: 'http://e', key: k}";
    let sealed = loaded(&format!("fs: {{path: {}}}, seal: {{{seal}}}", path.display()));
    let error = sealed.open().await.err().unwrap();
    assert!(error.message().contains("Key Vault is reached by https only"), "{}", error.message());
    assert!(!path.exists(), "nothing may be stored unsealed");
}

#[test]
fn decision_39_an_unchanged_store_is_known() {
    let read = |text: &str, value: &str| {
        let text = format!("# {value}\n{}", file_with(&[&format!("keystore: {{{text}}}")]));
        load(&text, &[("S", value)]).unwrap().config.store
    };
    let vault = "vault: {endpoint: e, approle: {id: i, secret: '${S}'}}";
    assert!(read(vault, "one").same_as(&read(vault, "one")));
    assert!(!read(vault, "one").same_as(&read(vault, "two")));
    assert!(read(vault, "one").same_as(&read("vault: {endpoint: e, approle: {id: i, secret: one}}", "two")));
    assert!(!read("fs: {path: a}", "").same_as(&read("fs: {path: b}", "")));
}
