//! `kes policy matrix`: the page for auditors, and what large files become.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};

/// What the command prints for a configuration, in a form.
fn matrix(config: &str, form: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let rest = "tls: {key: k, cert: c}\nkeystore: {fs: {path: keys}}\n";
    fs::write(home.path().join("config.yml"), format!("{config}{rest}")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
    command.current_dir(home.path()).env_clear().stdin(Stdio::null());
    let output = command.args(["policy", "matrix", "--config", "config.yml", "-o", form]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!home.path().join("keys").exists(), "no store is opened");
    String::from_utf8(output.stdout).unwrap()
}

const HOSTILE: &str = r#"
admin: {identity: "<img src=x onerror=alert(1)>"}
policy:
  shop:
    allow:
    - "/v1/key/decrypt/<script>alert(1)</script>*"
    - "/v1/key/decrypt/[<]b[>]*"
    - "/v1/key/decrypt/\"'&*"
    - /v1/key/decrypt/shop-*
    identities:
    - 339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23 # </table><script>alert(2)</script> "x" 'y' & z
    - fd110d301d2f077de1414b8f99f441b1403fab207b2052fbd2c065e4ee8e7dc2 # =HYPERLINK("http://example.com","click")
"#;

#[test]
fn the_page_stands_alone_and_nothing_in_the_file_becomes_markup() {
    let page = matrix(HOSTILE, "html");
    assert!(page.starts_with("<!doctype html>"));
    // One script and one style, both our own; nothing is fetched, no attribute runs anything.
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("<style").count(), 1);
    for forbidden in
        ["<img", "<b>&", "onerror=alert", "</table><script", " src=", "url(", "@import", "<iframe", "<form"]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.split("href=\"").skip(1).all(|link| link.starts_with('#')), "links lead within the page");
    assert!(page.contains("default-src 'none'"));
    // What was written is there to be read.
    for expected in [
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&lt;/table&gt;&lt;script&gt;alert(2)&lt;/script&gt; &quot;x&quot; &#39;y&#39; &amp; z",
        "shop-*",
        "SHA-256",
        "prefers-color-scheme: dark",
        "@media print",
        "none: nobody passes without a policy",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
}

#[test]
fn a_spreadsheet_gets_no_formulas() {
    let table = matrix(HOSTILE, "csv");
    assert!(table.contains("\"'=HYPERLINK(\"\"http://example.com\"\",\"\"click\"\")\""), "{table}");
    assert!(table.lines().all(|line| !line.split(',').any(|field| field.starts_with(['=', '+', '@']))));
}

/// 500 identities in 100 policies: every one of them is there, in every form.
#[test]
fn large_files_are_shown_whole() {
    let mut config = "admin: {identity: disabled}\npolicy:\n".to_owned();
    for policy in 0..100 {
        writeln!(config, "  team-{policy}:\n    allow:").unwrap();
        for operation in ["create", "generate", "decrypt", "describe", "list"] {
            writeln!(config, "    - /v1/key/{operation}/team-{policy}-*\n    - /v1/key/{operation}/shared-{policy}")
                .unwrap();
        }
        writeln!(config, "    deny: [/v1/key/*/team-{policy}-internal*]\n    identities:").unwrap();
        for identity in 0..5 {
            writeln!(config, "    - {:064x} # job {identity} of team {policy}", policy * 1_000 + identity + 1).unwrap();
        }
    }
    let page = matrix(&config, "html");
    assert_eq!(page.matches("<tr class=\"person\">").count(), 500);
    assert_eq!(page.matches("<tr class=\"policy\">").count(), 2 * 100);
    assert!(page.len() < 1 << 20, "{} bytes", page.len());

    let table = matrix(&config, "csv");
    assert_eq!(table.lines().count(), 1 + 500);
    let columns: Vec<_> = table.lines().next().unwrap().split(',').collect();
    let generate = columns.iter().position(|column| *column == "generate").unwrap();
    let line = table.lines().find(|line| line.contains("job 3 of team 42")).unwrap();
    assert_eq!(line.split(',').nth(generate), Some("team-42-* shared-42 !team-42-internal*"));

    let text = matrix(&config, "text");
    assert_eq!(text.lines().filter(|line| line.contains("of team")).count(), 500);
    let document: serde_json::Value = serde_json::from_str(&matrix(&config, "json")).unwrap();
    assert_eq!(document["policies"][42]["may"]["generate"]["except"][0], "team-42-internal*");
    assert_eq!(document["policies"][42]["identities"][3]["name"], "job 3 of team 42");
}
