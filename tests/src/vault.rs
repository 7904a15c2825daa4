//! A real Vault, with what `peers/vault-start.sh` sets up in it.

use crate::{Home, checkout, peer};
use rustix::process::{Pid, Signal, kill_process};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A running Vault; killed when dropped.
pub struct Vault {
    folder: TempDir,
    port: u16,
    environment: Vec<(String, String)>,
    /// After a restart.
    child: Option<Child>,
}

impl Vault {
    /// Starts one, unsealed, with its data on disk.
    ///
    /// # Panics
    /// If there is none: `peers/peers.sh install vault`.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("kes-tests-vault-").tempdir().expect("a temporary folder");
        let port = crate::free_address().port();
        let started = Command::new(checkout().join("peers/vault-start.sh"))
            .arg(folder.path())
            .arg(port.to_string())
            .stdin(Stdio::null())
            .output()
            .expect("the script starts");
        let mut vault = Self { folder, port, environment: Vec::new(), child: None };
        let text = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "no Vault (peers/peers.sh install vault): {text}");
        let file = std::fs::read_to_string(vault.folder.path().join("env")).expect("the script has written it");
        let pairs = file.split_whitespace().filter_map(|word| word.split_once('='));
        vault.environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        vault
    }

    fn value(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map_or_else(|| panic!("the script wrote no {name}"), |(_, value)| value)
    }

    /// A configuration with `keystore.vault`: the login as the role that the script made, then `block`.
    pub fn config(&self, home: &Home, block: &str, more: &str) -> String {
        let (folder, block) = (home.path().display(), block.replace('\n', "\n    "));
        format!(
            "version: v1\naddress: {{{{address}}}}\ntls:\n  key: {folder}/server.key\n  cert: {folder}/server.crt\n\
             keystore:\n  vault:\n    endpoint: {}\n    tls:\n      ca: {}\n    approle:\n      id: {}\n      secret: {}\n    \
             status:\n      ping: 1s\n    {block}\n{more}\n",
            self.value("VAULT_ADDR"),
            self.value("VAULT_CACERT"),
            self.value("ROLE_ID"),
            self.value("SECRET_ID"),
        )
    }

    /// Runs its own command line as root; answers what it printed.
    ///
    /// # Panics
    /// If it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(peer("vault"));
        command.args(arguments).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("its program starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "vault {arguments:?}: {text}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Lets the role do what a policy says, besides what it may already.
    pub fn grant(&self, policy: &str) {
        let path = self.folder.path().join("more.hcl");
        std::fs::write(&path, policy).expect("a file below a temporary folder");
        self.run(&["policy", "write", "more", &path.display().to_string()]);
        self.run(&["write", "auth/approle/role/kes", "token_policies=kes,more", "token_ttl=20m"]);
    }

    /// Seals it: it is there, and opens nothing.
    pub fn seal(&self) {
        self.run(&["operator", "seal"]);
    }

    /// Takes the seal off.
    pub fn unseal(&self) {
        self.run(&["operator", "unseal", self.value("UNSEAL_KEY")]);
    }

    fn pid(&self) -> Pid {
        let id = match &self.child {
            Some(child) => child.id(),
            None => {
                let text = std::fs::read_to_string(self.folder.path().join("pid")).expect("the script has written it");
                text.trim().parse().expect("a process id")
            }
        };
        Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id above zero")
    }

    /// Sends a signal: `KILL` for a crash, `STOP` and `CONT` for a pause.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("our own process can be signalled");
    }

    /// Starts it again on its data after it has ended. It is sealed then.
    ///
    /// # Panics
    /// If it does not answer within twenty seconds.
    pub fn restart(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a file below a temporary folder");
        let config: PathBuf = self.folder.path().join("config.hcl");
        let mut command = Command::new(peer("vault"));
        command.arg("server").arg(format!("-config={}", config.display())).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        if let Some(mut old) = self.child.take() {
            old.wait().expect("our own child has ended");
        }
        self.child = Some(command.spawn().expect("its program starts"));
        let begun = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed().as_secs() < 20, "the restarted Vault does not listen");
            std::thread::yield_now();
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // A paused process ends as well.
        if self.folder.path().join("pid").exists() {
            let _ = kill_process(self.pid(), Signal::KILL);
        }
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}
