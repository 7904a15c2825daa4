//! What nobody can know beforehand.

use regex_lite::Regex;

/// Keys and identities of the files and of the seeds in the transcripts: these stay.
const KNOWN: &[&str] = &[
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "339e2ff917630507b6a423b5ce084e285d1fa65d93b3e27a6195d3bbebc9ae23",
    "fd110d301d2f077de1414b8f99f441b1403fab207b2052fbd2c065e4ee8e7dc2", // server.crt
    "AIReTrtRF+2yZjZVrAP9s5/hRZQZa4WECi0NHdWm1094",
    "7fe814cd250ba0e0832e9e65aca7974e20a866e77b296b9c0748467bdb898b5e",
    "47dea58ea00fae9417ee19d76755bfef690899021132effb04fe1f9e4f0c8059", // expired.crt
    "8cef065b7af83669150b7d32704d3d3e75c3e9aee0d4f6740544c68e81b377aa", // elsewhere.crt
    "0000000000000000000000000000000000000000000000000000000000000000",
];

/// Patterns in their order, and what stands for them.
const MASKS: &[(&str, &str)] = &[
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "<TIME>"),
    (r"(kes:v1:)?[0-9A-Za-z+/]{43,}=*", "<BASE64>"),
    (r"\b(uptime|num_cpu|num_cpu_used|mem_heap_used|mem_stack_used|keystore_latency)(: |\x22:|\x22: )\d+", "$1$2<N>"),
    (r"Uptime( +\S*) +\d+ (seconds|minutes)\b", "Uptime$1 <N> seconds"),
    (r"\b\d+ms\b", "<N>ms"),
    (r"\d+ amd64", "<N> amd64"),
    (r"\d+(\.\d)?[KMG]B\b", "<SIZE>"),
    (r"commit(=|\x22:\x22|: )([0-9a-f]{40}|<unknown>)", "commit$1<COMMIT>"),
];

pub(crate) fn masked(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, mask) in MASKS {
        let replaced = Regex::new(pattern).unwrap().replace_all(&text, |found: &regex_lite::Captures<'_>| {
            let whole = &found[0];
            let bare = whole.trim_start_matches("kes:v1:");
            if KNOWN.contains(&bare) || is_fixed_time(whole) {
                return whole.to_owned();
            }
            match *mask {
                "<BASE64>" if whole.starts_with("kes:v1:") && whole.len() == 51 => "kes:v1:<KEY>".into(),
                "<BASE64>" if whole.len() == 64 && whole.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    "<IDENTITY>".into()
                }
                _ => {
                    let mut mask = (*mask).to_owned();
                    for group in 1..found.len() {
                        mask = mask.replace(&format!("${group}"), found.get(group).map_or("", |group| group.as_str()));
                    }
                    mask
                }
            }
        });
        text = replaced.into_owned();
    }
    text
}

/// The dates of the certificates in `data/`.
fn is_fixed_time(text: &str) -> bool {
    text.starts_with("2020-") || text.starts_with("2126-")
}
