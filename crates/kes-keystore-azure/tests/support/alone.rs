//! A test in a process of its own, with an environment of its own.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::Front;

/// Which test this process is for.
const ALONE: &str = "TEST_ALONE";

/// What surrounds the test's process.
#[derive(Default)]
pub struct World {
    fronts: Vec<Arc<Front>>,
    variables: Vec<(String, String)>,
    /// What else has to live as long.
    kept: Vec<Box<dyn std::any::Any + Send>>,
}

impl World {
    pub fn with(mut self, front: &Arc<Front>) -> Self {
        self.fronts.push(Arc::clone(front));
        self
    }

    pub fn set(mut self, variable: &str, value: impl Into<String>) -> Self {
        self.variables.push((variable.to_owned(), value.into()));
        self
    }

    pub fn keep(mut self, thing: impl std::any::Any + Send) -> Self {
        self.kept.push(Box::new(thing));
        self
    }
}

/// Makes a world and runs the body in a process that sees nothing else. The folder is the home of that process.
pub fn alone(test: &str, world: impl AsyncFnOnce(&Path) -> World, body: impl AsyncFnOnce()) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    if std::env::var(ALONE).is_ok_and(|name| name == test) {
        runtime.block_on(body());
        // The same function may have worlds to come; they are for the other process.
        std::process::exit(0);
    }
    let home = tempfile::tempdir().expect("a folder");
    let world = runtime.block_on(world(home.path()));
    let mut child = Command::new(std::env::current_exe().expect("this program has a name"));
    child.args([test, "--exact", "--include-ignored", "--nocapture"]).env_clear();
    for inherited in ["PATH", "RUST_BACKTRACE", "SSL_CERT_FILE", "KES_PEERS"] {
        if let Some(value) = std::env::var_os(inherited) {
            child.env(inherited, value);
        }
    }
    child.env("HOME", home.path()).env(ALONE, test);
    child.envs(world.variables.iter().map(|(variable, value)| (variable, value)));
    let output = child.output().expect("it runs");
    let text = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success(), "{text}");
}
