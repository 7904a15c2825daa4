//! config.md 4: what the sections mean, and their texts.

use crate::support::{check, file_with, load, refusal};
use kes_config::{ClientAuth, Level, Loaded, keystore::Backend};
use std::time::Duration;

const HEX: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";

fn loaded(parts: &[&str]) -> Loaded {
    let text = file_with(parts);
    load(&text, crate::support::ENVIRONMENT).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn warnings(parts: &[&str]) -> Vec<String> {
    loaded(parts).warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn address() {
    check(&[
        (&["address: 127.0.0.1"], "address 127.0.0.1: missing port in address", 4, "address"),
        (&["address: localhost:7373"], "'localhost' is not a valid IP address", 4, "address"),
        (&["address: '127.0.0.1:99999'"], "listen tcp: address 99999: invalid port", 4, "address"),
        (&["probe: {address: localhost:1}"], "'localhost' is not a valid IP address", 5, "probe.address"),
    ]);
    for default in ["address: ''", "address:", "address: '${EMPTY}'"] {
        let address = loaded(&[default]).config.address;
        assert_eq!(address.as_str(), "0.0.0.0:7373");
    }
    let text = file_with(&["address: localhost:1"]);
    let flag = |flag: &str| kes_config::File::from_text("kes.yml", text.clone()).address(flag).load();
    assert_eq!(flag("[::1]:9").unwrap().config.address.to_string(), "[::1]:9");
    assert_eq!(flag("kes:9").unwrap_err().message(), "'kes' is not a valid IP address");
}

#[test]
fn admin() {
    let banner = |id: &str| {
        let admin = loaded(&[&format!("admin: {{identity: '{id}'}}")]).config.admin;
        (admin.to_string(), admin.identity().is_some())
    };
    assert_eq!(banner(HEX), (HEX.to_owned(), true));
    assert_eq!(banner("abcd"), ("abcd".to_owned(), false));
    for nobody in ["disabled", "_", "a.b", "ABC"] {
        assert_eq!(banner(nobody), ("<disabled>".to_owned(), false));
    }
}

#[test]
fn decision_37_the_root_flag() {
    let load = |parts: &[&str], root: &str| kes_config::File::from_text("kes.yml", file_with(parts)).root(root).load();
    let given = load(&["admin: {}"], HEX).unwrap();
    assert_eq!(given.config.admin.as_str(), HEX);
    assert_eq!(given.warnings[0].message, "the administrator comes from '--root'");
    assert!(load(&["admin: {identity: x}"], "x").unwrap().warnings.is_empty());
    let error = load(&["admin: {identity: x}"], HEX).unwrap_err();
    assert_eq!(error.message(), "kesconf: invalid admin identity: '--root' and 'admin.identity' differ");
    assert!(load(&["admin: {}"], "").is_err());
}

#[test]
fn tls() {
    let tls = |fields: &str| loaded(&[&format!("tls: {{key: k, cert: c, {fields}}}")]).config.tls;
    for (auth, meant) in
        [("off", ClientAuth::Off), ("OFF", ClientAuth::Off), ("''", ClientAuth::Off), ("On", ClientAuth::On)]
    {
        assert_eq!(tls(&format!("auth: {auth}")).auth, meant, "{auth}");
    }
    let full =
        tls(&format!("password: p, ca: cas, proxy: {{identities: [{HEX}], header: {{cert: X-Tls-Client-Cert}}}}"));
    assert_eq!(full.password.unwrap().expose(), "p");
    assert_eq!(full.ca.unwrap().to_str(), Some("cas"));
    assert_eq!(full.proxy.identities[0].as_str(), HEX);
    assert_eq!((full.proxy.header_cert.as_deref(), full.proxy.admin), (Some("X-Tls-Client-Cert"), false));
    let empty = tls("password: '', ca: '', proxy: {identities: [], header: {cert: ''}}");
    assert!(empty.password.is_none() && empty.ca.is_none() && empty.proxy.header_cert.is_none());
    let warned = warnings(&["tls: {key: k, cert: c, proxy: {identities: [proxy]}}"]);
    assert!(
        warned[0]
            .starts_with("the proxy identity 'proxy' matches nobody\n --> kes.yml:4: tls.proxy.identities[0]\nhint: ")
    );
}

#[test]
fn policy() {
    check(&[
        (
            &["policy: {p q: }"],
            "kes: policy name 'p q' is empty, too long or contains invalid characters",
            5,
            "policy.p q",
        ),
        (
            &["policy: {p: {identities: [a.b]}}"],
            "kes: identity 'a.b' is empty, too long or contains invalid characters",
            5,
            "policy.p.identities[0]",
        ),
        (
            &["policy: {p: {identities: ['${EMPTY}']}}"],
            "kes: identity '' is empty, too long or contains invalid characters",
            5,
            "policy.p.identities[0]",
        ),
        (
            &["policy:\n  p: {identities: [a]}\n  q: {identities: [b, a]}"],
            "kes: cannot assign policy 'q' to 'a': identity already has a policy",
            7,
            "policy.q.identities[1]",
        ),
        (
            &["policy: {p: {identities: [a, a]}}"],
            "kes: cannot assign policy 'p' to 'a': identity already has a policy",
            5,
            "policy.p.identities[1]",
        ),
    ]);
    let config = loaded(&[&format!("policy: {{empty: , p: {{allow: [/v1/status], identities: [{HEX}]}}}}")]).config;
    assert_eq!(config.policies.policies().len(), 2);
    assert!(config.policies.decide(&HEX.parse().unwrap(), "/v1/status").is_allowed());
}

#[test]
fn decision_27_a_malformed_deny_rule_stops_the_start() {
    let rules = "policy:\n  p:\n    allow: ['/v1/[']\n    deny:\n    - /v1/key/create/x\n    - '/v1/key/create/[x'";
    let error = refusal(&file_with(&[rules]), &[]);
    let text = "kesconf: invalid policy 'p': the deny rule \"/v1/key/create/[x\" is malformed: ";
    assert!(error.message().starts_with(text), "{error}");
    assert_eq!(error.place().unwrap().to_string(), "kes.yml:10: policy.p.deny[1]");
}

#[test]
fn what_is_said_about_policies() {
    let warned = warnings(&["policy: {p: {allow: ['/v1/*', '/v1/[', /v1/key/list], identities: [minio]}}"]);
    assert_eq!(warned.len(), 4, "{warned:#?}");
    let about = |words: &str| assert!(warned.iter().any(|warning| warning.contains(words)), "{words}: {warned:#?}");
    about("the identity 'minio' matches nobody\n --> kes.yml:5: policy.p.identities[0]\nhint: an identity is 64");
    about("APIs, because its `*` also matches `/`");
    about("is malformed");
    about(" --> kes.yml:5: policy.p.allow[2]\nhint: write `/v1/key/list/*`");
    let deny = ["policy: {p: {deny: ['/v1/key/*/internal*']}}", "compat: {policy_match: head}"];
    assert!(warnings(&deny)[0].contains("as `compat.policy_match` is set"), "{:?}", warnings(&deny));
    let gone = loaded(&["policy: {p: {allow: [/v1/secret/read/*]}}"]);
    assert_eq!((gone.warnings.len(), gone.notes.len()), (0, 1));
    let delegates = warnings(&["policy: {p: {allow: [/v1/policy/write/*]}}"]);
    assert!(delegates[0].contains("its members can give themselves every right"), "{delegates:?}");
}

#[test]
fn api() {
    let config = loaded(&["api: {/v1/ready: {skip_auth: true, timeout: 5s}, /v1/key/create/: {timeout: 0s}}"]).config;
    assert!(config.skips_auth());
    assert!(config.api["/v1/ready"].skip_auth);
    assert_eq!(config.api["/v1/ready"].timeout, Some(Duration::from_secs(5)));
    assert_eq!(config.api["/v1/key/create/"].timeout, None);

    let open = ["/version", "/v1/ready", "/v1/status", "/v1/metrics", "/v1/api", "/v1/identity/self/describe"];
    for path in open {
        assert!(loaded(&[&format!("api: {{{path}: {{skip_auth: true}}}}")]).config.api[path].skip_auth);
    }
    for route in kes_policy::ROUTES.iter().filter(|route| !open.contains(&route.path)) {
        let part = format!("api: {{{}: {{skip_auth: true}}}}", route.path);
        if route.standing == kes_policy::Standing::Gone {
            assert_eq!(warnings(&[&part]).len(), 1);
            continue;
        }
        let error = refusal(&file_with(&[&part]), &[]);
        assert_eq!(
            error.message(),
            format!("kesconf: invalid API config: '{}' must not skip authentication", route.path)
        );
        let any = "compat: {skip_auth_any_route: on}";
        if route.standing == kes_policy::Standing::Named {
            assert!(refusal(&file_with(&[&part, any]), &[]).message().contains("must not skip authentication"));
            continue;
        }
        let allowed = loaded(&[&part, any]).config;
        assert!(allowed.api[route.path].skip_auth);
    }
    for (path, meant) in [("v1/status", "/v1/status"), ("/v1/key/create", "/v1/key/create/"), ("/v1/redy", "/v1/ready")]
    {
        let warned = warnings(&[&format!("api: {{{path}: {{skip_auth: true}}}}")]);
        assert_eq!(
            warned,
            [format!(
                "there is no API '{path}': the entry has no effect\n --> kes.yml:5: api.{path}\nhint: did you mean '{meant}'?"
            )]
        );
    }
}

#[test]
fn cache() {
    let seconds = |parts: &[&str]| {
        let cache = loaded(parts).config.cache;
        [cache.any, cache.unused, cache.offline].map(|time| time.map_or(0, |time| time.as_secs()))
    };
    // Departs from upstream, where `any` is 30 s and `unused` off in the first two.
    assert_eq!(seconds(&[]), [300, 30, 0]);
    assert_eq!(seconds(&["cache: {expiry: {any: 5m}}"]), [300, 30, 0]);
    assert_eq!(seconds(&["cache: {expiry: {unused: 20s}}"]), [300, 20, 0]);
    assert_eq!(seconds(&["cache: {expiry: {any: 1m, unused: 20s, offline: 1h}}"]), [60, 20, 3600]);
    assert_eq!(seconds(&["cache: {expiry: {any: 0s, unused: '0', offline: 0s}}"]), [0, 0, 0]);
    assert_eq!(loaded(&[]).config.cache.max_keys, 100_000);
    assert_eq!(loaded(&["cache: {max_keys: 0}"]).config.cache.max_keys, 0);
}

#[test]
fn log() {
    let atoi = |text: &str| format!("strconv.Atoi: parsing \"{text}\": invalid syntax");
    let refused = [
        ("WARN-2", "kesconf: invalid log level 'WARN-2'".to_owned()),
        ("warning", "kesconf: invalid log level 'WARNING'".to_owned()),
        ("WARN+X", format!("kesconf: invalid log level suffix 'X': {}", atoi("X"))),
        ("debug+", format!("kesconf: invalid log level suffix '': {}", atoi(""))),
        ("TRACE", atoi("TRACE")),
        ("true", atoi("TRUE")),
        ("off+1", atoi("OFF+1")),
        ("99999999999999999999", atoi("99999999999999999999").replace("invalid syntax", "value out of range")),
    ];
    for (written, message) in refused {
        for key in ["error", "audit"] {
            let error = refusal(&file_with(&[&format!("log: {{{key}: {written}}}")]), &[]);
            assert_eq!(error.message(), message);
            assert_eq!(error.place().unwrap().key, format!("log.{key}"));
        }
    }
    let level = |written: &str| loaded(&[&format!("log: {{error: {written}}}")]).config.log.error;
    let accepted =
        [("''", 0), ("on", 0), ("Off", 9), ("DEBUG", -4), ("' info '", 0), ("warn+2", 6), ("8", 8), ("-4", -4)];
    for (written, number) in accepted {
        assert_eq!(level(written), Level(number), "{written}");
    }
    let default = loaded(&[]).config.log;
    assert_eq!((default.error, default.audit), (Level::INFO, Level::INFO));
}

#[test]
fn keys() {
    let names: Vec<_> = loaded(&["keys: [{name: b}, {name: a}]"]).config.keys.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["b", "a"]);
    for (written, name) in [("{name: a b#}", "a b#"), ("{name: ''}", ""), ("{}", ""), ("{name: _}", "_")] {
        let error = refusal(&file_with(&[&format!("keys: [{written}]")]), &[]);
        assert_eq!(
            error.message(),
            format!("kes: key name '{name}' is empty, too long or contains invalid characters")
        );
        assert_eq!(error.place().unwrap().key, "keys[0].name");
    }
}

/// What only the start of a server can judge is refused in the same form.
#[test]
fn refusals_at_the_start_name_their_place() {
    let config = loaded(&["tls:\n  key: k\n  cert: c", "keys: [{name: a}]"]).config;
    let shown = |key: &str| config.refuse(key, "what", "do").to_string();
    assert_eq!(shown("tls.cert"), "what\n --> kes.yml:6: tls.cert\nhint: do");
    assert_eq!(shown("tls.ca"), "what\n --> kes.yml:4: tls.ca\nhint: do");
    assert_eq!(shown("keys"), "what\n --> kes.yml:7: keys\nhint: do");
    assert_eq!(shown("address"), "what\n --> kes.yml:1: address\nhint: do");
    let flag = kes_config::File::from_text("kes.yml", file_with(&[])).address(":1").load().unwrap().config;
    assert_eq!(flag.refuse("address", "what", "").to_string(), "what", "the address is not the file's");
}

#[test]
fn memory_is_never_reached() {
    for store in ["keystore: {mem: {}}", "keystore: {memory: {a: b}}", "keystore: memory", "keystore:", "keystore: {}"]
    {
        let error = refusal(&file_with(&[store]), &[]);
        assert!(error.message().contains("no keystore specified") || error.message().contains("into map"), "{error}");
    }
    assert!(matches!(loaded(&[]).config.store.backend(), Backend::Fs(_)));
}
