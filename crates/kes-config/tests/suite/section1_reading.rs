//! config.md 1: the dialect, `version`, environment references, types of scalars.

use crate::support::{ENVIRONMENT, check, file_with, load, refusal};
use kes_config::{ErrorKind, File};
use std::time::Duration;

#[test]
fn files_that_cannot_be_read() {
    let error = File::read("no/such/file.yml").unwrap_err();
    assert_eq!(error.to_string(), "open no/such/file.yml: no such file or directory");
    assert_eq!(error.kind(), ErrorKind::Unreadable);
    let folder = tempfile::tempdir().unwrap();
    let error = File::read(folder.path()).unwrap_err();
    let name = folder.path().display();
    assert_eq!(error.to_string(), format!("yaml: input error: read {name}: is a directory"));
}

#[test]
fn encodings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kes.yml");
    let text = file_with(&[]);
    let utf16 =
        |unit: fn(u16) -> [u8; 2]| "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(unit).collect();
    let with_mark = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    for bytes in [with_mark.into_bytes(), utf16(u16::to_le_bytes), utf16(u16::to_be_bytes)] {
        std::fs::write(&path, bytes).unwrap();
        assert!(File::read(&path).unwrap().load().is_ok());
    }
    std::fs::write(&path, b"a: \xff").unwrap();
    let error = File::read(&path).unwrap_err();
    assert_eq!(error.message(), "yaml: invalid leading UTF-8 octet");
    assert!(error.to_string().contains("kes.yml:1\nhint: "), "{error}");
}

#[test]
fn files_that_are_no_configuration() {
    for text in ["", "  \n\n", "# only a comment\n"] {
        assert_eq!(refusal(text, &[]).message(), "EOF");
    }
    let first = |text: &str| refusal(text, &[]).message().to_owned();
    assert!(first("foo").starts_with("yaml: unmarshal errors:\n  line 1: cannot unmarshal !!str `foo` into "));
    assert!(first("- a").starts_with("yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into "));
    assert!(first("a: b: c").starts_with("yaml: "));
    for nothing in ["---\n", "{}", "a: b\n---\n{[\n"] {
        assert_eq!(first(nothing), "kesconf: invalid admin identity: no admin identity");
    }
    let error = File::from_text("server.toml", "address = \"a\"\n[tls]\nkey = 1\n").load().unwrap_err();
    assert!(error.to_string().contains("TOML files were read up to v0.7"), "{error}");
}

#[test]
fn versions() {
    for version in ["version: v1", "version: 'v1'", "version: ''", "version:", "version: null"] {
        assert!(load(&file_with(&[version]), &[]).is_ok(), "{version}");
    }
    check(&[
        (&["version: v2"], "edge: invalid server config version 'v2'", 5, "version"),
        (&["version: 1"], "edge: invalid server config version '1'", 5, "version"),
        (&["version: ${A}"], "edge: invalid server config version '${A}'", 5, "version"),
        (&["version: [v1]"], "kesconf: invalid config version at line '5'", 5, "version"),
        (&["version: {a: b}"], "kesconf: invalid config version at line '5'", 5, "version"),
    ]);
}

#[test]
fn keys_twice() {
    let twice = "admin:\n  identity: a\ntls: {key: k, cert: c}\nadmin:\n  identity: b\nkeystore: {fs: {path: p}}\n";
    let error = refusal(twice, &[]);
    assert_eq!(error.message(), "yaml: unmarshal errors:\n  line 4: mapping key \"admin\" already defined at line 1");
    assert_eq!(error.place().unwrap().line, 4);
    let policy = file_with(&["policy: {p: {allow: [a], allow: [b]}}"]);
    assert!(refusal(&policy, &[]).message().ends_with("line 5: mapping key \"allow\" already defined at line 5"));
    // What is not read is not judged.
    assert!(load(&file_with(&["other: {a: 1, a: 2}"]), &[]).is_ok());
}

#[test]
fn null_is_absent() {
    let nulls = ["tls: {key: k, cert: c, auth: , ca: ~, proxy: null}", "policy: {p: }", "cache: {expiry: {any: }}"];
    let loaded = load(&file_with(&nulls), &[]).unwrap();
    assert_eq!(loaded.config.cache.any, Some(Duration::from_secs(300)));
    let member = "policy: {p: {identities: [~, 0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9]}}";
    assert_eq!(load(&file_with(&[member]), &[]).unwrap().config.policies.members().count(), 1);
    assert_eq!(refusal(&file_with(&["keystore: {fs: }"]), &[]).message(), "kesconf: no keystore specified");
}

#[test]
fn wrong_kinds_are_all_told() {
    let text = file_with(&["cache: {expiry: {any: 1d, unused: 5}}", "keys: [a]", "policy: {p: {allow: x}}"]);
    let error = refusal(&text, &[]);
    assert_eq!(
        error.message(),
        "yaml: unmarshal errors:\n  line 5: cannot unmarshal !!str `1d` into time.Duration\n  \
         line 5: cannot unmarshal !!int `5` into time.Duration\n  line 6: cannot unmarshal !!str into map\n  \
         line 7: cannot unmarshal !!str `x` into []string"
    );
    assert_eq!(error.place().unwrap().key, "cache.expiry.any");
}

#[test]
fn references() {
    let missing = |reference: &str, name: &str| {
        let error = refusal(&file_with(&[&format!("admin:\n  identity: {reference}")]), ENVIRONMENT);
        assert_eq!(error.message(), format!("kesconf: referenced env. variable '{name}' in line '5' not found"));
        assert_eq!(error.place().unwrap().to_string(), "kes.yml:5: admin.identity");
        assert_eq!(error.kind(), ErrorKind::Unset);
    };
    missing("${NOT_SET}", "NOT_SET");
    missing("'${ NOT_SET }'", "NOT_SET");
    missing("\"${A}-${B}\"", "A}-${B");
    missing("${}", "");
    missing("\"${A:-b}\"", "A:-b");
    let admin = |written: &str| {
        let loaded = load(&file_with(&[&format!("admin: {{identity: \"{written}\"}}")]), ENVIRONMENT).unwrap();
        (loaded.config.admin.as_str().to_owned(), loaded.warnings.len())
    };
    assert_eq!(admin("${A}"), ("maybe".to_owned(), 0));
    assert_eq!(admin("  ${ A } "), ("maybe".to_owned(), 0));
    assert_eq!(admin("a${A}"), ("a${A}".to_owned(), 1));
    assert_eq!(admin("${A}b"), ("${A}b".to_owned(), 1));
    assert_eq!(admin("$A"), ("$A".to_owned(), 0));
    assert_eq!(admin("12345"), ("12345".to_owned(), 0));
}

#[test]
fn an_unset_variable_wins_over_everything_after_the_version() {
    let last = "tls: {}\nkeystore: {fs: {path: \"${NOT_SET}\"}}\ncache: {expiry: {any: 1d}}\n";
    assert_eq!(refusal(last, &[]).message(), "kesconf: referenced env. variable 'NOT_SET' in line '2' not found");
    let two = "log: {error: '${NOT_A}'}\nadmin: {identity: '${NOT_B}'}\n";
    assert_eq!(refusal(two, &[]).message(), "kesconf: referenced env. variable 'NOT_A' in line '1' not found");
}

#[test]
fn where_there_are_no_references() {
    let text = file_with(&["policy: {\"${P}\": {}, q: {allow: [\"/v1/key/create/${A}*\"]}}", "other: {x: \"${A}\"}"]);
    let error = refusal(&text, ENVIRONMENT);
    assert_eq!(error.message(), "kes: policy name '${P}' is empty, too long or contains invalid characters");
    let text = file_with(&["policy: {q: {allow: [\"/v1/key/create/${A}*\"]}}", "other: {x: \"${A}\"}"]);
    let warnings = load(&text, ENVIRONMENT).unwrap().warnings;
    let literal = warnings.iter().filter(|warning| warning.message.starts_with("'${' is taken literally"));
    let places: Vec<_> = literal.map(|warning| warning.place.to_string()).collect();
    assert_eq!(places, ["kes.yml:5: policy.q.allow[0]", "kes.yml:6: other.x"]);
}

#[test]
fn durations() {
    let refused = [
        ("1d", "!!str `1d`"),
        ("0", "!!int `0`"),
        ("1.5", "!!float `1.5`"),
        ("5 m", "!!str `5 m`"),
        ("''", "!!str ``"),
        ("[1]", "!!seq"),
        ("true", "!!bool `true`"),
        ("'${FIVE}'", "!!str `5`"),
        ("9223372036854775808ns", "!!str `9223372...`"),
    ];
    for (written, shown) in refused {
        let text = file_with(&[&format!("cache: {{expiry: {{any: {written}}}}}")]);
        let line = format!("yaml: unmarshal errors:\n  line 5: cannot unmarshal {shown} into time.Duration");
        assert_eq!(refusal(&text, ENVIRONMENT).message(), line);
    }
    for (written, seconds) in [("5m0s", 300.), ("1h30m", 5400.), ("1.5h", 5400.), (".5s", 0.5), ("+5m", 300.)] {
        let text = file_with(&[&format!("cache: {{expiry: {{any: {written}}}}}")]);
        let any = load(&text, &[]).unwrap().config.cache.any.unwrap();
        assert_eq!(any.as_secs_f64(), seconds, "{written}");
    }
    for zero in ["\"0\"", "0s", "0h0m"] {
        let text = file_with(&[&format!("cache: {{expiry: {{any: {zero}}}}}")]);
        assert_eq!(load(&text, &[]).unwrap().config.cache.any, None, "{zero}");
    }
}

#[test]
fn switches() {
    let skip =
        |written: &str| load(&file_with(&[&format!("api: {{/v1/ready: {{skip_auth: {written}}}}}")]), ENVIRONMENT);
    for on in ["true", "True", "TRUE", "y", "Yes", "on", "'on'", "\"Y\"", "'${TRUE}'"] {
        assert!(skip(on).unwrap().config.skips_auth(), "{on}");
    }
    for off in ["false", "FALSE", "n", "No", "OFF", "'off'", "~"] {
        assert!(!skip(off).unwrap().config.skips_auth(), "{off}");
    }
    let refused = [("1", "!!int `1`"), ("'true'", "!!str `true`"), ("maybe", "!!str `maybe`"), ("''", "!!str ``")];
    for (written, shown) in refused.into_iter().chain([("[on]", "!!seq"), ("'${A}'", "!!str `maybe`")]) {
        let text = file_with(&[&format!("api: {{/v1/ready: {{skip_auth: {written}}}}}")]);
        let line = format!("yaml: unmarshal errors:\n  line 5: cannot unmarshal {shown} into bool");
        assert_eq!(refusal(&text, ENVIRONMENT).message(), line);
    }
}

#[test]
fn merge_keys_and_aliases() {
    let text = file_with(&[
        "x: &id 0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "policy: {a: &a {allow: [/v1/status], identities: [*id]}, b: {<<: *a, identities: []}}",
    ]);
    let loaded = load(&text, &[]).unwrap();
    assert_eq!(loaded.config.policies.policy("b").unwrap().allow()[0].as_str(), "/v1/status");
    assert_eq!(loaded.config.policies.members().count(), 1);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings); // `x` is unknown
}
