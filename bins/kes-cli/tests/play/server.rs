//! A server in the background.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts it on a free port. Another process may take that port in between; then another one is tried.
    pub(crate) fn start(command: impl Fn() -> Command) -> Self {
        (0..5).find_map(|_| Self::try_start(command())).expect("a server that starts")
    }

    fn try_start(mut command: Command) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        command.args(["--addr", &address]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Self { child: command.spawn().unwrap(), address };
        let mut lines = BufReader::new(server.child.stdout.take().unwrap()).lines();
        let is_up = lines.by_ref().map_while(Result::ok).any(|line| line.contains("up and running"));
        // It must not wait for a reader of its further lines.
        std::thread::spawn(move || lines.for_each(drop));
        is_up.then_some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
