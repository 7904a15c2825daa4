//! What the table-driven tests share.

use kes_config::{Error, File, Loaded};

/// A complete file with one part replaced: `parts` are the lines of the sections that differ.
pub(crate) fn file_with(parts: &[&str]) -> String {
    let sections = ["address: 127.0.0.1:7373", "admin: {identity: disabled}", "tls: {key: k.pem, cert: c.pem}"];
    let sections = sections.into_iter().chain(["keystore: {fs: {path: ./keys}}"]);
    let name = |part: &str| part.split(':').next().unwrap_or_default().to_owned();
    let kept = sections.filter(|section| parts.iter().all(|part| name(part) != name(section)));
    kept.chain(parts.iter().copied()).map(|part| format!("{part}\n")).collect()
}

pub(crate) fn load(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, Error> {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let lookup = move |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    File::from_text("kes.yml", text).environment(lookup).load()
}

/// The refusal of a file, which must have a place and a hint.
pub(crate) fn refusal(text: &str, environment: &[(&str, &str)]) -> Error {
    match load(text, environment) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => {
            let shown = error.to_string();
            assert!(error.place().is_some() && shown.contains("\n --> kes.yml:"), "no place: {shown}\n{text}");
            assert!(error.advice().is_some_and(|hint| !hint.is_empty()), "no hint: {shown}\n{text}");
            error
        }
    }
}

/// A case of a table: what is different about the file, and the text, line and key of its refusal.
pub(crate) type Case<'a> = (&'a [&'a str], &'a str, usize, &'a str);

/// Environment of the tables. `EMPTY` is set, but empty.
pub(crate) const ENVIRONMENT: &[(&str, &str)] =
    &[("EMPTY", ""), ("A", "maybe"), ("FIVE", "5"), ("TRUE", "true"), ("ADMIN", "disabled")];

pub(crate) fn check(cases: &[Case<'_>]) {
    for (parts, message, line, key) in cases {
        let text = file_with(parts);
        let error = refusal(&text, ENVIRONMENT);
        assert_eq!(error.message(), *message, "{text}");
        let place = error.place().expect("checked");
        assert_eq!((place.line, place.key.as_str()), (*line, *key), "{message}\n{text}");
    }
}
