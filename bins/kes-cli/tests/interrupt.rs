//! Ctrl-C.

#![allow(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A server that takes the connection and says nothing, and somebody who does not want to wait.
#[test]
fn an_interrupted_request_leaves_status_130_and_no_word() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
    command.args(["status", "-k", "--server", &address]).env_clear();
    command.env("KES_API_KEY", "kes:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(listener.accept()));
    let connection = receiver.recv_timeout(Duration::from_secs(30)).expect("kes connects");
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    drop(connection);
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}
