//! A server process and the folder it lives in.

use crate::{Credential, Kind, Recipe};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A temporary folder with a server certificate (`server.crt`, `server.key`), an empty `keys` folder and, once started, its configuration file.
pub struct Home {
    folder: TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A new folder.
    pub fn new() -> Self {
        let home =
            Self { folder: tempfile::Builder::new().prefix("kes-tests-").tempdir().expect("a temporary folder") };
        let certificate = Recipe::new("localhost").for_servers().names(&["localhost", "127.0.0.1"]).self_signed();
        home.write("server.crt", certificate.certificate_pem());
        home.write("server.key", certificate.key_pem());
        fs::create_dir(home.path().join("keys")).expect("a folder for keys");
        home
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file below the folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).expect("a file below a temporary folder");
    }

    /// Writes a credential as PEM files `NAME.crt` and `NAME.key`.
    pub fn write_credential(&self, name: &str, credential: &Credential) {
        self.write(&format!("{name}.crt"), credential.certificate_pem());
        self.write(&format!("{name}.key"), credential.key_pem());
    }

    /// A complete configuration: address, TLS and the filesystem store of this folder, followed by `more` (YAML at the top level).
    pub fn config(&self, more: &str) -> String {
        let folder = self.path().display();
        format!(
            "version: v1\naddress: {{{{address}}}}\ntls:\n  key: {folder}/server.key\n  cert: {folder}/server.crt\n\
             keystore:\n  fs:\n    path: {folder}/keys\n{more}\n"
        )
    }

    /// The names in the key folder, sorted.
    pub fn stored(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path().join("keys")).expect("the key folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry of the key folder").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

/// A running server; killed and waited for when dropped.
pub struct Server {
    child: Child,
    address: SocketAddr,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
}

impl Server {
    /// Writes the configuration, with `{{address}}` filled in, and starts a server that answers on a loopback port.
    ///
    /// # Panics
    /// If it ends or does not accept connections within 20 seconds; its output is shown.
    pub fn start(kind: Kind, home: &Home, config: &str) -> Self {
        Self::start_with(kind, home, config, |_| {})
    }

    /// [`Server::start`] with changes to the command, such as another user; its folder and pipes are set afterwards.
    ///
    /// # Panics
    /// As there.
    pub fn start_with(kind: Kind, home: &Home, config: &str, change: impl Fn(&mut std::process::Command)) -> Self {
        // The port is free when it is chosen and may be taken when it is bound: then another one is tried.
        for _ in 0..5 {
            match Self::try_start(kind, home, config, &change) {
                Err(output) if output.contains("in use") => {}
                Err(output) => panic!("the server did not start:\n{output}"),
                Ok(server) => return server,
            }
        }
        panic!("no free port in five tries");
    }

    fn try_start(
        kind: Kind,
        home: &Home,
        config: &str,
        change: &impl Fn(&mut std::process::Command),
    ) -> Result<Self, String> {
        let address = free_address();
        home.write(kind.config_name(), config.replace("{{address}}", &address.to_string()));
        let mut command = kind.command(&home.path().join(kind.config_name()));
        change(&mut command);
        command.current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_remove("KES_SERVER").env_remove("KES_API_KEY");
        let mut child = command.spawn().expect("the server's program can be started");
        let stdout = Output::collect(child.stdout.take().expect("stdout is piped"));
        let stderr = Output::collect(child.stderr.take().expect("stderr is piped"));
        let mut server = Self { child, address, stdout, stderr };
        let start = Instant::now();
        loop {
            let answered = TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
            if answered && server.child.try_wait().expect("our own child can be looked at").is_none() {
                return Ok(server);
            }
            // A pipe that ends is a server that has ended; otherwise this is the interval of the connection attempts.
            let ended = server.stderr.wait(Duration::from_millis(10), |_, ended| ended);
            if ended || start.elapsed() > Duration::from_secs(20) {
                let _ = server.child.kill();
                let status = server.child.wait();
                return Err(format!("{status:?}\n{}{}", server.stdout(), server.stderr()));
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the configuration of a running server; nothing reads it before a signal or the server's own look at the file.
    pub fn rewrite_config(&self, kind: Kind, home: &Home, config: &str) {
        home.write(kind.config_name(), config.replace("{{address}}", &self.address.to_string()));
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until stdout contains the text.
    ///
    /// # Panics
    /// If it does not within ten seconds.
    pub fn expect_stdout(&self, text: &str) {
        self.expect(&self.stdout, text);
    }

    /// Waits until stdout contains the text so many times.
    ///
    /// # Panics
    /// If it does not within twenty seconds.
    pub fn expect_stdout_times(&self, text: &str, times: usize) {
        let enough = |sofar: &str, _| sofar.matches(text).count() >= times;
        let found = self.stdout.wait(Duration::from_secs(20), enough);
        assert!(found, "no {text:?} {times} times\n--- stdout\n{}--- stderr\n{}", self.stdout(), self.stderr());
    }

    /// Waits until stderr contains the text.
    ///
    /// # Panics
    /// If it does not within ten seconds.
    pub fn expect_stderr(&self, text: &str) {
        self.expect(&self.stderr, text);
    }

    fn expect(&self, output: &Output, text: &str) {
        let found = output.wait(Duration::from_secs(10), |sofar, _| sofar.contains(text));
        assert!(found, "no {text:?} in ten seconds\n--- stdout\n{}--- stderr\n{}", self.stdout(), self.stderr());
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid =
            Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")).expect("a process id above zero");
        kill_process(pid, signal).expect("our own child can be signalled");
    }

    /// Waits until stderr contains the text so many times.
    ///
    /// # Panics
    /// If it does not within twenty seconds.
    pub fn expect_stderr_times(&self, text: &str, times: usize) {
        let enough = |sofar: &str, _| sofar.matches(text).count() >= times;
        let found = self.stderr.wait(Duration::from_secs(20), enough);
        assert!(found, "no {text:?} {times} times\n--- stdout\n{}--- stderr\n{}", self.stdout(), self.stderr());
    }

    /// Waits for its end, which must come within the limit.
    ///
    /// # Panics
    /// If it does not end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let ended = self.stderr.wait(limit, |_, ended| ended);
        assert!(ended, "the server still runs after {limit:?}\n{}{}", self.stdout(), self.stderr());
        self.child.wait().expect("our own child can be waited for")
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "the last words of the server belong to a failing test's output")]
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let end = |text: String| {
                text.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
            };
            eprintln!("--- end of stdout\n{}\n--- end of stderr\n{}\n---", end(self.stdout()), end(self.stderr()));
        }
    }
}

/// What a pipe has delivered so far.
#[derive(Default)]
pub(crate) struct Output {
    state: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Output {
    pub(crate) fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Self> {
        let output = Arc::new(Self::default());
        let filled = output.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            loop {
                let count = pipe.read(&mut buffer).unwrap_or(0);
                let mut state = filled.state.lock().expect("no holder panics");
                state.0.extend_from_slice(&buffer[..count]);
                state.1 = count == 0;
                filled.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        output
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().expect("no holder panics").0).into_owned()
    }

    /// Waits for a state (text so far, whether the pipe has ended); answers whether it came in time.
    pub(crate) fn wait(&self, limit: Duration, wanted: impl Fn(&str, bool) -> bool) -> bool {
        let state = self.state.lock().expect("no holder panics");
        let missing = |state: &mut (Vec<u8>, bool)| !wanted(&String::from_utf8_lossy(&state.0), state.1);
        let (_state, result) = self.changed.wait_timeout_while(state, limit, missing).expect("no holder panics");
        !result.timed_out()
    }
}

/// A loopback port that nobody listens on. Below the range from which the system takes ports for outgoing connections: one of those could
/// get hold of it in between, or even connect to itself. No two tests of a process get the same.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = std::process::id().wrapping_mul(131).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(number % 20_000).expect("below 20,000");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
