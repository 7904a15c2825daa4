//! Logs that nobody takes, that have no room, and that are moved away: the service goes on.

use kes_tests::{Binary, Client, Connection, Credential, Home, Kind, Request, Server};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A server whose output a test reads itself, or does not.
struct Process {
    child: Child,
    address: SocketAddr,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<ChildStderr>,
}

impl Process {
    fn start(home: &Home, config: &str) -> Self {
        home.write("config.yml", config.replace("{{address}}", "127.0.0.1:0"));
        let mut command = Command::new(Binary::KesServer.path());
        command.arg("--config").arg(home.path().join("config.yml")).current_dir(home.path());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server's program can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (mut address, mut line) = (None, String::new());
        while !line.starts_with("=> Server is up") {
            line.clear();
            assert!(stdout.read_line(&mut line).expect("a line of the banner") > 0, "the server did not start");
            if let Some((_, found)) = line.trim().rsplit_once("https://") {
                address = found.parse().ok();
            }
        }
        let stderr = child.stderr.take();
        Self { child, address: address.expect("the banner shows it"), stdout: Some(stdout), stderr }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id")).expect("above zero");
        kill_process(pid, signal).expect("our own child can be signalled");
    }

    /// Stops it; its standard error.
    fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let mut text = String::new();
        self.stderr.take().expect("not taken yet").read_to_string(&mut text).expect("text");
        assert!(self.child.wait().expect("our own child").success(), "{text}");
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(home: &Home, log: &str) -> String {
    home.config(&format!("admin: {{identity: {}}}\nlog: {log}", Credential::from_seed(0).identity()))
}

fn connect(address: SocketAddr) -> Connection {
    Connection::open(address, &Client::new(&Credential::from_seed(0))).expect("the server answers")
}

fn serves(connection: &mut Connection) {
    assert_eq!(connection.exchange(&Request::get("/version")).expect("a response").status, 200);
}

fn lost(connection: &mut Connection, name: &str) -> u64 {
    let page = connection.exchange(&Request::get("/v1/metrics?view=full")).expect("a response").text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("the metric").parse().expect("a number")
}

#[test]
fn a_closed_standard_output_stops_nothing_and_is_counted() {
    let home = Home::new();
    let mut server = Process::start(&home, &config(&home, "{audit: on, audit_on_full: wait}"));
    drop(server.stdout.take());
    let mut connection = connect(server.address);
    let start = Instant::now();
    while lost(&mut connection, "kes_log_audit_dropped_total") == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "never counted");
    }
    let stderr = server.stop();
    assert_eq!(stderr.matches("cannot write the audit log of the console").count(), 1, "said once: {stderr}");
    assert!(stderr.contains("Broken pipe"), "{stderr}");
}

#[test]
fn a_closed_standard_error_stops_nothing() {
    let home = Home::new();
    let mut server = Process::start(&home, &config(&home, "{audit: off}"));
    drop(server.stderr.take());
    let stranger = Client::new(&Credential::from_seed(1));
    let refused =
        Connection::open(server.address, &stranger).expect("a connection").exchange(&Request::get("/v1/status"));
    assert_eq!(refused.expect("a response").status, 403);
    let mut connection = connect(server.address);
    let start = Instant::now();
    while lost(&mut connection, "kes_log_error_dropped_total") == 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "never counted");
    }
    server.signal(Signal::HUP);
    serves(&mut connection);
}

/// A pipe holds 64 KiB; more than that, and the writer of standard output waits for ever.
#[test]
fn a_stalled_standard_output_does_not_hold_the_audit_file_up() {
    let home = Home::new();
    let audit = home.path().join("audit.log");
    let log = format!("{{audit: on, audit_file: {{path: {}, sync: off}}}}", audit.display());
    let server = Process::start(&home, &config(&home, &log));
    let mut connection = connect(server.address);
    for _ in 0..1000 {
        serves(&mut connection);
    }
    let start = Instant::now();
    while fs::read_to_string(&audit).expect("the audit file").lines().count() < 1000 {
        assert!(start.elapsed() < Duration::from_secs(20), "the file waits for the console");
        serves(&mut connection);
    }
    drop(connection);
    let start = Instant::now();
    server.stop();
    assert!(start.elapsed() < Duration::from_secs(30), "nor the end of the process");
}

#[test]
fn a_renamed_audit_file_is_left_by_signal() {
    let home = Home::new();
    let path = |name: &str| home.path().join(name);
    let log = format!("{{audit: off, audit_file: {{path: {}}}}}", path("audit.log").display());
    let server = Server::start(Kind::Ours, &home, &config(&home, &log));
    let request = |target: &str| {
        let answer = connect(server.address()).exchange(&Request::get(target)).expect("a response");
        assert_eq!(answer.status, 404);
    };
    request("/first");
    fs::rename(path("audit.log"), path("audit.log.1")).expect("renamed");
    request("/second");
    server.signal(Signal::USR1);
    server.expect_stderr("msg=\"the audit file was opened again\"");
    request("/third");
    fs::rename(path("audit.log"), path("audit.log.2")).expect("renamed");
    server.signal(Signal::HUP);
    server.expect_stdout("Reloading configuration after SIGHUP signal completed.");
    request("/fourth");
    fs::rename(path("audit.log"), path("audit.log.3")).expect("renamed");
    fs::create_dir(path("audit.log")).expect("a folder in its place");
    server.signal(Signal::USR1);
    server.expect_stderr("msg=\"the audit file stays as it is\"");
    request("/fifth");
    let mut server = server;
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_secs(20)).success());
    for (name, expected) in
        [("audit.log.1", "/first /second"), ("audit.log.2", "/third"), ("audit.log.3", "/fourth /fifth")]
    {
        let text = fs::read_to_string(path(name)).expect("a log");
        let paths = text.lines().map(|line| line.split(" req.path=").nth(1).expect("a path"));
        let mut paths: Vec<&str> = paths.map(|rest| rest.split(' ').next().unwrap_or_default()).collect();
        // Each thread of the server has a buffer of its own.
        paths.sort_by_key(|path| ["/first", "/second", "/third", "/fourth", "/fifth"].iter().position(|p| p == path));
        assert_eq!(paths.join(" "), expected, "{name}");
    }
}

/// A disk that fills up and is emptied again.
#[test]
#[ignore = "needs the right to mount a file system"]
fn a_full_disk_stops_nothing_and_is_left_behind() {
    let home = Home::new();
    let disk = home.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=128k", "tmpfs"]).arg(&disk).status();
    assert!(mount.expect("mount can be started").success(), "cannot mount");
    let _unmount = Unmount(disk.clone());
    let log = format!("{{audit: off, audit_file: {{path: {}/audit.log, sync: always}}}}", disk.display());
    let server = Server::start(Kind::Ours, &home, &config(&home, &log));
    let mut connection = connect(server.address());
    let start = Instant::now();
    while lost(&mut connection, "kes_log_audit_file_dropped_total") < 100 {
        assert!(start.elapsed() < Duration::from_secs(60), "never full");
    }
    server.expect_stderr("No space left on device");
    fs::rename(disk.join("audit.log"), home.path().join("rescued.log"))
        .or_else(|_| {
            fs::copy(disk.join("audit.log"), home.path().join("rescued.log"))?;
            fs::File::create(disk.join("audit.log")).map(drop)
        })
        .expect("room");
    serves(&mut connection);
    server.expect_stderr("the audit file is written again");
    serves(&mut connection);
    drop(connection);
    let mut server = server;
    server.signal(Signal::TERM);
    assert!(server.wait(Duration::from_secs(20)).success());
    let text = fs::read_to_string(disk.join("audit.log")).expect("the audit file");
    assert!(text.lines().last().expect("lines").starts_with("time="), "{text}");
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        // Busy as long as the server lives, which is dropped first.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
