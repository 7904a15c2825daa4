//! What tests run: the program, a server of it, and what they print.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The administrator of the configurations in `data/`.
pub(crate) const ADMIN: &str = "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Nothing that is waited for may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// A folder to run in.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The program, here, without any variable of KES.
    pub(crate) fn kes(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command.env("HOME", self.path()).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }
}

/// A program, and everything that it has printed so far.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: Arc<Printed>,
    pub(crate) stderr: Arc<Printed>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Printed::collect(child.stdout.take().unwrap());
        let stderr = Printed::collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> (ExitStatus, String, String) {
        self.stderr.ended();
        self.stdout.ended();
        (self.child.wait().unwrap(), self.stdout.text(), self.stderr.text())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What has come out of a pipe or terminal.
#[derive(Default)]
pub(crate) struct Printed {
    state: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Printed {
    pub(crate) fn collect(mut source: impl Read + Send + 'static) -> Arc<Self> {
        let printed = Arc::new(Self::default());
        let filled = Arc::clone(&printed);
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                // A terminal that nobody has open any more is an error on Linux.
                let count = source.read(&mut buffer).unwrap_or(0);
                let mut state = filled.state.lock().unwrap();
                state.0.extend_from_slice(&buffer[..count]);
                state.1 = count == 0;
                filled.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        printed
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().unwrap().0).into_owned()
    }

    /// Waits until so many bytes on there is this text; answers where it ends.
    pub(crate) fn expect_after(&self, from: usize, text: &str) -> usize {
        self.wait(text, |sofar, _| sofar.get(from..).is_some_and(|sofar| sofar.contains(text)));
        let sofar = self.text();
        from + sofar[from..].find(text).unwrap() + text.len()
    }

    pub(crate) fn expect(&self, text: &str) -> usize {
        self.expect_after(0, text)
    }

    /// Waits until nothing more can come.
    pub(crate) fn ended(&self) {
        self.wait("its end", |_, ended| ended);
    }

    fn wait(&self, what: &str, wanted: impl Fn(&str, bool) -> bool) {
        let state = self.state.lock().unwrap();
        let missing = |state: &mut (Vec<u8>, bool)| !wanted(&String::from_utf8_lossy(&state.0), state.1) && !state.1;
        let (state, _) = self.changed.wait_timeout_while(state, LIMIT, missing).unwrap();
        let sofar = String::from_utf8_lossy(&state.0);
        assert!(wanted(&sofar, state.1), "waiting for {what:?}, there is only\n{sofar}");
    }
}

/// A server with the configuration of `data/`, and its address.
pub(crate) struct Server {
    running: Option<Running>,
    pub(crate) address: String,
    folder: Folder,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = Folder::new();
        for name in ["server.crt", "server.key", "server.yml"] {
            fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name), folder.join(name)).unwrap();
        }
        // Another process may take the port in between; then another one is tried.
        for _ in 0..5 {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
            let running = Self::run(&folder, &address);
            if let Some(running) = running {
                return Self { running: Some(running), address, folder };
            }
        }
        panic!("no server starts");
    }

    fn run(folder: &Folder, address: &str) -> Option<Running> {
        let running = Running::start(folder.kes(&["server", "--config", "server.yml", "--addr", address]));
        running.stdout.wait("a server", |sofar, ended| ended || sofar.contains("up and running"));
        running.stdout.text().contains("up and running").then_some(running)
    }

    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    pub(crate) fn restart(&mut self) {
        self.running = None;
        // The port is free as soon as the old one has ended; somebody else would have to be quick.
        let running = (0..20).find_map(|_| Self::run(&self.folder, &self.address));
        self.running = Some(running.expect("the same port again"));
    }

    /// The program as a client of this server and its administrator.
    pub(crate) fn kes(&self, arguments: &[&str]) -> Command {
        let mut command = self.folder.kes(arguments);
        command.env("KES_SERVER", &self.address).env("KES_API_KEY", ADMIN).env("KES_CA_PATH", "server.crt");
        command
    }

    /// Lets a client do something and end.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.kes(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.folder.join("keys")
    }
}
