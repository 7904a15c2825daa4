//! The files of `configs/`: what becomes of each, word for word.

use kes_config::{ErrorKind, File, keystore::Backend};
use std::fmt::Write;
use std::path::{Path, PathBuf};

fn configs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|extension| extension == "yml")).collect();
    files.sort();
    files
}

/// Identities are of people, everything else is text.
fn environment(name: &str) -> Option<String> {
    Some(match name {
        "KES_ADMIN_IDENTITY" | "ROOT_IDENTITY" => "a".repeat(64),
        "OBJECT_STORE_IDENTITY" | "MINIO_IDENTITY" | "MINIO_KES_IDENTITY" => "b".repeat(64),
        _ => format!("value-of-{name}"),
    })
}

async fn outcome(path: &Path) -> String {
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
            if !matches!(loaded.config.store.backend(), Backend::Fs(_)) {
                let error = loaded.config.open_store().await.err().expect("cannot be opened");
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                writeln!(out, "\nopen: {error}").unwrap();
            }
        }
    }
    out
}

#[tokio::test]
async fn every_file_has_the_written_outcome() {
    let files = configs();
    assert!(files.len() >= 30, "{files:?}");
    for path in files {
        let expected = path.with_extension("out");
        let outcome = outcome(&path).await;
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

#[test]
fn what_worked_with_an_old_server_loads() {
    for path in configs() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if ["minimal", "maximal", "vault", "legacy", "page", "operator", "v0.5"]
            .iter()
            .any(|start| name.starts_with(start))
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let loaded = File::from_text(name, text).environment(environment).load();
            assert!(loaded.is_ok(), "{name}: {}", loaded.unwrap_err());
        }
    }
}
