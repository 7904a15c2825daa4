//! Which programs there are to run: ours, built once per test process, and the peers of `peers/peers.sh`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A program of this workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `kes`, the command line.
    Kes,
    /// `kes-server`, the server.
    KesServer,
}

impl Binary {
    /// The absolute path of the program, never a stale one.
    ///
    /// Cargo does not build another package's binaries for a test. `cargo test --workspace` has, for their own tests; else the first call
    /// runs `cargo build` with the profile and the target folder of the running test.
    pub fn path(self) -> PathBuf {
        static KES: OnceLock<PathBuf> = OnceLock::new();
        static KES_SERVER: OnceLock<PathBuf> = OnceLock::new();
        match self {
            Self::Kes => KES.get_or_init(|| built("kes-cli", "kes")).clone(),
            Self::KesServer => KES_SERVER.get_or_init(|| built("kes-server", "kes-server")).clone(),
        }
    }
}

/// Which server a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, or what `KES_UNDER_TEST` names.
    Ours,
    /// The old server in Go, from `peers/peers.sh install kes`.
    GoKes,
}

impl Kind {
    /// The configuration's file name: two servers may share a folder, and ours reloads a file that changes.
    pub(crate) fn config_name(self) -> &'static str {
        match self {
            Self::Ours => "config.yml",
            Self::GoKes => "config-go.yml",
        }
    }

    /// The program and the arguments that make it serve `config`.
    pub(crate) fn command(self, config: &Path) -> Command {
        let program = match self {
            Self::Ours => std::env::var_os("KES_UNDER_TEST").map_or_else(|| Binary::KesServer.path(), PathBuf::from),
            Self::GoKes => peer("kes"),
        };
        let mut command = Command::new(&program);
        if program.file_name().is_none_or(|name| !name.to_string_lossy().starts_with("kes-server")) {
            command.arg("server");
        }
        command.arg("--config").arg(config);
        command
    }
}

/// The root of the checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies below the workspace's root")
}

/// The program of an installed peer.
///
/// # Panics
/// If it is not installed: a test that was asked for must not pass without its peer.
pub fn peer(name: &str) -> PathBuf {
    let cache = std::env::var_os("KES_PEERS").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("HOME or KES_PEERS names the folder of the peers");
        Path::new(&home).join(".cache/kes-peers")
    });
    let program = cache.join("bin").join(name);
    assert!(program.is_file(), "{} is missing: run peers/peers.sh install {name}", program.display());
    program
}

/// A program of a package, built if it is not there or is older than a file that it was made of.
fn built(package: &str, name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    // <target>/<profile>/deps/<test>, or <target>/<triple>/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("tests lie in <profile>/deps");
    let program = folder.join(name);
    if !is_fresh(&program) {
        build(package, folder);
    }
    program
}

/// Whether a program is younger than all of its sources, which cargo has written beside it. A new commit alone changes only
/// what it says of its version.
fn is_fresh(program: &Path) -> bool {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let (Some(made), Ok(sources)) = (modified(program), std::fs::read_to_string(program.with_extension("d"))) else {
        return false;
    };
    let Some((_, sources)) = sources.trim_end().split_once(": ") else { return false };
    let sources = sources.replace("\\ ", "\0");
    let sources = sources.split(' ').map(|source| PathBuf::from(source.replace('\0', " ")));
    let sources = sources.filter(|source| !source.components().any(|part| part.as_os_str() == ".git"));
    let manifests = ["Cargo.toml", "Cargo.lock"].map(|name| checkout().join(name));
    sources.chain(manifests).all(|source| modified(&source).is_some_and(|changed| changed < made))
}

fn build(package: &str, folder: &Path) {
    let profile = folder.file_name().expect("the profile's folder has a name").to_string_lossy().into_owned();
    let target = folder.parent().expect("the profile's folder lies in the target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(checkout())
        .args(["build", "--quiet", "--package", package, "--profile"])
        .arg(if profile == "debug" { "dev" } else { &profile })
        .arg("--target-dir")
        .arg(target)
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "cargo build --package {package} failed");
}
