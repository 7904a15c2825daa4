//! The files of `configs/`: what becomes of each, word for word.

use kes_config::{ErrorKind, File};
use std::fmt::Write;
use std::path::{Path, PathBuf};

pub(crate) fn configs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml" || extension == "toml"))
        .collect();
    files.sort();
    files
}

/// Identities are of people, everything else is text.
pub(crate) fn environment(name: &str) -> Option<String> {
    Some(match name {
        "KES_ADMIN_IDENTITY" | "ROOT_IDENTITY" => "a".repeat(64),
        "OBJECT_STORE_IDENTITY" | "MINIO_IDENTITY" | "MINIO_KES_IDENTITY" => "b".repeat(64),
        "STATIC_KEY" => "my-key:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(),
        _ if name.starts_with("UNSET") => return None,
        _ => format!("value-of-{name}"),
    })
}

fn outcome(path: &Path) -> String {
    let name = path.file_name().unwrap().to_str().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let mut out = String::new();
    match File::from_text(name, text).environment(environment).load() {
        Err(error) => writeln!(out, "error: {error}").unwrap(),
        Ok(loaded) => {
            writeln!(out, "store: {}", loaded.config.store.backend()).unwrap();
            for warning in &loaded.warnings {
                writeln!(out, "\nwarning: {warning}").unwrap();
            }
            for note in &loaded.notes {
                writeln!(out, "\nnote: {note}").unwrap();
            }
            if let Err(error) = loaded.config.store.supported() {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                writeln!(out, "\nopen: {error}").unwrap();
            }
        }
    }
    out
}

#[test]
fn every_file_has_the_written_outcome() {
    let files = configs();
    assert!(files.len() >= 30, "{files:?}");
    for path in files {
        let expected = path.with_extension("out");
        let outcome = outcome(&path);
        if std::env::var_os("KES_BLESS").is_some() {
            std::fs::write(&expected, &outcome).unwrap();
        }
        let written = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(outcome, written, "{}", path.display());
    }
}

/// The annotated file that people start from.
#[test]
fn the_sample_loads_without_a_warning() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/config.yml");
    let text = std::fs::read_to_string(path).unwrap();
    let identity = |name: &str| match name {
        "MINIO_IDENTITY" => Some("b".repeat(64)),
        "METRICS_IDENTITY" => Some("c".repeat(64)),
        _ => None,
    };
    let loaded = File::from_text("config.yml", text).environment(identity).load().unwrap();
    assert_eq!((loaded.warnings, loaded.notes), (vec![], vec![]));
}

/// An inspection tells more than the start, never something else.
#[test]
fn an_inspection_agrees_with_the_start() {
    for path in configs() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = File::from_text(name, std::fs::read_to_string(&path).unwrap()).environment(environment);
        let (loaded, inspected) = (file.load(), file.inspect());
        assert_eq!(loaded.is_ok(), inspected.errors.is_empty(), "{name}");
        let Ok(loaded) = loaded else { continue };
        assert_eq!((loaded.warnings, loaded.notes), (inspected.warnings, inspected.notes), "{name}");
    }
}

#[test]
fn what_worked_with_an_old_server_loads() {
    for path in configs() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if [
            "minimal", "maximal", "vault", "legacy", "page", "operator", "v0.5", "v0.7", "v0.8", "v0.1", "2023-04",
            "2023-08", "2023-10", "2024", "2025",
        ]
        .iter()
        .any(|start| name.starts_with(start))
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let loaded = File::from_text(name, text).environment(environment).load();
            assert!(loaded.is_ok(), "{name}: {}", loaded.unwrap_err());
        }
    }
}
