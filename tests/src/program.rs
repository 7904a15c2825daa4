//! Any program that runs beside a test: `kes server --quick`, a real MinIO.

use crate::server::Output;
use rustix::process::{Pid, Signal, kill_process};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A running program; killed and waited for when dropped.
pub struct Program {
    child: Child,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
}

impl Program {
    /// Starts it, without input.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let stdout = Output::collect(child.stdout.take().expect("stdout is piped"));
        let stderr = Output::collect(child.stderr.take().expect("stderr is piped"));
        Self { child, stdout, stderr }
    }

    /// Everything it has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Everything it has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until stdout contains the text, or the program ends.
    ///
    /// # Panics
    /// If it does not contain it by then, or within 30 seconds.
    pub fn expect_stdout(&self, text: &str) {
        let found = self.stdout.wait(Duration::from_secs(30), |sofar, ended| ended || sofar.contains(text));
        assert!(
            found && self.stdout().contains(text),
            "no {text:?}\n--- stdout\n{}--- stderr\n{}",
            self.stdout(),
            self.stderr()
        );
    }

    /// Waits until something holds, which is asked every 50 milliseconds.
    ///
    /// # Panics
    /// If the program ends before, or after 30 seconds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !holds() {
            let ended = self.stderr.wait(Duration::from_millis(50), |_, ended| ended);
            assert!(
                !ended && begin.elapsed() < Duration::from_secs(30),
                "not {what}\n{}{}",
                self.stdout(),
                self.stderr()
            );
        }
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("our own child can be looked at").is_none()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        // Its end may have come first.
        let _ = kill_process(pid, signal);
    }

    /// Waits for its end, and for the end of what it said.
    pub fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().expect("our own child can be waited for");
        for output in [&self.stdout, &self.stderr] {
            // A grandchild may keep the pipe open.
            output.wait(Duration::from_secs(10), |_, ended| ended);
        }
        status
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Program {
    #[expect(clippy::print_stderr, reason = "the last words of the program belong to a failing test's output")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let end = |text: String| {
                let lines: Vec<_> = text.lines().map(str::to_owned).collect();
                lines[lines.len().saturating_sub(12)..].join("\n")
            };
            eprintln!("--- end of stdout\n{}\n--- end of stderr\n{}\n---", end(self.stdout()), end(self.stderr()));
        }
    }
}
