//! moto in the place of AWS: Secrets Manager and KMS.

use crate::{Home, checkout};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The region of everything in these suites.
const REGION: &str = "eu-central-1";

/// A running moto; killed when dropped.
pub struct Moto {
    child: Child,
    port: u16,
    scheme: &'static str,
}

impl Moto {
    /// Starts one.
    ///
    /// # Panics
    /// If there is none: `peers/peers.sh install moto`.
    pub fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// Starts one with TLS and the certificate of a folder, as the old server wants it. It trusts it with
    /// [`Moto::trust`].
    ///
    /// # Panics
    /// As [`Moto::start`].
    pub fn start_with_tls(home: &Home) -> Self {
        let file = |name: &str| home.path().join(name).display().to_string();
        Self::start_with("https", &["-c", &file("server.crt"), "-k", &file("server.key")])
    }

    fn start_with(scheme: &'static str, arguments: &[&str]) -> Self {
        let script = Command::new(checkout().join("peers/peers.sh")).args(["path", "moto"]).output();
        let program = String::from_utf8(script.expect("the script starts").stdout).expect("a path");
        let port = crate::free_address().port();
        let mut command = Command::new(program.trim());
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|_| panic!("no moto: peers/peers.sh install moto"));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "moto does not listen");
            std::thread::yield_now();
        }
        Self { child, port, scheme }
    }

    /// Where it answers.
    pub fn endpoint(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port)
    }

    /// Makes a server trust the certificate of a folder in the place of AWS's.
    pub fn trust(home: &Home) -> impl Fn(&mut Command) {
        let certificate = home.path().join("server.crt");
        move |command| {
            command.env("AWS_CA_BUNDLE", &certificate).env("SSL_CERT_FILE", &certificate);
        }
    }

    /// A configuration with `keystore`: `block`, in which `{service}` is endpoint, region and credentials.
    pub fn config(&self, home: &Home, block: &str, more: &str) -> String {
        let folder = home.path().display();
        // The old server wants endpoints without a scheme.
        let endpoint = match self.scheme {
            "https" => format!("localhost:{}", self.port),
            _ => self.endpoint(),
        };
        let service =
            format!("endpoint: '{endpoint}', region: {REGION}, credentials: {{accesskey: AKIATEST, secretkey: s}}");
        format!(
            "version: v1\naddress: {{{{address}}}}\ntls:\n  key: {folder}/server.key\n  cert: {folder}/server.crt\n\
             keystore: {}\n{more}\n",
            block.replace("{service}", &service)
        )
    }

    /// A call past every server: `TrentService.CreateKey`. Only without TLS.
    ///
    /// # Panics
    /// If it fails.
    pub fn call(&self, target: &str, body: &Value) -> Value {
        let service = if target.starts_with("Trent") { "kms" } else { "secretsmanager" };
        let scope = format!("AKIATEST/20260101/{REGION}/{service}/aws4_request");
        let body = body.to_string();
        let request = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
             X-Amz-Target: {target}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, \
             Signature=0\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).expect("moto listens");
        connection.write_all(request.as_bytes()).expect("moto reads");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("moto answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        assert!(head.contains(" 200 "), "{target}: {answer}");
        serde_json::from_str(body).unwrap_or(Value::Null)
    }

    /// A new symmetric KMS key; its ARN.
    pub fn kms_key(&self) -> String {
        let made = self.call("TrentService.CreateKey", &serde_json::json!({}));
        made["KeyMetadata"]["Arn"].as_str().expect("an ARN").to_owned()
    }

    /// The names of all secrets.
    pub fn secrets(&self) -> Vec<String> {
        let listed = self.call("secretsmanager.ListSecrets", &serde_json::json!({}));
        let secrets = listed["SecretList"].as_array().expect("a list");
        secrets.iter().map(|secret| secret["Name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Sends a signal: `STOP` and `CONT` for a pause.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("a process id above zero"), signal).expect("our own child");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // A paused process ends as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
